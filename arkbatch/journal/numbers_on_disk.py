"""One number for each row in a file: eight bytes a row.

The file has no name and is mapped, so that ten million rows take 80 MB of disk. Pages are given back now and then,
since a mapped page counts as memory of the process although the system may take it back at any time.
"""

import mmap
import tempfile

_FIRST_SIZE = 1 << 20  # bytes
_GIVEN_BACK_EVERY = 1 << 17  # rows


class NumbersOnDisk:
    """A number for each row, 0 where none was put. Close it when it is not needed any more."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()
        self._file.truncate(_FIRST_SIZE)
        self._numbers = mmap.mmap(self._file.fileno(), _FIRST_SIZE)
        self._uses = 0

    def put(self, row: int, number: int) -> None:
        begin = 8 * row
        if begin + 8 > len(self._numbers):
            size = max(2 * len(self._numbers), begin + _FIRST_SIZE)
            self._numbers.close()
            self._file.truncate(size)
            self._numbers = mmap.mmap(self._file.fileno(), size)
        self._numbers[begin : begin + 8] = number.to_bytes(8, "little")
        self._count_use()

    def get(self, row: int) -> int:
        begin = 8 * row
        if begin + 8 > len(self._numbers):
            return 0
        self._count_use()
        return int.from_bytes(self._numbers[begin : begin + 8], "little")

    def _count_use(self) -> None:
        self._uses += 1
        if self._uses % _GIVEN_BACK_EVERY == 0 and hasattr(mmap, "MADV_DONTNEED"):
            self._numbers.madvise(mmap.MADV_DONTNEED)

    def close(self) -> None:
        self._numbers.close()
        self._file.close()
