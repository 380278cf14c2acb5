"""Groups numbers by a 64-bit key: spread over temporary files, then read file by file.

A dictionary of ten million keys takes a gigabyte; here a 128th of them is in memory at a time, and the disk
holds the rest at eight bytes a number. Used to find the same row, or the same `custom_id`, in large inputs. A temporary
table of sqlite3 takes three times the processor time (3.0 instead of 1.0 s for a million pairs), and cannot be put into
a chosen directory without leaving its file there after a kill.
"""

import struct
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Self

from arkbatch.core.disk_errors import explain_disk_errors

_FILES = 128  # well under the 256 open files that some systems allow


def digest_key(text: str) -> int:
    """Return 64 bits of a text. Among ten million texts, two share them in one of 300,000 inputs."""
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


class Partitions:
    """Tuples of `width` unsigned 64-bit numbers, the first of which is the key.

    A context manager. Its files have no name, so they are gone when it is left, also after a kill.
    """

    def __init__(self, width: int, folder: Path | None = None) -> None:
        self._form = struct.Struct(f"<{width}Q")
        self._folder = folder
        self._place = folder or Path(tempfile.gettempdir())
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with explain_disk_errors(self._place):
            self._files = [self._stack.enter_context(tempfile.TemporaryFile(dir=self._folder)) for _ in range(_FILES)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(self, *numbers: int) -> None:
        try:
            self._files[numbers[0] % _FILES].write(self._form.pack(*numbers))
        except OSError:
            with explain_disk_errors(self._place):
                raise

    def groups_by_key(self) -> Iterator[Iterator[tuple[int, ...]]]:
        """Tuples with the same key come in the same group, in the order in which they were added.

        Each group can be gone through once; it is read in parts, since all rows may have the same key.
        """
        for file in self._files:
            file.seek(0)
            parts = iter(partial(file.read, self._form.size << 12), b"")
            yield chain.from_iterable(map(self._form.iter_unpack, parts))
