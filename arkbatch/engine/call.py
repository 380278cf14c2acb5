"""One call of a row: the budget's leave, the gate's turn, the exchange, the verdict, and who is told of it.

What is to follow from a verdict, another call or a record, is the engine's to decide. Everything that the outside is
touched by is in `Tools`, so that a test can put in anything else.
"""

import asyncio
import math
from collections.abc import Callable
from typing import Protocol, assert_never

import orjson
from msgspec import Struct

from arkbatch.core.errors import Halted
from arkbatch.core.job import ReplyPolicy, RetryPolicy
from arkbatch.core.types import (
    NO_HEADERS,
    NO_USAGE,
    Again,
    Break,
    Broken,
    Call,
    Cause,
    Done,
    Halt,
    Kind,
    Outcome,
    Refused,
    Reply,
    Response,
    Row,
    Scope,
    Size,
    Usage,
    Verdict,
    assumed,
)
from arkbatch.engine.attempt_log import History
from arkbatch.engine.cost_limit import Hold, Spending
from arkbatch.engine.tool_loop import Talk
from arkbatch.limits.circuit_breaker import may_have_arrived
from arkbatch.limits.limiter import Gate
from arkbatch.limits.slow_calls import Flight, Flights, doublings
from arkbatch.limits.token_estimator import Estimator
from arkbatch.limits.token_split import Tokens
from arkbatch.limits.wait_queue import Turn
from arkbatch.monitor.observer import Observer
from arkbatch.protocol.endpoints import ENDPOINTS, Endpoint
from arkbatch.protocol.ratelimit_headers import allowance
from arkbatch.protocol.verdict import judge
from arkbatch.rows.media_files import Images
from arkbatch.transport.transport import Transport

_PACED = (Scope.RATE, Scope.CONCURRENCY)


class Recorder(Protocol):
    """What outcomes are handed to: a journal, as a rule. It is done with them when it returns."""

    def record(self, *outcomes: Outcome) -> None: ...


class Tools(Struct, frozen=True):
    """What the engine works with; every touch of the world is in here.

    model: the job's model; call_prefix: begins each client request id, row and attempt follow
    chance: evenly from [0, 1); wall: unix time
    spending: keeps the budget, None when there is none
    files: what rows may name in their requests, None when they may not
    check: a second look at a good reply, which may find it unfit, None when the first is enough
    flights: the calls under way, to find those that take too long; None where nothing is too long
    talk: runs the tools that models call, None when nobody does
    hedge: make a second call where one takes too long, with so many calls at once; 0: never
    """

    gate: Gate
    transport: Transport
    journal: Recorder
    observer: Observer
    retry: RetryPolicy
    replies: ReplyPolicy
    model: str
    call_prefix: str
    chance: Callable[[], float]
    wall: Callable[[], float]
    spending: Spending | None = None
    files: Images | None = None
    check: Callable[[Row, Reply, Done], Verdict] | None = None
    flights: Flights | None = None
    talk: Talk | None = None
    hedge: int = 0


class Asked(Struct, frozen=True):
    """A row with what is needed to call for it."""

    row: Row
    endpoint: Endpoint
    size: Size
    estimator: Estimator


class Leave(Struct, frozen=True, gc=False):
    """What one call was given: its turn at the gate and its part of the budget, if there is one."""

    turn: Turn
    hold: Hold | None


class Sent(Struct, frozen=True, gc=False):
    """A call under way. `flight` is None where nobody minds how long it takes."""

    leave: Leave
    call: Call
    flight: Flight | None


class Calls:
    """Makes the calls of a session. pushed_back_at: when the service last asked for fewer of them."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._time = asyncio.get_running_loop().time
        self._estimators: dict[tuple[str, object], Estimator] = {}
        self.pushed_back_at = -math.inf

    def asked(self, row: Row) -> Asked:
        endpoint = ENDPOINTS[row.endpoint]
        return Asked(row, endpoint, endpoint.size(row.body), self._estimator(row))

    async def make(self, asked: Asked, history: History) -> tuple[Response, Verdict] | Cause | None:
        """Call once. None: no call is to be made any more; a cause: no row can be sent."""
        sent = await self.start(asked, history)
        if not isinstance(sent, Sent):
            return sent
        response, verdict = await self.exchange(sent, asked)
        return self.end(sent, asked, history, response, verdict)

    # ---- the steps of it

    async def start(self, asked: Asked, history: History) -> Sent | tuple[Response, Verdict] | Cause | None:
        """Wait for leave to call once, and make the call ready; what else comes of it is as above."""
        spending, hold = self._tools.spending, None
        expected = asked.estimator.estimate(asked.size)
        if spending is not None:
            may = await spending.admit(asked.row, asked.size, expected[1])
            if may is None or isinstance(may, Cause):
                return may
            hold = may
        turn = await self._tools.gate.admit(Tokens.of(*expected), untried=not history.sent)
        if turn is None:
            return None
        leave = Leave(turn, hold)
        sent = self.begin(leave, asked, history)
        return self.unsendable(leave, asked, sent) if isinstance(sent, Cause) else sent

    async def admit_again(self, asked: Asked) -> Leave | None:
        """Leave for a call that can be done without. None: it does not fit the budget, or nobody goes any more."""
        spending, hold = self._tools.spending, None
        expected = asked.estimator.estimate(asked.size)
        if spending is not None and (hold := spending.admit_now(asked.row, asked.size, expected[1])) is None:
            return None
        turn = None
        try:
            turn = await self._tools.gate.admit(Tokens.of(*expected))
        finally:
            if turn is None and spending is not None and hold is not None:
                spending.settle(hold, asked.row, NO_USAGE, model="", service_tier="", answered=False)
        return None if turn is None else Leave(turn, hold)

    def begin(self, leave: Leave, asked: Asked, history: History) -> Sent | Cause:
        """Make the call ready. A cause: why it cannot be sent."""
        tools, row, turn = self._tools, asked.row, leave.turn
        # Encoded for each call, so that only rows on their way have their images in memory, and none that waits.
        body = orjson.dumps(row.body) if tools.files is None else tools.files.encode(row.body)
        if isinstance(body, Cause):
            return body
        if history.sent:  # the first call of a row has nothing behind it
            history.goes_on(turn.at, tools.gate.held(turn.at))
            self.forgive(history)
        history.sent += 1
        attempt = history.sent
        if row.before:  # a requeue is of the same session
            attempt += sum(each.attempts for each in row.before)
        client_id = f"{tools.call_prefix}-{row.number}-{attempt}"
        model, stream = row.body["model"], row.body.get("stream") is True
        flight = moved = None
        if tools.flights is not None:
            flight = tools.flights.begin(turn.at, row.number, (row.endpoint, model, stream, doublings(asked.size)))
            moved = flight.moved if stream else None
        return Sent(
            leave, Call(client_id, row.endpoint, asked.endpoint.path, body, NO_HEADERS, model, stream, moved), flight
        )

    def unsendable(self, leave: Leave, asked: Asked, cause: Cause) -> tuple[Response, Verdict]:
        """Give the leave back: nothing is sent."""
        verdict = Refused(cause)
        self._take_back(leave, asked, verdict)
        return Broken(Break.CONNECT, cause.message), verdict

    async def exchange(self, sent: Sent, asked: Asked) -> tuple[Response, Verdict]:
        """Send it and judge what comes back. Whoever cancels this has left the gate."""
        tools, flight = self._tools, sent.flight
        try:
            response = await tools.transport.send(sent.call)
        except Halted as halted:
            return Broken(Break.CONNECT, str(halted)), Halt(Cause(Kind.AUTH, "", str(halted)))
        except BaseException:
            tools.gate.leave(sent.leave.turn)
            raise
        finally:
            if tools.flights is not None and flight is not None:
                tools.flights.end(flight)
        verdict = judge(response, asked.endpoint, tools.replies, wall=tools.wall(), body=asked.row.body)
        if tools.check is not None and isinstance(verdict, Done) and isinstance(response, Reply):
            verdict = tools.check(asked.row, response, verdict)
        return response, verdict

    def end(
        self, sent: Sent, asked: Asked, history: History, response: Response, verdict: Verdict
    ) -> tuple[Response, Verdict]:
        """Tell everyone what came of it. The verdict comes back with the blame where it belongs."""
        if isinstance(response, Broken) and isinstance(verdict, Halt):  # no key was to be had; the service said nothing
            self._take_back(sent.leave, asked, verdict)
            return response, verdict
        gate, row, turn, now = self._tools.gate, asked.row, sent.leave.turn, self._time()
        verdict = gate.outage.heard(now, row.number, verdict, turn.at, row.before)
        if isinstance(verdict, Done):
            if sent.flight is not None:
                sent.flight.learn(now)
            history.add(sent.call.client_id, response, verdict, now)
        else:
            history.add(sent.call.client_id, response, verdict, now, gate.held(now))
        self._tools.observer.answered(row, sent.call.client_id, response, verdict)
        self._settle(sent.leave, asked, response, verdict)
        return response, verdict

    def outrun(
        self, sent: Sent, asked: Asked, history: History, winner: Done | Refused, own: Done | Refused | None
    ) -> None:
        """Another call of the row was answered first. own: what this one came to; None: it is being abandoned.

        Nobody will hear what an abandoned call is billed, and to hang up does not make it free. So it is taken to have
        used what the same request did use.
        """
        now, tools, leave = self._time(), self._tools, sent.leave
        usage = assumed(winner.usage) if own is None else own.usage
        history.outrun(sent.call.client_id, leave.turn.at, now, winner, usage)
        if sent.flight is not None:
            sent.flight.learn(now)
        if own is not None:
            tools.gate.outage.heard(now, asked.row.number, own, leave.turn.at)
            tools.gate.answered(leave.turn, _used(usage))
        if tools.spending is not None and leave.hold is not None:
            model, tier, answered = winner.model, winner.service_tier, isinstance(winner, Done)
            tools.spending.settle(leave.hold, asked.row, usage, model=model, service_tier=tier, answered=answered)
        tools.observer.outran(asked.row, sent.call.client_id, usage)

    def _settle(self, leave: Leave, asked: Asked, response: Response, verdict: Verdict) -> None:
        """Tell the gate and the budget what the call cost, and how the server took it."""
        turn, usage = leave.turn, _usage(verdict)
        whole = isinstance(response, Reply)  # of an answer that was cut off, only the beginning was counted
        if usage and whole:
            asked.estimator.learn(asked.size, usage)
        used = _used(usage) if usage and whole else _assumed(turn.tokens, verdict)
        if isinstance(verdict, Again) and verdict.scope in _PACED:
            self.pushed_back_at = self._time()
            self._tools.gate.push_back(turn, used, verdict.scope, verdict.after)
        else:
            self._tools.gate.answered(turn, used)
        if isinstance(response, Reply) and (granted := allowance(response.headers)) is not None:
            self._tools.gate.told(*granted)
        self._pay(leave, asked, verdict)

    def _take_back(self, leave: Leave, asked: Asked, verdict: Verdict) -> None:
        """The leave for a call that the service knows nothing of."""
        self._tools.gate.unsent(leave.turn)
        self._pay(leave, asked, verdict)

    def _pay(self, leave: Leave, asked: Asked, verdict: Verdict) -> None:
        if self._tools.spending is None or leave.hold is None:
            return
        model, tier = ("", "") if isinstance(verdict, Halt) else (verdict.model, verdict.service_tier)
        answered, usage = isinstance(verdict, Done), _usage(verdict)
        self._tools.spending.settle(leave.hold, asked.row, usage, model=model, service_tier=tier, answered=answered)

    def forgive(self, history: History) -> None:
        """Give an attempt back that was spent on what is now known to have been an outage."""
        if history.doubted_at is not None and self._tools.gate.outage.covers(history.doubted_at):
            history.forgive()

    def _estimator(self, row: Row) -> Estimator:
        key = (row.endpoint, row.body.get("model"))
        estimator = self._estimators.get(key)
        if estimator is None:
            estimator = self._estimators[key] = (
                Estimator(output=0) if row.endpoint.endswith("embeddings") else Estimator()
            )
        return estimator


def _usage(verdict: Verdict) -> Usage:
    match verdict:
        case Done(usage=usage) | Again(usage=usage) | Refused(usage=usage):
            return usage
        case Halt():
            return NO_USAGE
        case _:
            assert_never(verdict)


def _used(usage: Usage) -> Tokens:
    return Tokens.of(usage.get("input", 0), usage.get("output", 0))


def _assumed(reserved: int, verdict: Verdict) -> int:
    """Tokens to charge for a call that reported none: all that was reserved when it may have been worked on."""
    if not isinstance(verdict, Again) or not may_have_arrived(verdict.cause):
        return 0
    return reserved if verdict.cause.kind in {Kind.TIMEOUT, Kind.CONNECTION, Kind.BAD_REPLY} else 0
