"""Reads the lines of `results.jsonl` and `failures.jsonl`: from an offset on, or from the end.

A line without its newline does not exist yet, so that the files may be read while a session writes to them.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from arkbatch.core.errors import RunDamaged, RunDirectoryError
from arkbatch.journal.bitmap import Bitmap
from arkbatch.journal.record_format import Entry, Retryable, decode_retryable

_BUFFER = 1 << 20
E = TypeVar("E", bound=Entry)
L = TypeVar("L")


def read_entries(path: Path, start: int, decode: Callable[[bytes], E]) -> Iterator[E]:
    """Yield the whole lines from a byte offset on; a line without newline does not exist yet."""
    for offset, line in read_lines(path, start):
        yield decode_line(path, offset, line, decode)


def decode_line(path: Path, offset: int, line: bytes, decode: Callable[[bytes], L]) -> L:
    """Decode a line; RunDamaged when arkbatch did not write it."""
    try:
        return decode(line)
    except RunDamaged as error:
        raise RunDamaged(
            f"{path} holds a line at byte {offset} that arkbatch did not write ({error.__cause__}). "
            "Take it out, delete ledger.bin beside it, and run the same command again."
        ) from error


def read_lines(path: Path, start: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield byte offset and bytes of each whole line that begins before `end`."""
    if not path.exists():
        return
    with path.open("rb", buffering=_BUFFER) as file:
        file.seek(start)
        offset = start
        for line in file:
            if not line.endswith(b"\n") or (end is not None and offset >= end):
                return
            yield offset, line
            offset += len(line)


def read_lines_back(path: Path, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield byte offset and bytes of each line before `end`, the last line first."""
    with path.open("rb") as file:
        place, offset = end, end + 1
        rest: list[bytes] = []  # of a line whose beginning was not read yet, its end first
        while place:
            begin = max(0, place - _BUFFER)
            file.seek(begin)
            first, *more = file.read(place - begin).split(b"\n")
            place = begin
            for part in reversed(more):
                line = b"".join([part, *reversed(rest)])
                rest.clear()
                offset -= len(line) + 1
                if line:  # else it is what stands behind the last newline
                    yield offset, line
            rest.append(first)
        if first_line := b"".join(reversed(rest)):
            yield 0, first_line


def end_of_lines(path: Path) -> int:
    """Return the offset after the last newline."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            begin = max(0, end - _BUFFER)
            file.seek(begin)
            found = file.read(end - begin).rfind(b"\n")
            if found >= 0:
                return begin + found + 1
            end = begin
    return 0


def last_failures(path: Path, end: int) -> Iterator[tuple[int, Retryable]]:
    """Yield the last line of each row before `end`, with its byte offset, the last line first.

    A row that failed again has two lines, and only the last one counts. Rows already seen take one bit each.
    """
    seen = Bitmap()
    try:
        for offset, line in read_lines_back(path, end):
            failure = decode_line(path, offset, line, decode_retryable)
            if failure.row not in seen:
                seen.add(failure.row)
                yield offset, failure
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunDirectoryError(f"Cannot read {path}: {reason}. Fix that and run the same command again.") from error
