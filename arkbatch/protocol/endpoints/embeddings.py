"""`/embeddings`: texts in, one vector for each, matched by `index` and never by position.

A vector is a list of numbers or, with `encoding_format` `base64`, a text that holds little-endian 32-bit
floats. It is checked to be one or the other, and kept as it came.
"""

import re
from base64 import b64decode
from typing import Any

import msgspec
import orjson
from msgspec import Raw, Struct

from arkbatch.core.json_numbers import NOT_STRICT
from arkbatch.core.row import Body, Size
from arkbatch.core.usage import Usage
from arkbatch.protocol.endpoints.base import (
    Answer,
    Endpoint,
    Problem,
    lacks_field,
    narrow_and_wide,
    problem_without_answer,
    text_or_empty,
)
from arkbatch.protocol.endpoints.parameter_checks import (
    MISTAKEN,
    Check,
    first_problem,
    non_empty_text,
    text,
    whole_number,
    wrong_value,
)
from arkbatch.protocol.endpoints.usage import usage_in
from arkbatch.protocol.vectors import FLOAT, indexes_of

MOST_INPUTS = 256
MOST_BYTES = 100_000
_IN_A_TOKEN = 4  # characters
_BEGINS_WITH_NUMBER = re.compile(rb"\[\s*[-0-9]")
INPUT = f"a text or a list of 1 to {MOST_INPUTS} texts"


def _check_input(name: str, value: object) -> str | None:
    if type(value) is str:
        return _check_item(name, value)
    if type(value) is not list or not value:
        return wrong_value(name, value, INPUT)
    if len(value) > MOST_INPUTS:
        return f"{name} has {len(value)} items; allowed is {INPUT}"
    for place, item in enumerate(value):
        reason = _check_item(f"{name}[{place}]", item)
        if reason is not None:
            return reason
    return None


def _check_item(name: str, value: object) -> str | None:
    if type(value) is not str or not value:
        return wrong_value(name, value, "a text that is not empty")
    if len(value) * 4 <= MOST_BYTES:  # no character takes more than four bytes, so most need no encoding
        return None
    length = len(value.encode("utf-8", "surrogatepass"))
    return f"{name} has {length} bytes; allowed is at most {MOST_BYTES}" if length > MOST_BYTES else None


CHECKS: dict[str, Check] = {
    **MISTAKEN,
    "input": _check_input,
    "model": non_empty_text,
    "encoding_format": text,
    "dimensions": whole_number(1),
    "user": text,
}


def _check_texts_or_tokens(name: str, value: object) -> str | None:
    """What OpenAI's API takes: a text, texts, tokens, or lists of tokens; of a list, all of one kind."""
    if type(value) is str and value:
        return None
    if type(value) is list and value and type(value[0]) in (str, int, list):
        kind = type(value[0])
        if all(type(item) is kind for item in value):
            return None
    return wrong_value(name, value, "a text, a list of texts, or tokens")


def misshapen(body: Body) -> str | None:
    return first_problem(body, SHAPES, "input", "model")


SHAPES: dict[str, Check] = {**MISTAKEN, "input": _check_texts_or_tokens, "model": non_empty_text}


def problem(body: Body) -> str | None:
    return first_problem(body, CHECKS, "input", "model")


def size(body: Body) -> Size:
    """For a body without a `problem`. An embedding puts out no tokens."""
    asked = body["input"]
    if type(asked) is not str and type(asked[0]) is not str:
        return Size(_IN_A_TOKEN * sum(len(item) if type(item) is list else 1 for item in asked), 0, 0, 0)
    narrow, wide = narrow_and_wide(asked if type(asked) is str else "".join(asked))
    return Size(narrow, wide, 0, 0)


class _PlainVector(Struct, forbid_unknown_fields=True, gc=False):
    embedding: Raw
    index: int | None = None
    object: str = ""


class _PlainReply(Struct, forbid_unknown_fields=True, gc=False):
    """The form that nearly all replies have."""

    data: list[_PlainVector]
    usage: dict[str, Any] | None = None
    model: str = ""
    object: str = ""
    id: str = ""
    created: int | None = None


_decode_plain = msgspec.json.Decoder(_PlainReply).decode


def parse(reply: bytes) -> object:
    """Read a reply; numbers that only have to be numbers stay text, since to build them is most of the work."""
    try:
        plain = _decode_plain(reply)
    except NOT_STRICT:
        return orjson.loads(reply)
    if not plain.data or not all(_is_number_list(item.embedding) for item in plain.data):
        return orjson.loads(reply)
    data = [{"embedding": item.embedding, "index": item.index} for item in plain.data]
    return {"data": data, "usage": plain.usage, "model": plain.model}


def _is_number_list(value: Raw) -> bool:
    """Whether a JSON value is a list of numbers. Of the other values each holds one of five characters."""
    text = bytes(value)
    if _BEGINS_WITH_NUMBER.match(text) is None or text.rfind(b"[") > 0:
        return False
    return not (b'"' in text or b"{" in text or b"u" in text or b"l" in text)


def read(parsed: object, body: Body | None = None) -> Answer | Problem:
    if type(parsed) is not dict or parsed.get("error"):
        return problem_without_answer(parsed)
    usage = _all_is_input(usage_in(parsed))
    model, tier = text_or_empty(parsed.get("model")), text_or_empty(parsed.get("service_tier"))
    data = parsed.get("data")
    if type(data) is not list or not data:
        return Problem("no_data", lacks_field(parsed, "data"), usage, model, tier)
    reason = _find_mismatch(data, None if body is None else body.get("input"))
    if reason is not None:
        return Problem("wrong_data", reason, usage, model, tier)
    return Answer(usage, model, tier)


def _all_is_input(usage: Usage) -> Usage:
    """Return the usage of vectors, which have no output: a total over an input of 0 is all input."""
    if not usage.get("output"):
        return usage
    return {**usage, "input": usage["input"] + usage["output"], "output": 0}


def _find_mismatch(data: list[object], asked: object) -> str | None:
    """Why the vectors are not one for each input, or None."""
    expected = len(data) if asked is None else len(inputs_of(asked))
    if len(data) != expected:
        return f"{len(data)} vectors came for {expected} inputs"
    items = [item for item in data if isinstance(item, dict) and is_vector(item.get("embedding"))]
    if len(items) != expected:
        return f"of {expected} inputs, {len(items)} have a vector"
    if expected > 1 and len({_length_of(item["embedding"]) for item in items}) > 1:
        return f"of {expected} vectors, not all have the same length"
    if indexes_of(items) is None:
        return f"of {expected} vectors, not each says to which input it belongs"
    return None


def inputs_of(asked: Any) -> list[Any]:
    """What has a vector each. A list of numbers is one input: the tokens of a text."""
    return asked if isinstance(asked, list) and type(asked[0]) is not int else [asked]


def _holds_numbers(values: list[Any]) -> bool:
    """Whether all values are numbers. Their sum tells in a fifth of the time of a look at each type."""
    try:
        sum(values)
    except TypeError:
        return False
    return True


def is_vector(value: object) -> bool:
    """Return whether a value is a list of numbers, or may be a text that holds them."""
    if type(value) is Raw:  # `parse` has looked at it
        return True
    if type(value) is list:
        return bool(value) and _holds_numbers(value)
    return type(value) is str and _holds_floats(value)


def _length_of(vector: Any) -> int:
    return bytes(vector).count(b",") if type(vector) is Raw else len(vector)


def _holds_floats(text: str) -> bool:
    """Whether a text is base64 of 32-bit floats."""
    try:
        length = len(b64decode(text, validate=True))
    except ValueError:
        return False
    return length > 0 and length % FLOAT == 0


ENDPOINT = Endpoint("embeddings", "/embeddings", "input", problem, misshapen, size, read, parse)
