"""An index of the records of one file by row, on disk."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from arkbatch.journal.numbers_on_disk import NumbersOnDisk
from arkbatch.journal.record_format import decode_located
from arkbatch.journal.record_reader import decode_line, read_lines

_RECORD_BUFFER = 8192  # bytes: each seek discards a buffer, so that a larger one reads more than is needed


class RecordIndex:
    """The records of one file, by row. A context manager; made once, and then read in any order.

    Of several records of a row the last counts. `last_row` is the highest number that has one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places = NumbersOnDisk()  # one more than the offset, since 0 stands for none
        self.last_row = self.count = 0

    def __enter__(self) -> Self:
        try:
            self._read_places()
        except BaseException:
            self._places.close()
            raise
        self._records = self._path.open("rb", buffering=_RECORD_BUFFER) if self._path.exists() else None
        return self

    def _read_places(self) -> None:
        for place, line in read_lines(self._path):
            row = decode_line(self._path, place, line, decode_located).row
            self._places.put(row, place + 1)
            self.last_row = max(self.last_row, row)
            self.count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._places.close()
        if self._records is not None:
            self._records.close()

    def line_of(self, row: int) -> bytes | None:
        """Return the record of a row, None if it has none in this file."""
        place = self._places.get(row) if self._records is not None else 0
        if self._records is None or not place:
            return None
        self._records.seek(place - 1)
        return self._records.readline()

    def lines_in_order(self) -> Iterator[bytes]:
        """Yield all records that count, in the order of rows."""
        for row in range(1, self.last_row + 1):
            if (line := self.line_of(row)) is not None:
                yield line
