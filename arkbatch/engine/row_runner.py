"""One row from its first call to its outcome: what follows from each verdict.

Another call after a pause, another round after the tools that a model called, halves of a pack, a record. What was
billed is recorded also of a row that is left before it has an outcome. Which row goes when is the engine's to
decide, how one call is made `calls`'.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import assert_never

from msgspec.structs import replace

from arkbatch.core.speed import Speeds
from arkbatch.core.stats import Histogram
from arkbatch.core.types import Again, Cause, Done, Failure, Halt, Kind, Refused, Reply, Response, Row, Verdict
from arkbatch.engine.attempt_log import AttemptLog
from arkbatch.engine.backoff import Delay, GiveUp, decide, spends_attempt
from arkbatch.engine.call import CallRunner, Dependencies, PreparedRow
from arkbatch.engine.hedging import HedgedCallRunner
from arkbatch.engine.recorder import OutcomeRecorder
from arkbatch.engine.refusals import Refusals
from arkbatch.protocol.tool_calls import stopped
from arkbatch.rows.packing import Pack, failed_apart, halves

_GRACE = 2.0  # s, in which others may show that a row's last failure was the service's


class RowRunner:
    """One session's.

    stopping: set once no more is to be sent; halted: is told why no row can work
    doubted: is called after each call while the rows that fail may be at fault, and not the service
    halves: parts of packs that are to go by themselves, and why the whole failed
    retried: calls made again; latency: of the calls that gave an answer; speeds: of those that were streamed
    """

    def __init__(
        self,
        tools: Dependencies,
        calls: CallRunner,
        hedging: HedgedCallRunner | None,
        recording: OutcomeRecorder,
        refusals: Refusals,
        *,
        stopping: asyncio.Event,
        halted: Callable[[Cause], None],
        doubted: Callable[[], None],
    ) -> None:
        self._tools = tools
        self._calls = calls
        self._make = calls.run if hedging is None else hedging.run
        self._recording = recording
        self._refusals = refusals
        self._stopping = stopping
        self._halted = halted
        self._doubted = doubted
        self.halves: deque[tuple[Row, AttemptLog, Cause]] = deque()
        self.retried = 0
        self.latency = Histogram()
        self.speeds = Speeds()

    async def bring(self, row: Row, history: AttemptLog, cause: Cause | None = None) -> None:
        """See one row through to its outcome. One that is left undone is found by a resume.

        cause: why it failed before
        """
        try:
            await self._see_through(row, history, cause)
        except asyncio.CancelledError:
            if history.billed and self._recording.error is None:
                self._interrupt(history.failure(row, stopped(history.rounds)))
            raise

    async def _see_through(self, row: Row, history: AttemptLog, cause: Cause | None) -> None:
        files, make = self._tools.files, self._make
        if files is not None and (unfit := files.unfit(row.body)) is not None:
            self._recording.add(Failure(row, unfit))
            return
        asked = self._calls.prepare(row)
        while (made := await make(asked, history)) is not None:
            if isinstance(made, Cause):
                self._halted(made)
                break
            response, verdict = made.response, made.verdict
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

    async def _talk(
        self, row: Row, asked: PreparedRow, response: Response, done: Done, history: AttemptLog
    ) -> PreparedRow | None:
        """Run the tools that the reply calls, and ask on. None: the row has its record."""
        talk = self._tools.talk
        assert talk is not None
        assert isinstance(response, Reply)
        self._answered(response, done)
        body = await talk.go_on(asked.row, response, history.rounds)
        if isinstance(body, Cause):
            self._recording.add(history.failure(row, body))
            return None
        history.messages = body.get("messages") or body["input"]
        return self._calls.prepare(replace(asked.row, body=body))

    def _keep_bill(self, row: Row, failed: Cause | None, history: AttemptLog) -> None:
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

    def keep_bills(self) -> None:
        """The same for parts of packs that nobody took up again."""
        for row, history, cause in self.halves:
            if history.billed:
                self._keep_bill(row, cause, history)

    def _conclude(self, row: Row, response: Response, verdict: Verdict, history: AttemptLog) -> float | None:
        """Record what is final. Seconds until the next try, or None when there is none."""
        if self._tools.limiter.circuit_breaker.doubts_rows:
            self._doubted()
        match verdict:
            case Done():
                assert isinstance(response, Reply)
                self._answered(response, verdict)
                self._recording.add(history.success(row, response, verdict))
            case Again():
                return self._try_again(row, verdict, history)
            case Refused(cause=cause) if isinstance(row, Pack):
                self._halve(row, history, cause)
            case Refused(cause=cause, is_doubtful=True) if not history.billed:
                self._refusals.hold(history.failure(row, cause))
            case Refused(cause=cause):
                self._refusals.add(history.failure(row, cause))
            case Halt(cause=cause) if cause.kind is Kind.NOT_FOUND and row.asked_model != self._tools.model:
                # The row named a model of its own, so the other rows may well work.
                self._refusals.add(history.failure(row, cause))
            case Halt(cause=cause):
                self._halted(cause)
                if history.rounds or history.billed:  # without a record that would be forgotten
                    self._interrupt(history.failure(row, cause))
            case _:
                assert_never(verdict)
        return None

    def _answered(self, reply: Reply, done: Done) -> None:
        self.latency.add(reply.seconds)
        self.speeds.add(reply, done.usage.get("output", 0))
        self._refusals.answered()

    def _try_again(self, row: Row, verdict: Again, history: AttemptLog) -> float | None:
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

    def _fail(self, row: Row, history: AttemptLog, cause: Cause) -> None:
        """Give a row up. What failed together is tried apart: it may be the fault of one."""
        if isinstance(row, Pack):
            self._halve(row, history, cause)
        else:
            self._recording.add(history.failure(row, cause))

    def _halve(self, pack: Pack, history: AttemptLog, cause: Cause) -> None:
        first, second = halves(pack)
        self.halves.append((first, history.passed_on(with_bill=True), cause))
        self.halves.append((second, history.passed_on(with_bill=False), cause))

    def _ended(self, row: Row, history: AttemptLog) -> bool:
        """Record a row that was given up, unless it has turned out meanwhile not to be its fault."""
        self._calls.forgive(history)
        if history.condemned is None:
            return False
        self._fail(row, history, history.condemned)
        return True

    async def _rest(self, seconds: float) -> bool:
        """Wait for a retry; False when the run stops first."""
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return True
        return False
