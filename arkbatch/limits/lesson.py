"""What a refusal teaches: the limit that was met, or that the service was away and no limit was met at all.

It is concluded when the door opens again, from its times (`door`), from what was granted (`granted`) and, for a
limit of calls at once, from those in flight, which are noted here. A lesson is a number: this does not know when a
call may start, how the pace rises again, or what an outage costs; that is `pace`'s.
"""

import math

from msgspec import Struct

from arkbatch.limits.cooldown import Door
from arkbatch.limits.cubic import Climb
from arkbatch.limits.observed_limit import SHORT, Granted

BEGIN = 0.99  # where to go on after a refusal, as a share of the limit that it showed
TRUTH, TRUTH_IF_TOLD = 0.25, 0.5  # where the limit is between the least and the most that it can be
CATCH_UP = 0.5  # of the calls missed while a named time ran, this share
NEAR, WELL_SINCE = 0.05, 5.0  # so near to the limit known, and s after the last refusal, one only proves that it stands
BRIEF, BRIEF_CALLS = 0.6, 2.0  # then s, or the time of so many calls, until it is kept again
ALONE = 0.1  # of the calls in flight; who refuses a call among so few does not mind their number
SOON, GIVE_WAY = 5.0, 10  # s; who refuses again so soon does not keep to a number: one in so many of ours is too many


class RateLimit(Struct, frozen=True):
    """Calls a second; the share of it to go on from; how many calls it would have taken that were not sent."""

    ceiling: float
    begin: float
    missed: float


def rate_limit(now: float, opened_at: float, door: Door, granted: Granted, rate: Climb) -> RateLimit | None:
    """None: the service was away."""
    bounds = granted.bounds(now, opened_at, door, rate.value)
    if bounds is None:
        return None
    least, most = bounds
    if rate.beyond:
        least, most = max(least, rate.ceiling), max(most, rate.ceiling)
    told = door.asked > 0
    has_room = told and door.longest > SHORT  # a window of seconds has none for what was missed
    ceiling = least + (most - least) * (TRUTH_IF_TOLD if told else TRUTH)
    missed = CATCH_UP * (now - door.refused_at) * ceiling if has_room else 0.0
    return RateLimit(ceiling, min(least / ceiling, BEGIN), missed)


def brief_pause(sent_at: float, since: float | None, rate: Climb) -> float:
    """Seconds to wait when a refusal for the rate only proves that the known limit stands; 0 when it may mean more.

    since: when the first call was sent after the door had opened last
    """
    if since is None or sent_at - since < WELL_SINCE:
        return 0.0
    return max(BRIEF, BRIEF_CALLS / rate.value) if abs(rate.value / rate.ceiling - 1.0) < NEAR else 0.0


class Crowd:
    """The calls that were in flight around a refusal; those that were not refused are what the service takes."""

    __slots__ = ("_at_refusal", "_at_try", "_kept")

    def __init__(self) -> None:
        self._kept = 0  # in flight when the door shut, less the refused
        self._at_refusal = self._at_try = 0

    def refused(self, in_flight: int, *, is_first: bool) -> None:
        """So many others are in flight; the first refusal shuts the door, the others are of tries."""
        self._at_refusal = in_flight
        if is_first:
            self._kept = in_flight

    def refused_too(self) -> None:
        """One of those that were in flight when the door shut."""
        self._kept -= 1

    def tried(self, in_flight: int) -> None:
        self._at_try = in_flight + 1

    def is_full(self, door: Door, in_flight: int) -> bool:
        """So many calls were too many, and none has ended since: there is nothing to try."""
        if not door.is_shut or door.asked or door.is_tried:
            return False
        return 0 < in_flight >= self._at_refusal

    def limit(self, door: Door, since: float | None, width: Climb) -> float | None:
        """Calls at once, whole; None: the service refuses a call alone, so it was away."""
        if door.tries_refused and self._at_refusal <= self._kept * ALONE:
            return None
        kept = float(self._kept)
        if door.tries_refused:
            kept = math.ceil((self._at_refusal + self._at_try) / 2)
        if (since is None or door.refused_at - since < SOON) and kept >= width.ceiling:
            kept -= kept // GIVE_WAY
        return max(min(kept, width.value) // 1, 1.0)
