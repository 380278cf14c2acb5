"""Tables from Python: a prompt for each row of a data frame, and the same data frame back with the answers beside it.

A path is read as `arkbatch run` reads it. Anything else is first written as lines beside the run directory, so that a
generator that cannot be repeated is resumed too, and the same call again finds what changed.
"""

import contextlib
import filecmp
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from hashlib import blake2b
from os import PathLike
from pathlib import Path
from typing import Any, Unpack

import orjson
from msgspec import Struct

from arkbatch.api.background import run_in_thread
from arkbatch.api.frames import ROWS, appended, column_names, kept, kind_of, made, records_of
from arkbatch.api.jobs import JobSession, load_job, shows_progress
from arkbatch.api.options import FilePath, SharedOptions, name_parameters
from arkbatch.api.schemas import json_schema_of
from arkbatch.core.disk_errors import explain_disk_errors
from arkbatch.core.errors import ArkbatchError, UsageError
from arkbatch.core.job import Job
from arkbatch.journal.run_directory import open_private
from arkbatch.monitor.observer import Observer
from arkbatch.pricing.summary import Summary
from arkbatch.reports.answers.answer_table import AnswerTable, TableOptions, free_name
from arkbatch.reports.answers.answers import WrittenAnswers, write_answers

RUNS = "arkbatch-runs"  # below the working directory: where runs go that are not told where

Prompt = str | Callable[[dict[str, Any]], Any]


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
        if _is_read_once(self._data):
            return self.to(ROWS)
        return appended(self._data, self._own_columns())

    @cached_property
    def failed(self) -> Any:
        """The rows of `frame` that have no answer, of the same kind."""
        with AnswerTable(self.run_dir, self._options) as table:
            return kept(self.frame, [row.state != "done" for row in table.rows()])

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
            own = [column for column in table.columns(is_typed=is_typed) if column.place != "input"]
            values_of = table.typed_values if is_typed else table.values
            values = [values_of(row, own) for row in table.rows()]
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
        columns = table.columns(is_typed=kind != ROWS)
        values_of = table.values if kind == ROWS else table.typed_values
        values = [values_of(row, columns) for row in table.rows()]
    return made({column.name: [row[place] for row in values] for place, column in enumerate(columns)}, kind)


def iter_answers(run_dir: FilePath) -> Iterator[dict[str, Any]]:
    """Yield every row of a run's input with its columns and its answer, in the order of the input."""
    with AnswerTable(Path(run_dir)) as table:
        columns = table.columns()
        for row in table.rows():
            yield table.as_dict(row, columns)


class _Asked(Struct):
    """One call of a table function.

    prompt: with {column}, or a function of a row's dict that returns a text, messages or a whole body
    """

    data: Any
    prompt: Prompt
    schema: Any
    is_embedding: bool
    observer: Observer | None
    progress: bool
    rebase: bool
    mixed: bool
    options: SharedOptions

    def job(self) -> Job:
        """Write down what has to be in files, and load the job."""
        options: dict[str, Any] = dict(self.options)
        run_dir = self._run_dir()
        options.pop("run_dir", None)
        if self.progress:
            print(f"Run directory: {run_dir}", file=sys.stderr)  # noqa: T201 - what it is for
        if self.schema is not None:
            options |= self._with_schema(run_dir, options)
        if isinstance(self.prompt, str):
            options["text" if self.is_embedding else "prompt"] = self.prompt
        elif self.is_embedding:
            options["endpoint"] = "embeddings"
        path = self.data if isinstance(self.data, str | PathLike) else self._spool(run_dir)
        return load_job(path, run_dir=run_dir, **options)

    @contextlib.contextmanager
    def without_leftovers(self) -> Iterator[None]:
        """Take back what was written down for a run that is refused before it has a directory."""
        try:
            yield
        except ArkbatchError:
            if not self._run_dir().exists():
                for ending in (".jsonl", ".schema.json"):
                    self._run_dir().with_suffix(ending).unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    Path(RUNS).rmdir()
            raise

    def _run_dir(self) -> Path:
        return Path(self.options.get("run_dir") or self._default_run_dir())

    def _default_run_dir(self) -> Path:
        """Named by what is asked, so that the same call resumes and a changed prompt is another run."""
        prompt = self.prompt if isinstance(self.prompt, str) else getattr(self.prompt, "__qualname__", "function")
        schema = None if self.schema is None else json_schema_of(self.schema)
        if isinstance(self.data, str | PathLike):
            names: Any = str(self.data)
        else:
            names = [] if _is_read_once(self.data) else column_names(self.data)
        said = [prompt, schema, names, sorted((name, str(value)) for name, value in self.options.items())]
        return Path(RUNS) / f"{blake2b(orjson.dumps(said), digest_size=6).hexdigest()}.run"

    def _with_schema(self, run_dir: Path, options: Mapping[str, Any]) -> dict[str, Any]:
        schema = json_schema_of(self.schema)
        file = run_dir.with_suffix(".schema.json")
        _replace_if_changed(file, [orjson.dumps(schema, option=orjson.OPT_INDENT_2)])
        form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
        return {"schema": file, "parameters": {"response_format": form, **options.get("parameters", {})}}

    def _spool(self, run_dir: Path) -> Path:
        file = run_dir.with_suffix(".jsonl")
        _replace_if_changed(file, (orjson.dumps(self._line(*each)) for each in enumerate(records_of(self.data), 1)))
        return file

    def _line(self, number: int, record: dict[str, Any]) -> dict[str, Any]:
        if isinstance(self.prompt, str):
            return record
        try:
            made_prompt = self.prompt(record)
        except Exception as error:
            error.add_note(f"The prompt function of arkbatch raised this for row {number}: {record}")
            raise
        column = self.options.get("id_column")
        line = {column: record.get(column)} if column else {}
        if isinstance(made_prompt, Mapping):
            return {**line, "body": made_prompt}
        key = "messages" if isinstance(made_prompt, list) else "input" if self.is_embedding else "prompt"
        return {**line, key: made_prompt}


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
    asked = _asked(data, prompt, schema, options, observer=observer, progress=progress, rebase=rebase, mixed=mixed)
    with asked.without_leftovers():
        session = _session(asked)
        return _result(asked, run_in_thread(session.work, session.drain))


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
    asked = _asked(data, prompt, schema, options, observer=observer, progress=progress, rebase=rebase, mixed=mixed)
    with asked.without_leftovers():
        return _result(asked, await _session(asked).work())


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
    asked = _asked(
        data, text, None, options, observer=observer, progress=progress, rebase=rebase, mixed=mixed, is_embedding=True
    )
    with asked.without_leftovers():
        session = _session(asked)
        return _result(asked, run_in_thread(session.work, session.drain))


def _asked(
    data: Any,
    prompt: Prompt,
    schema: Any,
    options: SharedOptions,
    *,
    observer: Observer | None,
    progress: bool | None,
    rebase: bool,
    mixed: bool,
    is_embedding: bool = False,
) -> _Asked:
    if not isinstance(data, str | PathLike):
        kind_of(data)
    if not isinstance(prompt, str) and not callable(prompt):
        raise UsageError("prompt is a text with {column}, or a function of a row's dict")
    shown = shows_progress() if progress is None else progress
    return _Asked(data, prompt, schema, is_embedding, observer, shown, rebase, mixed, options)


def _session(asked: _Asked) -> JobSession:
    return JobSession(
        asked.job(), asked.observer, progress=asked.progress, rebase=asked.rebase, mixed=asked.mixed, options={}
    )


def _result(asked: _Asked, summary: Summary) -> TableResult:
    schema = None if asked.schema is None else json_schema_of(asked.schema)
    return TableResult(asked.data, summary, TableOptions(schema=schema, vectors=asked.is_embedding))


def _named_as_in_python(errors: list[str | None]) -> list[str | None]:
    return [None if error is None else name_parameters(error) for error in errors]


def _is_read_once(data: Any) -> bool:
    """A path, or an iterator that is used up."""
    return isinstance(data, str | PathLike) or (isinstance(data, Iterable) and iter(data) is data)


def _replace_if_changed(file: Path, lines: Iterable[bytes]) -> None:
    """Write a file for its owner only, and leave one that holds the same as it is, with its time."""
    with explain_disk_errors(file):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = file.with_name(f"{file.name}.new")
        try:
            with open(fresh, "wb", opener=open_private) as writing:
                writing.writelines(line + b"\n" for line in lines)
        except BaseException:
            fresh.unlink()
            raise
        if file.exists() and filecmp.cmp(file, fresh, shallow=False):
            fresh.unlink()
        else:
            fresh.replace(file)
