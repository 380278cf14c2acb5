"""Requests a minute: a bucket that spreads them, and across a change of the limit the count of the last minute."""

import asyncio
import math

from aiolimiter import AsyncLimiter

from arkbatch.limits.token_rate import JITTER_SECONDS, WINDOW_SECONDS, Window


class Requests(AsyncLimiter):
    """Requests a minute.

    A bucket of `burst` calls that refills at `rate` grants at most burst + rate x t in any t seconds. For the
    server's minute (ours and the jitter of arrival) to stay below rpm + 1, that is at rpm, the rate is
    (rpm + 1 - burst) / 60.5 s. The burst is one call, without which none goes, and 1/200 of the minute, 0.3 s:
    a worker that comes this much too late has lost nothing. It leaves (1 - 1/200) x 60 / 60.5 = 98.7 % to be used.

    sent: all calls of the last minute, whoever let them go; changed_at: when another limit, or none, was in force
    """

    # `_loop` takes the place of a property, which would look for another loop at each call.
    __slots__ = ("_loop", "_sent", "_settled_at", "nap", "per_minute")

    def __init__(self, per_minute: float, sent: Window, changed_at: float = -math.inf) -> None:
        burst = 1 + per_minute / 200
        rate = (per_minute + 1 - burst) / (WINDOW_SECONDS + JITTER_SECONDS)
        super().__init__(burst, burst / rate)
        self._loop = asyncio.get_running_loop()  # type: ignore[misc]
        # It does not tell when: ask again after a call's interval, but before the bucket runs over.
        self.nap = min(1 / rate, 0.25)
        self.per_minute = per_minute
        self._sent = sent
        self._settled_at = changed_at + WINDOW_SECONDS + JITTER_SECONDS + 1.0  # all that counts was granted by us then

    def ready_in(self, now: float) -> float:
        """Seconds until a call may go, or until it is worth asking again."""
        if not self.has_capacity():
            return self.nap
        return self.room_in(now) if now < self._settled_at else 0.0

    def room_in(self, now: float) -> float:
        """Seconds until the last minute has room for a call. The bucket knows nothing of what went before a change."""
        most = max(self.per_minute, 1.0) - 1
        self._sent.turn(now)
        return self._sent.falls_to(now, most) if self._sent.total > most else 0.0

    def take(self) -> None:
        """The one step of `acquire` where `has_capacity` was just asked; it would ask and read the clock again."""
        self._level += 1
