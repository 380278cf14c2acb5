"""Reads and writes JSON whose numbers keep the digits that they were written with.

The fast reader makes a float of every number with a fraction, an exponent or more than 64 bits. A float holds some 17
digits, and is written in its shortest form: a seed of thirty digits would leave as another seed, and 0.10 as 0.1. Only
a text that holds such a number is read a second time.
"""

import json
import re
from contextlib import suppress
from functools import lru_cache
from typing import Any, Self, TypeVar

import msgspec
import orjson
from msgspec import Raw

_MINUS_ZERO = re.compile(rb"(?:^|[:,\[])\s*-0\s*(?:[,\]}]|$)")
T = TypeVar("T")
_LONG_LIST = 32
_MAX_64_BITS = 2**64 - 1
_MIN_64_BITS = -(2**63)


class WrittenNumber(float):
    """A number whose text is not the one that a float is written with."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Self:
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __reduce__(self) -> tuple[type["WrittenNumber"], tuple[str]]:
        return WrittenNumber, (self.text,)


def with_written_numbers(value: T, text: bytes) -> T:
    """Return `value`, which the fast reader has read, or the text read again if that may have changed a number."""
    if _has_float(value) or (b"-0" in text and _MINUS_ZERO.search(text) is not None):
        reread: T = loads_as_written(text)
        return reread
    return value


def _has_float(value: Any) -> bool:
    """Whether a float is anywhere in a value. It is asked of each row, so no text is searched."""
    for each in value.values() if type(value) is dict else value:
        kind = type(each)
        if kind is str:
            continue
        if kind is float:
            return True
        if (kind is dict or (kind is list and (len(each) < _LONG_LIST or _may_have_float(each)))) and _has_float(each):
            return True
    return False


def _may_have_float(values: list[Any]) -> bool:
    """Whether a long list, such as tokens, is worth a look at each value."""
    return not {float, dict, list}.isdisjoint(set(map(type, values)))


def loads_as_written(text: bytes) -> Any:
    """Read JSON, NaN and Infinity as null. Numbers that a float or an int would change are a `WrittenNumber`."""
    if b"-0" not in text or _MINUS_ZERO.search(text) is None:
        with suppress(msgspec.DecodeError):
            return _decode(text)
    return json.loads(text, parse_float=_written_float, parse_int=_written_int, parse_constant=lambda _: None)


@lru_cache(1024)
def _written_float(text: str) -> float:
    number = float(text)
    # Both encoders are used, and they write some numbers differently, such as 1e+16 and 1e16.
    return number if orjson.dumps(number) == text.encode() == msgspec.json.encode(number) else WrittenNumber(text)


_decode = msgspec.json.Decoder(float_hook=_written_float).decode  # integers of any length are read as such


def _written_int(text: str) -> int | float:
    return WrittenNumber(text) if text == "-0" else int(text)


def dumps_as_written(value: Any, *, option: int | None = None) -> bytes:
    """Write strict JSON, each `WrittenNumber` as its text. TypeError: no JSON can hold the value."""
    try:
        return orjson.dumps(value, default=_fragment, option=option)
    except TypeError:
        return orjson.dumps(_with_long_integers(value), default=_fragment, option=option)


def raw_number(value: Any) -> Raw:
    """The `enc_hook` of msgspec's encoders for the same."""
    if isinstance(value, WrittenNumber):
        return Raw(value.text.encode())
    raise NotImplementedError(f"{type(value).__name__} is no value of JSON")


def _fragment(value: Any) -> orjson.Fragment:
    if isinstance(value, WrittenNumber):
        return orjson.Fragment(value.text.encode())
    raise TypeError(f"{type(value).__name__} is no value of JSON")


def _with_long_integers(value: Any) -> Any:
    """The value with integers beyond 64 bits, which the fast writer refuses, as text that it takes over."""
    if type(value) is int and not _MIN_64_BITS <= value <= _MAX_64_BITS:
        return orjson.Fragment(str(value).encode())
    if type(value) is dict:
        return {name: _with_long_integers(each) for name, each in value.items()}
    if type(value) is list:
        return [_with_long_integers(each) for each in value]
    return value
