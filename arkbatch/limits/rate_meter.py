"""What went through a gate lately, and what kept more from going: for those who look, and for other limits later on."""

from enum import StrEnum

from arkbatch.limits.token_rate import JITTER_SECONDS, WINDOW_SECONDS, Window

RECENT_SECONDS = 10.0


class LimitedBy(StrEnum):
    """What keeps a run from going faster."""

    REQUESTS = "requests"  # the requests a minute that were given
    TOKENS = "tokens"  # the tokens a minute that were given
    SERVER = "server"  # the pace; its `reason` says more
    CONCURRENCY = "concurrency"  # all places are taken by calls
    INPUT = "input"  # places are free and nobody comes
    HELD = "held"  # somebody wants it so; `reason` says why


class RateMeter:
    """What went through lately, and what kept more from going.

    sent, used: calls and tokens of the last minute
    """

    __slots__ = ("_held", "_held_by", "_held_since", "_opened_at", "sent", "used")

    def __init__(self, now: float) -> None:
        self._opened_at = self._held_since = now
        self.sent, self.used = (Window(now, WINDOW_SECONDS + JITTER_SECONDS, 0.5) for _ in range(2))
        self._held_by: LimitedBy | None = None
        self._held = {bound: Window(now, RECENT_SECONDS, 1.0) for bound in LimitedBy}

    def note_limit(self, now: float, bound: LimitedBy | None) -> None:
        """From now on this is what the first in line waits for; None: nobody waits."""
        if self._held_by is not None:
            self._held[self._held_by].add(now, now - self._held_since)
        self._held_by, self._held_since = bound, now

    def most_frequent_limit(self, now: float) -> LimitedBy | None:
        """What somebody waited for during more than half of the last seconds."""
        self.note_limit(now, self._held_by)
        for seconds in self._held.values():
            seconds.turn(now)
        most = max(self._held, key=lambda bound: self._held[bound].total)
        return most if self._held[most].total * 2 > min(now - self._opened_at, RECENT_SECONDS) else None

    def per_minute(self, window: Window, now: float) -> float:
        """Of a watch younger than a minute, at the rate so far."""
        window.turn(now)
        return window.total * 60 / min(max(now - self._opened_at, 1.0), WINDOW_SECONDS + JITTER_SECONDS + 0.25)
