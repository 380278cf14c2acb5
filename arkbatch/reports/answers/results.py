"""Reading results back: every answer of a run, in the order of completion or of the input."""

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import orjson

from arkbatch.journal.journal import read_lines
from arkbatch.journal.record_format import decode_located
from arkbatch.journal.run_directory import RESULTS, RunDirectory

Order = Literal["input", "completion"]


def iter_results(run_dir: str | Path, order: Order = "input") -> Iterator[dict[str, Any]]:
    """The parsed lines of `results.jsonl`. In input order it costs eight bytes of memory a row.

    Works while the run still writes: it ends at what was there when it began.
    """
    directory = RunDirectory(Path(run_dir))
    directory.read_info()  # says so if this is no run directory
    path = directory / RESULTS
    if order == "completion":
        yield from (orjson.loads(line) for _, line in read_lines(path))
        return
    places = _places(path)
    with path.open("rb") if path.exists() else _empty() as file:
        for place in places:
            if place:
                file.seek(place - 1)
                yield orjson.loads(file.readline())


def _places(path: Path) -> "array[int]":
    """For each row number the byte offset of its line plus one, 0 for rows without a result."""
    places = array("Q")
    for offset, line in read_lines(path):
        row = decode_located(line).row
        if row >= len(places):
            places.frombytes(bytes(8 * (row + 1 - len(places) + (row >> 3))))
        places[row] = offset + 1
    return places


def _empty() -> Any:
    import io

    return io.BytesIO()
