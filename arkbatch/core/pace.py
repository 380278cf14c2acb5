"""How fast and how many at once: finds what the service allows by listening to its refusals, and holds it.

Pure: `now` comes in with each call, memory and time per call are constant. It does not know rows, tokens or
sockets; `verdict` says what a refusal means, the gate asks `ready_in` and tells `sent`, `answered` and
`pushed_back`. Tokens per minute are `budget`'s; when those are refused, the rate of calls gives way here.

The reasoning, in the order in which it happens:

* **Unknown servers start at full speed**, only not with all calls at once: the width begins small and grows
  with the answers, and doubles each second. What is lost to a fast server is some milliseconds; what is spared at
  a slow one is a burst of refusals as large as the concurrency. Ark refuses steep ramps, so whoever builds a
  pace for Ark passes a `Ramp`; nothing here guesses it.
* **A refusal shuts the door for all** (`door`). Calls that were under way bring the same news again; that is no
  new evidence.
* **From one opening of the door to the next, granted calls / time is the true rate**: whatever the server's
  window is, it was used up and has turned over. So the new rate is measured instead of halved, and a cut to a
  third is answered in one step. Of the calls in flight likewise: those that were not refused are what it takes.
* **Near the limit found, the pace is held** (`climb`), evenly spaced. A refusal beyond it only proves that it stands.
* **Only what was the bottleneck may rise.** A rate that no row waited for has not been tried.
"""

import math

from msgspec import Struct

from arkbatch.core.budget import Window
from arkbatch.core.climb import UNLIMITED, Climb
from arkbatch.core.door import Door
from arkbatch.core.records import Scope

MINUTE = 60.0  # s; limits are counted by the minute or shorter, so older calls prove nothing
IDLE = 10.0  # s; without a call for so long, what was granted before is no measure
SLACK = 0.02  # s; how late a timer may wake us without the slot being lost
USER_MARGIN = 0.995  # of a given rate, so that a call which is a little late stays inside every minute
BEGIN = 0.985  # where to go on after a refusal, as a share of the limit that it showed
NEAR = 0.9  # what was granted is this near to the rate: noise, and not a limit that was cut
DEEPEST_CUT = 0.25  # a fixed window that is cut just after it began looks as if nothing were granted
AFTER_OUTAGE = 0.5
SHORT = 5.0  # s; a `Retry-After` up to here tells of a window of seconds
FIRST_WIDTH = 13
SOON = 5.0  # s
GIVE_WAY = 0.9
SLOWEST_GROWTH = 0.001  # a second; +20 % in three minutes, which Ark never calls steep
ALONE = 0.1  # of the calls in flight; who refuses a call among so few does not mind their number


class Start(Struct, frozen=True):
    """The limits that the service publishes for a model, per minute; None where it publishes none."""

    rpm: float | None = None
    tpm: float | None = None


class Ramp(Struct, frozen=True):
    """How steeply traffic may begin: Ark's own advice is 10 calls a second, then +5 to 10 % every 10 seconds."""

    start_rpm: float = 600.0
    growth: float = 0.01  # a second


class Memory(Struct, frozen=True):
    """What a session found, kept in the run directory for the next. `age` is in seconds, set by who loads it."""

    rpm: float | None = None
    concurrency: int | None = None
    age: float = 0.0


class Found(Struct, frozen=True):
    """Where the pace stands. None: no limit met so far."""

    rpm: float | None
    concurrency: int | None


class Pace:
    """One for each limit the service keeps, that is for each model.

    concurrency, rate: ceilings given by the user; `rate` is calls a minute
    ramp: how steeply to begin, None for at once
    start: published limits, a first guess of the ceiling
    memory: what an earlier session found, a better guess
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
        self.reason = "no limit met so far"
        self._met_rpm = None if memory is None else memory.rpm
        self._rate = self._first_rate(rate, ramp, start, memory)
        self._width = Climb(min(FIRST_WIDTH, concurrency), ceiling=math.inf, most=concurrency)
        self._widen_at = now + 1.0
        self._door = Door()
        self._scope = Scope.RATE  # why the door is shut
        self._minute = Window(now, MINUTE, 1.0)  # calls sent, less the refused
        self._minute_at_refusal = 0.0
        self._in_flight_at_refusal = 0
        self._in_flight_at_try = 0
        self._busy_since = now
        self._cycle_at: float | None = None  # when a call first went through since the door opened
        self._granted = 0  # calls since then, less the refused
        self._in_flight = 0
        self._kept = 0  # calls that were in flight when the door shut, less the refused
        self._due = now  # when the next evenly spaced call may start
        self._last_sent = now
        self._held_back: Scope | None = None  # what made the next call wait, if anything did
        self._rising = False  # the rate was the bottleneck of the last call that had one
        self._told, self._told_until = math.inf, -math.inf

    def _first_rate(self, rate: float | None, ramp: Ramp | None, start: Start | None, memory: Memory | None) -> Climb:
        most = math.inf if rate is None else rate / 60 * USER_MARGIN
        growth = UNLIMITED if ramp is None else ramp.growth
        ceiling = math.inf
        if memory is not None and memory.rpm is not None:
            ceiling, self.reason = memory.rpm / 60, "limit found by an earlier session"
        elif start is not None and start.rpm is not None:
            ceiling, self.reason = start.rpm / 60, "published limit of the model"
        begin = most if ceiling == math.inf else min(ceiling * 0.9, most)
        if ramp is not None:
            begin = min(begin, ramp.start_rpm / 60)
        return Climb(begin, ceiling=min(ceiling, most), most=most, growth=growth)

    # ---- what the gate asks and tells

    def ready_in(self, now: float, in_flight: int) -> float:
        """Seconds until another call may start; math.inf when only an ended call can make room."""
        if in_flight >= int(self._width.value):
            return self._crowded(now, in_flight)
        shut = self._door.until
        if self._due > shut:
            wait = self._due - now
            if wait > 1e-6:  # a clock that jumps to a timer may stop a rounding error before it
                self._held_back = Scope.RATE
                return wait
            return 0.0
        return shut - now if shut - now > 1e-6 else 0.0

    def sent(self, now: float) -> None:
        """A call starts."""
        if self._door.is_shut:
            opened_at = self._door.opened(now)
            if opened_at is None:
                self._in_flight_at_try = self._in_flight + 1
            else:
                self._learn(now, opened_at)
        elif self._held_back is None and now - self._last_sent > IDLE:
            self._busy_since = now
        if self._cycle_at is None:
            self._cycle_at = now
        self._in_flight += 1
        self._granted += 1
        self._minute.add(now, 1)
        if self._held_back is not None:
            self._rise(min(now - self._last_sent, 1.0))
        self._last_sent = now
        rate = self._rate.value
        if now < self._told_until:
            rate = min(rate, self._told)
        self._due = max(self._due, now - SLACK) + 1.0 / rate

    def answered(self, now: float) -> None:
        """A call ended, whatever its result, and nobody complained about pace."""
        self._in_flight -= 1
        if self._width.ceiling == math.inf and self._width.value < self.concurrency:
            self._widen(now, self._width.value + 0.25)

    def pushed_back(self, now: float, scope: Scope, after: float | None = None, sent_at: float | None = None) -> None:
        """A call was refused for the rate or for the concurrency; `after` is the server's Retry-After.

        sent_at: when that call started. Without it, what comes while the door is shut counts as old news.
        """
        door = self._door
        self._in_flight -= 1
        self._granted -= 1
        self._minute.correct(now, now if sent_at is None else sent_at, -1)
        if door.knows(now, sent_at):
            if door.is_shut:
                self._kept -= 1
                self._minute_at_refusal -= 1
                door.hear_again(after, sent_at, now if self._cycle_at is None else self._cycle_at)
            return
        if not door.is_shut:
            self._scope, self._kept = scope, self._in_flight
        door.shut(now, after, now if sent_at is None else sent_at)
        self._minute_at_refusal = self._minute.total
        self._in_flight_at_refusal = self._in_flight

    def told(self, now: float, remaining: int, reset: float) -> None:
        """The server's headers: so many more calls within `reset` seconds (`x-ratelimit-*-requests`)."""
        if reset > 0:
            self._told, self._told_until = max(remaining, 0.5) / reset, now + reset

    # ---- what the user is shown, and the next session told

    @property
    def found(self) -> Found:
        rate, width = self._rate.value, self._width
        return Found(
            rpm=None if rate == math.inf else rate * 60,
            concurrency=None if width.ceiling == math.inf else int(width.value),
        )

    @property
    def memory(self) -> Memory:
        """Only limits that were met, never a guess we began with."""
        return Memory(rpm=self._met_rpm, concurrency=self.found.concurrency)

    # ---- rising

    def _crowded(self, now: float, in_flight: int) -> float:
        if in_flight >= self.concurrency:
            return math.inf
        if self._width.ceiling < math.inf:
            self._held_back = Scope.CONCURRENCY
            return math.inf
        if now >= self._widen_at:
            self._widen(now, self._width.value * 2.0)
        return max(self._widen_at - now, 0.0) if in_flight >= int(self._width.value) else 0.0

    def _widen(self, now: float, width: float) -> None:
        """Before any complaint: a quarter more in each round of calls, since what is in flight is refused together."""
        self._width.restart(width)
        self._widen_at = max(self._widen_at, now + 1.0)

    def _rise(self, endured: float) -> None:
        self._rising = self._held_back is Scope.RATE
        if self._rising:
            self._rate.endure(endured)
        else:
            self._width.endure(endured)
        self._held_back = None

    # ---- learning, when the door opens

    def _learn(self, now: float, opened_at: float) -> None:
        if self._scope is Scope.RATE:
            self._learn_rate(now, opened_at)
        else:
            self._learn_width()
        self._cycle_at, self._granted, self._due = None, 0, now

    def _learn_rate(self, now: float, opened_at: float) -> None:
        """Set the ceiling, and where to begin below it.

        What was granted is the least that the limit can be, the rate that was refused the most. They differ when
        the rate was rising or the window is shorter than the minute over which we count.
        """
        rate, door = self._rate, self._door
        used = door.refused_at - (opened_at if self._cycle_at is None else self._cycle_at)
        if 0 < door.asked <= SHORT and used < 2 * door.asked:
            least = most = self._short_window(max(used, 0.1))
        else:
            least = self._last_minute(now, opened_at)
            if least == 0.0:  # shut for longer than any window: an outage, which says nothing about the limit
                self._was_away()
                return
            if rate.value < math.inf:
                least = min(max(least, rate.value * DEEPEST_CUT), rate.value)
            # A window of a minute is measured exactly; who names short times may count by the second
            tight = not door.asked and least < rate.value * NEAR
            most = least if tight or rate.value == math.inf else rate.value
        if rate.beyond:
            least, most = max(least, rate.ceiling), max(most, rate.ceiling)
        ceiling = (least + most) / 2
        rate.meet(ceiling, begin=min(least / ceiling, BEGIN))
        self._met_rpm = ceiling * 60
        self.reason = f"the service refused more than {ceiling * 60:.0f} calls a minute"

    def _last_minute(self, now: float, opened_at: float) -> float:
        """Calls granted a second in the minute before the door opened, or since there are calls."""
        granted = float(self._minute_at_refusal)
        if self._door.tries_refused and not self._door.asked:
            self._minute.turn(now)
            granted = (granted + self._minute.total) / 2
        return granted / max(min(opened_at - self._busy_since, MINUTE), 0.1) if granted >= 1.0 else 0.0

    def _short_window(self, used: float) -> float:
        """Calls a second where the window is so short that rounding `Retry-After` up to a second matters.

        Evenly spaced calls are counted by their spacing, since some that were granted after the refused one,
        before its news came, belong to the next window.
        """
        rate, asked = self._rate.value, self._door.asked
        if rate == math.inf:
            return max(self._granted, 1) / max(1.0, math.floor(used + asked))
        if used <= asked:
            return rate * used / asked
        # A fixed window turned over meanwhile, who knows when: the limit lies between this and the rate
        return rate * (max(0.5, used / asked - 1.0) + 1.0) / 2

    def _was_away(self) -> None:
        """An outage says nothing about limits; but what comes back from one is not met with all calls at once."""
        rate, width = self._rate, self._width
        if rate.value < math.inf:
            rate.restart(min(rate.value, rate.ceiling) * AFTER_OUTAGE)
        width.restart(max(min(width.value, width.ceiling) * AFTER_OUTAGE, min(FIRST_WIDTH, self.concurrency)))
        self.reason = "the service was away"

    def _learn_width(self) -> None:
        """What is in flight and was not refused is what the service takes, unless it refuses a call alone."""
        door, width = self._door, self._width
        if door.tries_refused and self._in_flight_at_refusal <= self._kept * ALONE:
            self._was_away()
            return
        self._rise_slower()
        kept = float(self._kept)
        if door.tries_refused:
            kept = (self._in_flight_at_refusal + self._in_flight_at_try) / 2
        if self._cycle_at is None or door.refused_at - self._cycle_at < SOON:
            kept *= GIVE_WAY  # so it is not a number of calls that it keeps to, but it has too many
        width.meet(min(max(kept, width.value * DEEPEST_CUT, 1.0), width.value), begin=1.0)
        self.reason = f"the service refused more than {kept:.0f} calls at once"

    def _rise_slower(self) -> None:
        """Ark refuses with the same codes who rises too steeply, whatever the number of calls."""
        rate = self._rate
        if rate.growth < UNLIMITED and self._rising and rate.value < rate.ceiling * NEAR:
            rate.growth = max(rate.growth / 2, SLOWEST_GROWTH)
            rate.restart(max(rate.value * 0.7, self._minute_at_refusal / MINUTE))
