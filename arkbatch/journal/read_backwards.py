"""Reads the failures of a run from the end, the last line of each row.

A row that failed again has two lines, and only the last one counts. Rows already seen take one bit each. The file may
grow meanwhile; lines behind the starting point are not read.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from arkbatch.core.errors import RunDamaged, RunDirectoryError
from arkbatch.journal.bitmap import Bitmap
from arkbatch.journal.journal import read_lines_back
from arkbatch.journal.record_format import Retryable, decode_retryable


def last_failures(path: Path, end: int) -> Iterator[tuple[int, Retryable]]:
    """Yield the last line of each row before `end`, with its byte offset, the last line first."""
    met = Bitmap()
    for offset, line in _lines_back(path, end):
        failure = _decode_failure(path, offset, line)
        if failure.row not in met:
            met.add(failure.row)
            yield offset, failure


def _lines_back(path: Path, end: int) -> Iterator[tuple[int, bytes]]:
    try:
        yield from read_lines_back(path, end)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunDirectoryError(f"Cannot read {path}: {reason}. Fix that and run the same command again.") from error


def _decode_failure(path: Path, offset: int, line: bytes) -> Retryable:
    try:
        return decode_retryable(line)
    except msgspec.DecodeError as error:
        raise RunDamaged(
            f"{path} holds a line at byte {offset} that arkbatch did not write ({error}). "
            "Take it out, delete ledger.bin beside it, and run the same command again."
        ) from error
