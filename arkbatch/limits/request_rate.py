"""Requests a minute: a bucket that spreads them evenly."""

import math

from aiolimiter import AsyncLimiter

from arkbatch.limits.token_rate import JITTER_SECONDS, WINDOW_SECONDS, Window


class RequestRate:
    """The limit of requests a minute.

    A bucket of `burst` calls that refills at `rate` grants at most burst + rate x t in any t seconds. For the
    server's minute (ours and the jitter of arrival) to stay below rpm + 1, that is at rpm, the rate is
    (rpm + 1 - burst) / 60.5 s. The burst is one call, without which none goes, and 1/200 of the minute, 0.3 s:
    a worker that comes this much too late has lost nothing. It leaves (1 - 1/200) x 60 / 60.5 = 98.7 % to be used.

    Where many calls go a second, a sixteenth of the burst is taken from the bucket at a time, and handed out call by
    call: the bucket is that much smaller, so that the burst stays what it is.

    sent: all calls of the last minute, whoever granted them; changed_at: when another limit, or none, was in force
    """

    def __init__(self, per_minute: float, sent: Window, changed_at: float = -math.inf) -> None:
        burst = 1 + per_minute / 200
        rate = (per_minute + 1 - burst) / (WINDOW_SECONDS + JITTER_SECONDS)
        self._at_a_time = max(1, int(burst / 16))
        self._ahead = 0  # calls that were taken from the bucket and did not go so far
        bucket = burst - (self._at_a_time - 1)
        self._bucket = AsyncLimiter(bucket, bucket / rate)
        # The bucket does not tell when: ask again after a call's interval, but before the bucket runs over.
        self.nap = min(1 / rate, 0.25)
        self.per_minute = per_minute
        self._sent = sent
        # From then on every call that counts was granted under this limit.
        self._settled_at = changed_at + WINDOW_SECONDS + JITTER_SECONDS + 1.0

    def ready_in(self, now: float) -> float:
        """Seconds until a call may go, or until it is worth asking again."""
        if not self._ahead and not self._bucket.has_capacity(self._at_a_time):
            return self.nap
        return self.room_in(now) if now < self._settled_at else 0.0

    def room_in(self, now: float) -> float:
        """Seconds until the last minute has room for a call. The bucket does not know the calls before a change."""
        most = max(self.per_minute, 1.0) - 1
        self._sent.forget_old(now)
        return self._sent.falls_to(now, most) if self._sent.total > most else 0.0

    def take(self) -> None:
        """Count a call that goes now, in the same step in which `ready_in` has returned 0."""
        if self._ahead:
            self._ahead -= 1
            return
        self._ahead = self._at_a_time - 1
        acquiring = self._bucket.acquire(self._at_a_time)
        try:
            acquiring.send(None)  # There is capacity, so it ends at once and does not wait.
        except StopIteration:
            return
        acquiring.close()
        raise AssertionError("a call was taken while the limit allowed none")
