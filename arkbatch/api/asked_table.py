"""One call of a table function, written beside the run directory as rows and schema.

A path is read as `arkbatch run` reads it. Anything else is first written as lines, so that a generator that cannot be
repeated is resumed too, and the same call again finds what changed.
"""

import contextlib
import filecmp
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from os import PathLike
from pathlib import Path
from types import CodeType
from typing import Any

import orjson
from msgspec import Struct

from arkbatch.api.frames import column_names, in_memory, kind_of, records_of
from arkbatch.api.jobs import load_job, shows_progress
from arkbatch.api.options import SharedOptions
from arkbatch.api.schemas import json_schema_of
from arkbatch.core.disk_errors import explain_disk_errors
from arkbatch.core.errors import ArkbatchError, UsageError
from arkbatch.core.job import Job
from arkbatch.journal.atomic_files import open_private
from arkbatch.monitor.observer import Observer

RUNS = "arkbatch-runs"  # below the working directory: where runs go that are not told where

Prompt = str | Callable[[dict[str, Any]], Any]


class AskedTable(Struct):
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

    def load_job_of(self) -> Job:
        """Write down what has to be in files, and load the job."""
        options: dict[str, Any] = dict(self.options)
        run_dir = self.run_dir
        options.pop("run_dir", None)
        if self.progress:
            print(f"Run directory: {run_dir}", file=sys.stderr)  # noqa: T201 - what it is for
        if self.schema is not None:
            options |= self._with_schema(run_dir, options)
        if isinstance(self.prompt, str):
            options["text" if self.is_embedding else "prompt"] = self.prompt
        elif self.is_embedding:
            options["endpoint"] = "embeddings"
        path = self.data if isinstance(self.data, str | PathLike) else self._write_rows(run_dir)
        return load_job(path, run_dir=run_dir, **options)

    @contextlib.contextmanager
    def without_leftovers(self) -> Iterator[None]:
        """Take back what was written down for a run that is refused before it has a directory."""
        try:
            yield
        except ArkbatchError:
            self.remove_leftovers()
            raise

    def remove_leftovers(self) -> None:
        """Delete what was written down for a run that has no directory."""
        if not self.run_dir.exists():
            for ending in (".jsonl", ".schema.json"):
                self.run_dir.with_suffix(ending).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                Path(RUNS).rmdir()

    @property
    def run_dir(self) -> Path:
        return Path(self.options.get("run_dir") or self._default_run_dir())

    def _default_run_dir(self) -> Path:
        """Named by what is asked, so that the same call resumes and a changed prompt is another run."""
        prompt = self.prompt if isinstance(self.prompt, str) else _digest_of_function(self.prompt)
        schema = None if self.schema is None else json_schema_of(self.schema)
        if isinstance(self.data, str | PathLike):
            names: Any = str(self.data)
        else:
            names = [] if is_read_once(self.data) else column_names(self.data)
        said = [prompt, schema, names, sorted((name, str(value)) for name, value in self.options.items())]
        return Path(RUNS) / f"{blake2b(orjson.dumps(said), digest_size=6).hexdigest()}.run"

    def _with_schema(self, run_dir: Path, options: Mapping[str, Any]) -> dict[str, Any]:
        schema = json_schema_of(self.schema)
        file = run_dir.with_suffix(".schema.json")
        _replace_if_changed(file, [orjson.dumps(schema, option=orjson.OPT_INDENT_2)])
        form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
        return {"schema": file, "parameters": {"response_format": form, **options.get("parameters", {})}}

    def _write_rows(self, run_dir: Path) -> Path:
        file = run_dir.with_suffix(".jsonl")
        _replace_if_changed(file, (orjson.dumps(self._line_of(*each)) for each in enumerate(records_of(self.data), 1)))
        return file

    def _line_of(self, number: int, record: dict[str, Any]) -> dict[str, Any]:
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


def ask_table(
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
) -> AskedTable:
    """Return the call of a table function. UsageError: data or prompt is of no kind that is known."""
    if not isinstance(data, str | PathLike):
        data = in_memory(data)
        kind_of(data)
    if not isinstance(prompt, str) and not callable(prompt):
        raise UsageError("prompt is a text with {column}, or a function of a row's dict")
    shown = shows_progress() if progress is None else progress
    return AskedTable(data, prompt, schema, is_embedding, observer, shown, rebase, mixed, options)


def _digest_of_function(function: Callable[..., Any]) -> str:
    """Return what tells a function from another of the same name, such as a changed `lambda`."""
    code = getattr(function, "__code__", None)
    said = [getattr(function, "__qualname__", "function"), *(_said_in(code) if code is not None else ())]
    return blake2b("\n".join(said).encode("utf-8", "replace"), digest_size=8).hexdigest()


def _said_in(code: CodeType) -> Iterator[str]:
    yield code.co_code.hex()
    yield " ".join(code.co_names)
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _said_in(each)
        else:
            yield repr(each)


def is_read_once(data: Any) -> bool:
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
