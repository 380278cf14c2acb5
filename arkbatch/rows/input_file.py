"""Reads the input as bytes: compression, lines, and whether a file grew or changed.

It knows nothing of what is in the lines. Numbers count physical lines from 1, so that they agree with an editor; blank
lines are skipped and have no row. Offsets are in the uncompressed text. Reading a plain file begins at an offset; a
compressed file has to be read from its beginning.
"""

import bz2
import gzip
import hashlib
import io
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import IO, Any, BinaryIO

import orjson
from msgspec import Struct

from arkbatch.core.errors import UsageError
from arkbatch.core.input_info import InputInfo, Position

LONGEST_LINE = 64 << 20  # Ark takes request bodies of up to 64 MB
_BUFFER = 1 << 20
BOM = b"\xef\xbb\xbf"
COMPRESSIONS = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "zstd"}


class Counted(Struct, frozen=True):
    """What was counted in a text; `lines` is the number of the last row or physical line.

    ends_open: the last line had no newline, so that growth would change that line
    """

    lines: int
    rows: int
    ends_open: bool = False


class Unreadable(bytes):
    """The bytes of a record that its format cannot read, and the reason."""

    reason: str


class TextCells(bytes):
    """The JSON of a record whose cells are all text, and its columns, which need no second parsing."""

    columns: dict[str, str]


def text_cells(columns: dict[str, str]) -> TextCells:
    """Return the record of these cells. TypeError: a cell holds what is no text."""
    record = TextCells(orjson.dumps(columns))
    record.columns = columns
    return record


def unreadable_record(raw: bytes, reason: str) -> Unreadable:
    record = Unreadable(raw)
    record.reason = reason
    return record


def read_lines(path: Path, start: Position = Position()) -> Iterator[tuple[int, int, bytes]]:  # noqa: B008  it is frozen
    """Yield number, offset and bytes of each line that is not blank, from a position on.

    A line over 64 MB is cut at that length, so that it is not valid JSON. Raises UsageError when the file cannot be
    read.
    """
    with open_input(path) as file:
        number, offset = start.line, start.offset
        go_to_offset(file, path, offset)
        while line := file.readline(LONGEST_LINE):
            size = len(line) + (skip_rest_of_line(file) if len(line) == LONGEST_LINE and line[-1:] != b"\n" else 0)
            number += 1
            if offset == 0:
                line = line.removeprefix(BOM)
            if not line.isspace() and line:
                yield number, offset, line
            offset += size


def go_to_offset(file: BinaryIO, path: Path, offset: int) -> None:
    """Go to an offset; compressed text is read up to it."""
    if compression_of(path) is None:
        file.seek(offset)
        return
    while offset > 0 and (part := file.read(min(offset, _BUFFER))):
        offset -= len(part)


def skip_rest_of_line(file: IO[bytes]) -> int:
    """Read to the end of the line that is being read, and return how many bytes that were."""
    skipped = 0
    while part := file.readline(LONGEST_LINE):
        skipped += len(part)
        if part.endswith(b"\n"):
            break
    return skipped


def compression_of(path: Path) -> str | None:
    """Return how a file is compressed, by its first bytes, else by its ending; None: not at all.

    Plain text is not compressed, whatever its ending is.
    """
    try:
        if path.is_file():
            with path.open("rb") as file:
                begin = file.read(10)
            found = next((name for name, is_it in _BEGINNINGS.items() if is_it(begin)), None)
            if found is not None or not begin or min(begin) >= 9:
                return found
    except OSError:  # whoever reads the file tells why it cannot be read
        pass
    return COMPRESSIONS.get(path.suffix.lower())


_BEGINNINGS: dict[str, Callable[[bytes], bool]] = {
    "gzip": lambda begin: begin[:3] == b"\x1f\x8b\x08",
    "bzip2": lambda begin: begin[:3] == b"BZh" and begin[4:10] in (b"1AY&SY", b"\x17rE8P\x90"),
    "xz": lambda begin: begin[:6] == b"\xfd7zXZ\x00",
    "zstd": lambda begin: begin[:4] == b"\x28\xb5\x2f\xfd",
}


@contextmanager
def open_input(path: Path) -> Iterator[BinaryIO]:
    """Open the uncompressed bytes; UsageError says why a file cannot be read."""
    with readable_file_errors(path), path.open("rb", buffering=_BUFFER) as raw:
        if compression_of(path) is None:
            yield raw
        else:
            with open_uncompressed(path, raw) as text:
                yield io.BufferedReader(text, _BUFFER)


def open_uncompressed(path: Path, raw: IO[bytes]) -> Any:
    """Open a compressed file's text; a truncated file raises EOFError at its end."""
    match compression_of(path):
        case "gzip":
            return gzip.open(raw)
        case "bzip2":
            return bz2.open(raw)
        case "xz":
            return lzma.open(raw)
        case "zstd":
            return _import_zstd(path).open(raw)
    return raw


def _import_zstd(path: Path) -> Any:
    """Return the zstd module of Python 3.14, or its backport for older versions.

    The package `zstandard` is not used: it reads a truncated file without an error, and rows would be missing.
    """
    import importlib

    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise missing_extra(path, "zstd")


def missing_extra(path: Path, extra: str) -> UsageError:
    """Return the error for a file that needs an extra."""
    return UsageError(f"{path.name} needs: pip install 'arkbatch[{extra}]'")


@contextmanager
def readable_file_errors(path: Path) -> Iterator[None]:
    """Turn errors of the file system and of damaged files into UsageError."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
        raise _damaged_file(path, error) from error
    except OSError as error:
        if compression_of(path) and error.errno is None:  # bz2 says so of data that is none
            raise _damaged_file(path, error) from error
        reason = error.strerror or str(error)
        raise UsageError(f"Cannot read the input {path}: {reason}. Check the path and its permissions.") from error
    except Exception as error:
        if type(error).__name__ == "ZstdError":
            raise _damaged_file(path, error) from error
        raise


def _damaged_file(path: Path, error: Exception) -> UsageError:
    kind = compression_of(path) or "compressed"
    return UsageError(f"{path} is a damaged {kind} file ({error}). Compress it again.")


class _Hashing(io.RawIOBase):
    """Hashes everything that passes through, in the large pieces in which it is read."""

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


def survey_file(path: Path, count: "Callable[[IO[bytes]], Counted] | None" = None) -> InputInfo:
    """Read the whole file once, and return its fingerprint, lines and rows.

    It takes about a second per gigabyte.
    count: counts in the uncompressed text, by default lines that are not blank
    """
    with readable_file_errors(path), path.open("rb", buffering=0) as raw:
        stat = os.fstat(raw.fileno())
        hashing = _Hashing(raw)
        stream: IO[bytes] = io.BufferedReader(hashing, _BUFFER)
        text = stream if compression_of(path) is None else open_uncompressed(path, stream)
        counted = (count or _count_lines)(text)
        while stream.read(_BUFFER):  # what the count did not need belongs to the fingerprint
            pass
        return InputInfo(
            path=str(path),
            size=hashing.size,
            mtime_ns=stat.st_mtime_ns,
            sha256=hashing.hash.hexdigest(),
            lines=counted.lines,
            rows=counted.rows,
            ends_open=counted.ends_open,
        )


def _count_lines(stream: IO[bytes]) -> Counted:
    """Count the lines block by block, since one line may be larger than the memory."""
    count, rows, has_text, ends_open = 0, 0, False, False  # has_text: of the line whose end has not come
    block = stream.read(_BUFFER).removeprefix(BOM)
    while block:
        first, *others = block.split(b"\n")
        has_text = has_text or (bool(first) and not first.isspace())
        if others:
            *whole, last = others
            rows += has_text + len([line for line in whole if line and not line.isspace()])
            count += len(others)
            has_text = bool(last) and not last.isspace()
        ends_open = not block.endswith(b"\n")
        block = stream.read(_BUFFER)
    return Counted(count + 1, rows + has_text, ends_open=True) if ends_open else Counted(count, rows)


class Change(Enum):
    SAME = "same"
    GREW = "grew"
    EDITED = "edited"


def compare_file(path: Path, known: InputInfo) -> Change:
    """Return what happened to a file since it was surveyed; same size and time mean no change."""
    with readable_file_errors(path):
        stat = path.stat()
        if (stat.st_size, stat.st_mtime_ns) == (known.size, known.mtime_ns):
            return Change.SAME
        if stat.st_size < known.size or _sha256_of(path, known.size) != known.sha256:
            return Change.EDITED
        if stat.st_size == known.size:
            return Change.SAME
        return Change.EDITED if _last_line_changed(path, known) else Change.GREW


def _sha256_of(path: Path, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while size and (part := file.read(min(size, _BUFFER))):
            digest.update(part)
            size -= len(part)
    return digest.hexdigest()


def _last_line_changed(path: Path, known: InputInfo) -> bool:
    """Whether a file that ended without a newline has grown in its last row."""
    if not known.ends_open or compression_of(path):
        return known.ends_open
    with path.open("rb") as file:
        file.seek(known.size)
        return file.read(2).lstrip(b"\r")[:1] != b"\n"
