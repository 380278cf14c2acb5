"""Sends a slow call a second time; the first whole answer wins.

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

from arkbatch.core.calls import CallResult, Cause, Done, Halt, Refused
from arkbatch.engine.attempt_log import AttemptLog
from arkbatch.engine.call import CallRunner, Dependencies, PreparedRow, StartedCall
from arkbatch.limits.slow_calls import CallInFlight, HedgeAllowance

PUSHED_BACK = 10.0  # s, after which a service that asked for fewer calls is asked twice again

CallTask = asyncio.Task[CallResult | None]
Spawn = Callable[[Coroutine[Any, Any, CallResult | None]], CallTask]


class _Leg:
    """One of the two calls. `started` is None until it is in flight, which the second may never be."""

    def __init__(self, started: StartedCall | None = None) -> None:
        self.started = started
        self.task: CallTask


class HedgedCallRunner:
    """Makes the calls of a session in the place of `CallRunner`.

    spawn: starts a task that lives no longer than the session
    asked_again, won: second calls that were made, and those that were answered first
    """

    def __init__(self, calls: CallRunner, dependencies: Dependencies, spawn: Spawn) -> None:
        self._calls = calls
        self._limiter = dependencies.limiter
        self._observer = dependencies.observer
        self._share = HedgeAllowance(dependencies.hedge)
        self._spawn = spawn
        self._bells: dict[CallInFlight, asyncio.Future[None]] = {}
        self._loop = asyncio.get_running_loop()
        self.asked_again = self.won = 0

    def hedge_slow_calls(self, stragglers: Iterable[CallInFlight]) -> None:
        """Have a second call made for these, as far as may be."""
        for flight in stragglers:
            bell = self._bells.get(flight)
            if bell is None or bell.done():
                continue
            if not self._has_budget():
                return
            bell.set_result(None)

    def _has_budget(self) -> bool:
        since = self._loop.time() - self._limiter.last_pushback
        disturbed = self._limiter.pauses or self._limiter.circuit_breaker.is_away or since < PUSHED_BACK
        return not disturbed and self._share.take_one()

    async def run(self, prepared: PreparedRow, log: AttemptLog) -> CallResult | Cause | None:
        """As `CallRunner.run`."""
        calls = self._calls
        started = await calls.start_call(prepared, log)
        if not isinstance(started, StartedCall):
            return started
        first = _Leg(started)
        first.task = self._spawn(calls.send_and_judge(started, prepared))
        try:
            if await self._is_slow(started, first.task):
                return await self._race_calls(first, prepared, log)
        finally:
            first.task.cancel()
        self._share.note_answer()
        result = first.task.result()
        assert result is not None
        return calls.end_call(started, prepared, log, result)

    async def _is_slow(self, first: StartedCall, task: CallTask) -> bool:
        """Wait for the answer, or until `hedge_slow_calls` finds that it takes too long."""
        flight = first.admission.permit.flight
        assert flight is not None
        bell = self._bells[flight] = self._loop.create_future()
        try:
            await asyncio.wait((task, bell), return_when=asyncio.FIRST_COMPLETED)
        finally:
            del self._bells[flight]
        return not task.done()

    async def _race_calls(self, first: _Leg, prepared: PreparedRow, log: AttemptLog) -> CallResult:
        """Both calls, until one of them is answered or neither can be."""
        second = _Leg()
        second.task = self._spawn(self._call_again(first, second, prepared, log))
        running, failed = [first, second], None
        try:
            while running and (second.started is not None or not first.task.done()):
                await asyncio.wait([leg.task for leg in running], return_when=asyncio.FIRST_COMPLETED)
                for leg in [leg for leg in running if leg.task.done()]:
                    running.remove(leg)
                    result = leg.task.result()
                    if leg.started is None or result is None:
                        continue  # the second was not made
                    if isinstance(result.verdict, Done | Refused):
                        self._share.note_answer()
                        self.won += leg is second
                        for other in running:
                            self._report_lost(other, result.verdict, prepared, log)
                        return self._calls.end_call(leg.started, prepared, log, result)
                    ended = self._calls.end_call(leg.started, prepared, log, result)
                    failed = failed if failed and isinstance(failed.verdict, Halt) else ended
        finally:
            second.task.cancel()
        assert failed is not None
        return failed

    async def _call_again(self, first: _Leg, second: _Leg, prepared: PreparedRow, log: AttemptLog) -> CallResult | None:
        """The second call. None: it is not made."""
        assert first.started is not None
        admission = await self._calls.admit_second(prepared)
        if admission is None:
            return None
        began = first.started.admission.permit.at
        log.first_call_began(began)
        started = self._calls.begin_call(admission, prepared, log)
        if not isinstance(started, StartedCall):
            return None
        second.started = started
        self.asked_again += 1
        self._observer.hedged(prepared.row.number, admission.permit.at - began)
        return await self._calls.send_and_judge(started, prepared)

    def _report_lost(self, leg: _Leg, winner: Done | Refused, prepared: PreparedRow, log: AttemptLog) -> None:
        """Report the call that lost, before the winner, so that the winner is the last of the record.

        It may have ended in the same moment.
        """
        if leg.started is None:
            return
        result = leg.task.result() if leg.task.done() else None
        if result is None or isinstance(result.verdict, Done | Refused):
            self._calls.end_lost_call(leg.started, prepared, log, winner, result)
        else:
            self._calls.end_call(leg.started, prepared, log, result)
