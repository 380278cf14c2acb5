"""The door that a refusal shuts for all calls, and when it opens again.

It knows times only: what the server asked for, when calls were sent, how long the news of a refusal takes. Whether
a refusal was about the rate or the concurrency, and what is learnt when the door opens, is `pace`'s.

A server that names a time is believed. One that names none is tried with a single call at growing intervals:
refused calls count towards Ark's limits, so a crowd that tries together keeps itself out.
"""

import math

FIRST_PAUSE = 1.5  # seconds between single tries, growing to the longest
PAUSE_GROWTH = 1.5
LONGEST_PAUSE = 30.0
FIRST_PATIENCE = 1.0  # how long a try must stay unrefused, while no refusal has shown how fast the news is
SHORTEST_PATIENCE = 0.2
LONGEST_PATIENCE = 5.0


class Door:
    """Open until `shut`. All times are seconds on the caller's clock.

    asked: seconds that the server wanted, 0 when it named none
    longest: seconds that it ever named
    shut_at: when it was shut
    cut_at: when the door was shut or found shut last; calls sent before bring old news
    refused_at: when the call was sent whose refusal said so
    tries_refused: single calls that found it still shut
    """

    __slots__ = (
        "_is_brief",
        "_news",
        "_pause",
        "_try_at",
        "asked",
        "cut_at",
        "is_shut",
        "longest",
        "refused_at",
        "shut_at",
        "tries_refused",
        "until",
    )

    def __init__(self) -> None:
        self.is_shut = self._is_brief = False
        self.asked = self.longest = 0.0
        self.cut_at = self.refused_at = self.shut_at = self.until = -math.inf
        self.tries_refused = 0
        self._news: float | None = None
        self._pause = FIRST_PAUSE
        self._try_at: float | None = None

    def knows(self, now: float, sent_at: float | None) -> bool:
        """This refusal is old news: its call was under way before the door was shut."""
        return now < self.until if sent_at is None else sent_at < self.cut_at

    def shut(self, now: float, after: float | None, sent_at: float, brief: float = 0.0) -> None:
        """A refusal that is news. The first shuts the door; while it is shut, a try came back refused.

        brief: the limit is known, and it takes so many seconds to be below it again; nothing need be tried
        """
        if self.is_shut:
            self.tries_refused += 1
            self._pause = min(self._pause * PAUSE_GROWTH, LONGEST_PAUSE)
        else:
            self.tries_refused, self._pause, self.shut_at = 0, FIRST_PAUSE, now
        self.is_shut, self._try_at = True, None
        self.cut_at, self.refused_at = now, sent_at
        self._news = max(now - sent_at, 0.9 * (self._news or 0.0))
        self.asked = after or 0.0
        self.longest = max(self.longest, self.asked)
        self._is_brief = brief > 0 and not self.asked
        self.until = now + (self.asked or brief or self._pause)

    def hear_again(self, after: float | None, sent_at: float | None, since: float) -> None:
        """Old news; but if the server asks for longer now, it gets it.

        News overtakes news, so the first refusal heard of need not be the first. Calls before `since` do not count.
        """
        if sent_at is not None and not self.tries_refused and since <= sent_at < self.refused_at:
            self.refused_at = sent_at
        if after is not None and after > self.asked:
            self.until += after - (self.asked or self._pause)
            self.asked, self._is_brief = after, False

    def is_over(self, now: float) -> bool:
        """Shut, and the next call would open it for all, with no more try."""
        told = self.asked or self._is_brief or self.is_tried
        return self.is_shut and bool(told) and now > self.until - 1e-6

    def opened(self, now: float) -> float | None:
        """A call starts although the door was shut, since `until` is over: when did it open, if it did?

        A named time is taken as true. Else this call is the try; the next one finds the door open, because a
        refusal would have come by then. Between the last refusal and the try it opened: in the middle, say,
        or at once if the first try got through.
        """
        if self.asked:
            self.is_shut = False
            return self.refused_at + max(self.asked - 0.5, 0.5)
        if self._is_brief:
            self.is_shut = False
            return self.refused_at
        if self._try_at is None:
            self._try_at, self.until = now, now + self._patience
            return None
        self.is_shut = False
        return (self.refused_at + self._try_at) / 2 if self.tries_refused else self.refused_at

    @property
    def is_tried(self) -> bool:
        """A try is under way."""
        return self._try_at is not None

    @property
    def _patience(self) -> float:
        if self._news is None:
            return FIRST_PATIENCE
        return min(max(2.0 * self._news, SHORTEST_PATIENCE), LONGEST_PATIENCE)
