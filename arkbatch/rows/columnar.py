"""Reads typed tables: Parquet, Arrow files and streams, and saved Hugging Face data sets.

A row comes as the JSON object of its columns. Rows are numbered from 1, and the offset of a row is the number of rows
before it; reading a Parquet file begins at the row group that holds the row. pyarrow is used here alone, and imported
where it is used, since that takes 0.1 s and 43 MiB. `pyarrow.dataset` and memory maps are not used: both keep what they
read in memory.
"""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from arkbatch.core.errors import UsageError
from arkbatch.core.input_info import InputInfo, Position
from arkbatch.core.template_syntax import Reading
from arkbatch.rows.input_file import Change, Counted, compare_file, missing_extra, survey_file

_BATCH = 1024  # rows
_JSON = orjson.OPT_NON_STR_KEYS
HF_STATE = "state.json"


class ColumnarTable:
    """One file, or one directory of a data set."""

    is_table = True

    def __init__(self, path: Path, reading: Reading) -> None:
        del reading  # it says nothing about such files
        self.path = path
        self._files = _files_of(path)
        with _readable_parquet_errors(path):
            self.schema = _schema_of(self._files[0])
        self.columns = tuple(self.schema.names)
        twice = next((name for name in self.columns if self.columns.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"{path} has two columns called {twice!r}: rename one of them")

    @property
    def description(self) -> str:
        return "Parquet" if _is_parquet(self._files[0]) else "Arrow"

    def read_records(self, start: Position = Position()) -> Iterator[tuple[int, int, bytes]]:  # noqa: B008  it is frozen
        """Yield number, offset and JSON of each row from a position on."""
        number = start.line
        for batch in self.read_batches(number):
            for row in batch.to_pylist():
                yield number + 1, number, _as_json(row)
                number += 1

    def read_batches(self, first: int = 0) -> Iterator[Any]:
        """Yield batches of rows, beginning behind so many rows."""
        with _readable_parquet_errors(self.path):
            for file in self._files:
                count = _count_rows(file) if first or len(self._files) > 1 else 0
                if first and count <= first:
                    first -= count
                    continue
                yield from _batches_behind(file, first)
                first = 0

    def survey_input(self) -> InputInfo:
        with _readable_parquet_errors(self.path):
            rows = sum(map(_count_rows, self._files))
        info = survey_file(self._files[0], lambda _: Counted(rows, rows))
        info.path = str(self.path)
        return info

    def compare_input(self, known: InputInfo) -> Change:
        return compare_file(self._files[0], known)

    def describe_place(self, number: int, offset: int) -> str:
        """Return where a row stands, for a person."""
        del offset
        return f"row {number} of {self.path}"


def _as_json(row: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(row, default=_plain_value, option=_JSON)
    except TypeError:  # a whole number beyond 64 bits
        import json

        return json.dumps(row, default=_plain_value).encode()


def _plain_value(value: Any) -> Any:
    """Return a value that JSON cannot hold in a form that it can."""
    match value:
        case Decimal():
            return str(value)
        case bytes():
            return base64.b64encode(value).decode()
    return str(value)


@contextmanager
def _readable_parquet_errors(path: Path) -> Iterator[None]:
    """Raise a readable UsageError in place of pyarrow's errors."""
    try:
        import pyarrow as pa
    except ImportError:
        raise missing_extra(path, "parquet") from None
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"Cannot read the input {path}: {first.rstrip('.')}. Write the file again.") from error


def _files_of(path: Path) -> list[Path]:
    """Return the files of a data set in order; for a file, the file itself."""
    if not path.is_dir():
        return [path]
    if not (path / HF_STATE).exists():
        splits = sorted(each.name for each in path.iterdir() if (each / HF_STATE).exists())
        if len(splits) != 1:
            raise UsageError(f"{path} holds the splits {', '.join(splits)}: name one, such as {path / splits[0]}")
        path = path / splits[0]
    state = orjson.loads((path / HF_STATE).read_bytes())
    return [path / each["filename"] for each in state["_data_files"]]


def is_data_set(path: Path) -> bool:
    """Whether a directory was written by Hugging Face's `save_to_disk`."""
    return path.is_dir() and ((path / HF_STATE).exists() or (path / "dataset_dict.json").exists())


def _is_parquet(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(4) == b"PAR1"


def _is_stream(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(6) != b"ARROW1"


def _open_parquet(file: Path) -> Any:
    import pyarrow.parquet as pq

    return pq.ParquetFile(file, pre_buffer=False)


def _schema_of(file: Path) -> Any:
    import pyarrow as pa

    if _is_parquet(file):
        return _open_parquet(file).schema_arrow
    with pa.OSFile(str(file)) as source:
        return (pa.ipc.open_stream(source) if _is_stream(file) else pa.ipc.open_file(source)).schema


def _count_rows(file: Path) -> int:
    if _is_parquet(file):
        return int(_open_parquet(file).metadata.num_rows)
    return sum(batch.num_rows for batch in _arrow_batches(file))


def _batches_behind(file: Path, first: int) -> Iterator[Any]:
    """Yield the batches behind so many rows of a file."""
    if not _is_parquet(file):
        found = _arrow_batches(file)
    else:
        opened = _open_parquet(file)
        groups = list(range(opened.num_row_groups))
        while first and groups and opened.metadata.row_group(groups[0]).num_rows <= first:
            first -= opened.metadata.row_group(groups.pop(0)).num_rows
        found = opened.iter_batches(batch_size=_BATCH, row_groups=groups, use_threads=False)
    for batch in found:
        if batch.num_rows <= first:
            first -= batch.num_rows
            continue
        yield batch.slice(first)
        first = 0


def _arrow_batches(file: Path) -> Iterator[Any]:
    import pyarrow as pa

    with pa.OSFile(str(file)) as source:
        if _is_stream(file):
            yield from pa.ipc.open_stream(source)
        else:
            reader = pa.ipc.open_file(source)
            for place in range(reader.num_record_batches):
                yield reader.get_batch(place)
