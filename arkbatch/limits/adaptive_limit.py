"""How fast and how many at once: finds what the service allows by listening to its refusals, and holds it.

Pure: `now` comes in with each call, memory and time per call are constant. It does not know rows, tokens or
sockets; `verdict` says what a refusal means, the gate asks `ready_in` and tells `sent`, `answered` and
`pushed_back`. Tokens per minute are `budget`'s; when those are refused, the rate of calls gives way here.

The reasoning, in the order in which it happens:

* **Unknown servers start at full speed**, only not with all calls at once: the width begins small, grows with the
  answers, and doubles every three seconds. What is lost to a fast server is some milliseconds; what is spared at a
  slow one is a burst of refusals as large as the concurrency. Ark refuses steep ramps, so whoever builds a pace for
  Ark passes a `Ramp`; nothing here guesses it.
* **A refusal shuts the door for all** (`door`). Calls that were under way bring the same news again; that is no
  new evidence. One refusal alone among thousands of calls is none of a limit.
* **What was granted until the door opens again is the limit** (`granted`, `lesson`). So it is measured instead of
  halved, and a cut to a third is answered in one step. Of the calls in flight likewise: those that were not
  refused are what the service takes.
* **Near the limit found, the pace is held** (`climb`), evenly spaced. A refusal beyond it only proves that it stands.
* **Only what was the bottleneck may rise.** A rate that no row waited for has not been tried.
"""

import math

from msgspec import Struct

from arkbatch.core.types import Scope
from arkbatch.limits.cooldown import Door
from arkbatch.limits.lesson import Crowd, brief_pause, rate_limit
from arkbatch.limits.observed_limit import Granted
from arkbatch.limits.ramp import FIRST_WIDTH, FRESH, USER_MARGIN, Memory, Ramp, Start, first_rate, first_width
from arkbatch.limits.steepness import Steepness

__all__ = ["Found", "Memory", "Pace", "Ramp", "Start"]

SLACK = 0.02  # s; how late a timer may wake us without the slot being lost
IDLE = 10.0  # s; without a call for so long, there were no rows
SLOW = 2.0  # s; no more of the time between two calls counts as endured: few calls are not to be refused often
QUICK = 10.0  # the same above the last known limit, where the next one may be far
WIDEN = 0.25  # more with each answer: a quarter in each round of calls, since what is in flight is refused together
DOUBLING = 3.0  # s; calls that last minutes must not keep the width small for minutes
HASTE = 1.25  # times as fast, to catch up on calls that were missed
AFTER_OUTAGE = 0.5  # what comes back from an outage is not met with all calls at once
LONG = 180.0  # s; Ark calls steep what is a fifth more than three minutes before


class Found(Struct, frozen=True):
    """Where the pace stands. None: nothing holds it back so far."""

    rpm: float | None
    concurrency: int | None


class Pace:
    """One for each limit the service keeps, that is for each model.

    concurrency, rate: ceilings given by the user; `rate` is calls a minute
    ramp, start, memory: where and how steeply to begin (`head_start`)
    reason: one phrase, why the pace is what it is
    """

    def __init__(
        self,
        now: float,
        *,
        concurrency: int,
        rate: float | None = None,
        ramp: Ramp | None = None,
        start: Start | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.concurrency = concurrency
        memory = (memory or Memory()).if_not_forgotten
        self._met_rpm, self._met_here = memory.rpm, False
        self._steepness = Steepness(ramp)
        self._rate, self.reason = first_rate(rate, ramp, start, memory)
        self._width = first_width(concurrency, memory)
        self._widened_at = now  # by time
        self._door = Door()
        self._scope = Scope.RATE  # why the door is shut
        self._granted = Granted(now)
        self._in_flight = 0
        self._crowd = Crowd()
        self._missed = 0.0  # calls that were not sent though the service would have taken them
        self._due = now  # when the next evenly spaced call may start
        self._last_sent = now
        self._held_back: Scope | None = None  # what made the next call wait, if anything did
        self._bottleneck: Scope | None = None  # what made the last one wait that had to
        self._told, self._told_until = math.inf, -math.inf

    # ---- what the gate asks and tells

    def ready_in(self, now: float, in_flight: int) -> float:
        """Seconds until another call may start; math.inf when only an ended call can make room."""
        self._in_flight = in_flight  # calls that were abandoned are not told, so the gate's count is the right one
        if self._door.is_over(now):
            self._try_door(now)  # before the call that would be one more than what is learnt
        if in_flight >= int(self._width.value):
            return self._crowded(now, in_flight)
        if self._scope is Scope.CONCURRENCY and self._crowd.is_full(self._door, in_flight):
            return math.inf
        by_rate = self._due > self._door.until
        wait = (self._due if by_rate else self._door.until) - now
        if wait < 1e-6:  # a clock that jumps to a timer may stop a rounding error before it
            return 0.0
        if by_rate:
            self._held_back = Scope.RATE
        return wait

    def sent(self, now: float) -> None:
        """A call starts."""
        if self._door.is_shut:
            self._try_door(now)
        elif self._held_back is None and now - self._last_sent > IDLE:
            self._granted.pause_ended(now)
        self._in_flight += 1
        self._granted.sent(now)
        if self._held_back is not None:
            self._rise(now)
        self._last_sent = now
        rate = self._rate.value
        if self._missed > 0:
            rate = min(rate * HASTE, self._rate.most)
            self._missed -= 1.0 - 1.0 / HASTE
        if now < self._told_until:
            rate = min(rate, self._told)
        self._due = max(self._due, now - SLACK) + 1.0 / rate

    def answered(self, now: float) -> None:  # noqa: ARG002 - each of the three is told when
        """A call ended, whatever its result, and nobody complained about pace."""
        self._in_flight -= 1
        if self._width.ceiling == math.inf and self._width.value < self.concurrency:
            self._width.restart(self._width.value + WIDEN)

    def pushed_back(self, now: float, scope: Scope, after: float | None = None, sent_at: float | None = None) -> None:
        """A call was refused for the rate or for the concurrency; `after` is the server's Retry-After.

        sent_at: when that call started. Without it, what comes while the door is shut counts as old news.
        """
        door, since = self._door, self._granted.since
        old_news = door.knows(now, sent_at)
        sent_at = now if sent_at is None else sent_at
        self._in_flight -= 1
        self._granted.refused(now, sent_at, old_news=old_news)
        if old_news:
            if door.is_shut:
                self._crowd.refused_too()
                door.hear_again(after, sent_at, now if since is None else since)
            return
        brief = 0.0
        if not door.is_shut:
            self._scope = scope
            brief = brief_pause(sent_at, since, self._rate) if scope is Scope.RATE else 0.0
        self._crowd.refused(self._in_flight, is_first=not door.is_shut)
        door.shut(now, after, sent_at, brief)

    def told(self, now: float, remaining: int, reset: float) -> None:
        """The server's headers: so many more calls within `reset` seconds (`x-ratelimit-*-requests`)."""
        if reset > 0:
            self._told, self._told_until = max(remaining, 0.5) / reset, now + reset

    def rested(self, now: float) -> None:
        """Somebody held all calls back for a while; what was granted before is no measure, and begins anew."""
        self._held_back = None
        self._granted.pause_ended(now)
        self._begin_gently(now - self._last_sent, FRESH)

    def came_back(self, now: float, away: float) -> None:
        """The service was away for so many seconds, in which only probes were sent."""
        self._held_back = None
        self._granted.pause_ended(now)
        self._begin_gently(away, LONG)

    # ---- what the user changes

    def allow_at_once(self, concurrency: int) -> None:
        """Another ceiling of calls at once. A higher one is reached as at the beginning, with time and answers."""
        width = self._width
        self.concurrency = width.most = concurrency
        width.restart(width.value if width.ceiling < math.inf else max(width.value, FIRST_WIDTH))

    def allow_rate(self, now: float, rate: float | None, ramp: Ramp | None = None) -> None:
        """Another ceiling of calls a minute. Only a refusal that came keeps us below it, or no ceiling and a ramp."""
        climb = self._rate
        climb.most = math.inf if rate is None else rate / 60 * USER_MARGIN
        if self._met_here:
            climb.restart(climb.value)
        else:
            climb.ceiling = climb.most  # what was published or remembered only said where to begin
            if rate is None and ramp is not None:
                self._steepness = Steepness(ramp)
                climb.restart(climb.value)
            else:
                climb.restart(climb.most)
        self._due = min(self._due, now + 1.0 / climb.value)

    # ---- what the user is shown, and the next session told

    @property
    def found(self) -> Found:
        rate, width = self._rate.value, self._width
        return Found(
            rpm=None if rate == math.inf else rate * 60,
            concurrency=None if width.ceiling == math.inf else int(width.value),
        )

    def memory(self) -> Memory:
        """Only limits that were met, never a guess we began with; where one was left behind, how far we have come."""
        rate, width = self._rate, self._width
        rpm = rate.value * 60 if self._met_rpm is not None and rate.beyond else self._met_rpm
        most = width.value if width.beyond else width.ceiling
        return Memory(rpm=rpm, concurrency=None if most == math.inf else int(most))

    # ---- rising

    def _crowded(self, now: float, in_flight: int) -> float:
        """All places are taken: those given, those found, or those of the beginning, which grow with time too."""
        if in_flight >= self.concurrency:
            return math.inf
        if self._width.ceiling < math.inf:
            self._held_back = Scope.CONCURRENCY
            return math.inf
        width = self._width
        width.restart(width.value * 2.0 ** (min(now - self._widened_at, 0.5) / DOUBLING))
        self._widened_at = now
        if in_flight < int(width.value):
            return 0.0
        return max(DOUBLING * math.log2((in_flight + 1) / width.value), 0.001)

    def _rise(self, now: float) -> None:
        by_rate = self._held_back is Scope.RATE
        climb = self._rate if by_rate else self._width
        waited = max(now - max(self._last_sent, self._door.until), 0.0)
        endured = min(waited, QUICK if climb.beyond else SLOW)
        per_minute = max(self._granted.lately, climb.value * 60 if by_rate else 0.0)
        climb.endure(endured, climb.value * self._steepness.allowed(per_minute, endured))
        self._bottleneck, self._held_back = self._held_back, None

    def _begin_gently(self, idle: float, long: float) -> None:
        """A service that minds steep traffic has forgotten what it took before."""
        ramp = self._steepness.ramp
        if ramp is not None and idle > long:
            self._rate.restart(min(self._rate.value, ramp.start_rpm / 60))

    # ---- learning, when the door opens

    def _try_door(self, now: float) -> None:
        opened_at = self._door.opened(now)
        if opened_at is None:
            self._crowd.tried(self._in_flight)
            return
        if self._granted.is_alone(self._door):
            pass
        elif self._scope is Scope.RATE:
            self._learn_rate(now, opened_at)
        else:
            self._learn_width(now)
        self._granted.door_opened()
        self._due = now

    def _learn_rate(self, now: float, opened_at: float) -> None:
        limit = rate_limit(now, opened_at, self._door, self._granted, self._rate)
        if limit is None:
            self._was_away(now)
            return
        self._missed = limit.missed
        self._rate.meet(limit.ceiling, begin=limit.begin)
        self._met_rpm, self._met_here = limit.ceiling * 60, True
        self.reason = f"the service refused more than {self._met_rpm:.0f} calls a minute"

    def _learn_width(self, now: float) -> None:
        limit = self._crowd.limit(self._door, self._granted.since, self._width)
        if limit is None:
            self._was_away(now)
            return
        self._mind_the_rise()
        self._width.meet(limit, begin=1.0)
        self.reason = f"the service refused more than {limit:.0f} calls at once"

    def _mind_the_rise(self) -> None:
        """Ark refuses with the same codes who rises too steeply, whatever the number of calls."""
        granted = self._granted
        steep = self._steepness.refused(granted.per_second * 60, rose=granted.rose)
        if steep and self._bottleneck is Scope.RATE:
            self._rate.restart(max(self._rate.value * 0.7, granted.per_second))

    def _was_away(self, now: float) -> None:
        """An outage says nothing about limits."""
        rate, width = self._rate, self._width
        if rate.value < math.inf:
            rate.restart(min(rate.value, rate.ceiling) * AFTER_OUTAGE)
        known = min(width.value, width.ceiling)
        width.restart(max(known * AFTER_OUTAGE, min(known, FIRST_WIDTH)))
        self._begin_gently(now - self._door.shut_at, LONG)
        self.reason = "the service was away"
