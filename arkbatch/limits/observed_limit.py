"""What a service granted lately, and what that says about its limit when it refuses.

From one opening of the door to the next, a server's window was used up and has turned over, so the calls it granted
in that time are its limit, whatever its window is like. Here that sum is taken over the minute before the door
opened, because limits are counted by the minute or shorter, and over the window itself where `Retry-After` shows
that it is one of seconds. A single refusal among many calls that were taken, before and after it, shows no limit:
services turn one call in many thousands away for reasons of their own. Nothing here decides: `pace` does.
"""

import math
from collections import deque

from arkbatch.limits.cooldown import Door
from arkbatch.limits.token_rate import Window

MINUTE = 60.0  # s
NEAR = 0.9  # what was granted is this near to the rate: noise, and not a limit that was cut
DEEPEST_CUT = 0.25  # a fixed window that is cut just after it began looks as if nothing were granted
STEEP = 1.2  # times the average of the three minutes before; what Ark calls a burst
MARK, MARKS = 30.0, 9  # s; so that the third last is from a minute ago and the first from four
ALONE, TAKEN_AFTER = 2000, 3  # calls since the last refusal; calls sent before we knew of it, and not refused
LATELY = 10.0  # s; short, so that who rises fast is not taken for slow
SHORT = 5.0  # s; a `Retry-After` up to here tells of a window of seconds


class Granted:
    """Calls sent, less those refused. Times are seconds, rates are calls a second."""

    __slots__ = (
        "_alone",
        "_at_refusal",
        "_busy_since",
        "_count",
        "_history",
        "_last",
        "_lately",
        "_mark_at",
        "_minute",
        "_opened_with",
        "_unrefused",
        "since",
    )

    def __init__(self, now: float) -> None:
        self._minute = Window(now, MINUTE, 1.0)
        self._lately = Window(now, LATELY, 1.0)
        self._history = deque([0] * MARKS, MARKS)  # what `_count` was, every so often
        self._mark_at = now + MARK
        self._at_refusal = 0.0
        self._busy_since = now
        self._count = 0
        self._opened_with = 0  # what it was when the door opened
        self.since: float | None = None  # the first call after that
        self._last = deque[float](maxlen=TAKEN_AFTER)  # when they were sent
        self._unrefused = 0  # calls since the last refusal
        self._alone = False

    def sent(self, now: float) -> None:
        self._count += 1
        self._unrefused += 1
        self._last.append(now)
        self._minute.add(now, 1)
        self._lately.add(now, 1)
        if self.since is None:
            self.since = now
        if now >= self._mark_at:
            self._mark(now)

    def pause_ended(self, now: float) -> None:
        """For want of rows nothing was sent for long; what was granted before is no measure."""
        self._busy_since = now

    def refused(self, now: float, sent_at: float, *, old_news: bool) -> None:
        self._count -= 1
        self._minute.correct(now, sent_at, -1)
        self._alone = self._unrefused >= ALONE and self._last[0] > sent_at
        self._unrefused = 0
        if old_news:
            self._at_refusal -= 1
        else:
            self._at_refusal = self._minute.total

    def door_opened(self) -> None:
        self.since, self._opened_with = None, self._count

    @property
    def per_second(self) -> float:
        """In the minute before the last refusal."""
        return self._at_refusal / MINUTE

    @property
    def lately(self) -> float:
        """Calls sent a minute, over the seconds before the last call."""
        return self._lately.total * MINUTE / LATELY

    def is_alone(self, door: Door) -> bool:
        """Whether the last refusal says nothing about a limit."""
        return self._alone and not door.asked and not door.tries_refused

    @property
    def rose(self) -> bool:
        """Whether the minute before the last refusal had many more calls than those before it."""
        return self._at_refusal > STEEP * (self._history[-3] - self._history[0]) / 3

    def bounds(self, now: float, opened_at: float, door: Door, rate: float) -> tuple[float, float] | None:
        """The least and the most that the limit can be. None: shut for so long that no limit explains it.

        What was granted is the least, the rate that was refused the most. They differ when the rate was rising
        or the window is shorter than the minute over which we count.
        """
        used = max(door.refused_at - (opened_at if self.since is None else self.since), 0.1)
        if 0 < door.asked <= SHORT and used < 2 * door.asked:
            limit = self._short_window(used, door.asked, rate)
            return limit, limit
        is_first = rate == math.inf
        least = self._last_minute(now, opened_at, door, is_first=is_first)
        if least == 0.0 or is_first:
            return (least, least) if least else None
        least = min(max(least, rate * DEEPEST_CUT), rate)
        # A window of a minute is measured exactly; who names a time may count over less
        return least, (least if not door.asked and least < rate * NEAR else rate)

    def _mark(self, now: float) -> None:
        passed = min(int((now - self._mark_at) // MARK) + 1, MARKS)
        self._history.extend([self._count] * passed)
        self._mark_at = max(self._mark_at + passed * MARK, now)

    def _last_minute(self, now: float, opened_at: float, door: Door, *, is_first: bool) -> float:
        """Calls granted a second in the minute before the door opened, or since there are calls.

        A limit that was met before may have been cut: then the truth is between what was granted in the minute before
        the last refusal and before now. The first that is met was not, however long the tries took to find it over.
        """
        granted = self._at_refusal
        if door.tries_refused and not door.asked and not is_first:
            self._minute.turn(now)
            granted = (granted + self._minute.total) / 2
        return granted / max(min(opened_at - self._busy_since, MINUTE), 0.1) if granted >= 1.0 else 0.0

    def _short_window(self, used: float, asked: float, rate: float) -> float:
        """The limit where the window is so short that rounding `Retry-After` up to a second matters.

        Evenly spaced calls are counted by their spacing, since some that were granted after the refused one,
        before its news came, belong to the next window.
        """
        if rate == math.inf:
            return max(self._count - self._opened_with, 1) / max(1.0, math.floor(used + asked))
        if used <= asked:
            return rate * used / asked
        # A fixed window turned over meanwhile, who knows when: the limit lies between this and the rate
        return rate * (max(0.5, used / asked - 1.0) + 1.0) / 2
