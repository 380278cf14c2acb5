"""The input file: bytes become numbered lines, and a file that changed is told from one that grew.

Knows gzip, byte order marks and where lines begin, and nothing of what is in them (`core.rows`). Numbers count
physical lines from 1, so that they agree with an editor; blank lines are passed over and have no row. Offsets are
in the uncompressed text. A plain file is entered at an offset; a gzip file has to be read from its beginning.
"""

import gzip
import hashlib
import io
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import IO, BinaryIO

from arkbatch.core.disk_errors import disk
from arkbatch.core.errors import UsageError
from arkbatch.core.input_info import InputInfo, Position

LONGEST_LINE = 64 << 20  # Ark takes request bodies of up to 64 MB
_BUFFER = 1 << 20
_BOM = b"\xef\xbb\xbf"


def lines(path: Path, start: Position = Position()) -> Iterator[tuple[int, int, bytes]]:  # noqa: B008  it is frozen
    """Number, offset and bytes of each line that is not blank, from a position on.

    A line over 64 MB comes cut off at that length, which no JSON survives. UsageError: the file cannot be read.
    """
    with open_input(path) as file:
        number, offset = _enter(file, path, start)
        while line := file.readline(LONGEST_LINE):
            size = len(line) + (_skip_rest(file) if len(line) == LONGEST_LINE and line[-1:] != b"\n" else 0)
            number += 1
            if offset == 0:
                line = line.removeprefix(_BOM)
            if not line.isspace() and line:
                yield number, offset, line
            offset += size


def _enter(file: BinaryIO, path: Path, start: Position) -> tuple[int, int]:
    if start.offset and is_gzip(path):
        for _ in range(start.line):
            while (part := file.readline(LONGEST_LINE)) and part[-1:] != b"\n":
                pass
    else:
        file.seek(start.offset)
    return start.line, start.offset


def _skip_rest(file: BinaryIO) -> int:
    skipped = 0
    while part := file.readline(LONGEST_LINE):
        skipped += len(part)
        if part.endswith(b"\n"):
            break
    return skipped


def is_gzip(path: Path) -> bool:
    return path.suffix == ".gz"


@contextmanager
def open_input(path: Path) -> Iterator[BinaryIO]:
    """The uncompressed bytes. UsageError says why a file cannot be read."""
    with reading(path), path.open("rb", buffering=_BUFFER) as raw:
        if is_gzip(path):
            with gzip.open(raw) as text:
                yield io.BufferedReader(text, _BUFFER)
        else:
            yield raw


@contextmanager
def reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UsageError(f"{path} is a damaged gzip file ({error}). Compress it again.") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"Cannot read the input {path}: {reason}. Check the path and its permissions.") from error


class _Hashing(io.RawIOBase):
    """Feeds what passes through to a hash, in the large pieces in which it is read."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self.hash = hashlib.sha256()
        self.size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = self._raw.readinto(buffer)  # type: ignore[attr-defined]
        self.hash.update(buffer[:count])
        self.size += count
        return int(count)


def survey(path: Path) -> InputInfo:
    """Read the whole file once: its fingerprint, and how many lines and rows it has. About a second per gigabyte."""
    with reading(path), path.open("rb", buffering=0) as raw:
        stat = os.fstat(raw.fileno())
        hashing = _Hashing(raw)
        stream: IO[bytes] = io.BufferedReader(hashing, _BUFFER)
        last, count, rows = b"\n", 0, 0
        for last in gzip.open(stream) if is_gzip(path) else stream:
            text = last if count else last.removeprefix(_BOM)
            rows += bool(text) and not text.isspace()
            count += 1
        return InputInfo(
            path=str(path),
            size=hashing.size,
            mtime_ns=stat.st_mtime_ns,
            sha256=hashing.hash.hexdigest(),
            lines=count,
            rows=rows,
            ends_open=not last.endswith(b"\n"),
        )


class Change(Enum):
    SAME = "same"
    GREW = "grew"
    EDITED = "edited"


def compare(path: Path, known: InputInfo) -> Change:
    """What happened to a file since it was surveyed. One with the same size and time is not read again."""
    with reading(path):
        stat = path.stat()
        if (stat.st_size, stat.st_mtime_ns) == (known.size, known.mtime_ns):
            return Change.SAME
        if stat.st_size < known.size or _sha256(path, known.size) != known.sha256:
            return Change.EDITED
        if stat.st_size == known.size:
            return Change.SAME
        return Change.EDITED if _last_line_changed(path, known) else Change.GREW


def _sha256(path: Path, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while size and (part := file.read(min(size, _BUFFER))):
            digest.update(part)
            size -= len(part)
    return digest.hexdigest()


def _last_line_changed(path: Path, known: InputInfo) -> bool:
    """A file that ended without a newline may have grown in its last row."""
    if not known.ends_open or is_gzip(path):
        return known.ends_open
    with path.open("rb") as file:
        file.seek(known.size)
        return file.read(2).lstrip(b"\r")[:1] != b"\n"


def spool(stream: IO[bytes], target: Path) -> None:
    """Copy standard input to a file, so that a run that began from it can be resumed."""
    with disk(target):
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            shutil.copyfileobj(stream, file, _BUFFER)
            file.flush()
            os.fsync(file.fileno())
