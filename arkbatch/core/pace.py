"""How fast and how many at once: finds what the service allows by listening to its refusals, and holds it.

Pure: `now` comes in with each call, memory and time per call are constant. It does not know rows, tokens or
sockets; `verdict` says what a refusal means, the gate asks `ready_in` and reports `sent`, `answered` and
`pushed_back`. Tokens per minute are `budget`'s; when those are refused, the rate of calls gives way here.

The reasoning, in the order in which it happens:

* **Unknown servers start at full speed**, only not with all calls at once: the width begins small and doubles
  with the answers, at least once a second. What is lost to a fast server is some milliseconds; what is spared at
  a slow one is a burst of refusals as large as the concurrency. Ark refuses steep ramps, so whoever builds a
  pace for Ark passes a `Ramp`; nothing here guesses it.
* **A refusal shuts the gate for all.** Calls that were under way when it shut bring the same news again and
  are not evidence. If the server named a time, it is kept; else single probes go out at growing intervals
  until one is not refused, since refused calls count towards Ark's limits and a crowd that retries keeps
  itself shut out.
* **From one reopening to the next, granted calls / time is the true rate**: whatever the server's window is, it
  was used up and has turned over. So the new rate is measured instead of halved, and a cut to a third is
  answered in one step.
* **Near the limit found, the pace is held**, evenly spaced: it begins a little under it, creeps up to it, rests there
  and leaves it behind ever faster if nobody complains (`climb`). A refusal beyond it only proves that it stands.
* **Only what was the bottleneck may rise.** A rate that no row waited for has not been tried.
"""

import math

from msgspec import Struct

from arkbatch.core.climb import UNHURRIED, Climb, Recent
from arkbatch.core.records import Scope

SLACK = 0.02  # s; how late a timer may wake us without the slot being lost
UNDER = 0.98  # where to go on after a refusal, as a share of the rate that it showed
USER_MARGIN = 0.995  # of a given limit, so that a call which is a little late stays inside every window
LOOK_BACK = 60.0  # s; limits are counted by the minute or shorter, so older calls prove nothing
DEEPEST_CUT = 0.25  # a fixed window may be cut just after it began, and then looks like nothing at all
FIRST_PAUSE = 2.0  # s; the pauses between probes when the server names no time
PAUSE_GROWTH = 1.5
LONGEST_PAUSE = 30.0
PATIENCE = 1.0  # s; a probe that was not refused by then is taken for granted: refusals come at once
FIRST_WIDTH = 10
SHORT = 5.0  # s; a `Retry-After` up to here tells of a window of seconds, and its rounding matters


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

    __slots__ = (
        "_asked",
        "_cut_at",
        "_cycle_at",
        "_due",
        "_granted",
        "_held_back",
        "_in_flight",
        "_last_refusal",
        "_last_sent",
        "_met_rpm",
        "_pause",
        "_probe_at",
        "_rate",
        "_recent",
        "_scope",
        "_shut_until",
        "_told",
        "_told_until",
        "_widen_at",
        "_width",
        "_width_seen",
        "concurrency",
        "reason",
    )

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
        self.reason = "as given" if rate is not None else "no limit met so far"
        self._rate = self._first_rate(rate, ramp, start, memory)
        self._width = Climb(min(FIRST_WIDTH, concurrency), ceiling=math.inf, most=concurrency)
        self._widen_at = now + 1.0
        self._recent = Recent(now)
        self._in_flight = 0
        self._due = now  # when the next evenly spaced call may start
        self._last_sent = now
        self._held_back: Scope | None = None  # what made the next call wait, if anything did
        self._cycle_at: float | None = None  # when a call first used the server since it opened
        self._granted = 0  # calls since then, less the refused
        self._scope: Scope | None = None  # why the gate is shut; None: it is open
        self._cut_at = -math.inf  # when it shut last; calls sent before are old news
        self._shut_until = -math.inf
        self._asked = 0.0  # the seconds that the server asked for, 0 when it named none
        self._last_refusal = -math.inf
        self._pause = FIRST_PAUSE
        self._probe_at: float | None = None
        self._width_seen = 0
        self._met_rpm = None if memory is None else memory.rpm
        self._told, self._told_until = math.inf, -math.inf

    def _first_rate(self, rate: float | None, ramp: Ramp | None, start: Start | None, memory: Memory | None) -> Climb:
        most = math.inf if rate is None else rate / 60 * USER_MARGIN
        growth = UNHURRIED if ramp is None else ramp.growth
        ceiling = math.inf
        if memory is not None and memory.rpm is not None:
            ceiling, self.reason = memory.rpm / 60, "found by an earlier session"
        elif start is not None and start.rpm is not None:
            ceiling, self.reason = start.rpm / 60, "published default of the model"
        begin = min(ceiling * 0.9, most) if ceiling < math.inf else most
        if ramp is not None:
            begin = min(begin, ramp.start_rpm / 60)
        return Climb(begin, ceiling=min(ceiling, most), most=most, growth=growth)

    # ---- what the gate asks and tells

    def ready_in(self, now: float, in_flight: int) -> float:
        """Seconds until another call may start; math.inf when only an ended call can make room."""
        if in_flight >= int(self._width.value):
            return self._crowded(now, in_flight)
        wait = max(self._due, self._shut_until) - now
        if wait <= 1e-6:  # a clock that jumps to a timer may stop a rounding error before it
            return 0.0
        if wait > self._shut_until - now:
            self._held_back = Scope.RATE
        return wait

    def sent(self, now: float) -> None:
        """A call starts."""
        if self._scope is not None:
            self._try_door(now)
        if self._cycle_at is None:
            self._cycle_at = now
        self._in_flight += 1
        self._granted += 1
        self._recent.add(now)
        self._rise(now)
        rate = self._rate.value
        if now < self._told_until:
            rate = min(rate, self._told)
        self._due = max(self._due, now - SLACK) + 1.0 / rate
        self._last_sent = now

    def answered(self, now: float) -> None:
        """A call ended, whatever its result, and nobody complained about pace."""
        self._in_flight -= 1
        if self._width.ceiling == math.inf:
            self._widen(now, self._width.value + 0.25)

    def pushed_back(self, now: float, scope: Scope, after: float | None = None, sent_at: float | None = None) -> None:
        """A call was refused for the rate or for the concurrency; `after` is the server's Retry-After.

        sent_at: when that call started. Without it, what comes while the gate is shut counts as old news.
        """
        self._in_flight -= 1
        self._granted -= 1
        self._recent.add(now if sent_at is None else sent_at, -1)
        old = now < self._shut_until if sent_at is None else sent_at < self._cut_at
        if old and self._scope is not None:
            self._repeat(after)
        elif not old:
            self._shut(now, scope, after, now if sent_at is None else sent_at)

    def told(self, now: float, remaining: int, reset: float) -> None:
        """The server's headers: so many more calls within `reset` seconds (`x-ratelimit-*-requests`)."""
        if reset > 0:
            self._told, self._told_until = max(remaining, 0.5) / reset, now + reset

    @property
    def memory(self) -> Memory:
        """What to keep for the next session: only limits that were met, never a guess we began with."""
        return Memory(rpm=self._met_rpm, concurrency=self.found.concurrency)

    @property
    def found(self) -> Found:
        rate, width = self._rate, self._width
        return Found(
            rpm=None if rate.value == math.inf else rate.value * 60,
            concurrency=None if width.ceiling == math.inf else int(width.value),
        )

    # ---- rising

    def _crowded(self, now: float, in_flight: int) -> float:
        if in_flight >= self.concurrency:
            return math.inf
        self._held_back = Scope.CONCURRENCY
        if self._width.ceiling < math.inf:
            return math.inf
        if now >= self._widen_at:
            self._widen(now, self._width.value * 2.0)
        return max(self._widen_at - now, 0.0) if in_flight >= int(self._width.value) else 0.0

    def _widen(self, now: float, width: float) -> None:
        """Before any complaint: a quarter more in each round of calls, for what is in flight is refused together."""
        self._width.restart(width)
        self._widen_at = max(self._widen_at, now + 1.0)

    def _rise(self, now: float) -> None:
        endured = min(now - self._last_sent, 1.0)
        if self._held_back is Scope.RATE:
            self._rate.endure(endured)
        elif self._held_back is Scope.CONCURRENCY and self._width.ceiling < math.inf:
            self._width.endure(endured)
        self._held_back = None

    # ---- giving way

    def _shut(self, now: float, scope: Scope, after: float | None, sent_at: float) -> None:
        if self._scope is None:
            self._scope, self._pause = scope, FIRST_PAUSE
            self._width_seen = self._in_flight
        else:
            self._pause = min(self._pause * PAUSE_GROWTH, LONGEST_PAUSE)
        self._cut_at, self._last_refusal, self._probe_at = now, sent_at, None
        self._asked = after or 0.0
        self._shut_until = now + (self._asked or self._pause)

    def _repeat(self, after: float | None) -> None:
        """Old news; but if the server now asks for longer, it gets it."""
        if self._scope is Scope.CONCURRENCY:
            self._width_seen -= 1
        if after is not None and after > self._asked:
            self._shut_until += after - (self._asked or after)
            self._asked = after

    def _try_door(self, now: float) -> None:
        """The pause is over. A server that named the time is believed; else one probe goes ahead."""
        if self._asked:
            self._reopen(now, self._last_refusal + self._asked)
        elif self._probe_at is None:
            self._probe_at, self._shut_until = now, now + PATIENCE
        else:
            self._reopen(now, (self._last_refusal + self._probe_at) / 2)

    def _reopen(self, now: float, opened_at: float) -> None:
        if self._scope is Scope.RATE:
            self._measure_rate(opened_at)
        else:
            self._measure_width()
        self._scope, self._cycle_at, self._granted = None, None, 0
        self._due = now

    def _measure_rate(self, opened_at: float) -> None:
        granted, seconds = self._cycle(opened_at)
        rate = self._rate
        if granted < 1.0:  # shut for longer than any window: an outage, which says nothing about the rate
            rate.restart(min(rate.value, rate.ceiling) * 0.5 if rate.value < math.inf else rate.value)
            self.reason = "the service was away"
            return
        measured = granted / seconds
        if rate.value < math.inf:
            measured = min(max(measured, rate.value * DEEPEST_CUT), rate.value)
        if rate.beyond:
            measured = max(measured, rate.ceiling)
        rate.meet(measured, begin=UNDER)
        self._met_rpm = measured * 60
        self.reason = f"the service refused more than {measured * 60:.0f} calls a minute"

    def _cycle(self, opened_at: float) -> tuple[float, float]:
        """Calls granted from the last reopening to this one, and the seconds they took: at most a minute."""
        begin = opened_at if self._cycle_at is None else self._cycle_at
        used = max(self._last_refusal - begin, 0.1)
        if 0 < self._asked <= SHORT and used < 2 * self._asked:
            return self._short_cycle(used)
        if opened_at - begin > LOOK_BACK:
            return self._recent.between(opened_at - LOOK_BACK, opened_at), LOOK_BACK
        return float(self._granted), opened_at - begin

    def _short_cycle(self, used: float) -> tuple[float, float]:
        """The same where the server's window is so short that rounding `Retry-After` up to a second matters.

        Evenly spaced calls are counted by their spacing, since some that were granted after the refused one,
        before its news came, belong to the next window.
        """
        rate = self._rate.value
        if rate == math.inf:
            return max(self._granted, 1.0), max(1.0, math.floor(used + self._asked))
        if used <= self._asked:
            return rate * used, self._asked
        # A fixed window turned over meanwhile, who knows when: the limit lies between this and the rate
        least = max(0.5, used / self._asked - 1.0)
        return rate * (least + 1.0) / 2, 1.0

    def _measure_width(self) -> None:
        width = self._width
        kept = max(self._width_seen, width.value * 0.5, 1.0)
        width.meet(min(kept, width.value), begin=0.9)
        self.reason = f"the service refused more than {kept:.0f} calls at once"
