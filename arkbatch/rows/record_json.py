"""Parses one JSON record into its columns, or says why it cannot."""

import json
import math
from collections.abc import Iterable
from typing import Any

import orjson

from arkbatch.core.json_numbers import NOT_STRICT, dumps_as_written, loads_strict
from arkbatch.protocol.lenient_json import count_openings
from arkbatch.rows.input_file import BOM, LONGEST_LINE, TextCells, Unreadable

_DEEPEST_LEVEL = 250  # braces within braces; orjson reads 1,024 and writes 254


def columns_of(line: bytes) -> dict[str, Any]:
    """Return the columns of a record; none of an unreadable one."""
    if type(line) is TextCells:
        return line.columns
    value = "" if isinstance(line, Unreadable) else parse_record(line.strip())
    return {} if isinstance(value, str) else value


def parse_record(text: bytes) -> dict[str, Any] | str:
    """Return the columns of a record, or why it has none."""
    try:
        value = loads_strict(text)
    except NOT_STRICT:
        value = _parse_loosely(text)
        if isinstance(value, str):
            return value
    if not isinstance(value, dict):
        more = "; values need the names of their columns: write objects, or save the rows as CSV"
        named = more if isinstance(value, list) else ""
        return f"the line holds {type_in_words(value)}, not an object in braces{named}"
    # Each level has two braces; to count them in each short line would cost more than to parse it.
    if len(text) > 2 * _DEEPEST_LEVEL and count_openings(text) > _DEEPEST_LEVEL and _too_deep(value):
        return f"the line is nested more than {_DEEPEST_LEVEL} levels deep"
    return value


def _parse_loosely(text: bytes) -> Any:
    """Return the value of JSON with NaN, which Python writes and which is a missing value; else why it is no JSON."""
    try:
        return orjson.loads(text)  # which reads deeper nesting, and says where an error is
    except orjson.JSONDecodeError as error:
        return _parse_with_gaps(text, error)


def _parse_with_gaps(text: bytes, error: orjson.JSONDecodeError) -> dict[str, Any] | str:
    if text[:3] == BOM:  # in the middle of a file that was joined of several
        return parse_record(text[3:])
    if b"NaN" in text or b"Infinity" in text:
        try:
            value = json.loads(text, parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            return _why_no_json(text, error)
        if isinstance(value, dict):
            return value
    return _why_no_json(text, error)


def _too_deep(value: object) -> bool:
    """Whether a value is nested too deeply to be written again.

    It goes level by level, since recursion would end at 1,000.
    """
    level = [value]
    for _ in range(_DEEPEST_LEVEL):
        level = [inner for outer in level for inner in _values_inside(outer) if isinstance(inner, dict | list)]
        if not level:
            return False
    return True


def _values_inside(value: object) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _why_no_json(text: bytes, error: orjson.JSONDecodeError) -> str:
    if len(text) >= LONGEST_LINE - 1:  # it was cut there, and what is left is no JSON
        return f"the line is longer than {LONGEST_LINE >> 20} MB, more than a request may have: split the row"
    try:
        words = text.decode("utf-8")
    except UnicodeDecodeError as broken:
        return f"not valid UTF-8 at byte {broken.start + 1} of the line; save the file as UTF-8"
    try:
        _, end = json.JSONDecoder().raw_decode(words)
    except (ValueError, RecursionError):
        end = 0
    if words[end:].lstrip()[:1] == "{" and end:
        return "several objects stand on one line; write each on a line of its own"
    if words[:2] in {"{'", "['"}:
        return "not JSON but Python: names and texts stand in single quotes; write the lines with json.dumps"
    return f"not JSON: {error.msg} at column {error.colno}"


def json_or_text(text: str) -> Any:
    """Return the JSON value that a cell holds, or its text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(value, float) and not math.isfinite(value) else value


def type_in_words(value: object) -> str:
    """Return what a JSON value is, for a message."""
    names = {list: "a list", str: "text", int: "a number", float: "a number", bool: "true or false", dict: "an object"}
    return names.get(type(value), "null")


def shown_value(value: object) -> str:
    """Return a value for a message: JSON, shortened."""
    text = dumps_as_written(value).decode()
    return text if len(text) <= 60 else text[:57] + "..."
