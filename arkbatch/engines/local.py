"""One process: workers pull rows from one iterator, call, and hand outcomes to the journal.

`work_off` runs a slice of rows against a gate and a journal, and every other engine is to call it. Reading is
back-pressured by being pulled; a row that waits for its retry keeps its worker. Memory depends on the number of
workers and never on the number of rows.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterator
from enum import StrEnum
from typing import Any, assert_never

from msgspec.structs import replace

from arkbatch.core.conversation import stopped
from arkbatch.core.errors import ArkbatchError
from arkbatch.core.histogram import Histogram
from arkbatch.core.history import History
from arkbatch.core.ledger import Position
from arkbatch.core.packing import Pack, failed_apart, halves
from arkbatch.core.records import (
    Again,
    BadRow,
    Cause,
    Done,
    Failure,
    Halt,
    Kind,
    Refused,
    Reply,
    Response,
    Row,
    Verdict,
)
from arkbatch.core.retry import Delay, GiveUp, decide, spends_attempt
from arkbatch.core.speed import Speeds
from arkbatch.core.stopper import Stopper
from arkbatch.engines.calls import Asked, Calls, Tools
from arkbatch.engines.hedging import Came, Hedging, Sending
from arkbatch.engines.recording import Recording
from arkbatch.engines.requeue import Requeued
from arkbatch.engines.spending import Spending

_GRACE = 2.0  # s, in which others may show that a row's last failure was the service's
_MOST_AHEAD = 256  # rows beyond one a worker, that are sent to find out whether the service is away
_AT_HAND = 4  # of these in line at a time


class Ending(StrEnum):
    """How a session ended."""

    FINISHED = "finished"
    HALTED = "halted"
    STOPPED = "stopped"


class Engine:
    """One session over one iterator of rows.

    halt: why no row can work, after a halt
    retried: calls made again in this session
    requeued: failed rows that go again in this session
    hedging: makes second calls, None when none are wanted
    latency: of the calls that gave an answer; speeds: of those that were streamed
    """

    def __init__(self, rows: Iterator[Row | BadRow], tools: Tools) -> None:
        self._rows = rows
        self._halved: deque[tuple[Row, History, Cause]] = deque()  # parts of packs, and why those failed
        self._tools = tools
        self._calls = Calls(tools)
        self.hedging = Hedging(self._calls, tools, self._spawn) if tools.hedge else None
        self.requeued = Requeued()
        self._recording = Recording(tools.journal, tools.observer, self.requeued, broken=self._end_workers)
        self._group: asyncio.TaskGroup | None = None
        self._workers: set[asyncio.Task[None]] = set()
        self._ahead: dict[asyncio.Task[None], History] = {}  # rows beyond one a worker
        self._stopping = asyncio.Event()
        self._stopper = Stopper()
        self._cleared = asyncio.Event()
        self.latency = Histogram()
        self.speeds = Speeds()
        self.halt: Cause | None = None
        self.retried = 0

    async def work_off(self, workers: int) -> Ending:
        """Until the rows are used up, or a stop or a halt. ArkbatchError: the journal cannot be written."""
        try:
            async with asyncio.TaskGroup() as self._group:
                self.grow(workers)
        except* ArkbatchError as errors:
            raise errors.exceptions[0] from None
        finally:
            self._keep_bills()
            self.write_down()
        if self.halt is None:
            self._clear_up()
            self.write_down()
        if self._recording.error is not None:
            raise self._recording.error
        if self.halt is not None:
            return Ending.HALTED
        return Ending.STOPPED if self._stopping.is_set() else Ending.FINISHED

    def grow(self, workers: int) -> None:
        """Have so many workers at least; those beyond the gate's concurrency only wait."""
        assert self._group is not None
        for _ in range(workers - len(self._workers)):
            worker = self._group.create_task(self._worker())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    def _send_ahead(self) -> None:
        """The rows that failed may all be at fault, and not the service: put some in line that never did."""
        at_hand = sum(not history.sent for history in self._ahead.values())
        if at_hand >= _AT_HAND or len(self._ahead) >= _MOST_AHEAD:
            return
        if self._stopping.is_set() or self._stopper.doubtful:
            return
        row = self._next()
        if isinstance(row, BadRow):
            self._record_bad(row)
        elif row is not None:
            assert self._group is not None
            history = History()
            task = self._group.create_task(self._work(row, history))
            self._ahead[task] = history
            task.add_done_callback(self._ahead.pop)

    def _spawn(self, sending: Coroutine[Any, Any, Came | None]) -> Sending:
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
        self._cleared.set()
        self._tools.gate.close()
        if self._tools.spending is not None:
            self._tools.spending.close()

    @property
    def spending(self) -> Spending | None:
        """What keeps the budget, None when there is none."""
        return self._tools.spending

    @property
    def seconds_away(self) -> float:
        """How long the service was away in this session."""
        return self._tools.gate.outage.seconds(asyncio.get_running_loop().time())

    @property
    def in_flight(self) -> int:
        """Calls of the service, and rows whose tools are at work."""
        talk = self._tools.talk
        return self._tools.gate.in_flight + (talk.at_work if talk is not None else 0)

    def resume_at(self, before: Position) -> Position:
        """As `Recording.resume_at`."""
        return self._recording.resume_at(before)

    @property
    def recorded(self) -> int:
        """Rows that this session recorded."""
        return self._recording.recorded

    def write_down(self) -> None:
        """What is on its way into the journal."""
        self._recording.write_down()

    async def _worker(self) -> None:
        while not self._stopping.is_set():
            if self._halved:
                await self._work(*self._halved.popleft())
                continue
            if self._stopper.doubtful:
                await self._doubt()
                continue
            row = self._next()
            if row is None:
                return
            if isinstance(row, BadRow):
                self._record_bad(row)
            else:
                await self._work(row, History())

    def _record_bad(self, row: BadRow) -> None:
        self._recording.add(Failure(row, Cause(Kind.BAD_ROW, "", row.reason)))

    def _next(self) -> Row | BadRow | None:
        """A failed row that goes again, or the next of the input. Only that one moves the place to resume at."""
        if self.requeued and (again := self.requeued.next()) is not None:
            return again
        row = next(self._rows, None)
        if row is not None:
            self._recording.begins(row)
        return row

    async def _work(self, row: Row, history: History, cause: Cause | None = None) -> None:
        """See one row through, and keep what it has billed also when it is abandoned on the way."""
        try:
            await self._see_through(row, history, cause)
        except asyncio.CancelledError:
            if history.billed and self._recording.error is None:
                self._interrupt(history.failure(row, stopped(history.rounds)))
            raise

    async def _see_through(self, row: Row, history: History, cause: Cause | None) -> None:
        """See one row through to its outcome. A row that is left undone stays open, so that a resume finds it.

        cause: why it failed before
        """
        calls, files = self._calls, self._tools.files
        make = calls.make if self.hedging is None else self.hedging.make
        if files is not None and (unfit := files.unfit(row.body)) is not None:
            self._recording.add(Failure(row, unfit))
            return
        asked = calls.asked(row)
        while (made := await make(asked, history)) is not None:
            if isinstance(made, Cause):
                self._halt(made)
                break
            response, verdict = made
            if isinstance(verdict, Done) and verdict.goes_on:
                going_on = await self._talk(row, asked, response, verdict, history)
                if going_on is None:
                    return
                asked, cause = going_on, None
                continue
            delay = self._conclude(row, response, verdict, history)
            if delay is None:
                return
            assert isinstance(verdict, Again)
            cause = verdict.cause
            if not await self._rest(delay):
                break
            if self._ended(row, history):
                return
        if history.rounds or (history.billed and cause is not None):
            self._keep_bill(row, cause, history)

    async def _talk(self, row: Row, asked: Asked, response: Response, done: Done, history: History) -> Asked | None:
        """Run the tools that the reply calls, and ask on. None: the row has its record."""
        talk = self._tools.talk
        assert talk is not None
        assert isinstance(response, Reply)
        self._answered(response, done)
        body = await talk.go_on(asked.row, response, history.rounds)
        if isinstance(body, Cause):
            self._recording.add(history.failure(row, body))
            return None
        history.messages = body["messages"]
        return self._calls.asked(replace(asked.row, body=body))

    def _keep_bill(self, row: Row, failed: Cause | None, history: History) -> None:
        """The run stops between two calls of a row that was billed: without a record the money would be forgotten.

        failed: why the call before failed, if it did
        """
        cause = stopped(history.rounds)
        if failed is not None:
            said = f"{failed.message} (the run was stopped before the next try)"
            cause = Cause(failed.kind, failed.code, said, failed.advice)
        self._interrupt(history.failure(row, cause))

    def _interrupt(self, failure: Failure) -> None:
        """Keep what rows have billed so far. The next session sends them, unless they had failed before: then they do
        so still.
        """
        for own in failed_apart(failure):
            is_left = all(earlier.interrupted for earlier in own.row.before)
            self._recording.recorded -= is_left
            self._recording.add(replace(own, interrupted=is_left))

    def _keep_bills(self) -> None:
        """The same for parts of packs that nobody took up again."""
        for row, history, cause in self._halved:
            if history.billed:
                self._keep_bill(row, cause, history)

    def _conclude(self, row: Row, response: Response, verdict: Verdict, history: History) -> float | None:
        """Record what is final. Seconds until the next try, or None when there is none."""
        if self._tools.gate.outage.doubts_rows:
            self._send_ahead()
        match verdict:
            case Done():
                assert isinstance(response, Reply)
                self._answered(response, verdict)
                self._recording.add(history.success(row, response, verdict))
            case Again():
                return self._try_again(row, verdict, history)
            case Refused(cause=cause) if isinstance(row, Pack):
                self._halve(row, history, cause)
            case Refused(cause=cause):
                self._refuse(history.failure(row, cause))
            case Halt(cause=cause) if cause.kind is Kind.NOT_FOUND and row.body["model"] != self._tools.model:
                # The row named a model of its own, so the other rows may well work.
                self._refuse(history.failure(row, cause))
            case Halt(cause=cause):
                self._halt(cause)
                if history.rounds or history.billed:  # without a record that would be forgotten
                    self._interrupt(history.failure(row, cause))
            case _:
                assert_never(verdict)
        return None

    def _answered(self, reply: Reply, done: Done) -> None:
        self.latency.add(reply.seconds)
        self.speeds.add(reply, done.usage.get("output", 0))
        if not self._stopper.proven:
            self._clear_up()

    def _try_again(self, row: Row, verdict: Again, history: History) -> float | None:
        tools = self._tools
        match decide(tools.retry, history.spent_on(verdict), history.waited, verdict, tools.chance()):
            case Delay(seconds):
                self.retried += 1
                tools.observer.retrying(row, history.last_id, verdict, seconds)
                return seconds
            case GiveUp(reason):
                cause = verdict.cause
                said = f"{cause.message} ({reason})" if cause.message else reason
                given_up = Cause(cause.kind, cause.code, said, cause.advice)
                if history.doubted_at is not None:
                    history.condemned = given_up
                    return _GRACE
                if spends_attempt(verdict):
                    self._fail(row, history, given_up)
                else:
                    self._recording.add(history.failure(row, given_up))  # smaller calls would be refused as well
        return None

    def _fail(self, row: Row, history: History, cause: Cause) -> None:
        """Give a row up. What failed together is tried apart: it may be the fault of one."""
        if isinstance(row, Pack):
            self._halve(row, history, cause)
        else:
            self._recording.add(history.failure(row, cause))

    def _halve(self, pack: Pack, history: History, cause: Cause) -> None:
        first, second = halves(pack)
        self._halved.append((first, history.passed_on(with_bill=True), cause))
        self._halved.append((second, history.passed_on(with_bill=False), cause))

    def _ended(self, row: Row, history: History) -> bool:
        """Record a row that was given up, unless it has turned out meanwhile not to be its fault."""
        self._calls.forgive(history)
        if history.condemned is None:
            return False
        self._fail(row, history, history.condemned)
        return True

    def give_up(self, cause: Cause) -> None:
        """End the session as one that cannot go on; rows without a record stay undone."""
        self._halt(cause)

    def _refuse(self, failure: Failure) -> None:
        for own in failed_apart(failure):
            for each in self._stopper.refused(own):
                self._recording.add(each)
        if self._stopper.proven:
            self._cleared.set()

    async def _doubt(self) -> None:
        """All was refused so far. The last worker to come here knows that nothing under way ended better."""
        halt = self._stopper.verdict(self._recording.without + len(self.requeued.rows))
        if halt is not None:
            self._halt(halt.cause)
        await self._cleared.wait()

    def _clear_up(self) -> None:
        """It is clear now that the refusals were the rows' own."""
        for failure in self._stopper.release():
            self._recording.add(failure)
        self._cleared.set()

    def _halt(self, cause: Cause) -> None:
        if self.halt is None:
            self.halt = cause
            self._tools.observer.halted(cause)
        self.stop()

    def _end_workers(self) -> None:
        for worker in (*self._workers, *self._ahead):
            worker.cancel()

    async def _rest(self, seconds: float) -> bool:
        """Wait for a retry; False when the run stops first."""
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return True
        return False
