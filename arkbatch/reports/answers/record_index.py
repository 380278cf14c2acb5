"""Where the record of each row stands in a file of records: eight bytes a row, in a file and not in memory.

The file has no name and is mapped, so that ten million rows take 80 MB of disk. Pages are given back now and then,
since a mapped page counts as memory of the process although the system may take it back at any time.
"""

import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from arkbatch.journal.journal import decoded, read_lines
from arkbatch.journal.record_format import decode_located

_FIRST_SIZE = 1 << 20  # bytes
_GIVEN_BACK_EVERY = 1 << 17  # rows
_RECORD_BUFFER = 8192  # bytes: each seek throws a buffer away, so that a larger one reads more than is needed


class RecordIndex:
    """The records of one file, by row. A context manager; made once, and then read in any order.

    Of several records of a row the last counts. `last_row` is the highest number that has one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = tempfile.TemporaryFile()
        self._file.truncate(_FIRST_SIZE)
        self._places = mmap.mmap(self._file.fileno(), _FIRST_SIZE)
        self.last_row = self.count = 0

    def __enter__(self) -> Self:
        try:
            for place, line in read_lines(self._path):
                self._put(decoded(self._path, place, line, decode_located).row, place + 1)
        except BaseException:
            self._places.close()
            self._file.close()
            raise
        self._records = self._path.open("rb", buffering=_RECORD_BUFFER) if self._path.exists() else None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._places.close()
        self._file.close()
        if self._records is not None:
            self._records.close()

    def _put(self, row: int, value: int) -> None:
        begin = 8 * row
        if begin + 8 > len(self._places):
            size = max(2 * len(self._places), begin + _FIRST_SIZE)
            self._places.close()
            self._file.truncate(size)
            self._places = mmap.mmap(self._file.fileno(), size)
        self._places[begin : begin + 8] = value.to_bytes(8, "little")
        self.last_row = max(self.last_row, row)
        self.count += 1
        if self.count % _GIVEN_BACK_EVERY == 0:
            self._give_back()

    def _give_back(self) -> None:
        if hasattr(mmap, "MADV_DONTNEED"):
            self._places.madvise(mmap.MADV_DONTNEED)

    def line_of(self, row: int) -> bytes | None:
        """The record of a row; None: it has none in this file."""
        begin = 8 * row
        if self._records is None or begin + 8 > len(self._places):
            return None
        if row % _GIVEN_BACK_EVERY == 0:
            self._give_back()
        place = int.from_bytes(self._places[begin : begin + 8], "little")
        if not place:
            return None
        self._records.seek(place - 1)
        return self._records.readline()

    def lines(self) -> Iterator[bytes]:
        """All records that count, in the order of rows."""
        for row in range(1, self.last_row + 1):
            if (line := self.line_of(row)) is not None:
                yield line
