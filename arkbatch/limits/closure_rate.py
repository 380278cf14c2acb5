"""The rate that times of full refusal show: what was granted between two of them."""

import math

from msgspec import Struct

from arkbatch.limits.cut import AS_OFTEN
from arkbatch.limits.found_limits import LATELY, SHORTEST_MEASURE, FoundLimits
from arkbatch.limits.refusal_evidence import MINUTE, RefusalEvidence, Suspect
from arkbatch.limits.search_curve import SAME

FEWEST_GRANTED = 4  # calls between two closures, to tell a rate from them
CLOSED_LITTLE, CLOSED_MUCH = 0.02, 0.3  # share of the time; between them a closure may come at any pace
OPEN_AT_LEAST = 0.1  # of the time that it was closed; less is the same closure
INCIDENT_SECONDS = 15.0  # the first closure, if it is shorter, says nothing of a limit
CUT_AT_ALL = 0.99  # of the base; above it, it was not really cut


class ClosureCut(Struct, frozen=True):
    """The rate before a closure made it smaller, and for which share of the time the service was closed."""

    value: float
    base: float
    closed: float


class Closure(Struct, frozen=True):
    """All was refused from `first_at` until `until`. before: calls granted a second in the minute before it."""

    first_at: float
    until: float
    before: float

    @property
    def seconds(self) -> float:
        return self.until - self.first_at


class ClosureRate:
    """The rate that closures show.

    From the end of one closure to the end of the next, a window of the server was used up and has turned over. So the
    calls granted in that time are its limit, whatever its window is like.

    opened_at: the end of the last closure
    """

    def __init__(self, now: float, found: FoundLimits) -> None:
        self._found = found
        self._began = self.opened_at = now
        self._granted_then = 0
        self._is_first = True
        self._last_minute = self._last_turn = 0.0  # calls granted a second before the last closure, two measures
        self._before: ClosureCut | None = None
        self._closed_by_chance = 0.0  # share of the time
        self._tested_at, self._tested = -math.inf, (math.inf, math.inf)

    def begin_anew(self, now: float) -> None:
        """What was granted before now says nothing of what comes."""
        self.opened_at, self._granted_then = now, self._found.counts.granted

    def note_test(self, now: float) -> None:
        """More than the base was tried and refused: a closure that follows may come of it."""
        self._tested_at, self._tested = now, (self._found.rate.value, self._found.rate.base)

    def learn_closure(self, now: float, closure: Closure, evidence: RefusalEvidence, suspect: Suspect) -> bool:
        """Learn from a closure that is over; whether anything was learned, so that evidence begins anew."""
        found, first_at, until, before = self._found, closure.first_at, closure.until, closure.before
        if closure.seconds < MINUTE:  # the minute before it was of two windows, the one until its end of one
            over = MINUTE + min(now - until, MINUTE)
            before = min(before, found.counts.per_second(now, over) * over / MINUTE)
        seconds, granted = until - self.opened_at, found.counts.granted - self._granted_then
        was_open = first_at - self.opened_at > OPEN_AT_LEAST * closure.seconds
        if granted < FEWEST_GRANTED or seconds < SHORTEST_MEASURE or not was_open:
            return False
        found.horizon = min(max(found.horizon, 4 * closure.seconds), MINUTE)
        self.opened_at, self._granted_then = until, found.counts.granted
        last_minute, last_turn = self._last_minute, self._last_turn
        self._last_minute, self._last_turn = before, granted / seconds
        if first_at <= self._tested_at <= until and suspect is Suspect.RATE:  # more was tried than the window gives
            self._undo_test(before)
            return True
        is_incident = self._is_first and closure.seconds < INCIDENT_SECONDS
        self._is_first = False
        if suspect is Suspect.WIDTH:
            found.cut_width(now, evidence, evidence.fewest)
            return True
        closed = closure.seconds / seconds
        is_minute = is_minute_steadier(before, granted / seconds, last_minute, last_turn)
        if seconds > 2 * MINUTE or (now - self._began > MINUTE and is_minute and not is_incident):
            return self._learn_rate(before, MINUTE, closed)
        return not is_incident and self._learn_rate(self._measured_rate(now, granted, seconds, closed), seconds, closed)

    def is_minute(self, minute: float, turn: float) -> bool:
        """Whether the minute is the limit, of two measures before a refusal."""
        return is_minute_steadier(minute, turn, self._last_minute, self._last_turn)

    def _undo_test(self, before: float) -> None:
        found, rate = self._found, self._found.rate
        rate.base = self._tested[1]
        rate.value = max(self._tested[0], rate.base * 1.02)
        found.cut_rate(before, MINUTE, is_closure=True)

    def _measured_rate(self, now: float, granted: int, seconds: float, closed: float) -> float:
        """Calls a second: those that were granted, or more where it was our own pace that left some out."""
        found, turn = self._found, granted / seconds
        if not found.rate.is_testing and found.rate.value < math.inf:
            turn = max(turn, found.rate.value * (1 - closed))
        if seconds < LATELY and found.rate.base < math.inf:
            turn = max(turn, found.counts.per_second(now, LATELY))
        return turn

    def _learn_rate(self, granted: float, seconds: float, closed: float) -> bool:
        """One closure may have any cause. A rate that was too high is closed for less of the time once it is cut."""
        rate, last, self._before = self._found.rate, self._before, None
        if closed <= self._closed_by_chance:
            return False
        is_chance = last is not None and not rate.is_testing and CLOSED_LITTLE < closed < CLOSED_MUCH
        if is_chance and last is not None and closed >= AS_OFTEN * last.closed:
            self._closed_by_chance = closed / AS_OFTEN
            rate.base = last.base
            rate.go_on_from(min(last.value, last.base))
            return True
        self._closed_by_chance = 0.0
        before = ClosureCut(rate.value, rate.base, closed)
        self._found.cut_rate(granted, seconds, is_closure=True)
        if seconds > LATELY / 2 and rate.base < CUT_AT_ALL * before.base:
            self._before = before
        return True


def is_minute_steadier(minute: float, turn: float, last_minute: float, last_turn: float) -> bool:
    """Of two measures, the one that repeats is the limit: a sliding minute turns over by no single closure."""
    if not (last_minute and last_turn and minute):
        return False
    change = abs(math.log(minute / last_minute))
    return change < SAME and change < abs(math.log(turn / last_turn))
