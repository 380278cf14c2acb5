"""Runs one row from its first call to its end, and returns how it ended.

Between its calls a row waits for its retry, runs the tools that the model called, or is sent again because the service
was down. A row that has to wait is handed back, so that its worker can run others meanwhile. What a row's end means for
the run (a record, a stop, two halves of a pack) is decided by the worker pool.
"""

import asyncio
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from arkbatch.core.calls import Again, Cause, Done, Halt, Kind, Refused, Reply
from arkbatch.core.histogram import Histogram
from arkbatch.core.outcomes import Failure, Success
from arkbatch.core.row import Row
from arkbatch.core.stream_speed import Speeds
from arkbatch.engine.attempt_log import AttemptLog
from arkbatch.engine.backoff import Delay, GiveUp, decide_retry, spends_attempt
from arkbatch.engine.call import CallRunner, Dependencies, PreparedRow
from arkbatch.engine.hedging import HedgedCallRunner
from arkbatch.protocol.tool_calls import stopped_before_answer
from arkbatch.rows.packing import halve_pack

_GRACE = 2.0  # s, in which other rows may show that a row's last failure was the service's


class PendingRow(Struct):
    """A row that is to be run, with what it has been through.

    cause: why it failed before, if it did; prepared: its next request, where that is not the row as it was read
    """

    row: Row
    log: AttemptLog
    cause: Cause | None = None
    prepared: PreparedRow | None = None


class RowRefused(Struct, frozen=True):
    """The service refused the row for good. It may be that it refuses every row.

    is_doubtful: other rows were answered, but the refusal is of a kind that concerns every row as a rule
    """

    failure: Failure
    is_doubtful: bool = False


class RunHalted(Struct, frozen=True):
    """No row can be sent until someone acts. `bill`: the row's failure so far, None if it was not billed."""

    cause: Cause
    bill: Failure | None = None


class RowSplit(Struct, frozen=True):
    """A pack failed as a whole. Its halves are to be run by themselves, since one row may have been the reason."""

    parts: tuple[PendingRow, PendingRow]


class RowWaits(Struct, frozen=True):
    """The row is to be run again after so many seconds."""

    pending: PendingRow
    seconds: float


class RowStopped(Struct, frozen=True):
    """The session stopped before the row came to its end. `bill`: as in `RunHalted`."""

    bill: Failure | None = None


RowEnd = Success | Failure | RowRefused | RunHalted | RowSplit | RowWaits | RowStopped


class RowRunner:
    """Runs the rows of one session.

    stopping: set once no more is to be sent
    retried: calls made again; latency: of the calls that gave an answer; speeds: of the streamed ones
    """

    def __init__(
        self, dependencies: Dependencies, calls: CallRunner, hedging: HedgedCallRunner | None, stopping: asyncio.Event
    ) -> None:
        self._dependencies = dependencies
        self._calls = calls
        self._call = calls.run if hedging is None else hedging.run
        self._stopping = stopping
        self.retried = 0
        self.latency = Histogram()
        self.speeds = Speeds()

    async def run(self, pending: PendingRow) -> RowEnd:
        """Call until the row has ended or has to wait. Whoever cancels this keeps the bill: see `bill_of`."""
        row, log, prepared = pending.row, pending.log, self._prepare_request(pending)
        if not isinstance(prepared, PreparedRow):
            return prepared
        while (result := await self._call(prepared, log)) is not None:
            if isinstance(result, Cause):
                return RunHalted(result, bill_of(pending))
            reply, verdict = result.response, result.verdict
            if isinstance(verdict, Done):
                assert isinstance(reply, Reply)
                self._count_latency(reply, verdict)
                if not verdict.goes_on:
                    return log.make_success(row, reply, verdict)
                body = await self._run_tools(prepared, reply, log)
                if isinstance(body, Cause):
                    return log.make_failure(row, body)
                prepared, pending.cause = body, None
                continue
            step = self._decide_step(row, verdict, log)
            if not isinstance(step, float):
                return step
            assert isinstance(verdict, Again)
            pending.cause = verdict.cause
            pending.prepared = prepared
            return RowWaits(pending, step)
        return RowStopped(bill_of(pending))

    def _prepare_request(self, pending: PendingRow) -> PreparedRow | RowEnd:
        """The row's next request, or how the row ends without another one."""
        row = pending.row
        if pending.prepared is not None:
            return self._end_if_given_up(row, pending.log) or pending.prepared
        files = self._dependencies.files
        if files is not None and (unfit := files.why_unfit(row.body)) is not None:
            return Failure(row, unfit)
        return self._calls.prepare_row(row)

    async def _run_tools(self, prepared: PreparedRow, reply: Reply, log: AttemptLog) -> PreparedRow | Cause:
        """Run the tools that the reply calls. Returns the next request, or why the row ends here."""
        tools = self._dependencies.tools
        assert tools is not None
        body = await tools.go_on(prepared.row, reply, log.rounds)
        if isinstance(body, Cause):
            return body
        log.messages = body["messages"]
        return self._calls.prepare_row(replace(prepared.row, body=body))

    def _decide_step(self, row: Row, verdict: Again | Refused | Halt, log: AttemptLog) -> RowEnd | float:
        """What follows from a call without an answer: the end of the row, or the seconds until its next call."""
        match verdict:
            case Again():
                return self._try_again(row, verdict, log)
            case Refused(cause=cause, is_doubtful=True) if not log.billed and len(row.members) == 1:
                return RowRefused(log.make_failure(row, cause), is_doubtful=True)
            case Refused(cause=cause):
                return self._give_row_up(row, log, cause, is_refused=True)
            case Halt(cause=cause) if cause.kind is Kind.NOT_FOUND and row.asked_model != self._dependencies.model:
                # The row named a model of its own, so the other rows may well work.
                return RowRefused(log.make_failure(row, cause))
            case Halt(cause=cause):
                return RunHalted(cause, log.make_failure(row, cause) if log.rounds or log.billed else None)
            case _:
                assert_never(verdict)

    def _count_latency(self, reply: Reply, done: Done) -> None:
        self.latency.add(reply.seconds)
        if reply.first_token is not None:
            self.speeds.add(reply, done.usage.get("output", 0))

    def _try_again(self, row: Row, verdict: Again, log: AttemptLog) -> RowEnd | float:
        needs = self._dependencies
        match decide_retry(needs.retry, log.spent_on(verdict), log.waited, verdict, needs.chance()):
            case Delay(seconds):
                self.retried += 1
                needs.observer.retrying(row, log.last_id, verdict, seconds)
                return seconds
            case GiveUp(reason):
                cause = verdict.cause
                said = f"{cause.message} ({reason})" if cause.message else reason
                given_up = Cause(cause.kind, cause.code, said, cause.advice)
                if log.doubted_at is not None:
                    log.condemned = given_up
                    return _GRACE
                if spends_attempt(verdict):
                    return self._give_row_up(row, log, given_up)
                return log.make_failure(row, given_up)  # the halves of a pack would be refused for the load as well

    def _give_row_up(self, row: Row, log: AttemptLog, cause: Cause, *, is_refused: bool = False) -> RowEnd:
        """Give a row up. The rows of a pack are tried apart, since one of them may be the reason."""
        if len(row.members) > 1:
            first, second = halve_pack(row)
            passed = (log.passed_on(with_bill=True), log.passed_on(with_bill=False))
            return RowSplit((PendingRow(first, passed[0], cause), PendingRow(second, passed[1], cause)))
        failure = log.make_failure(row, cause)
        return RowRefused(failure) if is_refused else failure

    def _end_if_given_up(self, row: Row, log: AttemptLog) -> RowEnd | None:
        """The end of a row that was given up, unless it has turned out meanwhile that the service was down."""
        self._calls.forgive_outage(log)
        return None if log.condemned is None else self._give_row_up(row, log, log.condemned)

    async def is_stopped_within(self, seconds: float) -> bool:
        """Wait for a retry. True when the session stops first."""
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True


def bill_of(pending: PendingRow) -> Failure | None:
    """What a row was billed so far, as a failure that says why it ended here. None: it was not billed.

    The session stops between two calls of the row. Without a record the money would be forgotten.
    """
    log, failed = pending.log, pending.cause
    if not log.rounds and not log.billed:
        return None
    if failed is None:
        return log.make_failure(pending.row, stopped_before_answer(log.rounds))
    said = f"{failed.message} (the run was stopped before the next try)"
    return log.make_failure(pending.row, Cause(failed.kind, failed.code, said, failed.advice))
