"""The rows of an input with what became of each: its own columns, and beside them the answer or the error.

Every row of the input is there, in its order, also one that failed or is not done. Rows are joined by their number and
never by an id. Where the bytes of the input changed since the run read it, the digest of each recorded row is compared,
so that no answer stands beside another row. What is needed of the records is read row by row: memory does not grow.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
from msgspec import Struct

from arkbatch.core.errors import UsageError
from arkbatch.journal.record_index import RecordIndex
from arkbatch.journal.run_directory import RESULTS, RunDirectory, RunInfo
from arkbatch.pricing.run_price_file import bill_of
from arkbatch.reports.answers.answer_fields import (
    BASIC,
    EXTRAS,
    NOT_DONE,
    READERS,
    SKIPPED,
    TYPES,
    VECTOR,
    CostOfRow,
    Said,
    fitting,
    json_fields,
    take_apart,
    types_of_schema,
)
from arkbatch.reports.run_input import rows_of_run
from arkbatch.reports.status.find_run import input_file
from arkbatch.rows.csv_table import CsvTable
from arkbatch.rows.input_file import Change
from arkbatch.rows.parse import columns_of

_COST = ("cost", "currency")


class TableOptions(Struct, frozen=True):
    """What a table of answers is to hold.

    extras: groups of columns, by the names in EXTRAS; only: "", "done" or "failed"
    columns: the columns to write, in this order; none for all
    schema: its properties become columns; json_columns: the fields of the answers do, without a schema
    """

    extras: tuple[str, ...] = ()
    only: str = ""
    columns: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    json_columns: bool = False
    vectors: bool = False
    input: str = ""


class Column(Struct, frozen=True):
    """One column of the table.

    kind: text, whole, fraction, boolean, json or vector; place: "input", "field" or "json"; source: its name there
    """

    name: str
    kind: str
    place: str
    source: str


class JoinedRow(Struct):
    """One row of the input, its columns and its record, None where it has none."""

    number: int
    columns: dict[str, Any]
    said: Said | None
    is_skipped: bool = False

    @property
    def state(self) -> str:
        """What became of the row: done, failed or undone."""
        if self.said is None or self.said.record.get("interrupted"):
            return "undone"
        return "done" if self.said.success else "failed"


class AnswerTable:
    """The table of one run. A context manager."""

    def __init__(self, run_dir: str | Path, options: TableOptions = TableOptions()) -> None:  # noqa: B008  it is frozen
        self.directory = RunDirectory(Path(run_dir))
        self.info: RunInfo = self.directory.read_info()
        self.options = options
        path = Path(options.input) if options.input else input_file(self.directory, self.info)
        self.source, self._reader = rows_of_run(self.info, path)
        self._skips = self.info.job.get("reading", {}).get("empty") == "skip"
        self._cost = CostOfRow(bill_of(self.info)) if "cost" in options.extras else None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        # The failures are read first: a row that succeeds meanwhile then has both, and its success counts.
        with self._stack:
            self._failures = self._stack.enter_context(RecordIndex(self.directory.failures))
            self._results = self._stack.enter_context(RecordIndex(self.directory / RESULTS))
            self._is_edited = self.source.compare(self.info.input) is Change.EDITED
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def rows(self) -> Iterator[JoinedRow]:
        """The rows that the options ask for, in the order of the input."""
        for number, _, line in self.source.records():
            said = self.said_of(number)
            if said is not None and self._is_edited:
                self._check(number, line, said)
            row = JoinedRow(number, columns_of(line), said, said is None and self._skips and self._reader.lacks(line))
            if not self.options.only or row.state == self.options.only:
                yield row

    def said_of(self, number: int) -> Said | None:
        """The record of a row that counts."""
        if (line := self._results.line_of(number)) is not None:
            return take_apart(line, success=True)
        line = self._failures.line_of(number)
        return None if line is None else take_apart(line, success=False)

    def _check(self, number: int, line: bytes, said: Said) -> None:
        if self._reader.identity(number, line)[0] != said.record["digest"]:
            raise UsageError(
                f"The input {self.source.path} has changed: row {number} is no longer what was sent. Run it with "
                "--rebase, or name the input that the run began with: --input FILE."
            )

    def columns(self) -> list[Column]:
        """All columns of the table. Those of rows without a header are found by reading the input once."""
        kinds = self.input_kinds()
        found = [Column(name, kind, "input", name) for name, kind in kinds.items()]
        taken = set(kinds)
        for name, kind, place in self._own_columns():
            found.append(Column(free_name(name, taken), kind, place, name))
            taken.add(found[-1].name)
        return self._chosen(found)

    def _own_columns(self) -> Iterator[tuple[str, str, str]]:
        """Name, type and place of what stands beside the columns of the input."""
        yield from ((name, "text", "field") for name in BASIC)
        if self.options.vectors:
            yield VECTOR, "vector", "field"
        for group in self.options.extras:
            if group not in EXTRAS:
                raise UsageError(f"--with {group} is not one of {', '.join(EXTRAS)}")
            yield from ((name, TYPES.get(name, "text"), "field") for name in EXTRAS[group])
        for name, kind in self._json_kinds().items():
            yield name, kind, "json"

    def _json_kinds(self) -> dict[str, str]:
        if self.options.schema is not None:
            return types_of_schema(self.options.schema)
        if not self.options.json_columns:
            return {}
        kinds: dict[str, str] = {}
        for line in self._results.lines():
            widen(kinds, json_fields(take_apart(line, success=True)))
        return kinds

    def input_kinds(self) -> dict[str, str]:
        """The columns of the input and their types. Cells of text tables are text."""
        if isinstance(self.source, CsvTable):
            return dict.fromkeys(self.source.columns, "text")
        kinds: dict[str, str] = dict.fromkeys(self.source.columns, "")
        for _, _, line in self.source.records():
            widen(kinds, columns_of(line))
        return {name: kind or "text" for name, kind in kinds.items()}

    def _chosen(self, found: list[Column]) -> list[Column]:
        if not self.options.columns:
            return found
        by_name = {column.name: column for column in found}
        if unknown := [name for name in self.options.columns if name not in by_name]:
            raise UsageError(f"--columns {unknown[0]} is not one of {', '.join(by_name)}")
        return [by_name[name] for name in self.options.columns]

    def values(self, row: JoinedRow, columns: Sequence[Column]) -> list[Any]:
        """The values of a row, each as its column's type holds it."""
        found = self._values(row, columns)
        return [fitting(value, column.kind) for value, column in zip(found, columns, strict=True)]

    def as_dict(self, row: JoinedRow, columns: Sequence[Column]) -> dict[str, Any]:
        """The values of a row as they are, without the columns that the row has not."""
        return {
            column.name: value
            for column, value in zip(columns, self._values(row, columns), strict=True)
            if column.place != "input" or column.source in row.columns
        }

    def _values(self, row: JoinedRow, columns: Sequence[Column]) -> list[Any]:
        said = row.said
        fields = json_fields(said) if said is not None and any(column.place == "json" for column in columns) else {}
        cost = self._cost.of(said) if self._cost is not None and said is not None else (None, None)
        found = []
        for column in columns:
            if column.place == "input":
                value = row.columns.get(column.source)
            elif column.place == "json":
                value = fields.get(column.source)
            elif column.source in _COST:
                value = cost[_COST.index(column.source)]
            else:
                value = _field(column.source, row)
            found.append(value)
        return found


def _field(name: str, row: JoinedRow) -> Any:
    if row.said is not None:
        return READERS[name](row.said)
    if name == "error":
        return SKIPPED if row.is_skipped else NOT_DONE
    return row.number if name == "row" else None


def free_name(name: str, taken: Iterable[str]) -> str:
    """The name, with a number behind it where the input has such a column."""
    taken = set(taken)
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    return found


def widen(kinds: dict[str, str], values: Mapping[str, Any]) -> None:
    """Take the types of values into those of their columns; two that have nothing in common make JSON."""
    for name, value in values.items():
        kind = _kind_of(value)
        known = kinds.get(name, "")
        if not known or not kind or known == kind:
            kinds[name] = known or kind
        elif {known, kind} == {"whole", "fraction"}:
            kinds[name] = "fraction"
        else:
            kinds[name] = "json"


def _kind_of(value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            return "text"
        case bool():
            return "boolean"
        case int():
            return "whole" if -(1 << 63) <= value < 1 << 63 else "json"
        case float():
            return "fraction"
    return "json"


def schema_of(info: RunInfo, file: str) -> Mapping[str, Any] | None:
    """The JSON schema whose properties become columns: of the file, else of the run; None where there is none."""
    if not file:
        found: Mapping[str, Any] | None = info.asked.get("validate", {}).get("schema")
        return found
    try:
        value = orjson.loads(Path(file).read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise UsageError(f"--schema {file} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError(f"--schema {file} is not a JSON schema: it holds no object")
    return value
