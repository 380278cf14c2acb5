"""The columns that fields of JSON answers make, with their types and misfits.

A type comes from the schema that the answers were to follow, or else from the values themselves. Formats whose cells
have types of their own (CSV, JSON lines, workbooks) take each value as it is. Where a column has one type (Parquet,
data frames), a column with a value of another type becomes text, so that no value is lost.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from arkbatch.core.json_numbers import NOT_STRICT, dumps_as_written, loads_strict
from arkbatch.core.text import count_text, number_text

# Of JSON schema, by the type of a column: text, whole, fraction, boolean, json (text of any value), vector.
_TYPES_OF_SCHEMA = {"string": "text", "integer": "whole", "number": "fraction", "boolean": "boolean"}
_TYPES_IN_WORDS = {"whole": "no whole number", "fraction": "no number", "boolean": "neither true nor false"}
_ROWS_SHOWN = 5
_EXACT = 1 << 53  # up to here a float holds every whole number
_INT64 = 1 << 63
# Two types of values in one column, and the type that holds both. `large`: a whole number that no float holds.
_TYPES_FOR_BOTH = {
    frozenset({"whole", "fraction"}): "fraction",
    frozenset({"whole", "large"}): "large",
}


def parse_fields(answer: str | None) -> dict[str, Any] | None:
    """Return the fields of an answer that is a JSON object, also one in a fence of Markdown; None for any other."""
    text = (answer or "").strip()
    if text.startswith("```"):
        text = text.strip("`").removeprefix("json").strip()
    if not text.startswith("{"):
        return None
    try:
        value = loads_strict(text.encode())
    except (*NOT_STRICT, UnicodeEncodeError):
        return None
    return value if isinstance(value, dict) else None


def types_of_schema(schema: Mapping[str, Any]) -> dict[str, str]:
    """Return a column for each property of a JSON schema, with its type; what is no plain value is text of JSON."""
    return {name: _type_of_property(each) for name, each in schema.get("properties", {}).items()}


def _type_of_property(schema: Any) -> str:
    if not isinstance(schema, dict):
        return "json"
    named = schema.get("type")
    choices = named if isinstance(named, list) else [named]
    choices += [each.get("type") for each in schema.get("anyOf", []) if isinstance(each, dict)]
    found = {_TYPES_OF_SCHEMA.get(str(each), "json") for each in choices if each not in {None, "null"}}
    if not found and "enum" in schema and all(isinstance(each, str) for each in schema["enum"]):
        return "text"
    return found.pop() if len(found) == 1 else "fraction" if found == {"whole", "fraction"} else "json"


def fits_type(value: Any, kind: str) -> bool:
    """Whether a column of this type holds the value; None fits everywhere."""
    match kind, value:
        case ("text" | "json", _) | (_, None):
            return True
        case ("whole" | "fraction", bool()):
            return False
        case "whole", int():
            return -_INT64 <= value < _INT64
        case ("whole", float()):
            return value.is_integer() and abs(value) <= _EXACT
        case ("fraction", int()):
            return abs(value) <= _EXACT
        case ("fraction", float()) | ("boolean", bool()) | ("vector", list()):
            return True
    return False


def convert_to_type(value: Any, kind: str) -> Any:
    """Return a value that fits a type as a column of that type holds it."""
    match kind, value:
        case _, None:
            return None
        case "whole", float():
            return int(value)
        case "fraction", int():
            return float(value)
        case (("text" | "json"), _):
            return value if isinstance(value, str) else dumps_as_written(value).decode()
    return value


def types_of_values(rows: Iterable[Mapping[str, Any]], names: Iterable[str] = ()) -> dict[str, str]:
    """Return the columns of all rows with a type that holds every value. `names`: columns that are there anyway."""
    found = dict.fromkeys(names, "")
    for row in rows:
        for name, value in row.items():
            known, kind = found.get(name, ""), _type_of_value(value)
            if not known or not kind or known == kind:
                found[name] = known or kind
            else:
                found[name] = _TYPES_FOR_BOTH.get(frozenset({known, kind}), "json")
    return {name: "whole" if kind == "large" else kind for name, kind in found.items()}


def _type_of_value(value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            return "text"
        case bool():
            return "boolean"
        case int():
            return "whole" if abs(value) <= _EXACT else "large" if fits_type(value, "whole") else "json"
        case float():
            return "fraction"
    return "json"


def types_that_fit(kinds: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the types of columns, with text in place of each that does not hold all values."""
    found = dict(kinds)
    for row in rows:
        for name, kind in found.items():
            if not fits_type(row.get(name), kind):
                found[name] = "json"
    return found


class Misfits:
    """Answers whose fields are not what their columns ask for: how many, and in which rows."""

    def __init__(self) -> None:
        self._rows: dict[str, list[int]] = {}
        self._counts: dict[str, int] = {}

    def count_misfit(self, name: str, row: int) -> None:
        """Count a value that is not of the type of its column. `name`: of the column, "" if no field was found."""
        self._counts[name] = self._counts.get(name, 0) + 1
        if len(rows := self._rows.setdefault(name, [])) < _ROWS_SHOWN:
            rows.append(row)

    def notes_on_columns(self, columns: Sequence[tuple[str, str, str]], *, is_typed: bool) -> list[str]:
        """Return sentences for a person. `columns`: name, type asked for and type written."""
        told = [
            self._note_on_column(name, asked, written, is_typed)
            for name, asked, written in columns
            if name in self._counts
        ]
        if "" in self._counts:
            which = f"{count_text(self._counts[''], 'answer')} without a JSON object ({self._rows_text('')})"
            told.append(f"{which}: the columns of its fields are empty there")
        return told

    def _note_on_column(self, name: str, asked: str, written: str, is_typed: bool) -> str:
        which = f"{count_text(self._counts[name], 'answer')} {'has' if self._counts[name] == 1 else 'have'}"
        done = "the column was written as text" if is_typed and written == "json" else "written as it is"
        return f"{which} {_TYPES_IN_WORDS[asked]} in {name} ({self._rows_text(name)}): {done}"

    def _rows_text(self, name: str) -> str:
        rows, more = self._rows[name], self._counts[name] - len(self._rows[name])
        numbers = ", ".join(map(number_text, rows))
        return (
            f"row {numbers}" if len(rows) == 1 else f"rows {numbers}{f' and {number_text(more)} more' if more else ''}"
        )
