"""The limiter: each call gets its permit here, and reports its end here.

Behind it stand the request rate, the token rates, the adaptive limit, the circuit breaker, the estimates of tokens
and the watch for slow calls. Callers know none of these:

    demand = limiter.demand_of(row, size)           # the tokens that the call will probably take
    permit = await limiter.acquire(demand)          # None: the limiter is closed, send nothing
    result = limiter.release(permit, result)        # exactly one of these three for each permit
    limiter.release_unsent(permit)                  #   nothing was sent
    limiter.abandon_call(permit)                    #   the caller hung up, nobody knows how the call ended

Everything that a permit takes is taken at the moment when it is granted. No await stands between the question
whether a call may go and the taking. A waiter that is cancelled after its permit was granted gives it back.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec.structs import replace

from arkbatch.core.calls import Again, Broken, CallResult, Done, Halt, Kind, Reply, Scope, Verdict
from arkbatch.core.row import Row, Size
from arkbatch.core.usage import Usage
from arkbatch.limits.circuit_breaker import CircuitBreaker, may_have_arrived
from arkbatch.limits.fixed_limit import FixedLimit
from arkbatch.limits.given_limits import GivenLimits
from arkbatch.limits.pauses import Pauses
from arkbatch.limits.permit import Demand, Permit
from arkbatch.limits.rate_meter import LimitedBy, RateMeter
from arkbatch.limits.slow_calls import CallInFlight, CallsInFlight, doublings
from arkbatch.limits.token_estimator import Estimator
from arkbatch.limits.token_rate import TokenRate
from arkbatch.limits.token_split import NO_TOKENS, Allowance, Tokens
from arkbatch.limits.wait_queue import NO_OBSTACLE, Obstacle, Waiter, WaitQueue
from arkbatch.protocol.ratelimit_headers import requests_allowed

# A timer may fire a rounding error early; asking again at once would spin.
SHORTEST_WAIT = 0.001

_LOAD_SCOPES = (Scope.RATE, Scope.CONCURRENCY)
# After these failures the service may have worked on the request and billed it without saying so.
_MAYBE_BILLED = (Kind.TIMEOUT, Kind.CONNECTION, Kind.BAD_REPLY)


class Pace(Protocol):
    """How many calls the service takes, and how fast. It is asked last, so that it waits for nothing but itself."""

    @property
    def reason(self) -> str: ...

    def ready_in(self, now: float, in_flight: int) -> float:
        """Seconds until a call may go; `math.inf` when only a call that ends can free a place."""
        ...

    def begin_call(self, now: float) -> int:
        """Note that a call starts. Returns its number."""
        ...

    def note_grant(self, now: float, permit: Permit) -> None: ...

    def note_refusal(self, now: float, permit: Permit, scope: Scope, after: float | None) -> float | None:
        """Note a refusal because of the load. Returns the seconds for which its row must wait at least."""
        ...

    def note_headers(self, now: float, remaining: int, reset: float) -> None: ...

    def end_pause(self, now: float) -> None:
        """For a while no call was let through, for a reason of our own."""
        ...

    def came_back(self, now: float, away: float) -> None:
        """For so many seconds the service was away, and only single calls went out."""
        ...


class Limiter:
    """The one limiter of a run, or of one service's limits. Made and used inside a running loop.

    concurrency: calls in flight at most
    requests_per_minute, tokens: limits that the user gave, None for none
    shares: more limits on the same tokens; a call goes when each of them allows it
    pace: the adaptive limit; None: as many calls go as ask
    outage: the circuit breaker
    slow_calls: watches the calls in flight, None where no call is too slow (the batch lane)
    """

    def __init__(
        self,
        *,
        concurrency: int,
        requests_per_minute: float | None = None,
        tokens: TokenRate | None = None,
        shares: Sequence[Allowance] = (),
        pace: Pace | None = None,
        outage: CircuitBreaker | None = None,
        slow_calls: CallsInFlight | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        now = self._time()
        self._concurrency = concurrency
        self._meter = RateMeter(now)
        self._given = GivenLimits(self._meter, requests_per_minute, tokens, shares)
        self._pace: Pace = FixedLimit() if pace is None else pace
        self.circuit_breaker = outage or CircuitBreaker(now, width=concurrency, give_up_after=math.inf, known=True)
        self.slow_calls = slow_calls
        self._estimators: dict[tuple[str, object], Estimator] = {}
        self._closed = False
        self._away = 0.0  # seconds that the service has been away, at the last call
        self._pauses = Pauses()
        self.in_flight = 0
        self.last_pushback = -math.inf  # loop time at which the service last asked for fewer calls
        self._reserved = 0  # tokens, for the calls in flight
        self._queue = WaitQueue(self._find_obstacle, self._given.seconds_for)
        self._looking_soon = False
        self._timer: asyncio.TimerHandle | None = None

    # ---- one call, from its demand to its end

    def demand_of(self, row: Row, size: Size) -> Demand:
        """What a call of this row will probably take, by what such calls took so far."""
        key = (row.endpoint, row.body.get("model"))
        estimator = self._estimators.get(key)
        if estimator is None:
            estimator = Estimator(output=0) if row.endpoint.endswith("embeddings") else Estimator()
            self._estimators[key] = estimator
        return Demand(row, size, estimator.estimate_tokens(size), estimator)

    async def acquire(self, demand: Demand, *, untried: bool = False) -> Permit | None:
        """Wait for the permit to send one call. None: the limiter is closed, send nothing.

        untried: the row has not been sent so far, so its answer shows best whether the service is there
        """
        if not self._queue and not self._closed:
            now = self._time()
            if self._find_obstacle(now, demand.tokens) is NO_OBSTACLE:
                return self._grant_permit(now, demand)
        return await self._stand_in_line(demand, untried=untried)

    def release(self, permit: Permit, result: CallResult) -> CallResult:
        """Report how the call of this permit ended. Returns the result with the fault where it belongs.

        A failure that turns out to be the service's and not the row's comes back with `Scope.SERVICE`. Everything that
        learns from the end of a call learns it here, and from nowhere else.
        """
        response, verdict = result.response, result.verdict
        if isinstance(response, Broken) and isinstance(verdict, Halt):
            self.release_unsent(permit)  # there was no key to send it with
            return result
        now, demand = self._time(), permit.demand
        row = demand.row
        verdict = self.circuit_breaker.note_verdict(now, row.number, verdict, permit.at, row.before)
        self._end_flight(permit, now if isinstance(verdict, Done) else None)
        reply = response if isinstance(response, Reply) else None
        # Of an answer that was cut off only the beginning was counted, so it teaches nothing.
        if reply is not None and (usage := result.usage):
            if now >= demand.estimator.learns_again_at:
                demand.estimator.learn_usage(demand.size, usage, now)
            self._settle_call(now, permit, _tokens_of(usage))
        else:
            self._settle_call(now, permit, _assumed_tokens(demand.tokens, verdict))
        if isinstance(verdict, Again) and verdict.scope in _LOAD_SCOPES:
            verdict = self._push_back(now, permit, verdict)
        else:
            self._pace.note_grant(now, permit)
        if reply is not None and (granted := requests_allowed(reply.headers)) is not None:
            self._pace.note_headers(now, *granted)
        return result if verdict is result.verdict else CallResult(response, verdict)

    def _push_back(self, now: float, permit: Permit, verdict: Again) -> Again:
        self.last_pushback = now
        after = self._pace.note_refusal(now, permit, verdict.scope, verdict.after)
        return verdict if after == verdict.after else replace(verdict, after=after)

    def release_unsent(self, permit: Permit) -> None:
        """Give a permit back with which nothing was sent. It counts as a request, and its tokens are free again."""
        now = self._time()
        self._end_flight(permit, None)
        self.circuit_breaker.note_no_verdict(now, permit.at)
        self._settle_call(now, permit, NO_TOKENS)

    def abandon_call(self, permit: Permit) -> None:
        """Free the place of a call that the caller hung up on. Its tokens count as they were reserved."""
        now = self._time()
        self._end_flight(permit, now)
        self.in_flight -= 1
        self._reserved -= permit.demand.tokens.total
        self.circuit_breaker.note_no_verdict(now, permit.at)
        self._look_soon()

    def close(self) -> None:
        """Grant no more permits. All who wait come back at once, with None."""
        self._closed = True
        self._cancel_timer()
        self._queue.release_all()

    # ---- pauses and changes of limits

    def pause(self, reason: str) -> None:
        """Grant no permit until this pause and every other has ended. `reason`: its name, which people see."""
        now = self._time()
        if self._pauses.begin_pause(reason, now):
            self.circuit_breaker.begin_pause(now)

    def resume(self, reason: str) -> None:
        """End one pause. Nothing happens if there is none of this name."""
        now = self._time()
        if self._pauses.end_pause(reason, now):
            self.circuit_breaker.end_pause(now)
            self._pace.end_pause(now)
            self._look_soon()

    def change_limits(
        self, *, concurrency: int, requests_per_minute: float | None = None, tokens_per_minute: float | None = None
    ) -> None:
        """Set other limits from now on."""
        now = self._time()
        self._concurrency = concurrency
        self.circuit_breaker.allow_concurrency(concurrency)
        self._given.change_requests(now, requests_per_minute)
        self._given.change_tokens(now, tokens_per_minute, self._reserved)
        self._look_soon()

    def allow_parts(self, given: float | None, generated: float | None) -> None:
        """The same for input and for output tokens a minute."""
        self._given.change_parts(self._time(), given, generated, self._reserved)
        self._look_soon()

    def allowed_in(self) -> float:
        """Seconds until the given limits allow a call of no tokens."""
        return self._given.allowed_in(self._time())

    @property
    def pauses(self) -> Mapping[str, float]:
        """The pauses in force, and the loop time at which each began."""
        return self._pauses.since

    def paused_seconds(self, now: float) -> float:
        """Return the seconds in which any pause was in force. They count against no row and no time limit."""
        return self._pauses.paused_seconds(now)

    # ---- for observers

    @property
    def reason(self) -> str:
        """Why the pace is what it is."""
        return ", ".join(self.pauses) or self.circuit_breaker.reason or self._pace.reason

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def requests_per_minute(self) -> float:
        """Calls sent, over the last minute."""
        return self._meter.per_minute(self._meter.sent, self._time())

    def tokens_per_minute(self) -> float:
        """Tokens settled, over the last minute."""
        return self._meter.per_minute(self._meter.used, self._time())

    def limited_by(self) -> LimitedBy:
        """Return what held calls back for most of the last seconds; a pause counts at once."""
        if self._pauses.since:
            return LimitedBy.HELD
        if self.circuit_breaker.is_away:
            return LimitedBy.SERVER
        busy = self.in_flight >= self._concurrency * 0.9
        return self._meter.most_frequent_limit(self._time()) or (LimitedBy.CONCURRENCY if busy else LimitedBy.INPUT)

    # ---- granting one permit

    def _find_obstacle(self, now: float, tokens: Tokens) -> Obstacle:
        """Seconds to wait and what for; `NO_OBSTACLE` when a call of this size may go now."""
        if self._pauses.since:
            return math.inf, LimitedBy.HELD
        if self.circuit_breaker.is_away and (wait := self.circuit_breaker.ready_in(now, self.in_flight)) > 0:
            return wait, LimitedBy.SERVER
        if (obstacle := self._given.find_obstacle(now, tokens)) is not NO_OBSTACLE:
            return obstacle
        if (wait := self._pace.ready_in(now, self.in_flight)) > 0:
            return wait, LimitedBy.CONCURRENCY if self.in_flight >= self._concurrency else LimitedBy.SERVER
        return NO_OBSTACLE

    def _grant_permit(self, now: float, demand: Demand) -> Permit:
        """Take all at one moment, so that what `_find_obstacle` said still holds."""
        tokens = demand.tokens
        self._given.spend_tokens(now, tokens)
        if self._away or self.circuit_breaker.is_away:
            self._mind_outage(now)
        number, beside = self._pace.begin_call(now), self.in_flight
        self.circuit_breaker.note_call(now)
        self.in_flight += 1
        self._reserved += tokens.total
        self._meter.sent.add(now, 1)
        flight = None if self.slow_calls is None else self._begin_flight(now, demand)
        return Permit(now, demand, flight, number, beside)

    def _mind_outage(self, now: float) -> None:
        """Tell the adaptive limit how long the service was away: it need not take at once what it took before."""
        if self.circuit_breaker.is_away:
            self._away = self.circuit_breaker.away_seconds(now)
        else:
            self._pace.came_back(now, self._away)
            self._away = 0.0

    def _settle_call(self, now: float, permit: Permit, used: Tokens) -> None:
        """All that ends with a call in one step, since each step reads the clock and is taken for every row."""
        reserved = permit.demand.tokens
        self.in_flight -= 1
        self._reserved -= reserved.total
        self._meter.used.add(now, used.total)
        self._given.settle_tokens(now, permit.at, reserved, used)
        self._look_soon()

    def _begin_flight(self, now: float, demand: Demand) -> CallInFlight:
        assert self.slow_calls is not None
        row, stream = demand.row, demand.row.body.get("stream") is True
        key = (row.endpoint, row.asked_model, stream, doublings(demand.size))
        return self.slow_calls.add_call(now, row.number, key)

    def _end_flight(self, permit: Permit, learnt_at: float | None) -> None:
        if permit.flight is not None and self.slow_calls is not None:
            self.slow_calls.remove_call(permit.flight)
            if learnt_at is not None:
                permit.flight.learn_silence(learnt_at)

    # ---- waiting

    async def _stand_in_line(self, demand: Demand, *, untried: bool) -> Permit | None:
        if self._closed:
            return None
        waiter = Waiter(demand, self._loop.create_future(), untried=untried)
        self._queue.add_waiter(waiter)
        if len(self._queue) == 1 or self._given.counts_tokens:
            self._look_soon()
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            self._queue.remove_waiter(waiter)
            permit = None if waiter.granted.cancelled() else waiter.granted.result()
            if permit is not None:
                self.release_unsent(permit)
            self._look_soon()
            raise

    def _look_soon(self) -> None:
        """Look once at the waiting calls, after all reports of this round of the loop."""
        if self._queue and not self._looking_soon:
            self._looking_soon = True
            self._loop.call_soon(self._grant_waiting)

    def _grant_waiting(self) -> None:
        """Grant permits to all calls that may go now, then set the timer for the next look.

        All are granted here. If each woken call granted the next one, one a round of the loop, calls would end faster
        than others begin.
        """
        self._looking_soon = False
        self._cancel_timer()
        if self._closed:
            return
        now = self._time()
        wait = math.inf
        while self._queue:
            coming = self._queue.next_waiter(now, rather_untried=self.circuit_breaker.wants_untried)
            waiter, wait = coming.waiter, coming.wait
            # A pause that has ended holds no call back.
            self._meter.note_limit(now, None if self._pauses.since else coming.bound)
            if waiter is None:
                break
            self._queue.remove_waiter(waiter)
            if not waiter.granted.done():  # else it was cancelled and has not left yet
                waiter.granted.set_result(self._grant_permit(now, waiter.demand))
        if not self._queue:
            self._meter.note_limit(now, None)
        elif wait < math.inf:
            self._timer = self._loop.call_later(max(wait, SHORTEST_WAIT), self._grant_waiting)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _tokens_of(usage: Usage) -> Tokens:
    given = usage.get("input", 0)
    return Tokens(given + usage.get("output", 0), given)


def _assumed_tokens(reserved: Tokens, verdict: Verdict) -> Tokens:
    """Tokens to charge for a call that reported none: all that was reserved when it may have been worked on."""
    if not isinstance(verdict, Again) or not may_have_arrived(verdict.cause):
        return NO_TOKENS
    return reserved if verdict.cause.kind in _MAYBE_BILLED else NO_TOKENS
