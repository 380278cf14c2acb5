"""The leases that a worker holds: what it may send and has used.

Pure: `now` comes in. A lease begins when its message has come, and ends counted from when it was asked for. So however
long a message takes, a worker sends nothing outside of what the coordinator counts.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

from msgspec import Struct

from arkbatch.limits.lease_messages import SHORTEST_CHUNK, Amounts, Lease, LeaseReport, Settlement
from arkbatch.limits.token_split import Tokens

USED_PART_OF_LIFE = 0.9  # of a lease; the rest is for calls that are on their way
SETTLED_WITHIN_SECONDS = 3600.0  # calls that last longer settle nothing
LOW_PART = 0.5  # of a lease; with less left, the next one is asked for


class HeldLease(Struct):
    """A lease in use. granted: what it held at first; requests and the tokens: what is left of it."""

    number: int
    begins: float
    ends: float
    granted: Amounts
    requests: int
    tokens: int
    input_tokens: int
    output_tokens: int
    last_used: float

    def has_room_for(self, amount: Tokens) -> bool:
        """Whether a call of this size may go with what is left."""
        return (
            self.requests > 0
            and self.tokens >= amount.total
            and self.input_tokens >= amount.input
            and self.output_tokens >= amount.output
        )

    def take_tokens(self, now: float, amount: Tokens) -> None:
        """Count a call that goes now."""
        self.requests -= 1
        self.tokens -= amount.total
        self.input_tokens -= amount.input
        self.output_tokens -= amount.output
        self.last_used = now

    @property
    def is_low(self) -> bool:
        """Whether little is left of it."""
        granted = self.granted
        return self.requests < LOW_PART * granted.requests or self.tokens < LOW_PART * granted.tokens

    def usage_report(self, now: float) -> LeaseReport:
        """Return what was used of it."""
        granted = self.granted
        used = Amounts(
            granted.requests - self.requests,
            granted.tokens - self.tokens,
            granted.input_tokens - self.input_tokens,
            granted.output_tokens - self.output_tokens,
        )
        return LeaseReport(self.number, used, max(now - self.last_used, 0.0))


class HeldLeases:
    """The leases of one attempt at a shard, the oldest first."""

    def __init__(self) -> None:
        self._held: deque[HeldLease] = deque()
        self._over: list[LeaseReport] = []
        self._differences: dict[int, list[int]] = {}  # by lease: of all tokens, input and output
        self._used_from: list[float] = []  # when each lease was first used, beside its number
        self._used_leases: list[int] = []

    def add_lease(self, now: float, lease: Lease, asked_at: float) -> None:
        """Take in a lease that has come. asked_at: when its message was sent."""
        begins = now + lease.starts_in
        ends = asked_at + lease.starts_in + (lease.ends_in - lease.starts_in) * USED_PART_OF_LIFE
        granted = lease.granted
        parts = (granted.requests, granted.tokens, granted.input_tokens, granted.output_tokens)
        self._held.append(HeldLease(lease.lease, begins, ends, granted, *parts, begins))
        while self._used_from and self._used_from[0] < now - SETTLED_WITHIN_SECONDS:
            del self._used_from[0], self._used_leases[0]

    def usable_lease(self, now: float, amount: Tokens) -> HeldLease | None:
        """Return the first lease with room for the call, now or soon."""
        while self._held and now >= self._held[0].ends:
            self._over.append(self._held.popleft().usage_report(now))
        for lease in self._held:
            if lease.has_room_for(amount):
                return lease
        return None

    def spend_tokens(self, now: float, amount: Tokens) -> HeldLease:
        """Count a call for which there is a usable lease, and return that lease."""
        lease = self.usable_lease(now, amount)
        assert lease is not None
        lease.take_tokens(now, amount)
        if not self._used_leases or self._used_leases[-1] != lease.number:
            self._used_from.append(now)
            self._used_leases.append(lease.number)
        return lease

    def settle_tokens(self, granted_at: float, reserved: Tokens, used: Tokens) -> None:
        """Count what a call that was sent then used beyond what it reserved, or less."""
        place = bisect_right(self._used_from, granted_at) - 1
        if place < 0 or used == reserved:
            return
        number = self._used_leases[place]
        self._add_difference(
            number, used.total - reserved.total, used.input - reserved.input, used.output - reserved.output
        )

    def _add_difference(self, number: int, tokens: int, input_tokens: int, output_tokens: int) -> None:
        sums = self._differences.get(number)
        if sums is None:
            sums = self._differences[number] = [0, 0, 0]
        sums[0] += tokens
        sums[1] += input_tokens
        sums[2] += output_tokens

    def is_last_low(self, now: float) -> bool:
        """Whether the next lease is needed soon."""
        last = self._held[-1] if self._held else None
        return last is None or last.is_low or (last.begins <= now and last.ends - now < SHORTEST_CHUNK)

    def close_all(self, now: float) -> None:
        """Give back what is left of every lease."""
        self._over += [lease.usage_report(now) for lease in self._held]
        self._held.clear()

    def take_reports(self, now: float) -> tuple[list[LeaseReport], list[Settlement]]:
        """Return what is to be told of leases and calls since the last time."""
        while self._held and (now >= self._held[0].ends or not self._held[0].requests):
            self._over.append(self._held.popleft().usage_report(now))
        reports, self._over = self._over, []
        differences, self._differences = self._differences, {}
        return reports, [Settlement(number, Amounts(0, *sums)) for number, sums in differences.items()]

    def put_back(self, reports: Sequence[LeaseReport], settlements: Sequence[Settlement]) -> None:
        """Keep what a lost message told, to tell it again."""
        self._over = [*reports, *self._over]
        for settlement in settlements:
            more = settlement.difference
            self._add_difference(settlement.lease, more.tokens, more.input_tokens, more.output_tokens)
