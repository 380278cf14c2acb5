"""Makes embeddings: a unit vector that depends on text, model and seed alone.

So the same text has the same vector wherever it stands. The vectors have no meaning: similar texts are not near each
other.
"""

import math
from array import array
from base64 import b64encode
from collections import Counter
from hashlib import shake_128
from sys import byteorder
from typing import Any

import orjson

from arkbatch.simulator import models, tokens
from arkbatch.simulator.seeded_random import random_for

DEFAULT_DIMENSIONS = 2048


def input_texts(body: dict[str, Any]) -> list[str]:
    """Return the inputs of a body that `inputs.check_embeddings` let pass."""
    return [body["input"]] if isinstance(body["input"], str) else body["input"]


def input_tokens(body: dict[str, Any]) -> int:
    return sum(map(tokens.text_tokens, input_texts(body)))


def embedding_list(
    body: dict[str, Any], of: bytes, seed: int, request_id: str, created: int, *, shuffle: bool
) -> dict[str, Any]:
    """Answer a body that `inputs.check_embeddings` let pass; `of` is its fingerprint."""
    model = models.vector_model(body["model"])
    dimensions = body.get("dimensions", DEFAULT_DIMENSIONS)
    packed = body.get("encoding_format") == "base64"
    data: list[dict[str, Any]] = []
    for index, text in enumerate(input_texts(body)):
        vector = unit_vector(f"{seed}\0{model}\0{text}", dimensions)
        written = encode_base64(vector) if packed else vector.tolist()
        data.append({"object": "embedding", "index": index, "embedding": written})
    if shuffle:
        random_for(of).shuffle(data)
    used = input_tokens(body)
    return {
        "created": created,
        "data": data,
        "id": request_id,
        "model": model,
        "object": "list",
        "usage": {"prompt_tokens": used, "total_tokens": used},
    }


def multimodal_tokens(body: dict[str, Any]) -> int:
    return sum(_part_tokens(body).values())


def multimodal_embedding(body: dict[str, Any], seed: int, request_id: str, created: int) -> dict[str, Any]:
    """Answer a body that `inputs.check_multimodal` let pass, with one vector for all parts."""
    model = models.vision_model(body["model"])
    meaning = orjson.dumps([body["input"], body.get("instructions")], option=orjson.OPT_SORT_KEYS).decode()
    vector = unit_vector(f"{seed}\0{model}\0{meaning}", body.get("dimensions", DEFAULT_DIMENSIONS))
    packed = body.get("encoding_format") == "base64"
    data: dict[str, Any] = {"object": "embedding", "embedding": encode_base64(vector) if packed else vector.tolist()}
    if body.get("sparse_embedding", {}).get("type") == "enabled":
        data["sparse_embedding"] = _sparse_weights(body["input"])
    details = _part_tokens(body)
    used = sum(details.values())
    return {
        "created": created,
        "data": data,
        "id": request_id,
        "model": model,
        "object": "list",
        "usage": {"prompt_tokens": used, "total_tokens": used, "prompt_tokens_details": details},
    }


def _part_tokens(body: dict[str, Any]) -> dict[str, int]:
    """Return tokens by type; everything that is not text counts as image."""
    texts = sum(tokens.text_tokens(part["text"]) for part in body["input"] if part["type"] == "text")
    return {"text_tokens": texts, "image_tokens": sum(map(tokens.part_tokens, body["input"])) - texts}


def _sparse_weights(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the weights of the words, by numbers that stand for them."""
    counts = Counter(word for part in parts for word in part["text"].split())
    found = {tokens.token_number(word): count for word, count in counts.items()}
    most = max(counts.values(), default=1)
    return [{"index": index, "value": round(found[index] / most, 4)} for index in sorted(found)]


def unit_vector(what: str, dimensions: int) -> "array[float]":
    """Return single-precision numbers whose squares add up to one."""
    drawn = array("H", shake_128(what.encode()).digest(2 * dimensions))
    if byteorder == "big":
        drawn.byteswap()
    centred = [number - 32767.5 for number in drawn]  # never all zero: halves are not whole
    length = math.sqrt(math.fsum(number * number for number in centred))
    return array("f", [number / length for number in centred])


def encode_base64(vector: "array[float]") -> str:
    """Return little-endian float32 in base64, as the service does."""
    if byteorder == "big":
        vector = array("f", vector)
        vector.byteswap()
    return b64encode(vector).decode()
