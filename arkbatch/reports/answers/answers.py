"""Writes the answers of a run as a table, or gives them row by row."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
from msgspec import Struct

from arkbatch.core.disk_errors import explain_disk_errors
from arkbatch.core.errors import UsageError
from arkbatch.core.json_numbers import dumps_as_written
from arkbatch.core.text import count_text
from arkbatch.journal.atomic_files import replacing_file
from arkbatch.journal.run_info import RunInfo
from arkbatch.reports.answers.answer_table import AnswerTable, TableOptions
from arkbatch.reports.answers.columnar_answers import write_beside
from arkbatch.reports.answers.table_writers import ENDINGS, unknown_ending, writer_for
from arkbatch.rows.columnar import ColumnarTable


class WrittenAnswers(Struct, frozen=True):
    """What was written. `notes` are sentences for a person."""

    file: str
    rows: int
    done: int
    failed: int
    undone: int
    notes: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{self.done:,} with an answer"]
        parts += [f"{self.failed:,} failed"] if self.failed else []
        parts += [f"{self.undone:,} not done"] if self.undone else []
        return f"{count_text(self.rows, 'row')} ({', '.join(parts)}):  {self.file}"


class _Counts:
    """How many rows of each state were written."""

    def __init__(self) -> None:
        self.by_state = {"done": 0, "failed": 0, "undone": 0}

    def add(self, state: str) -> None:
        self.by_state[state] += 1

    def written(self, file: str, notes: list[str]) -> WrittenAnswers:
        states = self.by_state
        return WrittenAnswers(
            file, sum(states.values()), states["done"], states["failed"], states["undone"], tuple(notes)
        )


def iter_answers(
    run_dir: str | Path,
    options: TableOptions = TableOptions(),  # noqa: B008  it is frozen
) -> Iterator[dict[str, Any]]:
    """Each row of the input as a dictionary: its columns, `answer`, `error` and `finish_reason`."""
    with AnswerTable(run_dir, options) as table:
        columns = table.all_columns()
        for row in table.chosen_rows():
            yield table.as_dict(row, columns)


def write_answers(
    run_dir: str | Path,
    file: str | Path,
    options: TableOptions = TableOptions(),  # noqa: B008  it is frozen
    *,
    defuse: bool = False,
) -> WrittenAnswers:
    """Write the answers into a file, which takes its name when it is whole. UsageError: its ending is not known."""
    target = Path(file)
    ending = target.suffix.lower()
    if ending not in ENDINGS:
        raise unknown_ending(str(file))
    counts = _Counts()
    with AnswerTable(run_dir, options) as table, explain_disk_errors(target), replacing_file(target) as fresh:
        if ending == ".jsonl":
            return counts.written(str(file), _write_lines(table, fresh, counts))
        if ending == ".parquet" and isinstance(table.source, ColumnarTable):
            return counts.written(str(file), write_beside(table, table.source, fresh, counts.add))
        is_typed = ending == ".parquet"
        columns = table.all_columns(is_typed=is_typed)
        values_of = table.typed_values if is_typed else table.values_of
        writer = writer_for(ending, fresh, columns, defuse=defuse)
        try:
            for row in table.chosen_rows():
                writer.write_row(values_of(row, columns))
                counts.add(row.state)
        finally:
            notes = [*writer.finish_file(), *table.notes_on_types(columns, is_typed=is_typed)]
    return counts.written(str(file), notes)


def _write_lines(table: AnswerTable, file: Path, counts: _Counts) -> list[str]:
    """Write JSON lines, and return what to tell."""
    columns = table.all_columns()
    with file.open("wb", 1 << 20) as out:
        for row in table.chosen_rows():
            out.write(dumps_as_written(table.as_dict(row, columns), option=orjson.OPT_APPEND_NEWLINE))
            counts.add(row.state)
        out.flush()
        os.fsync(out.fileno())
    return table.notes_on_types(columns, is_typed=False)


def check_file(file: str) -> None:
    """UsageError: a file of this name cannot be written. To be asked before a run begins."""
    target = Path(file)
    if target.suffix.lower() not in ENDINGS:
        raise unknown_ending(file)
    if not target.absolute().parent.is_dir():
        raise UsageError(f"{file} cannot be written: its directory {target.absolute().parent} does not exist")


def read_schema(info: RunInfo, file: str) -> Mapping[str, Any] | None:
    """Return the JSON schema whose properties become columns: of the file, else of the run; None for none."""
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
