"""Reads every answer of a run, in order of completion or of the input."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from arkbatch.journal.record_format import load_record
from arkbatch.journal.record_index import RecordIndex
from arkbatch.journal.record_reader import read_lines
from arkbatch.journal.run_directory import RESULTS, RunDirectory

Order = Literal["input", "completion"]


def iter_results(run_dir: str | Path, order: Order = "input") -> Iterator[dict[str, Any]]:
    """The parsed lines of `results.jsonl`. In input order it takes eight bytes of disk a row.

    Works while the run still writes: it ends at what was there when it began.
    """
    directory = RunDirectory(Path(run_dir))
    directory.read_info()  # says so if this is no run directory
    path = directory / RESULTS
    if order == "completion":
        yield from (load_record(line) for _, line in read_lines(path))
        return
    with RecordIndex(path) as index:
        yield from map(load_record, index.lines_in_order())
