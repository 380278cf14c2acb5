"""Where a call waits its turn: for the requests and the tokens a minute that were given, and for the pace.

Everything that a turn takes is taken at one moment, when the turn is granted; a waiter that was cancelled between
being granted its turn and hearing of it gives it back. The order is the line's, how much may be spent the allowance's,
how fast the server likes it the pace's.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from arkbatch.core.types import Scope
from arkbatch.limits.circuit_breaker import Outage
from arkbatch.limits.pauses import Holds
from arkbatch.limits.rate_meter import Bound, Watch
from arkbatch.limits.request_rate import Requests
from arkbatch.limits.token_rate import Allowance, Budget
from arkbatch.limits.token_split import Shares, Tokens
from arkbatch.limits.wait_queue import Line, Obstacle, Turn, Waiter

# A timer may fire a rounding error early; asking again at once would spin.
SHORTEST_WAIT = 0.001

_NONE: Obstacle = (0.0, None)


class Pace(Protocol):
    """How fast the server takes it. Asked last, so that it is made to wait for by nothing but itself."""

    @property
    def reason(self) -> str: ...

    def ready_in(self, now: float, in_flight: int) -> float:
        """Seconds until a call may go; `math.inf` when only a call that ends can free a place."""
        ...

    def sent(self, now: float) -> None: ...

    def answered(self, now: float) -> None: ...

    def pushed_back(self, now: float, scope: Scope, after: float | None, sent_at: float | None) -> None: ...

    def told(self, now: float, remaining: int, reset: float) -> None: ...

    def rested(self, now: float) -> None:
        """For a while no call was let through, for a reason of our own."""
        ...

    def came_back(self, now: float, away: float) -> None:
        """For so many seconds the service was away, and only single calls went out."""
        ...


class Unpaced:
    """A server that takes all we send."""

    reason = "no pace is kept"

    def ready_in(self, now: float, in_flight: int) -> float:  # noqa: ARG002
        return 0.0

    def sent(self, now: float) -> None: ...

    def answered(self, now: float) -> None: ...

    def pushed_back(self, now: float, scope: Scope, after: float | None, sent_at: float | None) -> None: ...

    def told(self, now: float, remaining: int, reset: float) -> None: ...

    def rested(self, now: float) -> None: ...

    def came_back(self, now: float, away: float) -> None: ...


class Gate:
    """The one gate of a run, or of a server's limits. Made and used inside a running loop.

    A worker asks `admit` before each call, and after it tells once what came of it: `answered` or `push_back`, with
    the tokens it used, `unsent` when there was nothing to send, or `leave` when nobody will ever know.
    """

    def __init__(
        self,
        *,
        concurrency: int,
        requests_per_minute: float | None = None,
        tokens: Allowance | None = None,
        shares: Sequence[Allowance] = (),
        pace: Pace | None = None,
        outage: Outage | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._time = self._loop.time
        now = self._time()
        self._concurrency = concurrency
        self._watch = Watch(now)
        self._requests = None if requests_per_minute is None else Requests(requests_per_minute, self._watch.sent)
        self._tokens = tokens
        self._shares = shares  # of the same tokens: each has to let a call go too
        self._pace: Pace = Unpaced() if pace is None else pace
        self.outage = outage or Outage(now, width=concurrency, give_up_after=math.inf, known=True)
        self._closed = False
        self._away = 0.0  # seconds that the service has been away, at the last call
        self._holds = Holds()
        self.in_flight = 0
        self._reserved = 0  # tokens, for the calls in flight
        self._line = Line(self._obstacle, self._seconds_for)
        self._looking_soon = False
        self._timer: asyncio.TimerHandle | None = None

    # ---- what a worker asks and tells

    async def admit(self, tokens: int, *, untried: bool = False) -> Turn | None:
        """Wait for leave to send one call of so many tokens. None: the gate is closed, send nothing.

        untried: the row has not been sent so far, so it can tell whether the service is away
        """
        if not self._line and not self._closed:
            now = self._time()
            if self._obstacle(now, tokens) is _NONE:
                return self._take(now, tokens)
        return await self._stand_in_line(tokens, untried=untried)

    def leave(self, turn: Turn) -> None:
        """A call was abandoned: its place is free, and it counts as it was reserved."""
        self.in_flight -= 1
        self._reserved -= turn.tokens
        self.outage.unheard(self._time(), turn.at)
        self._look_soon()

    def unsent(self, turn: Turn) -> None:
        """Nothing was sent: it counts as a request, and its tokens are free."""
        self.outage.unheard(self._time(), turn.at)
        self.answered(turn, 0)

    def answered(self, turn: Turn, used: int) -> None:
        """A call ended, having used so many tokens, and nobody complained about the pace."""
        now = self._time()
        self._settle(now, turn, used)
        self._pace.answered(now)

    def push_back(self, turn: Turn, used: int, scope: Scope, after: float | None) -> None:
        """A call was refused for the rate or the concurrency; `after`: seconds that the server asked for."""
        now = self._time()
        self._settle(now, turn, used)
        self._pace.pushed_back(now, scope, after, turn.at)

    def told(self, remaining: int, reset: float) -> None:
        """The server says by itself that it takes so many more calls within `reset` seconds."""
        self._pace.told(self._time(), remaining, reset)

    def close(self) -> None:
        """Let nobody through any more; all who wait come back at once, with None."""
        self._closed = True
        self._disarm()
        self._line.dissolve()

    # ---- what others want

    def hold(self, name: str) -> None:
        """Let nobody through until this hold, and every other, is released. It is told by its name."""
        now = self._time()
        if self._holds.put(name, now):
            self.outage.rests(now)

    def release(self, name: str) -> None:
        """Take one hold away; one that does not stand is none."""
        now = self._time()
        if self._holds.lift(name, now):
            self.outage.goes_on(now)
            self._pace.rested(now)
            self._look_soon()

    def allow(
        self, *, concurrency: int, requests_per_minute: float | None = None, tokens_per_minute: float | None = None
    ) -> None:
        """Other limits from now on. They hold for the minute before each call too, so that no minute passes the limit
        of its end: after a lower one, nobody goes until that minute keeps it.
        """
        now = self._time()
        self._concurrency = concurrency
        self.outage.widen(concurrency)
        if requests_per_minute is None:
            self._requests = None
        elif self._requests is None or requests_per_minute != self._requests.per_minute:
            self._requests = Requests(requests_per_minute, self._watch.sent, changed_at=now)
        self._allow_tokens(now, tokens_per_minute)
        self._look_soon()

    def allow_parts(self, given: float | None, generated: float | None) -> None:
        """The same for input and for output tokens a minute."""
        parts = self._parts
        if parts is None:
            parts = Shares(None, None)
            self._shares = [parts, *self._shares]
        parts.allow(self._time(), given, generated, self._watch.used, self._reserved)
        self._look_soon()

    @property
    def _parts(self) -> Shares | None:
        return next((share for share in self._shares if isinstance(share, Shares)), None)

    def _allow_tokens(self, now: float, per_minute: float | None) -> None:
        if per_minute is None:
            self._tokens = None
        elif isinstance(self._tokens, Budget):
            self._tokens.allow(now, per_minute)
        else:
            self._tokens = Budget.after(self._watch.used, per_minute, now)
            self._tokens.spend(now, self._reserved)

    def allowed_in(self) -> float:
        """Seconds until the given limits allow a call of no tokens."""
        now, parts = self._time(), self._parts
        return max(
            self._requests.room_in(now) if self._requests is not None else 0.0,
            self._tokens.ready_in(now, 1) if self._tokens is not None else 0.0,
            parts.ready_in(now, Tokens.of(1, 1)) if parts is not None else 0.0,
        )

    @property
    def holds(self) -> Mapping[str, float]:
        """The holds that stand, and since when."""
        return self._holds.since

    def held(self, now: float) -> float:
        """Seconds that any hold stood so far. Nobody is to blame for these, and no patience runs out in them."""
        return self._holds.seconds(now)

    # ---- what an observer asks

    @property
    def reason(self) -> str:
        """Why the pace is what it is."""
        return ", ".join(self.holds) or self.outage.reason or self._pace.reason

    @property
    def waiting(self) -> int:
        return len(self._line)

    def requests_per_minute(self) -> float:
        """Calls sent, over the last minute."""
        return self._watch.per_minute(self._watch.sent, self._time())

    def tokens_per_minute(self) -> float:
        """Tokens settled, over the last minute."""
        return self._watch.per_minute(self._watch.used, self._time())

    def bound_by(self) -> Bound:
        """What held calls back for most of the last seconds; a hold at once."""
        if self._holds.since:
            return Bound.HELD
        if self.outage.is_away:
            return Bound.SERVER
        busy = self.in_flight >= self._concurrency * 0.9
        return self._watch.held_mostly_by(self._time()) or (Bound.CONCURRENCY if busy else Bound.INPUT)

    # ---- one turn

    def _obstacle(self, now: float, tokens: int) -> Obstacle:
        """Seconds to wait and what for; `_NONE` when a call of this size may go now."""
        if self._holds.since:
            return math.inf, Bound.HELD
        if self.outage.is_away and (wait := self.outage.ready_in(now, self.in_flight)) > 0:
            return wait, Bound.SERVER
        if self._tokens is not None and (wait := self._tokens.ready_in(now, tokens)) > 0:
            return wait, Bound.TOKENS
        for share in self._shares:
            if (wait := share.ready_in(now, tokens)) > 0:
                return wait, Bound.TOKENS
        if self._requests is not None and (wait := self._requests.ready_in(now)) > 0:
            return wait, Bound.REQUESTS
        if (wait := self._pace.ready_in(now, self.in_flight)) > 0:
            return wait, Bound.CONCURRENCY if self.in_flight >= self._concurrency else Bound.SERVER
        return _NONE

    def _take(self, now: float, tokens: int) -> Turn:
        """All is taken at one moment, so that what `_obstacle` said still holds."""
        if self._requests is not None:
            self._requests.take()
        if self._tokens is not None:
            self._tokens.spend(now, tokens)
        for share in self._shares:
            share.spend(now, tokens)
        self._mind_outage(now)
        self._pace.sent(now)
        self.outage.sent(now)
        self.in_flight += 1
        self._reserved += tokens
        self._watch.sent.add(now, 1)
        return Turn(now, tokens)

    def _mind_outage(self, now: float) -> None:
        """What the service took before it was away it need not take at once: the pace is told how long that was."""
        if self.outage.is_away:
            self._away = self.outage.lasts(now)
        elif self._away:
            self._pace.came_back(now, self._away)
            self._away = 0.0

    def _settle(self, now: float, turn: Turn, used: int) -> None:
        """All that ends with a call in one step, since each step reads the clock and is taken for every row."""
        self.in_flight -= 1
        self._reserved -= turn.tokens
        self._watch.used.add(now, used)
        if self._tokens is not None:
            self._tokens.settle(now, turn.at, turn.tokens, used)
        for share in self._shares:
            share.settle(now, turn.at, turn.tokens, used)
        self._look_soon()

    # ---- the line

    async def _stand_in_line(self, tokens: int, *, untried: bool) -> Turn | None:
        if self._closed:
            return None
        waiter = Waiter(tokens, self._loop.create_future(), untried=untried)
        self._line.join(waiter)
        if len(self._line) == 1 or self._tokens is not None or self._shares:
            self._look_soon()
        try:
            return await waiter.bell
        except asyncio.CancelledError:
            self._line.leave(waiter)
            turn = None if waiter.bell.cancelled() else waiter.bell.result()
            if turn is not None:
                self.unsent(turn)
            self._look_soon()
            raise

    def _look_soon(self) -> None:
        """After all that is told about a call that ended, look once."""
        if self._line and not self._looking_soon:
            self._looking_soon = True
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        """Grant turns to all who may go now, then set the timer for when to look again.

        Granting them here, and not letting each find out when it wakes, keeps a line from living on by itself: one
        waker a round of the loop is slower than calls end.
        """
        self._looking_soon = False
        self._disarm()
        if self._closed:
            return
        now = self._time()
        wait = math.inf
        while self._line:
            coming = self._line.next(now, rather_untried=self.outage.wants_untried)
            waiter, wait = coming.waiter, coming.wait
            # A hold that is over keeps nobody waiting.
            self._watch.held(now, None if self._holds.since else coming.bound)
            if waiter is None:
                break
            self._line.leave(waiter)
            if not waiter.bell.done():  # else it was cancelled and has not left yet
                waiter.bell.set_result(self._take(now, waiter.tokens))
        if not self._line:
            self._watch.held(now, None)
        elif wait < math.inf:
            self._timer = self._loop.call_later(max(wait, SHORTEST_WAIT), self._look)

    def _seconds_for(self, tokens: int) -> float:
        """How long the scarcest allowance takes to grant this much."""
        limits = self._shares if self._tokens is None else (self._tokens, *self._shares)
        return max((limit.seconds_for(tokens) for limit in limits), default=0.0)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
