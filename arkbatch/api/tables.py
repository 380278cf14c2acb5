"""Tables from Python: a prompt for each row, and the answers in new columns."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

from arkbatch.api.asked_table import AskedTable, Prompt, ask_table, is_read_once
from arkbatch.api.background import run_in_thread
from arkbatch.api.frames import ROWS, append_columns, column_names, keep_rows, kind_of, make_frame
from arkbatch.api.jobs import JobSession
from arkbatch.api.options import FilePath, SharedOptions, name_parameters
from arkbatch.api.schemas import json_schema_of
from arkbatch.monitor.observer import Observer
from arkbatch.pricing.summary import Summary
from arkbatch.reports.answers.answer_table import AnswerTable, TableOptions, free_name
from arkbatch.reports.answers.answers import WrittenAnswers, write_answers


class TableResult:
    """What came of a table.

    summary: counts, usage and cost; run_dir: where the run is, for `arkbatch status` and the other commands
    """

    def __init__(self, data: Any, summary: Summary, options: TableOptions) -> None:
        self._data = data
        self._options = options
        self.summary = summary
        self.run_dir = Path(summary.run_dir)

    def __repr__(self) -> str:
        done, failed, left = self.summary.succeeded, self.summary.failed, self.summary.left
        return f"<TableResult {done} answers, {failed} failed, {left} left, in {self.run_dir}>"

    @cached_property
    def frame(self) -> Any:
        """The table that came in, of the same kind, with `answer`, `error` and `finish_reason` behind its columns.

        Rows of a path or of an iterator are a list of dicts.
        """
        if is_read_once(self._data):
            return self.to(ROWS)
        return append_columns(self._data, self._own_columns())

    @cached_property
    def failed(self) -> Any:
        """The rows of `frame` that have no answer, of the same kind."""
        with AnswerTable(self.run_dir, self._options) as table:
            return keep_rows(self.frame, [row.state != "done" for row in table.chosen_rows()])

    def to(self, kind: str) -> Any:
        """Return the whole table as `rows` (dicts), `pandas`, `polars` or `arrow`."""
        return read_answers(self.run_dir, kind, _options=self._options)

    def write(self, file: FilePath) -> WrittenAnswers:
        """Write the whole table, by the ending of the file: .csv, .tsv, .jsonl, .parquet or .xlsx."""
        return write_answers(self.run_dir, str(file), self._options)

    def _own_columns(self) -> dict[str, list[Any]]:
        taken = set(column_names(self._data))
        with AnswerTable(self.run_dir, self._options) as table:
            is_typed = kind_of(self._data) != ROWS
            own = [column for column in table.all_columns(is_typed=is_typed) if column.place != "input"]
            values_of = table.typed_values if is_typed else table.values_of
            values = [values_of(row, own) for row in table.chosen_rows()]
        found: dict[str, list[Any]] = {}
        for place, column in enumerate(own):
            name, cells = free_name(column.source, {*taken, *found}), [row[place] for row in values]
            found[name] = _named_as_in_python(cells) if column.source == "error" else cells
        return found


def read_answers(run_dir: FilePath, kind: str = ROWS, *, _options: TableOptions | None = None) -> Any:
    """Return every row of a run's input with its columns and its answer, as `rows`, `pandas`, `polars` or `arrow`.

    All of it is held in memory; `iter_answers` gives the rows one by one.
    """
    with AnswerTable(Path(run_dir), _options or TableOptions()) as table:
        columns = table.all_columns(is_typed=kind != ROWS)
        values_of = table.values_of if kind == ROWS else table.typed_values
        values = [values_of(row, columns) for row in table.chosen_rows()]
    return make_frame({column.name: [row[place] for row in values] for place, column in enumerate(columns)}, kind)


def iter_answers(run_dir: FilePath) -> Iterator[dict[str, Any]]:
    """Yield every row of a run's input with its columns and its answer, in the order of the input."""
    with AnswerTable(Path(run_dir)) as table:
        columns = table.all_columns()
        for row in table.chosen_rows():
            yield table.as_dict(row, columns)


def run_table(
    data: Any,
    prompt: Prompt,
    *,
    schema: Any = None,
    observer: Observer | None = None,
    progress: bool | None = None,
    rebase: bool = False,
    mixed: bool = False,
    **options: Unpack[SharedOptions],
) -> TableResult:
    """Send a prompt for each row of a table, wait, and return the table with the answers.

    The same call again resumes. Failed rows never raise: their `error` says why. It works inside a running event
    loop, as in a notebook; the first interrupt waits for the calls in flight.

    data: a path, a data frame (pandas, polars, pyarrow), a data set, a list or iterator of dicts or of texts
    prompt: a text with {column}, or a function of a row's dict that returns a text, messages or a whole body
    schema: what each answer must be: a pydantic model, dataclass, JSON schema (dict or file); its fields become columns
    UsageError: the table cannot be read or sent. Halted: every request would fail until something is fixed.
    """
    asked = ask_table(data, prompt, schema, options, observer=observer, progress=progress, rebase=rebase, mixed=mixed)
    with asked.without_leftovers():
        session = _session_of(asked)
        return _result_of(asked, run_in_thread(session.work, session.drain))


async def arun_table(
    data: Any,
    prompt: Prompt,
    *,
    schema: Any = None,
    observer: Observer | None = None,
    progress: bool | None = None,
    rebase: bool = False,
    mixed: bool = False,
    **options: Unpack[SharedOptions],
) -> TableResult:
    """Do as `run_table` in your own event loop. Cancelling it abandons the calls in flight."""
    asked = ask_table(data, prompt, schema, options, observer=observer, progress=progress, rebase=rebase, mixed=mixed)
    with asked.without_leftovers():
        return _result_of(asked, await _session_of(asked).work())


def embed_table(
    data: Any,
    text: Prompt,
    *,
    observer: Observer | None = None,
    progress: bool | None = None,
    rebase: bool = False,
    mixed: bool = False,
    **options: Unpack[SharedOptions],
) -> TableResult:
    """Do as `run_table` with embeddings: the column `vector` holds the vector of each row's text."""
    asked = ask_table(
        data, text, None, options, observer=observer, progress=progress, rebase=rebase, mixed=mixed, is_embedding=True
    )
    with asked.without_leftovers():
        session = _session_of(asked)
        return _result_of(asked, run_in_thread(session.work, session.drain))


def _session_of(asked: AskedTable) -> JobSession:
    return JobSession(
        asked.load_job_of(), asked.observer, progress=asked.progress, rebase=asked.rebase, mixed=asked.mixed, options={}
    )


def _result_of(asked: AskedTable, summary: Summary) -> TableResult:
    schema = None if asked.schema is None else json_schema_of(asked.schema)
    return TableResult(asked.data, summary, TableOptions(schema=schema, vectors=asked.is_embedding))


def _named_as_in_python(errors: list[str | None]) -> list[str | None]:
    return [None if error is None else name_parameters(error) for error in errors]
