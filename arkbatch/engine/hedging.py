"""Asks once more where an answer takes far longer than is usual. The first whole answer wins.

The second call is one like any other: it waits for a permit of its own, takes its own part of the budget (and is left
out where that has no room), and has a client request id of its own. The first of the two that is answered, or refused
for good, ends the race, and its row is recorded at once: a paid answer is not kept waiting for the other call, which
may take hours. The other is hung up on. That does not make it free, and nobody will hear what it is billed, so it is
counted with the tokens of the answer that won, which was asked for in the same words; the meter `assumed` says how many
of a row's tokens are of this kind. Too much is counted where the service stops working when it is hung up on, and too
little where it would have said more. A failure that is worth another try does not end the race, nor does one that ends
the run: as long as the other call may bring an answer, it is waited for.

Second calls are a small share of all, and none is made while the service is away, while it asks for fewer calls, or
while the run is held: a service that is slow for all must not be asked twice for everything.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from arkbatch.core.types import CallResult, Cause, Done, Halt, Refused
from arkbatch.engine.attempt_log import AttemptLog
from arkbatch.engine.call import CallRunner, Dependencies, PreparedRow, StartedCall
from arkbatch.limits.slow_calls import Flight, Share

PUSHED_BACK = 10.0  # s, after which a service that asked for fewer calls is asked twice again

CallTask = asyncio.Task[CallResult | None]
Spawn = Callable[[Coroutine[Any, Any, CallResult | None]], CallTask]


class _Leg:
    """One of the two calls. `sent` is None until it is under way, which the second may never be."""

    def __init__(self, sent: StartedCall | None = None) -> None:
        self.sent = sent
        self.task: CallTask


class HedgedCallRunner:
    """Makes the calls of a session in the place of `CallRunner`.

    spawn: starts a task that lives no longer than the session
    asked_again, won: second calls that were made, and those that were answered first
    """

    def __init__(self, calls: CallRunner, tools: Dependencies, spawn: Spawn) -> None:
        self._calls = calls
        self._limiter = tools.limiter
        self._observer = tools.observer
        self._share = Share(tools.hedge)
        self._spawn = spawn
        self._bells: dict[Flight, asyncio.Future[None]] = {}
        self._loop = asyncio.get_running_loop()
        self.asked_again = self.won = 0

    def look(self, stragglers: Iterable[Flight]) -> None:
        """Have a second call made for these, as far as may be."""
        for flight in stragglers:
            bell = self._bells.get(flight)
            if bell is None or bell.done():
                continue
            if not self._may():
                return
            bell.set_result(None)

    def _may(self) -> bool:
        since = self._loop.time() - self._limiter.last_pushback
        disturbed = self._limiter.pauses or self._limiter.circuit_breaker.is_away or since < PUSHED_BACK
        return not disturbed and self._share.take()

    async def run(self, asked: PreparedRow, history: AttemptLog) -> CallResult | Cause | None:
        """As `CallRunner.run`."""
        calls = self._calls
        first = await calls.start(asked, history)
        if not isinstance(first, StartedCall):
            return first
        leg = _Leg(first)
        leg.task = self._spawn(calls.exchange(first, asked))
        try:
            if await self._straggles(first, leg.task):
                return await self._race(leg, asked, history)
        finally:
            leg.task.cancel()
        self._share.earn()
        came = leg.task.result()
        assert came is not None
        return calls.end(first, asked, history, came)

    async def _straggles(self, first: StartedCall, task: CallTask) -> bool:
        """Wait for the answer, or for being told that it takes too long."""
        flight = first.leave.permit.flight
        assert flight is not None
        bell = self._bells[flight] = self._loop.create_future()
        try:
            await asyncio.wait((task, bell), return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._bells[flight]
        return not task.done()

    async def _race(self, first: _Leg, asked: PreparedRow, history: AttemptLog) -> CallResult:
        """Both calls, until one of them is answered or neither can be."""
        second = _Leg()
        second.task = self._spawn(self._again(first, second, asked, history))
        running, failed = [first, second], None
        try:
            while running and (second.sent is not None or not first.task.done()):
                await asyncio.wait([leg.task for leg in running], return_when=asyncio.FIRST_COMPLETED)
                for leg in [leg for leg in running if leg.task.done()]:
                    running.remove(leg)
                    came = leg.task.result()
                    if leg.sent is None or came is None:
                        continue  # the second was not made
                    if isinstance(came.verdict, Done | Refused):
                        self._share.earn()
                        self.won += leg is second
                        for other in running:
                            self._lose(other, came.verdict, asked, history)
                        return self._calls.end(leg.sent, asked, history, came)
                    ended = self._calls.end(leg.sent, asked, history, came)
                    failed = failed if failed and isinstance(failed.verdict, Halt) else ended
        finally:
            second.task.cancel()
        assert failed is not None
        return failed

    async def _again(self, first: _Leg, second: _Leg, asked: PreparedRow, history: AttemptLog) -> CallResult | None:
        """The second call. None: it is not made."""
        assert first.sent is not None
        leave = await self._calls.admit_again(asked)
        if leave is None:
            return None
        began = first.sent.leave.permit.at
        history.first_call_began(began)
        sent = self._calls.begin(leave, asked, history)
        if isinstance(sent, Cause):
            self._calls.unsendable(leave, asked, sent)
            return None
        second.sent = sent
        self.asked_again += 1
        self._observer.hedged(asked.row.number, leave.permit.at - began)
        return await self._calls.exchange(sent, asked)

    def _lose(self, leg: _Leg, winner: Done | Refused, asked: PreparedRow, history: AttemptLog) -> None:
        """Before the one that won, so that this one is the last of the record. It may have ended in the same moment."""
        if leg.sent is None:
            return
        came = leg.task.result() if leg.task.done() else None
        if came is None:
            self._calls.outrun(leg.sent, asked, history, winner, None)
        elif isinstance(came.verdict, Done | Refused):
            self._calls.outrun(leg.sent, asked, history, winner, came)
        else:
            self._calls.end(leg.sent, asked, history, came)
