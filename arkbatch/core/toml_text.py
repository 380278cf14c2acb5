"""Reads TOML written by a person; every mistake becomes one error with a readable reason.

Values that no limit, parameter or price can have are refused: whole numbers beyond 64 bits, which JSON writers
refuse, and nesting deeper than they follow.
"""

import tomllib
from collections.abc import Callable
from typing import Any

MAX_NESTING = 64
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**64 - 1


class TomlError(ValueError):
    """The mistake in a TOML text, with its place where it is known."""


def parse_toml(text: str, *, parse_float: Callable[[str], Any] = float) -> dict[str, Any]:
    """Return the tables of a TOML text; raises `TomlError`."""
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
    """Return why a value cannot be kept, "" when it can.

    It does not recurse, since the nesting itself may be too deep.
    """
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
