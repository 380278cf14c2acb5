"""What an embedding model says: for each text a unit vector that follows from text, model and seed alone, so that the
same text has the same vector wherever it stands. The vectors carry no meaning: texts alike are not near.
"""

import math
from array import array
from base64 import b64encode
from collections import Counter
from hashlib import shake_128
from sys import byteorder
from typing import Any

import orjson

from arkbatch.simulator import models, tokenizer, tokens
from arkbatch.simulator.chance import random_for

DEFAULT_DIMENSIONS = 2048


def input_texts(body: dict[str, Any]) -> list[str]:
    """The inputs of a body that `inputs.check_embeddings` let pass."""
    return [body["input"]] if isinstance(body["input"], str) else body["input"]


def input_tokens(body: dict[str, Any]) -> int:
    return sum(map(tokens.text_tokens, input_texts(body)))


def embedding_list(
    body: dict[str, Any], of: bytes, seed: int, request_id: str, created: int, *, shuffle: bool
) -> dict[str, Any]:
    """The answer to a body that `inputs.check_embeddings` let pass. `of` is the request's fingerprint."""
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
    """The answer to a body that `inputs.check_multimodal` let pass: one vector for all parts together."""
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
    """What is no text counts as image."""
    texts = sum(tokens.text_tokens(part["text"]) for part in body["input"] if part["type"] == "text")
    return {"text_tokens": texts, "image_tokens": sum(map(tokens.part_tokens, body["input"])) - texts}


def _sparse_weights(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Weights of the words, by numbers that stand for them."""
    counts = Counter(word for part in parts for word in part["text"].split())
    found = {tokenizer.token_number(word): count for word, count in counts.items()}
    most = max(counts.values(), default=1)
    return [{"index": index, "value": round(found[index] / most, 4)} for index in sorted(found)]


def unit_vector(what: str, dimensions: int) -> "array[float]":
    """Single-precision numbers whose squares add up to one."""
    drawn = array("H", shake_128(what.encode()).digest(2 * dimensions))
    if byteorder == "big":
        drawn.byteswap()
    centred = [number - 32767.5 for number in drawn]  # never all zero: halves are not whole
    length = math.sqrt(math.fsum(number * number for number in centred))
    return array("f", [number / length for number in centred])


def encode_base64(vector: "array[float]") -> str:
    """Little-endian float32, as the service packs them."""
    if byteorder == "big":
        vector = array("f", vector)
        vector.byteswap()
    return b64encode(vector).decode()
