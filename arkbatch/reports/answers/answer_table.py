"""The rows of an input with their answers or errors beside them.

Every row of the input is there, in its order, also one that failed or is not done. Rows are joined by their number and
never by an id. Where the bytes of the input changed since the run read it, the digest of each recorded row is compared,
so that no answer stands beside another row. What is needed of the records is read row by row: memory does not grow.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from msgspec import Struct
from msgspec.structs import replace

from arkbatch.core.errors import UsageError
from arkbatch.journal.record_index import RecordIndex
from arkbatch.journal.run_directory import RESULTS, RunDirectory
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
    take_apart,
)
from arkbatch.reports.answers.typed_columns import (
    Misfits,
    convert_to_type,
    fits_type,
    parse_fields,
    types_of_schema,
    types_of_values,
    types_that_fit,
)
from arkbatch.reports.run_input import rows_of_run
from arkbatch.reports.status.find_run import input_file
from arkbatch.rows.csv_table import CsvTable
from arkbatch.rows.input_file import Change
from arkbatch.rows.record_json import columns_of

if TYPE_CHECKING:
    from arkbatch.journal.run_info import RunInfo

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
    asked: the kind that the schema asks for
    """

    name: str
    kind: str
    place: str
    source: str
    asked: str = "json"


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
        self._misfits = Misfits()

    def __enter__(self) -> Self:
        # The failures are read first: a row that succeeds meanwhile then has both, and its success counts.
        with self._stack:
            self._failures = self._stack.enter_context(RecordIndex(self.directory.failures_path))
            self._results = self._stack.enter_context(RecordIndex(self.directory / RESULTS))
            self._is_edited = self.source.compare_input(self.info.input) is Change.EDITED
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def chosen_rows(self) -> Iterator[JoinedRow]:
        """The rows that the options ask for, in the order of the input."""
        for number, _, line in self.source.read_records():
            said = self.said_of(number)
            if said is not None and self._is_edited:
                self._check_identity(number, line, said)
            row = JoinedRow(
                number, columns_of(line), said, said is None and self._skips and self._reader.lacks_value(line)
            )
            if not self.options.only or row.state == self.options.only:
                yield row

    def said_of(self, number: int) -> Said | None:
        """The record of a row that counts."""
        if (line := self._results.line_of(number)) is not None:
            return take_apart(line, success=True)
        line = self._failures.line_of(number)
        return None if line is None else take_apart(line, success=False)

    def _check_identity(self, number: int, line: bytes, said: Said) -> None:
        if self._reader.identity_of(number, line)[0] != said.record["digest"]:
            raise UsageError(
                f"The input {self.source.path} has changed: row {number} is no longer what was sent. Run it with "
                "--rebase, or name the input that the run began with: --input FILE."
            )

    def all_columns(self, *, is_typed: bool = False) -> list[Column]:
        """All columns of the table. Those of rows without a header are found by reading the input once.

        is_typed: each column holds values of its type alone, so that all answers are looked at
        """
        kinds = self._input_kinds()
        found = [Column(name, kind, "input", name) for name, kind in kinds.items()]
        taken = set(kinds)
        for column in (*self._own_columns(), *self._json_columns(is_typed=is_typed)):
            found.append(replace(column, name=free_name(column.source, taken)))
            taken.add(found[-1].name)
        return self._chosen_columns(found)

    def _own_columns(self) -> Iterator[Column]:
        """What stands beside the columns of the input in every run."""
        yield from (Column(name, "text", "field", name) for name in BASIC)
        if self.options.vectors:
            yield Column(VECTOR, "vector", "field", VECTOR)
        for group in self.options.extras:
            if group not in EXTRAS:
                raise UsageError(f"--with {group} is not one of {', '.join(EXTRAS)}")
            yield from (Column(name, TYPES.get(name, "text"), "field", name) for name in EXTRAS[group])

    def _json_columns(self, *, is_typed: bool) -> list[Column]:
        """A column for each field of the answers."""
        if self.options.schema is not None:
            asked = types_of_schema(self.options.schema)
            kinds = types_that_fit(asked, self._all_fields()) if is_typed else asked
        elif self.options.json_columns:
            asked = kinds = {name: kind or "text" for name, kind in types_of_values(self._all_fields()).items()}
        else:
            return []
        return [Column(name, kind, "json", name, asked[name]) for name, kind in kinds.items()]

    def _all_fields(self) -> Iterator[dict[str, Any]]:
        for line in self._results.lines_in_order():
            yield parse_fields(take_apart(line, success=True).answer) or {}

    def _input_kinds(self) -> dict[str, str]:
        """The columns of the input and their types. Cells of text tables are text."""
        if isinstance(self.source, CsvTable):
            return dict.fromkeys(self.source.columns, "text")
        rows = (columns_of(line) for _, _, line in self.source.read_records())
        return {name: kind or "text" for name, kind in types_of_values(rows, self.source.columns).items()}

    def _chosen_columns(self, found: list[Column]) -> list[Column]:
        if not self.options.columns:
            return found
        by_name = {column.name: column for column in found}
        if unknown := [name for name in self.options.columns if name not in by_name]:
            raise UsageError(f"--columns {unknown[0]} is not one of {', '.join(by_name)}")
        return [by_name[name] for name in self.options.columns]

    def typed_values(self, row: JoinedRow, columns: Sequence[Column]) -> list[Any]:
        """The values of a row, each as its column's type holds it. The columns are typed."""
        found = self.values_of(row, columns)
        return [
            convert_to_type(value, column.kind) if fits_type(value, column.kind) else None
            for value, column in zip(found, columns, strict=True)
        ]

    def as_dict(self, row: JoinedRow, columns: Sequence[Column]) -> dict[str, Any]:
        """The values of a row as they are, without the columns that the row has not."""
        return {
            column.name: value
            for column, value in zip(columns, self.values_of(row, columns), strict=True)
            if column.place != "input" or column.source in row.columns
        }

    def notes_on_types(self, columns: Sequence[Column], *, is_typed: bool) -> list[str]:
        """What a person should know about the fields of the answers whose values were given so far."""
        asked = [(column.name, column.asked, column.kind) for column in columns if column.place == "json"]
        return self._misfits.notes_on_columns(asked, is_typed=is_typed)

    def _fields_of(self, row: JoinedRow, columns: Sequence[Column]) -> dict[str, Any]:
        """The fields of a JSON answer, as far as columns want them. What does not fit is counted."""
        wanted = [column for column in columns if column.place == "json"]
        if not wanted or row.said is None or not row.said.success:
            return {}
        fields = parse_fields(row.said.answer)
        if fields is None:
            self._misfits.count_misfit("", row.number)
            return {}
        for column in wanted:
            if not fits_type(fields.get(column.source), column.asked):
                self._misfits.count_misfit(column.name, row.number)
        return fields

    def values_of(self, row: JoinedRow, columns: Sequence[Column]) -> list[Any]:
        """The values of a row as they are."""
        said = row.said
        fields = self._fields_of(row, columns)
        cost = self._cost.cost_of(said) if self._cost is not None and said is not None else (None, None)
        found = []
        for column in columns:
            if column.place == "input":
                value = row.columns.get(column.source)
            elif column.place == "json":
                value = fields.get(column.source)
            elif column.source in _COST:
                value = cost[_COST.index(column.source)]
            else:
                value = _field_of(column.source, row)
            found.append(value)
        return found


def _field_of(name: str, row: JoinedRow) -> Any:
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
