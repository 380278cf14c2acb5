"""Reads and writes JSON whose numbers keep the digits that they were written with.

The fast reader makes a float of every number with a fraction, an exponent or more than 64 bits. A float holds some 17
digits, and is written in its shortest form: a seed of thirty digits would leave as another seed, and 0.10 as 0.1. So
a reader is used that hands over the text of each float.
"""

import json
import re
from contextlib import suppress
from functools import lru_cache
from math import inf, isfinite
from typing import Any, Self

import msgspec
import orjson
from msgspec import Raw

_MINUS_ZERO = re.compile(rb"(?:^|[:,\[])\s*-0\s*(?:[,\]}]|$)")
NOT_STRICT = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
_MAX_DIGITS = 308  # of a whole number that a float still holds
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


def loads_strict(text: bytes) -> Any:
    """Read strict JSON. Numbers that a float or an int would change are a `WrittenNumber`.

    Raises `msgspec.DecodeError`, `RecursionError` or `UnicodeDecodeError` for what is no JSON.
    """
    value = _decode(text)
    return _loads_slowly(text) if b"-0" in text and _MINUS_ZERO.search(text) is not None else value


def loads_as_written(text: bytes) -> Any:
    """Read JSON as `loads_strict`, and what Python's own reader takes besides it; NaN and Infinity are null."""
    with suppress(*NOT_STRICT):
        return loads_strict(text)
    return _loads_slowly(text)


def loads_finite(text: bytes) -> Any:
    """Read strict JSON as `loads_strict`, and a number that no float holds as infinity, which is written as null."""
    return _decode_finite(text)


def finite_float(text: str) -> float:
    """Return a number with its text, infinity for one that other readers would refuse."""
    number = _written_float(text)
    return number if isfinite(number) else inf


def finite_int(text: str) -> int | float:
    """Return a whole number of any length that other readers take."""
    return int(text) if len(text) < _MAX_DIGITS else finite_float(text)


def _loads_slowly(text: bytes) -> Any:
    return json.loads(text, parse_float=_written_float, parse_int=_written_int, parse_constant=lambda _: None)


@lru_cache(1024)
def _written_float(text: str) -> float:
    number = float(text)
    # Both encoders are used, and they write some numbers differently, such as 1e+16 and 1e16.
    return number if orjson.dumps(number) == text.encode() == msgspec.json.encode(number) else WrittenNumber(text)


_decode = msgspec.json.Decoder(float_hook=_written_float).decode  # integers of any length are read as such
_decode_finite = msgspec.json.Decoder(float_hook=finite_float).decode


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
