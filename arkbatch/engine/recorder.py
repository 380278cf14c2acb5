"""Outcomes on their way into the journal, and which rows still have none.

What ends in one round of the event loop is recorded at the end of that round, with one write, since a write costs as
much as half of all else that is done for a row; nothing is awaited in between, so nothing but the end of the process
can come between paying for an answer and keeping it. It does not know how an outcome came about.
"""

import asyncio
from collections.abc import Callable

from arkbatch.core.errors import ArkbatchError
from arkbatch.core.input_info import Position
from arkbatch.core.types import BadRow, Outcome, Row
from arkbatch.engine.call import OutcomeStore
from arkbatch.engine.requeue import Requeued
from arkbatch.monitor.observer import Observer
from arkbatch.rows.packing import Pack, apart


class OutcomeRecorder:
    """One session's. Made inside a running loop.

    broken: is told once when the journal cannot be written
    recorded: rows; error: why it cannot be written, if that is so
    """

    def __init__(
        self, journal: OutcomeStore, observer: Observer, requeued: Requeued, *, broken: Callable[[], None]
    ) -> None:
        self._journal = journal
        self._observer = observer
        self._requeued = requeued
        self._broken = broken
        self._loop = asyncio.get_running_loop()
        self._open: dict[int, Position] = {}  # rows that were read and have no record
        self._last: Position | None = None
        self._fresh: list[Outcome] = []  # in this round of the loop
        self.recorded = 0
        self.error: ArkbatchError | None = None

    def begins(self, row: Row | BadRow) -> None:
        """It was read from the input, and will have a record or stay undone."""
        for each in row.rows if isinstance(row, Pack) else (row,):
            self._last = self._open[each.number] = Position(each.number - 1, each.offset)

    def resume_at(self, before: Position) -> Position:
        """A place in the input before which every row is recorded: the oldest row in work, or the last one read.

        before: what held when the session began
        """
        self.write_down()
        return next(iter(self._open.values()), self._last or before)

    @property
    def without(self) -> int:
        """Rows that were read and have no outcome so far."""
        return len(self._open) - len(self._fresh)

    def add(self, outcome: Outcome) -> None:
        """At the end of this round of the loop, with all else that ends in it."""
        if not self._fresh:
            self._loop.call_soon(self.write_down)
        if isinstance(outcome.row, Pack):
            self._fresh.extend(apart(outcome))
        else:
            self._fresh.append(outcome)

    def write_down(self) -> None:
        """What ended in this round of the loop."""
        if not self._fresh:
            return
        fresh, self._fresh = self._fresh, []
        try:
            self._journal.record(*fresh)
        except ArkbatchError as error:
            self.error = error
            self._broken()
            return
        self.recorded += len(fresh)
        for outcome in fresh:
            if self._open.pop(outcome.row.number, None) is None:
                self._requeued.ended(outcome.row.number)
            self._observer.recorded(outcome)
