"""Picks failed rows of a run that is being worked on, to be sent again in the same session.

The files are those that `retrying` reads between two sessions, but here a row that failed twice may still stand in
them twice, so they are read from the end. What is recorded after the order is beyond the place where reading began:
nothing comes twice.
"""

from collections import deque
from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from msgspec import Struct

from arkbatch.core.types import Row
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.retry_run import row_of
from arkbatch.journal.read_backwards import last_failures
from arkbatch.journal.record_format import Retryable
from arkbatch.journal.run_directory import FAILURES


def failed_rows(run: OpenRun, kinds: AbstractSet[str], at_work: AbstractSet[int]) -> Iterator[Row]:
    """The rows that stand failed by one of these kinds now, the last failed first. They are read as they are pulled.

    at_work: rows that are being tried again already
    """
    end = (run.directory / FAILURES).stat().st_size
    standing = _standing(run, end, at_work)
    # Lines that were never sent have no request; they would be read the same again.
    return (row_of(each, each.request.body) for each in standing if each.request and each.error.kind in kinds)


def count_failed(run: OpenRun, kinds: AbstractSet[str]) -> int:
    """How many stand failed so."""
    return sum(tally.rows for tally in run.journal.ledger.failures if tally.kind in kinds)


def _standing(run: OpenRun, end: int, at_work: AbstractSet[int]) -> Iterator[Retryable]:
    """The last line of each row that has failed and that nobody else will send."""
    failed = run.journal.ledger.failed
    for offset, failure in last_failures(run.directory / FAILURES, end):
        if failure.row in failed and failure.row not in at_work and not run.will_send(failure, offset):
            yield failure


class Requeued:
    """The rows that go again in this session, in the order of their requeues.

    left: rows that have not gone; added: rows that this session sends more than it found
    """

    def __init__(self) -> None:
        self._queue: deque[_Requeue] = deque()
        self._at_work: dict[int, str] = {}  # the kind of each one's last failure, by number
        self.added = 0

    def __bool__(self) -> bool:
        return bool(self._queue)

    def __contains__(self, number: int) -> bool:
        return number in self._at_work

    @property
    def left(self) -> int:
        return sum(each.left for each in self._queue)

    @property
    def kinds(self) -> frozenset[str]:
        """Of which rows have still to go."""
        return frozenset[str]().union(*(each.kinds for each in self._queue))

    @property
    def rows(self) -> frozenset[int]:
        """That have gone and have no record yet."""
        return frozenset(self._at_work)

    def count(self, kinds: AbstractSet[str]) -> int:
        """How many of those had failed so."""
        return sum(kind in kinds for kind in self._at_work.values())

    def add(self, rows: Iterator[Row], kinds: frozenset[str], count: int) -> None:
        self._queue.append(_Requeue(kinds, rows, count))
        self.added += count

    def next(self) -> Row | None:
        while self._queue:
            first = self._queue[0]
            row = next(first.rows, None)
            if row is not None:
                self.added += first.left == 0
                first.left = max(first.left - 1, 0)
                self._at_work[row.number] = row.before[-1].kind
                return row
            self.added -= first.left
            self._queue.popleft()
        return None

    def ended(self, number: int) -> None:
        self._at_work.pop(number, None)


class _Requeue(Struct):
    kinds: frozenset[str]
    rows: Iterator[Row]
    left: int
