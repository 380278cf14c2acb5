"""One call of a row: the budget's leave, the limiter's turn, the exchange, the verdict, and who is told of it.

What is to follow from a verdict, another call or a record, is the engine's to decide. Everything that the outside is
touched by is in `Dependencies`, so that a test can put in anything else.
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from typing import Protocol

import orjson
from msgspec import Struct
from msgspec.structs import replace

from arkbatch.core.errors import Halted
from arkbatch.core.job import ReplyPolicy, RetryPolicy
from arkbatch.core.types import (
    NO_HEADERS,
    NO_USAGE,
    Break,
    Broken,
    Call,
    CallResult,
    Cause,
    Done,
    Halt,
    Kind,
    Outcome,
    Refused,
    Reply,
    Row,
    Size,
    Verdict,
    assumed,
)
from arkbatch.engine.attempt_log import AttemptLog
from arkbatch.engine.cost_limit import CostLimit, CostReservation
from arkbatch.engine.halt_watch import EndedCall, HaltWatch
from arkbatch.engine.tool_loop import ToolLoop
from arkbatch.limits.limiter import Limiter
from arkbatch.limits.permit import Permit
from arkbatch.monitor.observer import Observer
from arkbatch.protocol.endpoints import ENDPOINTS, Endpoint
from arkbatch.protocol.error_words import Meaning
from arkbatch.protocol.verdict import judge
from arkbatch.rows.media_files import Images
from arkbatch.transport.transport import Transport


class OutcomeStore(Protocol):
    """What outcomes are handed to: a journal, as a rule. It is done with them when it returns."""

    def record(self, *outcomes: Outcome) -> None: ...


class Dependencies(Struct, frozen=True):
    """What the engine works with; every touch of the world is in here.

    model: the job's model; call_prefix: begins each client request id, row and attempt follow
    chance: evenly from [0, 1); wall: unix time
    spending: keeps the budget, None when there is none
    files: what rows may name in their requests, None when they may not
    check: a second look at a good reply, which may find it unfit, None when the first is enough
    talk: runs the tools that models call, None when nobody does
    hedge: make a second call where one takes too long, with so many calls at once; 0: never
    error_numbers: what the provider's own error codes mean; has_answered: rows were answered in earlier sessions
    """

    limiter: Limiter
    transport: Transport
    journal: OutcomeStore
    observer: Observer
    retry: RetryPolicy
    replies: ReplyPolicy
    model: str
    call_prefix: str
    chance: Callable[[], float]
    wall: Callable[[], float]
    spending: CostLimit | None = None
    files: Images | None = None
    check: Callable[[Row, Reply, Done], Verdict] | None = None
    talk: ToolLoop | None = None
    hedge: int = 0
    error_numbers: Mapping[str, Meaning] = {}
    has_answered: bool = False


class PreparedRow(Struct, frozen=True):
    """A row with what is needed to call for it."""

    row: Row
    endpoint: Endpoint
    size: Size


class Admission(Struct, frozen=True, gc=False):
    """What one call was given: its permit and its part of the budget, if there is one."""

    permit: Permit
    hold: CostReservation | None


class StartedCall(Struct, frozen=True, gc=False):
    """A call under way."""

    leave: Admission
    call: Call


class CallRunner:
    """Makes the calls of a session."""

    def __init__(self, tools: Dependencies) -> None:
        self._tools = tools
        self._time = asyncio.get_running_loop().time
        self._in_flight: dict[str, float] = {}  # when each call under way was let through, the oldest first
        self._halt_watch = HaltWatch(has_answered=tools.has_answered)

    def prepare(self, row: Row) -> PreparedRow:
        endpoint = ENDPOINTS[row.endpoint]
        return PreparedRow(row, endpoint, endpoint.size(row.body))

    async def run(self, asked: PreparedRow, history: AttemptLog) -> CallResult | Cause | None:
        """Call once. None: no call is to be made any more; a cause: no row can be sent."""
        sent = await self.start(asked, history)
        if not isinstance(sent, StartedCall):
            return sent
        return self.end(sent, asked, history, await self.exchange(sent, asked))

    # ---- the steps of it

    async def start(self, asked: PreparedRow, history: AttemptLog) -> StartedCall | CallResult | Cause | None:
        """Wait for leave to call once, and make the call ready; what else comes of it is as above."""
        spending, limiter, hold = self._tools.spending, self._tools.limiter, None
        demand = limiter.demand_of(asked.row, asked.size)
        if spending is not None:
            may = await spending.admit(asked.row, asked.size, demand.output_tokens)
            if may is None or isinstance(may, Cause):
                return may
            hold = may
        permit = await limiter.acquire(demand, untried=not history.sent)
        if permit is None:
            return None
        leave = Admission(permit, hold)
        sent = self.begin(leave, asked, history)
        return self.unsendable(leave, asked, sent) if isinstance(sent, Cause) else sent

    async def admit_again(self, asked: PreparedRow) -> Admission | None:
        """Leave for a call that can be done without. None: it does not fit the budget, or nobody goes any more."""
        spending, limiter, hold = self._tools.spending, self._tools.limiter, None
        demand = limiter.demand_of(asked.row, asked.size)
        if spending is not None:
            hold = spending.admit_now(asked.row, asked.size, demand.output_tokens)
            if hold is None:
                return None
        permit = None
        try:
            permit = await limiter.acquire(demand)
        finally:
            if permit is None and spending is not None and hold is not None:
                spending.settle(hold, asked.row, NO_USAGE, model="", service_tier="", answered=False)
        return None if permit is None else Admission(permit, hold)

    def begin(self, leave: Admission, asked: PreparedRow, history: AttemptLog) -> StartedCall | Cause:
        """Make the call ready. A cause: why it cannot be sent."""
        tools, row, permit = self._tools, asked.row, leave.permit
        # Encoded for each call, so that only rows on their way have their images in memory, and none that waits.
        body = orjson.dumps(row.body) if tools.files is None else tools.files.encode(row.body)
        if isinstance(body, Cause):
            return body
        if history.sent:  # the first call of a row has nothing behind it
            history.resumes(permit.at, tools.limiter.paused_seconds(permit.at))
            self.forgive(history)
        history.sent += 1
        attempt = history.sent
        if row.before:  # a requeue is of the same session
            attempt += sum(each.attempts for each in row.before)
        client_id = f"{tools.call_prefix}-{row.number}-{attempt}"
        model, stream = row.asked_model, row.body.get("stream") is True
        moved = permit.flight.moved if stream and permit.flight is not None else None
        call = Call(client_id, row.endpoint, asked.endpoint.path, body, NO_HEADERS, model, stream, moved)
        self._in_flight[client_id] = permit.at
        return StartedCall(leave, call)

    def unsendable(self, leave: Admission, asked: PreparedRow, cause: Cause) -> CallResult:
        """Give the leave back: nothing is sent."""
        result = CallResult(Broken(Break.CONNECT, cause.message), Refused(cause))
        self._tools.limiter.release_unsent(leave.permit)
        self._pay(leave, asked, result)
        return result

    async def exchange(self, sent: StartedCall, asked: PreparedRow) -> CallResult:
        """Send it and judge what comes back. Whoever cancels this has given the permit back."""
        tools = self._tools
        try:
            response = await tools.transport.send(sent.call)
        except Halted as halted:
            return CallResult(Broken(Break.CONNECT, str(halted)), Halt(Cause(Kind.AUTH, "", str(halted))))
        except BaseException:
            tools.limiter.abandon(sent.leave.permit)
            self._in_flight.pop(sent.call.client_id, None)
            raise
        verdict = judge(
            response,
            asked.endpoint,
            tools.replies,
            wall=tools.wall(),
            body=asked.row.body,
            numbers=tools.error_numbers,
            longest_wait=tools.retry.give_up_after,
        )
        if isinstance(verdict, Done) and verdict.body is not None and isinstance(response, Reply):
            response = replace(response, body=verdict.body)
        if tools.check is not None and isinstance(verdict, Done) and isinstance(response, Reply):
            verdict = tools.check(asked.row, response, verdict)
        return CallResult(response, verdict)

    def end(self, sent: StartedCall, asked: PreparedRow, history: AttemptLog, result: CallResult) -> CallResult:
        """Tell everyone what came of it. The verdict comes back with the blame where it belongs."""
        tools, response = self._tools, result.response
        row, permit = asked.row, sent.leave.permit
        self._in_flight.pop(sent.call.client_id, None)
        oldest = next(iter(self._in_flight.values()), math.inf)
        ended = EndedCall(row.number, row.asked_model, self._time(), permit.at, len(self._in_flight), oldest)
        verdict = self._halt_watch.weigh(ended, result.verdict)
        if verdict is not result.verdict:
            result = CallResult(response, verdict)
        result = tools.limiter.release(sent.leave.permit, result)
        if not (isinstance(response, Broken) and isinstance(result.verdict, Halt)):  # else the service said nothing
            now, row = self._time(), asked.row
            history.add(sent.call.client_id, response, result.verdict, now, tools.limiter.paused_seconds(now))
            tools.observer.answered(row, sent.call.client_id, response, result.verdict)
        self._pay(sent.leave, asked, result)
        return result

    def outrun(
        self, sent: StartedCall, asked: PreparedRow, history: AttemptLog, winner: Done | Refused, own: CallResult | None
    ) -> None:
        """Another call of the row was answered first. own: what this one came to; None: it is being abandoned.

        Nobody will hear what an abandoned call is billed, and to hang up does not make it free. So it is taken to have
        used what the same request did use.
        """
        tools, leave = self._tools, sent.leave
        usage = assumed(winner.usage) if own is None else own.usage
        self._in_flight.pop(sent.call.client_id, None)
        history.outrun(sent.call.client_id, leave.permit.at, self._time(), winner, usage)
        if own is not None:
            tools.limiter.release(leave.permit, own)
        if tools.spending is not None and leave.hold is not None:
            model, tier, answered = winner.model, winner.service_tier, isinstance(winner, Done)
            tools.spending.settle(leave.hold, asked.row, usage, model=model, service_tier=tier, answered=answered)
        tools.observer.hedge_lost(asked.row, sent.call.client_id, usage)

    def _pay(self, leave: Admission, asked: PreparedRow, result: CallResult) -> None:
        if self._tools.spending is None or leave.hold is None:
            return
        verdict, usage = result.verdict, result.usage
        model, tier = ("", "") if isinstance(verdict, Halt) else (verdict.model, verdict.service_tier)
        answered = isinstance(verdict, Done)
        self._tools.spending.settle(leave.hold, asked.row, usage, model=model, service_tier=tier, answered=answered)

    def forgive(self, history: AttemptLog) -> None:
        """Give an attempt back that was spent on what is now known to have been an outage."""
        if history.doubted_at is not None and self._tools.limiter.circuit_breaker.covers(history.doubted_at):
            history.forgive()
