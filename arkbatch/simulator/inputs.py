"""Checks the bodies of embeddings, multimodal embeddings and tokenization.

`vectors` and `tokens` rely on it: a body that passes can be answered.
"""

from collections.abc import Iterator
from typing import Any

from arkbatch.simulator import tokens
from arkbatch.simulator.checks import Body, check_part, is_whole
from arkbatch.simulator.refusals import Refusal, invalid_parameter, missing_parameter

MAX_INPUTS = 256
MAX_INPUT_BYTES = 100_000
MAX_INPUT_TOKENS = 4096
MAX_DIMENSIONS = 4096


def check_embeddings(body: Body) -> Refusal | None:
    """Return why an embeddings body is refused, or None."""
    return next(_embeddings_refusals(body), None)


def _embeddings_refusals(body: Body) -> Iterator[Refusal]:
    if "input" not in body:
        yield missing_parameter("input")
        return
    inputs = [body["input"]] if isinstance(body["input"], str) else body["input"]
    if not isinstance(inputs, list) or not 1 <= len(inputs) <= MAX_INPUTS:
        yield invalid_parameter("input", f"expected a string, or a list of 1 to {MAX_INPUTS} strings")
        return
    for text in inputs:
        if not isinstance(text, str) or not text:
            yield invalid_parameter("input", "each input must be a string that is not empty")
        elif len(text.encode()) > MAX_INPUT_BYTES or tokens.text_tokens(text) > MAX_INPUT_TOKENS:
            yield invalid_parameter(
                "input", f"an input is longer than {MAX_INPUT_BYTES} bytes or {MAX_INPUT_TOKENS} tokens"
            )
    yield from _check_encoding(body)
    dimensions = body.get("dimensions", 1)
    if not is_whole(dimensions) or not 1 <= dimensions <= MAX_DIMENSIONS:
        yield invalid_parameter("dimensions", f"expected an integer between 1 and {MAX_DIMENSIONS}")


def check_multimodal(body: Body) -> Refusal | None:
    """Return why a body of multimodal embeddings is refused, or None."""
    return next(_multimodal_refusals(body), None)


def _multimodal_refusals(body: Body) -> Iterator[Refusal]:
    parts = body.get("input")
    if parts is None:
        yield missing_parameter("input")
    if not isinstance(parts, list) or not parts:
        yield invalid_parameter("input", "expected a list of parts, with at least one")
        return
    for part in parts:
        yield from _check_part(part)
    yield from _check_encoding(body)
    if body.get("dimensions", 1024) not in (1024, 2048):
        yield invalid_parameter("dimensions", "expected 1024 or 2048")
    if not isinstance(body.get("instructions", ""), str):
        yield invalid_parameter("instructions", "expected a string")
    match body.get("sparse_embedding", {"type": "disabled"}):
        case {"type": "disabled"}:
            return
        case {"type": "enabled"}:
            if any(part["type"] != "text" for part in parts):
                yield invalid_parameter("sparse_embedding", "only texts can have one")
        case _:
            yield invalid_parameter("sparse_embedding", "its type must be enabled or disabled")


def _check_part(part: Any) -> Iterator[Refusal]:
    """Yield why a part is not one that has an embedding."""
    match part:
        case {"type": "text" | "image_url"}:
            yield from check_part(part)
        case {"type": "video_url", "video_url": {"url": str(url)}} if url:
            return
        case _:
            yield invalid_parameter("input", "a part must be a text, an image_url or a video_url")


def check_tokenization(body: Body) -> Refusal | None:
    """Return why a tokenization body is refused, or None."""
    text = body.get("text")
    if text is None:
        return missing_parameter("text")
    texts = [text] if isinstance(text, str) else text
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        return invalid_parameter("text", "expected a string or a list of strings, none of them empty")
    return None


def _check_encoding(body: Body) -> Iterator[Refusal]:
    if body.get("encoding_format", "float") not in ("float", "base64"):
        yield invalid_parameter("encoding_format", "expected float or base64")
