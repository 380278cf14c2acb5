"""The values of a row's columns: how one is found by its name, reads as text, and makes an id.

A value is missing where its column is, and where it is null or no number; the text "NA" is text.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

import orjson

from arkbatch.core.json_numbers import dumps_as_written

Columns = Mapping[str, Any]


def value_of(columns: Columns, name: str) -> Any:
    """The value of the column of this name, else of a field in one (`a.b`, `a.0.b`); None where it is missing."""
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
    """The column that a placeholder reads: the one of that name, else the longest one that its name begins with."""
    if name in columns:
        return name
    parts = name.split(".")
    beginnings = (".".join(parts[:count]) for count in range(len(parts) - 1, 0, -1))
    return next((beginning for beginning in beginnings if beginning in columns), name)


def text_of(value: Any) -> str:
    """A value as it stands in a prompt: text as it is, anything else as JSON, whole numbers without `.0`."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
        return str(int(value))
    return dumps_as_written(value).decode()


def is_empty(value: Any) -> bool:
    """Whether a value is missing or has nothing in it."""
    return value is None or (isinstance(value, str) and (not value or value.isspace()))


def id_of(value: Any) -> str | None:
    """A value as a custom_id; None for what is none, such as a list."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return text_of(value)


def digest_of_cells(columns: Columns, names: Iterable[str]) -> str:
    """16 hex digits over columns by name, values as they stand in a prompt.

    So a table that was saved with other quotes or in another format has the same rows. Where one format has an empty
    cell another has none, so both are the same.
    """
    cells = [
        (name, value if type(value) is str else text_of(value))
        for name in names
        if (value := columns.get(name)) is not None and not is_empty(value)
    ]
    return blake2b(orjson.dumps(cells), digest_size=8).hexdigest()
