"""One process: workers pull rows from one iterator, call, and hand outcomes to the journal.

`work_off` runs a slice of rows against a limiter and a journal, and every other engine is to call it. Reading is
back-pressured by being pulled; a row that waits for its retry keeps its worker. Memory depends on the number of
workers and never on the number of rows.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from enum import StrEnum
from typing import Any

from arkbatch.core.errors import ArkbatchError
from arkbatch.core.input_info import Position
from arkbatch.core.speed import Speeds
from arkbatch.core.stats import Histogram
from arkbatch.core.types import BadRow, CallResult, Cause, Failure, Kind, Row
from arkbatch.engine.attempt_log import AttemptLog
from arkbatch.engine.call import CallRunner, Dependencies
from arkbatch.engine.cost_limit import CostLimit
from arkbatch.engine.hedging import CallTask, HedgedCallRunner
from arkbatch.engine.recorder import OutcomeRecorder
from arkbatch.engine.refusals import Refusals
from arkbatch.engine.requeue import Requeued
from arkbatch.engine.row_runner import RowRunner

_MOST_AHEAD = 256  # rows beyond one a worker, that are sent to find out whether the service is away
_AT_HAND = 4  # of these in line at a time


class Ending(StrEnum):
    """How a session ended."""

    FINISHED = "finished"
    HALTED = "halted"
    STOPPED = "stopped"


class WorkerPool:
    """One session over one iterator of rows.

    halt: why no row can work, after a halt
    requeued: failed rows that go again in this session
    hedging: makes second calls, None when none are wanted
    """

    def __init__(self, rows: Iterator[Row | BadRow], tools: Dependencies) -> None:
        self._rows = rows
        self._tools = tools
        calls = CallRunner(tools)
        self.hedging = HedgedCallRunner(calls, tools, self._spawn) if tools.hedge else None
        self.requeued = Requeued()
        self._recording = OutcomeRecorder(tools.journal, tools.observer, self.requeued, broken=self._end_workers)
        self._group: asyncio.TaskGroup | None = None
        self._workers: set[asyncio.Task[None]] = set()
        self._ahead: dict[asyncio.Task[None], AttemptLog] = {}  # rows beyond one a worker
        self._stopping = asyncio.Event()
        self._refusals = Refusals(self._recording, self.requeued)
        self._outcomes = RowRunner(
            tools,
            calls,
            self.hedging,
            self._recording,
            self._refusals,
            stopping=self._stopping,
            halted=self._halt,
            doubted=self._send_ahead,
        )
        self.halt: Cause | None = None

    async def work_off(self, workers: int) -> Ending:
        """Until the rows are used up, or a stop or a halt. ArkbatchError: the journal cannot be written."""
        try:
            async with asyncio.TaskGroup() as self._group:
                self.grow(workers)
        except* ArkbatchError as errors:
            raise errors.exceptions[0] from None
        finally:
            self._outcomes.keep_bills()
            self.write_down()
        if self.halt is None:
            self._refusals.record()
            self.write_down()
        if self._recording.error is not None:
            raise self._recording.error
        if self.halt is not None:
            return Ending.HALTED
        return Ending.STOPPED if self._stopping.is_set() else Ending.FINISHED

    def grow(self, workers: int) -> None:
        """Have so many workers at least; those beyond the limiter's concurrency only wait."""
        assert self._group is not None
        at_work = sum(not worker.done() for worker in self._workers)  # one that just ended takes no more rows
        for _ in range(workers - at_work):
            worker = self._group.create_task(self._worker())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    def _send_ahead(self) -> None:
        """The rows that failed may all be at fault, and not the service: put some in line that never did."""
        at_hand = sum(not history.sent for history in self._ahead.values())
        if at_hand >= _AT_HAND or len(self._ahead) >= _MOST_AHEAD:
            return
        if self._stopping.is_set() or self._refusals.doubtful:
            return
        assert self._group is not None
        history = AttemptLog()
        task = self._group.create_task(self._go_ahead(history))
        self._ahead[task] = history
        task.add_done_callback(self._ahead.pop)

    async def _go_ahead(self, history: AttemptLog) -> None:
        """All workers may have ended, or wait to be told by the last: what is left to do then is done here.

        The row is read here too. Who asked for it has a reply to record, and that is not to depend on the input.
        """
        await self._take(history)
        while not self._stopping.is_set() and await self._see_to_rest():
            pass

    def _spawn(self, sending: Coroutine[Any, Any, CallResult | None]) -> CallTask:
        assert self._group is not None
        return self._group.create_task(sending)

    def requeue(self, rows: Iterator[Row], kinds: frozenset[str], count: int, workers: int) -> None:
        """Send these failed rows again, before those that were not sent yet: some `count`, failed as these `kinds`."""
        self.requeued.add(rows, kinds, count)
        self.grow(workers)  # some may have ended for want of rows

    @property
    def is_over(self) -> bool:
        """It only waits for what is under way, or has ended."""
        return self._stopping.is_set() or not (self._workers or self._ahead)

    def stop(self) -> None:
        """Let the calls in flight finish and send no more; rows that wait stay undone."""
        self._stopping.set()
        self._refusals.ends()
        self._tools.limiter.close()
        if self._tools.spending is not None:
            self._tools.spending.close()

    @property
    def spending(self) -> CostLimit | None:
        """What keeps the budget, None when there is none."""
        return self._tools.spending

    @property
    def seconds_away(self) -> float:
        """How long the service was away in this session."""
        return self._tools.limiter.circuit_breaker.seconds(asyncio.get_running_loop().time())

    @property
    def in_flight(self) -> int:
        """Calls of the service, and rows whose tools are at work."""
        talk = self._tools.talk
        return self._tools.limiter.in_flight + (talk.at_work if talk is not None else 0)

    def resume_at(self, before: Position) -> Position:
        """As `OutcomeRecorder.resume_at`."""
        return self._recording.resume_at(before)

    @property
    def retried(self) -> int:
        """Calls made again in this session."""
        return self._outcomes.retried

    @property
    def latency(self) -> Histogram:
        """Of the calls that gave an answer."""
        return self._outcomes.latency

    @property
    def speeds(self) -> Speeds:
        """Of those that were streamed."""
        return self._outcomes.speeds

    @property
    def recorded(self) -> int:
        """Rows that this session recorded."""
        return self._recording.recorded

    def write_down(self) -> None:
        """What is on its way into the journal."""
        self._recording.write_down()

    async def _worker(self) -> None:
        while not self._stopping.is_set():
            if not await self._see_to_rest() and not await self._take(AttemptLog()):
                return

    async def _see_to_rest(self) -> bool:
        """What has to be done before another row is begun. False: there is nothing."""
        halves = self._outcomes.halves
        if halves:
            await self._outcomes.bring(*halves.popleft())
        elif self._refusals.doubtful:
            await self._doubt()
        else:
            return False
        return True

    async def _take(self, history: AttemptLog) -> bool:
        """See the next row through. False: there is none."""
        row = self._next()
        if isinstance(row, BadRow):
            self._recording.add(Failure(row, Cause(Kind.BAD_ROW, "", row.reason)))
        elif row is not None:
            await self._outcomes.bring(row, history)
        return row is not None

    def _next(self) -> Row | BadRow | None:
        """A failed row that goes again, or the next of the input. Only that one moves the place to resume at."""
        if self.requeued and (again := self.requeued.next()) is not None:
            return again
        row = next(self._rows, None)
        if row is not None:
            self._recording.begins(row)
        return row

    def give_up(self, cause: Cause) -> None:
        """End the session as one that cannot go on; rows without a record stay undone."""
        self._halt(cause)

    async def _doubt(self) -> None:
        """All was refused so far."""
        cause = self._refusals.judged()
        if cause is not None:
            self._halt(cause)
        await self._refusals.known()

    def _halt(self, cause: Cause) -> None:
        if self.halt is None:
            self.halt = cause
            self._tools.observer.halted(cause)
        self.stop()

    def _end_workers(self) -> None:
        for worker in (*self._workers, *self._ahead):
            worker.cancel()
