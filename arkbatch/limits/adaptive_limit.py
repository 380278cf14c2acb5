"""How fast, and how many calls at once: found from what the service grants and refuses, and held there.

Nobody tells us the limits of a service, and refusals have many causes: a limit of calls or tokens a minute, counted
over a second or a minute, fixed or sliding, with or without a burst; a limit of calls in flight; a service that is
away for some seconds; one bad machine of four, or chance. One reply does not tell which. This is how the pace is
found:

**The measure is what was granted**, as BBR paces by delivered bandwidth and not by loss. A pace is never cut below
the calls that were granted while others were refused, over as much of the window as can be told:

* All is refused for a while (a *closure*, `full_refusal`): from the end of one closure to the end of the next, the
  window of the service was used up and has turned over, so what was granted in that time is its limit.
* Refusals come between granted calls: what was granted over the last seconds is the limit. A dense burst of them that
  ends by itself within two seconds of an unchanged pace is none.

**A cut is a test** (`limit_search`). A refusal is evidence of a limit only if it depends on the load. At a lower pace
either as many calls are refused, or far fewer; Wald's sequential test ends as soon as the refusals tell which. As many:
the pace was not the cause, so we go back, and remember the share that is refused at any pace as the *floor*. Far
fewer: we go back once too, and only if calls are refused again, the pace was the cause and stays lower. Only refusals
beyond the floor count from then on, by more sigmas the fewer calls have shown the floor. The floor falls as soon as
fewer calls are refused, and is tested at growing intervals. The first closure may be an incident and changes nothing.

**Rate or width**: words and headers decide where they name concurrency. Else the calls do (`refusal_evidence`): if each
refused call had more calls in flight beside it than the granted ones had, the calls in flight are the limit. It has
no window, so what is granted while more are in flight shows at once that more fit.

**More is tried on a curve** (`search_curve`): flat at the known limit, then ever steeper, as CUBIC does. A refusal
while more is tried shows that the limit stands. A limit that was confirmed is tried half as often each time, down to
once in some 1,400 calls, since each try costs two or three refusals; one that turned out elsewhere is looked for within
seconds. What was granted for a minute of trying is known from then on, as no window is longer.

**While all is refused, single calls are tried** at growing pauses, since refused calls may count. A `Retry-After`
ends the closure, and a try that is granted ends it earlier: servers name a whole window when a second of it is left.
A `Retry-After` of one call among others that are granted holds that row and nobody else; a few seconds are enough
where refusals are known to come by chance.

**What we do not know begins at full speed**, only not with all calls at once: the width begins at 12 and grows with
answers and time. Ark refuses steep rises, so at Ark the rate begins and grows as Ark advises (`starting_point`).

Pure: `now` comes in with each call, memory and time per call are constant.
"""

import math

from arkbatch.core.calls import Scope
from arkbatch.core.text import duration_text
from arkbatch.limits.closure_rate import Closure
from arkbatch.limits.found_limits import FoundLimits
from arkbatch.limits.full_refusal import FullRefusal
from arkbatch.limits.limit_search import LimitSearch
from arkbatch.limits.permit import Permit
from arkbatch.limits.refusal_evidence import TOLERATED, CallCounts
from arkbatch.limits.search_curve import SearchCurve  # noqa: TC001 - as elsewhere, no import is for types only
from arkbatch.limits.starting_point import (
    FIRST_WIDTH,
    FRESH_SECONDS,
    USER_MARGIN,
    Memory,
    Ramp,
    Start,
    StartingPoint,
    first_rate,
    first_width,
)

SLACK = 0.02  # s; how late a timer may wake us without the slot being lost
SHORT_INTERVAL = 0.05  # s between calls; longer ones catch up a fiftieth only, since some services count each call
LONGEST_STEP = 2.0  # s; no more of the time between two calls counts as endured: few calls are not to be refused often
WIDEN = 0.25  # more with each answer: a quarter in each round of calls, since what is in flight is refused together
DOUBLING_SECONDS = 3.0  # calls that last minutes must not keep the width small for minutes
STEEP_SECONDS = 180.0  # Ark calls steep what is a fifth more than three minutes before
LONGEST_ROW_WAIT = 60.0  # s; what a reply asks for beyond this, its row does not wait: tries tell sooner
CHANCE_WAIT = 5.0  # s; the same where refusals come by chance, since another try is as likely to be granted as any call
IDLE_SECONDS = 10.0  # without a call for so long, there were no rows


class AdaptiveLimit:
    """The pace of one model: when the next call may start.

    concurrency: calls at once that the user allows; rate: calls a minute, None for no ceiling
    ramp, start, memory: where and how steeply to begin
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
        self._remembered_rpm = memory.rpm
        self._ramp = ramp
        self._counts = CallCounts(now)
        curve, reason = first_rate(rate, ramp, start, memory)
        self._found = FoundLimits(self._counts, curve, first_width(concurrency, memory), reason)
        self._search = LimitSearch(now, self._found)
        self._rate, self._width = curve, self._found.width
        self._widened_at = now
        self._closure = FullRefusal()
        self._before_closure = 0.0  # calls granted a second in the minute before the last closure
        self._active_seconds = 0.0  # without idle times
        self._due = self._last_sent = now
        self._bottleneck: SearchCurve | None = None
        self._told, self._told_until = math.inf, -math.inf

    # ---- what the limiter asks and tells

    def ready_in(self, now: float, in_flight: int) -> float:
        """Seconds until another call may start; math.inf when only an ended call can make room."""
        closure = self._closure
        if closure.is_closed:
            if not in_flight:
                closure.note_no_call()
            if closure.is_over(now):
                self._end_closure(now)
        if in_flight >= int(self._width.value):
            return self._wait_for_place(now, in_flight)
        if closure.is_closed:
            return 0.0 if closure.may_try(now) else max(closure.until - now, 0.001)
        wait = self._due - now
        if wait < 1e-6:  # a clock that jumps to a timer may stop a rounding error before it
            return 0.0
        self._bottleneck = self._rate
        return wait

    def begin_call(self, now: float) -> int:
        """Note that a call starts. Returns its number."""
        number = self._counts.add_call(now)
        if self._closure.is_closed:
            self._closure.begin_try(now, number)
            self._due = now
        else:
            self._search.check_cut(now)
            if self._bottleneck is not None:
                self._raise_pace(now)
        self._active_seconds += min(now - self._last_sent, IDLE_SECONDS)
        self._last_sent = now
        rate = min(self._rate.value, self._told) if now < self._told_until else self._rate.value
        interval = 1.0 / rate
        self._due = max(self._due, now - (SLACK if interval < SHORT_INTERVAL else SLACK * interval)) + interval
        return number

    def note_grant(self, now: float, permit: Permit) -> None:
        """The call of this permit was not refused for the load, whatever else became of it."""
        self._search.note_grant(now, permit)
        if self._closure.note_grant(permit.number):
            self._end_closure(now)
        width = self._width
        if width.base == math.inf and width.value < self.concurrency:
            width.go_on_from(width.value + WIDEN)

    def note_refusal(self, now: float, permit: Permit, scope: Scope, after: float | None) -> float | None:
        """Note a refusal because of the load; `after` is its `Retry-After`. Returns how long its row must wait."""
        closure, was_closed = self._closure, self._closure.is_closed
        self._counts.add_refusal(now, permit.at)
        self._search.evidence.add_refusal(permit, scope)
        is_between = closure.note_refusal(
            now, permit, self._counts.sent, after, self._search.floor, self._call_interval(now, after)
        )
        if closure.is_closed and not was_closed:
            self._before_closure = self._counts.per_second(now)
        if is_between or not was_closed:
            base = self._rate.base
            self._search.weigh_refusal(now)
            if self._rate.base != base:
                self._due = max(now, self._last_sent + 1.0 / self._rate.value)
        if after is None or after > LONGEST_ROW_WAIT:
            return None
        return min(after, CHANCE_WAIT) if self._search.floor > TOLERATED and not closure.is_closed else after

    def _call_interval(self, now: float, after: float | None) -> float:
        """Return the seconds between calls. While no rate is known, a time that the server named is believed longer."""
        rate = self._rate.value
        return 1.0 / (rate if rate < math.inf else max(self._counts.per_second(now), 0.01 if after else 1.0))

    def note_headers(self, now: float, remaining: int, reset: float) -> None:
        """The server's headers: so many more calls within `reset` seconds (`x-ratelimit-*-requests`)."""
        if reset > 0:
            self._told, self._told_until = max(remaining, 0.5) / reset, now + reset

    def end_pause(self, now: float) -> None:
        """Somebody held all calls back for a while; what was granted before is no measure, and begins anew."""
        self._begin_anew(now, now - self._last_sent, FRESH_SECONDS)

    def came_back(self, now: float, away: float) -> None:
        """The service was away for so many seconds, in which only probes were sent."""
        self._begin_anew(now, away, STEEP_SECONDS)

    # ---- what the user changes

    def allow_concurrency(self, concurrency: int) -> None:
        """Another ceiling of calls at once. A higher one is reached as at the beginning, with time and answers."""
        width = self._width
        self.concurrency = width.most = concurrency
        width.go_on_from(width.value if width.base < math.inf else max(width.value, FIRST_WIDTH))

    def allow_rate(self, now: float, rate: float | None, ramp: Ramp | None = None) -> None:
        """Another ceiling of calls a minute. Only a refusal that came keeps us below it, or no ceiling and a ramp."""
        curve = self._rate
        curve.most = math.inf if rate is None else rate / 60 * USER_MARGIN
        if self._found.has_met:
            curve.go_on_from(curve.value)
        else:
            curve.base = curve.most  # what was published or remembered only said where to begin
            self._ramp = ramp if rate is None else self._ramp
            curve.go_on_from(curve.value if rate is None and ramp is not None else curve.most)
        self._due = min(self._due, now + 1.0 / curve.value)

    # ---- what the user is shown, and the next session told

    @property
    def reason(self) -> str:
        """One phrase: why the pace is what it is."""
        closure = self._closure
        if not closure.is_sure:
            return self._found.reason
        told = f" and said to wait {duration_text(closure.told_seconds)}" if closure.told_seconds else ""
        return f"the service refuses every call{told}; single calls try it now and then"

    @property
    def found(self) -> StartingPoint:
        """Where the pace stands now."""
        rate, width = self._rate.value, self._width
        return StartingPoint(
            rpm=None if rate == math.inf else rate * 60,
            concurrency=None if width.base == math.inf else int(width.value),
        )

    def memory(self) -> Memory:
        """Limits that were met, and never less than was granted for most of the session."""
        rpm, width = self._remembered_rpm, self._width.base
        if self._found.has_met and self._rate.base < math.inf:
            usual = self._counts.granted / max(self._active_seconds, 1.0)
            rpm = max(self._rate.base, min(usual, self._rate.most)) * 60
        return Memory(rpm=rpm, concurrency=None if width == math.inf else int(width))

    # ---- inside

    def _end_closure(self, now: float) -> None:
        first_at, until = self._closure.first_at, self._closure.end_closure()
        if until is None:
            self._search.weigh_refusal(now)  # what seemed a closure were refusals between granted calls
            return
        self._search.learn_closure(now, Closure(first_at, until, self._before_closure))
        self._due = max(now, self._last_sent + 1.0 / self._rate.value)

    def _wait_for_place(self, now: float, in_flight: int) -> float:
        """All places are taken: those given, those found, or those of the beginning, which grow with time too."""
        if in_flight >= self.concurrency:
            return math.inf
        width = self._width
        if width.base < math.inf:
            self._bottleneck = width
            return math.inf
        width.go_on_from(width.value * 2.0 ** (min(now - self._widened_at, 0.5) / DOUBLING_SECONDS))
        self._widened_at = now
        if in_flight < int(width.value):
            return 0.0
        return max(DOUBLING_SECONDS * math.log2((in_flight + 1) / width.value), 0.001)

    def _raise_pace(self, now: float) -> None:
        """Only what was the bottleneck may rise: a rate that no row waited for has not been tried."""
        curve, self._bottleneck = self._bottleneck, None
        if curve is None or self._search.is_holding:
            return
        waited = min(max(now - max(self._last_sent, self._closure.until), 0.0), LONGEST_STEP)
        is_steep = self._ramp is not None and curve is self._rate and curve.value < math.inf
        was_testing = curve.is_testing
        curve.rise_for(waited, self._ramp.allowed(curve.value, waited) if is_steep and self._ramp else math.inf)
        if curve.is_testing and not was_testing:
            self._search.begin_test(now)

    def _begin_anew(self, now: float, idle: float, long: float) -> None:
        """A service that minds steep traffic has forgotten what it took before."""
        self._bottleneck = None
        self._search.begin_anew(now)
        if self._ramp is not None and idle > long:
            self._rate.go_on_from(min(self._rate.value, self._ramp.start_rpm / 60))
