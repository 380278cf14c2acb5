"""Measures the calls and tokens of the last minute, and what limited them."""

from enum import StrEnum

from arkbatch.limits.token_rate import JITTER_SECONDS, WINDOW_SECONDS, Window

RECENT_SECONDS = 10.0


class LimitedBy(StrEnum):
    """What keeps a run from going faster."""

    REQUESTS = "requests"  # the given requests a minute
    TOKENS = "tokens"  # the given tokens a minute
    SERVER = "server"  # the adaptive limit, or an outage
    CONCURRENCY = "concurrency"  # as many calls are in flight as are allowed
    INPUT = "input"  # no row waits
    HELD = "held"  # a pause


class RateMeter:
    """What was granted in the last minute, and what held more calls back.

    sent, used: calls and tokens
    """

    __slots__ = ("_held", "_held_by", "_held_since", "_opened_at", "sent", "used")

    def __init__(self, now: float) -> None:
        self._opened_at = self._held_since = now
        self.sent, self.used = (Window(now, WINDOW_SECONDS + JITTER_SECONDS, 0.5) for _ in range(2))
        self._held_by: LimitedBy | None = None
        self._held = {bound: Window(now, RECENT_SECONDS, 1.0) for bound in LimitedBy}

    def note_limit(self, now: float, bound: LimitedBy | None) -> None:
        """Note what the first waiting call waits for from now on; None: no call waits."""
        if self._held_by is not None:
            self._held[self._held_by].add(now, now - self._held_since)
        self._held_by, self._held_since = bound, now

    def most_frequent_limit(self, now: float) -> LimitedBy | None:
        """Return what calls waited for during more than half of the last `RECENT_SECONDS`."""
        self.note_limit(now, self._held_by)
        for seconds in self._held.values():
            seconds.forget_old(now)
        most = max(self._held, key=lambda bound: self._held[bound].total)
        return most if self._held[most].total * 2 > min(now - self._opened_at, RECENT_SECONDS) else None

    def per_minute(self, window: Window, now: float) -> float:
        """Return the sum of a window as a rate a minute, also in the first minute."""
        window.forget_old(now)
        return window.total * 60 / min(max(now - self._opened_at, 1.0), WINDOW_SECONDS + JITTER_SECONDS + 0.25)
