"""How much of an allowance per minute may be spent now.

Two rules hold together, because each alone is too weak. The *window* counts what was granted in the last
minute and never lets it pass the limit; alone it would let the first second spend the whole minute, and
again each minute after. The *clock*, the time at which all that was granted is paid off at the allowed rate,
spreads the calls evenly; alone it lets a sliding minute overshoot by the largest call. The clock forgives up
to `CREDIT_SECONDS`, so that the time in which the window had to drain for a large call is caught up afterwards.

The amounts have no unit: tokens, input tokens, images. Nothing here knows who waits, or in what order.
"""

from collections.abc import Iterator

WINDOW_SECONDS = 60.0
SLOT_SECONDS = 0.25
# Servers count arrivals, we count departures: a minute of theirs can hold this much more than one of ours.
JITTER_SECONDS = 0.5
# Long enough to catch up on the draining for a call of a third of the minute. Rows of 0.1 to 30 % of it used 93 % of
# the allowance with 5 s, 95.5 % with 10 s, 97.7 % with 20 s.
CREDIT_SECONDS = 20.0


class Window:
    """A sum over the last so many seconds, in slots, so that its memory does not grow with what it counts.

    An amount stays for `seconds` at least and `seconds + slot` at most. `total` is as of the last `forget_old`.
    """

    __slots__ = ("_amounts", "_count", "_newest", "_place", "_slot", "edge", "total")

    def __init__(self, now: float, seconds: float, slot: float) -> None:
        self._slot = slot
        self._count = round(seconds / slot) + 1
        self._amounts = [0.0] * self._count
        self._newest = int(now // slot)
        self._place = self._newest % self._count
        self.edge = (self._newest + 1) * slot
        self.total = 0.0

    def forget_old(self, now: float) -> None:
        """Forget what is too old. Callers in a hurry skip this while `now < edge`."""
        newest = int(now // self._slot)
        if newest - self._newest >= self._count:  # all of it, as after each pause of an outage
            self._amounts, self.total = [0.0] * self._count, 0.0
        else:
            for slot in range(self._newest + 1, newest + 1):
                self.total -= self._amounts[slot % self._count]
                self._amounts[slot % self._count] = 0.0
        if newest > self._newest:
            self._newest = newest
            self._place = newest % self._count
            self.edge = (newest + 1) * self._slot

    def add(self, now: float, amount: float) -> None:
        if now >= self.edge:
            self.forget_old(now)
        self._amounts[self._place] += amount
        self.total += amount

    def correct(self, now: float, when: float, amount: float) -> None:
        """Add to what was counted at `when`; what is forgotten already is corrected as of now."""
        if now >= self.edge:
            self.forget_old(now)
        slot = int(when // self._slot)
        if not self._newest - self._count < slot <= self._newest:
            slot = self._newest
        self._amounts[slot % self._count] += amount
        self.total += amount

    def slots(self, now: float) -> Iterator[tuple[float, float]]:
        """When each slot ended, or now, and what it holds; the oldest first."""
        self.forget_old(now)
        for slot in range(self._newest - self._count + 1, self._newest + 1):
            yield min((slot + 1) * self._slot, now), self._amounts[slot % self._count]

    def sum_of_last(self, now: float, seconds: float) -> float:
        """The sum over the newest so many seconds, of these that it spans."""
        self.forget_old(now)
        slots = min(round(seconds / self._slot) + 1, self._count)
        return sum(self._amounts[(self._newest - back) % self._count] for back in range(slots))

    def falls_to(self, now: float, total: float) -> float:
        """Seconds until the sum is no more than `total`, when nothing is added."""
        self.forget_old(now)
        left, turns = self.total, 0
        while left > total and turns < self._count:
            turns += 1
            left -= self._amounts[(self._newest + turns) % self._count]
        return (self._newest + turns) * self._slot - now if turns else 0.0


class TokenRate:
    """An allowance per minute of which no sliding minute spends more, and which is spent evenly.

    That holds for amounts that turn out right, or too large. A correction counts from when its call was granted;
    one that comes after that has left the window counts from now, in either direction, so that for calls that
    last minutes the *rate* of what is really used is right. An amount larger than a minute's allowance goes
    alone, and leaves a debt that is paid off before the next.
    """

    __slots__ = ("_limit", "_paid_off_at", "_rate", "_window")

    def __init__(self, per_minute: float, now: float) -> None:
        self._limit, self._rate = per_minute, _even_rate(per_minute)
        self._window = Window(now, WINDOW_SECONDS + JITTER_SECONDS, SLOT_SECONDS)
        self._paid_off_at = now  # and not earlier: a run does not begin with credit

    @classmethod
    def with_past_use(cls, used: Window, per_minute: float, now: float) -> "TokenRate":
        """One that begins now, and has what was used before it counted against it."""
        budget, seconds = cls(per_minute, now), WINDOW_SECONDS + JITTER_SECONDS
        budget._window = Window(now - seconds - 1.0, seconds, SLOT_SECONDS)
        for when, amount in used.slots(now):
            budget._window.add(when, amount)
        return budget

    def change_limit(self, now: float, per_minute: float) -> None:
        """Another limit from now on. What the last minute holds counts against it, so the promise stands: until a
        lower one is kept by the minute that ends now, nothing is granted.
        """
        rate = _even_rate(per_minute)
        debt = max(self._paid_off_at - now, 0.0)  # of the last call; credit is time, and stays
        self._paid_off_at += debt * (self._rate / rate - 1.0)
        self._limit, self._rate = per_minute, rate

    def ready_in(self, now: float, amount: int) -> float:
        window = self._window
        if now >= window.edge:
            window.forget_old(now)
        wait = max(self._paid_off_at - now, 0.0)
        if window.total + amount > self._limit and window.total > 0:
            wait = max(wait, window.falls_to(now, max(self._limit - amount, 0)))
        return wait

    def spend_tokens(self, now: float, amount: int) -> None:
        self._paid_off_at = max(self._paid_off_at, now - CREDIT_SECONDS) + amount / self._rate
        self._window.add(now, amount)

    def settle_tokens(self, now: float, granted_at: float, reserved: int, used: int) -> None:
        if used != reserved:
            self._paid_off_at += (used - reserved) / self._rate
            self._window.correct(now, granted_at, used - reserved)

    def seconds_for(self, amount: int) -> float:
        return amount / self._rate


def _even_rate(per_minute: float) -> float:
    """A second. As slow as the window, so that small calls flow evenly and do not clump at the edges of its slots."""
    return per_minute / (WINDOW_SECONDS + JITTER_SECONDS + SLOT_SECONDS / 2)
