"""Reads TOML that a person wrote: whatever is wrong with it is one kind of error with a reason in words.

Values that no limit, parameter or price can be are refused here: whole numbers beyond 64 bits, which JSON writers do
not write, and nesting that is deeper than they follow.
"""

import tomllib
from collections.abc import Callable
from typing import Any

MAX_NESTING = 64
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**64 - 1


class TomlError(ValueError):
    """What is wrong, with the place where it is known."""


def parse_toml(text: str, *, parse_float: Callable[[str], Any] = float) -> dict[str, Any]:
    """Return the tables. Raises `TomlError`."""
    try:
        tables = tomllib.loads(text, parse_float=parse_float)
    except tomllib.TOMLDecodeError as error:
        raise TomlError(str(error)) from error
    except RecursionError as error:
        raise TomlError("it is nested too deeply") from error
    except ValueError as error:  # a number of thousands of digits
        raise TomlError("it holds a number that is too long") from error
    if reason := oddity_in(tables):
        raise TomlError(reason)
    return tables


def oddity_in(value: Any) -> str:
    """Why a value cannot be kept, "" when it can. It follows no value by recursion, since that may be what is wrong."""
    left = [(value, 0)]
    while left:
        each, depth = left.pop()
        if depth > MAX_NESTING:
            return f"it is nested more than {MAX_NESTING} levels deep"
        if isinstance(each, dict):
            left += [(inner, depth + 1) for inner in each.values()]
        elif isinstance(each, list):
            left += [(inner, depth + 1) for inner in each]
        elif type(each) is int and not _MIN_INTEGER <= each <= _MAX_INTEGER:
            return "it holds a whole number beyond 64 bits"
    return ""
