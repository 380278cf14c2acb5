"""Reads the failures of a run from the end: a row that failed again stands there twice, and only its last line counts.

A row that was met is passed over, which takes one bit a row. The file may grow meanwhile: what is written behind the
place where reading began is not met.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from arkbatch.core.errors import RunDamaged, RunDirectoryError
from arkbatch.journal.bitmap import Bitmap
from arkbatch.journal.journal import read_lines_back
from arkbatch.journal.record_format import Retryable, decode_retryable


def last_failures(path: Path, end: int) -> Iterator[tuple[int, Retryable]]:
    """Of each row the last line before `end`, and the byte where that begins; the last line first."""
    met = Bitmap()
    for offset, line in _lines_back(path, end):
        failure = _decoded(path, offset, line)
        if failure.row not in met:
            met.add(failure.row)
            yield offset, failure


def _lines_back(path: Path, end: int) -> Iterator[tuple[int, bytes]]:
    try:
        yield from read_lines_back(path, end)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunDirectoryError(f"Cannot read {path}: {reason}. Fix that and run the same command again.") from error


def _decoded(path: Path, offset: int, line: bytes) -> Retryable:
    try:
        return decode_retryable(line)
    except msgspec.DecodeError as error:
        raise RunDamaged(
            f"{path} holds a line at byte {offset} that arkbatch did not write ({error}). "
            "Take it out, delete ledger.bin beside it, and run the same command again."
        ) from error
