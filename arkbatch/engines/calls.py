"""One call of a row: the budget's leave, the gate's turn, the exchange, the verdict, and who is told of it.

What is to follow from a verdict, another call or a record, is the engine's to decide. Everything that the outside is
touched by is in `Tools`, so that a test can put in anything else.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol, assert_never

import orjson
from msgspec import Struct

from arkbatch.adapters.images import Images
from arkbatch.adapters.progress import Observer
from arkbatch.adapters.transport import Transport
from arkbatch.core.endpoints import ENDPOINTS, Endpoint
from arkbatch.core.errors import Halted
from arkbatch.core.estimate import Estimator
from arkbatch.core.headers import allowance
from arkbatch.core.history import History
from arkbatch.core.job import ReplyPolicy, RetryPolicy
from arkbatch.core.records import (
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
)
from arkbatch.core.shares import Tokens
from arkbatch.core.verdict import judge
from arkbatch.engines.gate import Gate, Turn
from arkbatch.engines.spending import Hold, Spending

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


class Asked(Struct, frozen=True):
    """A row with what is needed to call for it."""

    row: Row
    endpoint: Endpoint
    size: Size
    estimator: Estimator


class Calls:
    """Makes the calls of a session."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._time = asyncio.get_running_loop().time
        self._estimators: dict[tuple[str, object], Estimator] = {}

    def asked(self, row: Row) -> Asked:
        endpoint = ENDPOINTS[row.endpoint]
        return Asked(row, endpoint, endpoint.size(row.body), self._estimator(row))

    async def make(self, asked: Asked, history: History) -> tuple[Response, Verdict] | Cause | None:
        """Call once. None: no call is to be made any more; a cause: no row can be sent."""
        tools, row, size = self._tools, asked.row, asked.size
        expected = asked.estimator.estimate(size)
        spending, hold = tools.spending, None
        if spending is not None:
            leave = await spending.admit(row, size, expected[1])
            if leave is None or isinstance(leave, Cause):
                return leave
            hold = leave
        if (turn := await tools.gate.admit(Tokens.of(*expected))) is None:
            return None
        response, verdict = await self._send(turn, asked, history)
        self._settle(turn, asked, response, verdict)
        if spending is not None and hold is not None:
            _pay(spending, hold, row, verdict)
        return response, verdict

    async def _send(self, turn: Turn, asked: Asked, history: History) -> tuple[Response, Verdict]:
        tools, row, endpoint = self._tools, asked.row, asked.endpoint
        # Encoded for each call, so that only rows on their way have their images in memory, and none that waits.
        body = orjson.dumps(row.body) if tools.files is None else tools.files.encode(row.body)
        if isinstance(body, Cause):
            return Broken(Break.CONNECT, body.message), Refused(body)
        history.goes_on(turn.at, tools.gate.held(turn.at))
        self.forgive(history)
        history.sent += 1
        client_id = f"{tools.call_prefix}-{row.number}-{history.sent}"
        try:
            response = await tools.transport.send(_call_of(row, client_id, endpoint, body))
        except Halted as halted:
            tools.gate.leave(turn)
            return Broken(Break.CONNECT, str(halted)), Halt(Cause(Kind.AUTH, "", str(halted)))
        except BaseException:
            tools.gate.leave(turn)
            raise
        verdict = judge(response, endpoint, tools.replies, wall=tools.wall(), body=row.body)
        if tools.check is not None and isinstance(verdict, Done) and isinstance(response, Reply):
            verdict = tools.check(row, response, verdict)
        verdict = tools.gate.outage.heard(self._time(), row.number, verdict, turn.at)
        now = self._time()
        history.add(client_id, response, verdict, now, tools.gate.held(now))
        tools.observer.answered(row, client_id, response, verdict)
        return response, verdict

    def _settle(self, turn: Turn, asked: Asked, response: Response, verdict: Verdict) -> None:
        """Tell the gate what the call cost and how the server took it."""
        usage = _usage(verdict)
        whole = isinstance(response, Reply)  # of an answer that was cut off, only the beginning was counted
        if usage and whole:
            asked.estimator.learn(asked.size, usage)
        used = _used(usage) if usage and whole else _assumed(turn.tokens, verdict)
        if isinstance(verdict, Again) and verdict.scope in _PACED:
            self._tools.gate.push_back(turn, used, verdict.scope, verdict.after)
        else:
            self._tools.gate.answered(turn, used)
        if isinstance(response, Reply) and (granted := allowance(response.headers)) is not None:
            self._tools.gate.told(*granted)

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


def _call_of(row: Row, client_id: str, endpoint: Endpoint, body: bytes) -> Call:
    asked = row.body
    return Call(client_id, row.endpoint, endpoint.path, body, model=asked["model"], stream=asked.get("stream") is True)


def _pay(spending: Spending, hold: Hold, row: Row, verdict: Verdict) -> None:
    model, tier = ("", "") if isinstance(verdict, Halt) else (verdict.model, verdict.service_tier)
    answered = isinstance(verdict, Done)
    spending.settle(hold, row, _usage(verdict), model=model, service_tier=tier, answered=answered)


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
    worked_on = isinstance(verdict, Again) and verdict.cause.kind in {Kind.TIMEOUT, Kind.CONNECTION, Kind.BAD_REPLY}
    return reserved if worked_on else 0
