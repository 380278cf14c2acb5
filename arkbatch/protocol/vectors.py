"""The vectors of a reply as little-endian 32-bit floats.

Numbers are rounded to 32 bits on the way; the models compute with no more. A value that is no vector stays as it is,
and the verdict reports it. A reply has a list of vectors, each with its index, or the one of multimodal embeddings.
"""

import re
import struct
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

FLOAT = 4  # bytes

_AS_NUMBERS = re.compile(rb'"embedding"\s*:\s*\[')


def with_base64(reply: bytes) -> bytes:
    """Return the body of a reply with its vectors in base64, or as it came if one of them cannot be packed."""
    if _AS_NUMBERS.search(reply) is None:
        return reply
    try:
        body = orjson.loads(reply)
        for item in _vector_items(body):
            if isinstance(numbers := item["embedding"], list):
                item["embedding"] = b64encode(_pack_floats(numbers)).decode()
    except (orjson.JSONDecodeError, struct.error, OverflowError):
        return reply
    return orjson.dumps(body)


def vectors_in(body: Any) -> Iterator[tuple[int, bytes]]:
    """Yield the index and the floats of each vector of a reply. ValueError: one of them is no vector."""
    items = list(_vector_items(body))
    indexes = indexes_of(items)
    if indexes is None:
        raise ValueError("the vectors do not say to which input each belongs")
    for item, index in zip(items, indexes, strict=True):
        embedding = item["embedding"]
        try:
            floats = _pack_floats(embedding) if isinstance(embedding, list) else b64decode(embedding, validate=True)
        except (TypeError, struct.error, OverflowError) as error:
            raise ValueError(str(error)) from error
        if not floats or len(floats) % FLOAT:
            raise ValueError("it is empty or torn")
        yield index, floats


def indexes_of(items: Sequence[dict[str, Any]]) -> list[int] | None:
    """Return the input that each vector belongs to, None when that is in doubt.

    Gemini leaves out an index of 0, and others leave out all: then the order tells. Two that say the same are in doubt.
    """
    said = [index if type(index := item.get("index")) is int else None for item in items]
    if said.count(None) == len(said):
        return list(range(len(said)))
    left = set(range(len(said))) - {index for index in said if index is not None}
    if None in said:
        if len(left) != 1:
            return None
        said = [left.pop() if index is None else index for index in said]
    indexes = [index for index in said if index is not None]
    return indexes if sorted(indexes) == list(range(len(items))) else None


def _vector_items(body: Any) -> Iterator[dict[str, Any]]:
    data = body.get("data") if isinstance(body, dict) else None
    for item in data if isinstance(data, list) else [data]:
        if isinstance(item, dict) and "embedding" in item:
            yield item


def _pack_floats(numbers: list[Any]) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)
