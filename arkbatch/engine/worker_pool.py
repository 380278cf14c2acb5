"""Works off an iterator of rows against a limiter and a journal.

`WorkerPool.work_off` is the one function that works off rows. A session calls it for a run, and a worker of a cluster
calls it for one shard: the rows are pulled from the iterator, the limiter and the journal come in by `Dependencies`.
Workers pull the rows, so that reading is slowed down by sending. Some rows may wait for their retry without a worker;
beyond these a row that waits keeps its worker. Memory depends on these two numbers and never on the number of rows.

Results come up as return values: a worker runs a row, and records how it ended. Code between two awaits is atomic.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from enum import StrEnum
from typing import Any, assert_never

from arkbatch.core.calls import CallResult, Cause, Kind
from arkbatch.core.errors import ArkbatchError
from arkbatch.core.outcomes import Failure, Success
from arkbatch.core.row import BadRow, Row
from arkbatch.engine import ticker
from arkbatch.engine.attempt_log import AttemptLog
from arkbatch.engine.call import CallRunner, Dependencies
from arkbatch.engine.fail_fast import FailFast
from arkbatch.engine.hedging import CallTask, HedgedCallRunner
from arkbatch.engine.recorder import OutcomeRecorder
from arkbatch.engine.row_runner import (
    PendingRow,
    RowEnd,
    RowRefused,
    RowRunner,
    RowSplit,
    RowStopped,
    RowWaits,
    RunHalted,
    bill_of,
)
from arkbatch.engine.run_beside import first_error
from arkbatch.rows.packing import split_failure

_MOST_WAITING, _LARGEST_WAITING = 1000, 1 << 16  # rows that wait for their retry without a worker; characters of each
_LONGEST_HELD = 0.5  # s; a row that waits no longer for its retry keeps its worker
_EARLY = 0.001  # s; a timer may fire a little before its time, and must not be set anew for the rest
_MOST_PROBES = 256  # rows beyond one a worker, that are sent to find out whether the service is away
_PROBES_IN_LINE = 4  # of these that wait for a permit at a time


class Ending(StrEnum):
    """How a session ended."""

    FINISHED = "finished"
    HALTED = "halted"
    STOPPED = "stopped"


class WorkerPool:
    """The workers of one session over one iterator of rows. Made inside a running loop.

    halt_cause: why no row can be sent, after a halt
    runner: runs each row, and counts; recorder: records how each one ended
    hedging: makes second calls, None when none are wanted
    rows_used_up: called when no row is left to read, once for each worker
    """

    def __init__(
        self,
        rows: Iterator[Row | BadRow],
        dependencies: Dependencies,
        rows_used_up: Callable[[], None] = lambda: None,
    ) -> None:
        self._rows = rows
        self._rows_used_up = rows_used_up
        self._limiter = dependencies.limiter
        self._cost_limit = dependencies.cost_limit
        self._observer = dependencies.observer
        self._stopping = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._workers: set[asyncio.Task[None]] = set()
        self._probes: dict[asyncio.Task[None], AttemptLog] = {}
        self._parts: deque[PendingRow] = deque()  # of packs that failed as a whole
        self._waiting: list[tuple[float, int, PendingRow]] = []  # a heap: when each row is due, and its number
        self._sleeping = 0  # workers that wait for one of these
        self._time = asyncio.get_running_loop().time
        self._fail_fast = FailFast()
        calls = CallRunner(dependencies)
        self.hedging = HedgedCallRunner(calls, dependencies, self._spawn_call) if dependencies.hedge else None
        self.recorder = OutcomeRecorder(dependencies.journal, dependencies.observer)
        self.runner = RowRunner(dependencies, calls, self.hedging, self._stopping)
        self.halt_cause: Cause | None = None

    async def work_off(self, workers: int) -> Ending:
        """Run every row, with so many workers, until the rows are used up, or a stop or a halt.

        Each row that was pulled has been handed to the journal at the end, or stays undone. What undone rows were
        billed is in the journal too, also when this is cancelled. ArkbatchError: the rows cannot be read, or the
        journal cannot be written.
        """
        try:
            async with asyncio.TaskGroup() as around:
                writing = around.create_task(self.recorder.keep_writing())
                async with asyncio.TaskGroup() as self._group:
                    self.grow_workers(workers)
                writing.cancel()
        except* ArkbatchError as errors:
            raise first_error(errors) from None
        finally:
            for part in [*self._parts, *(pending for _, _, pending in self._waiting)]:
                self._keep_bill(bill_of(part))
            self.recorder.write()
        if self.halt_cause is None:
            self._record_all(self._fail_fast.release_held())
            self.recorder.write()
            return Ending.STOPPED if self._stopping.is_set() else Ending.FINISHED
        return Ending.HALTED

    def grow_workers(self, workers: int) -> None:
        """Have so many workers at least. Those beyond the limiter's concurrency only wait."""
        assert self._group is not None
        at_work = sum(not worker.done() for worker in self._workers)  # one that just ended takes no more rows
        for _ in range(workers - at_work):
            worker = self._group.create_task(self._run_worker())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    @property
    def is_over(self) -> bool:
        """It only waits for the calls in flight, or has ended."""
        return self._stopping.is_set() or not (self._workers or self._probes)

    def stop(self) -> None:
        """Let the calls in flight finish and send no more. Rows that wait stay undone."""
        self._stopping.set()
        self._fail_fast.end_waiting()
        self._limiter.close()
        if self._cost_limit is not None:
            self._cost_limit.close()

    def halt(self, cause: Cause) -> None:
        """Stop as a session that cannot go on until someone acts."""
        if self.halt_cause is None:
            self.halt_cause = cause
            self._observer.halted(cause)
        self.stop()

    def tick(self, now: float) -> float:
        """Give up on a service that has been away for too long, and probe one that may be there."""
        breaker = self._limiter.circuit_breaker
        if not breaker.is_away:
            return float("inf")
        if (cause := breaker.given_up(now)) is not None:
            self.halt(cause)
        elif breaker.doubts_rows:
            self._send_probes()
        return ticker.TICK_SECONDS

    # ---- the workers

    async def _run_worker(self) -> None:
        while not self._stopping.is_set():
            if (self._parts or self._waiting or self._fail_fast.is_doubtful) and await self._do_what_is_left():
                continue
            if await self._run_next(AttemptLog()):
                continue
            if self._sleeping >= len(self._waiting):
                return
            await self._sleep_until_due()

    async def _sleep_until_due(self) -> None:
        """Wait for the first of the rows that wait, or for the end of the session."""
        self._sleeping += 1
        await self.runner.is_stopped_within(self._waiting[0][0] - self._time())
        self._sleeping -= 1

    async def _do_what_is_left(self) -> bool:
        """Do what comes before another row is read. False: there is nothing."""
        if self._parts:
            await self._run_row(self._parts.popleft())
        elif self._waiting and self._waiting[0][0] <= self._time() + _EARLY:
            await self._run_row(heapq.heappop(self._waiting)[2])
        elif self._fail_fast.is_doubtful and self._waiting:  # these are still to be tried, and by nobody else
            await self._sleep_until_due()
        elif self._fail_fast.is_doubtful:
            # The last worker to ask knows that no call in flight ended better.
            if (cause := self._fail_fast.cause_to_halt(self.recorder.in_work)) is not None:
                self.halt(cause)
            await self._fail_fast.wait_until_clear()
        else:
            return False
        return True

    async def _run_next(self, log: AttemptLog) -> bool:
        """Read the next row and run it. False: there is none."""
        row = next(self._rows, None)
        if row is None:
            self._limiter.circuit_breaker.note_last_row(self._time())
            self._rows_used_up()
            return False
        self.recorder.begin(row)
        if isinstance(row, BadRow):
            self.recorder.add(Failure(row, Cause(Kind.BAD_ROW, "", row.reason)))
            await asyncio.sleep(0)  # Let it be written: a million bad rows must not wait in memory.
        else:
            await self._run_row(PendingRow(row, log))
        return True

    async def _run_row(self, pending: PendingRow) -> None:
        try:
            while isinstance(end := await self.runner.run(pending), RowWaits) and not self._set_aside(end):
                if await self.runner.is_stopped_within(end.seconds):
                    end = RowStopped(bill_of(pending))
                    break
        except asyncio.CancelledError:
            pending.cause = None  # what failed before is not why it ends now
            self._keep_bill(bill_of(pending))
            raise
        self._record_end(end)

    def _set_aside(self, waits: RowWaits) -> bool:
        """Let a row wait without its worker. False: it waits briefly, is large, or no worker is left to run it.

        A row that was billed keeps its worker: where all rows are billed for nothing, few are to be sent.
        """
        row, prepared = waits.pending.row, waits.pending.prepared
        assert prepared is not None
        is_large = prepared.size.parts > 0 or prepared.size.narrow + prepared.size.wide > _LARGEST_WAITING
        if waits.seconds <= _LONGEST_HELD or waits.pending.log.billed or is_large:
            return False
        if len(self._waiting) >= _MOST_WAITING or asyncio.current_task() in self._probes:
            return False
        heapq.heappush(self._waiting, (self._time() + waits.seconds, row.number, waits.pending))
        return True

    def _record_end(self, end: RowEnd) -> None:
        match end:
            case Success():
                if self._fail_fast.holds_any:
                    self._record_all(self._fail_fast.release_held())
                self.recorder.add(end)
            case Failure():
                self.recorder.add(end)
            case RowRefused(failure, is_doubtful=True):
                self._fail_fast.hold_failures(split_failure(failure))
            case RowRefused(failure):
                self._record_all(self._fail_fast.add_refused(split_failure(failure)))
            case RowSplit(parts):
                self._parts.extend(parts)
            case RowWaits():
                pass
            case RunHalted(cause, bill):
                self.halt(cause)
                self._keep_bill(bill)
            case RowStopped(bill):
                self._keep_bill(bill)
            case _:
                assert_never(end)

    def _record_all(self, failures: list[Failure]) -> None:
        for failure in failures:
            self.recorder.add(failure)

    def _keep_bill(self, bill: Failure | None) -> None:
        if bill is not None:
            self.recorder.add_interrupted(bill)

    # ---- beside the workers

    def _spawn_call(self, call: Coroutine[Any, Any, CallResult | None]) -> CallTask:
        assert self._group is not None
        return self._group.create_task(call)

    def _send_probes(self) -> None:
        """Send rows that never failed. Those that failed may all be at fault themselves, and not the service."""
        assert self._group is not None
        in_line = sum(not log.sent for log in self._probes.values())
        for _ in range(min(_PROBES_IN_LINE - in_line, _MOST_PROBES - len(self._probes))):
            if self._stopping.is_set() or self._fail_fast.is_doubtful:
                return
            log = AttemptLog()
            task = self._group.create_task(self._run_probe(log))
            self._probes[task] = log
            task.add_done_callback(self._probes.pop)

    async def _run_probe(self, log: AttemptLog) -> None:
        """Run one row. All workers may have ended, or wait for the last one: what is left then is done here."""
        await self._run_next(log)
        while not self._stopping.is_set() and await self._do_what_is_left():
            pass
