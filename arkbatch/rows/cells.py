"""The values of a row's columns: found by name, as text, and as an id.

A value is missing where its column is, and where it is null or NaN; the text "NA" is text.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

import orjson

from arkbatch.core.json_numbers import WrittenNumber, dumps_as_written

Columns = Mapping[str, Any]


def value_of(columns: Columns, name: str) -> Any:
    """Return the value of this column, else of a field in one (`a.b`, `a.0.b`); None if missing."""
    if name in columns:
        return columns[name]
    column = column_of(columns, name)
    value = columns.get(column)
    for field in name[len(column) + 1 :].split("."):
        if isinstance(value, Mapping):
            value = value.get(field)
        elif isinstance(value, list) and field.isdecimal() and int(field) < len(value):
            value = value[int(field)]
        else:
            return None
    return value


def column_of(columns: Columns, name: str) -> str:
    """Return the column that a placeholder reads.

    It is the column of that name, else the longest one that its name begins with.
    """
    if name in columns:
        return name
    parts = name.split(".")
    beginnings = (".".join(parts[:count]) for count in range(len(parts) - 1, 0, -1))
    return next((beginning for beginning in beginnings if beginning in columns), name)


def text_of(value: Any) -> str:
    """Return a value as it stands in a prompt.

    Text stays as it is; anything else is JSON, with whole numbers without `.0`.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
        return str(int(value))
    return dumps_as_written(value).decode()


def is_empty(value: Any) -> bool:
    """Whether a value is missing or empty."""
    return value is None or (isinstance(value, str) and (not value or value.isspace()))


def id_of(value: Any) -> str | None:
    """Return a value as a custom_id; None for a value that cannot be one, such as a list."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return text_of(value)


def digest_of_cells(columns: Columns, names: Iterable[str]) -> str:
    """Return 16 hex digits over columns by name, with values as they stand in a prompt.

    So a table that was saved with other quotes or in another format has the same rows. An empty cell equals a missing
    one, since formats differ in that, as they do in how a number is written.
    """
    cells = [
        (name, value if type(value) is str else text_of(float(value) if type(value) is WrittenNumber else value))
        for name in names
        if (value := columns.get(name)) is not None and not is_empty(value)
    ]
    return blake2b(orjson.dumps(cells), digest_size=8).hexdigest()
