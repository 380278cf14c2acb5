"""Rows whose calls a session abandoned: what they have spent so far, and where they stand in the input."""

from collections.abc import Set as AbstractSet
from itertools import islice
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from arkbatch.core.input_info import Position
from arkbatch.core.json_numbers import loads_as_written
from arkbatch.core.row import SENT_AGAIN, BadRow, Before, Row
from arkbatch.journal.record_format import before_of, decode_retryable
from arkbatch.journal.record_reader import last_failures, read_lines
from arkbatch.journal.run_directory import FAILURES, RunDirectory

R = TypeVar("R", Row, BadRow, Row | BadRow)


class InterruptedRow(Struct, frozen=True):
    """Where the line of such a row begins in the input, and what the row has spent.

    record: the byte at which its failure line begins
    """

    place: Position
    before: tuple[Before, ...]
    record: int

    @property
    def was_given_back(self) -> bool:
        """Whether a retry gave the row back to the run; then it is sent as its record says."""
        return any(earlier.code == SENT_AGAIN for earlier in self.before)


class InterruptedRows:
    """The interrupted rows of a run, read from their failure lines.

    There are no more of them than calls were in flight when a session ended.
    """

    def __init__(self, directory: RunDirectory, numbers: AbstractSet[int]) -> None:
        self._failures = directory / FAILURES
        end = self._failures.stat().st_size if numbers else 0
        kept = ((offset, line) for offset, line in last_failures(self._failures, end) if line.row in numbers)
        self._rows = {
            line.row: InterruptedRow(Position(line.row - 1, line.offset), before_of(line), offset)
            for offset, line in islice(kept, len(numbers))
        }

    def first_place(self, resume_at: Position) -> Position:
        """The place in the input before which no row is left, if all others before `resume_at` have ended."""
        return min((resume_at, *(each.place for each in self._rows.values())), key=lambda place: place.line)

    def with_past(self, row: R) -> R:
        """The row with what it has spent, if it was interrupted.

        A row that a retry gave back is sent as the retry wanted it, unless its line was edited since.
        """
        found = self._rows.get(row.number)
        if found is None:
            return row
        known = replace(row, before=found.before)
        return self._as_recorded(known, found.record) if found.was_given_back and isinstance(known, Row) else known

    def _as_recorded(self, row: Row, place: int) -> Row:
        """The row with the request of its failure line, which begins at this byte."""
        _, line = next(read_lines(self._failures, place))
        failure = decode_retryable(line)
        if failure.request is None or failure.digest != row.digest:
            return row
        body = loads_as_written(bytes(failure.request.body))
        return replace(row, endpoint=failure.endpoint, body=body)
