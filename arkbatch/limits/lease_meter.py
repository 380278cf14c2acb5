"""One shared limit per minute: when the next lease may begin.

A lease is used at some time between its beginning and its end, and only the worker knows when. Leases are granted in
the order of their beginnings. So a window of 60 seconds holds no more than the limit if, whenever a lease is granted,
the amounts of all leases that end less than 60 seconds before its beginning stay within the limit. Giving back an
unused part, or closing a lease early, only lowers that sum.

Amounts are whole numbers, so that no rounding adds up.
"""

import math

from arkbatch.limits.token_rate import JITTER_SECONDS, WINDOW_SECONDS

SLOT_SECONDS = 0.05
KEPT_SECONDS = WINDOW_SECONDS + JITTER_SECONDS
# A charge counts for the window and for the time between a lease's beginning and its end, about 0.4 s. This pace is
# what the window sustains, so that leases come evenly and seldom wait for the window: 60 / 60.9 = 98.5 % of the limit.
EVEN_SECONDS = KEPT_SECONDS + 0.4
CREDIT_SECONDS = 5.0  # of lost time that may be caught up on, as after a pause or a lease that was given back


class LeaseMeter:
    """The leases of one limit, by the time at which each ends. All times come from one clock and never go back."""

    __slots__ = ("_amounts", "_base", "_paid_off_at", "_total", "per_minute")

    def __init__(self, per_minute: float, now: float) -> None:
        self.per_minute = per_minute
        self._amounts: dict[int, int] = {}  # by the slot in which a lease ends, rounded up
        self._base = _slot_of(now - KEPT_SECONDS)  # what ended in this slot or before is forgotten
        self._total = 0
        self._paid_off_at = now

    @property
    def per_second(self) -> float:
        """The even pace."""
        return self.per_minute / EVEN_SECONDS

    def backlog_seconds(self, now: float) -> float:
        """Seconds of the pace that are leased already, beyond now."""
        return max(self._paid_off_at - now, 0.0)

    def earliest_begin(self, now: float, amount: int) -> float:
        """When a lease of this amount may begin. An amount larger than the limit goes alone."""
        self._forget_old(now)
        return max(now, self._paid_off_at, self._room_at(now, amount))

    def charge_lease(self, begins: float, ends: float, amount: int) -> None:
        """Charge a lease, until its end is known better."""
        self._paid_off_at = max(self._paid_off_at, begins - CREDIT_SECONDS) + amount / self.per_second
        self._add_to_slot(_slot_of(ends), amount)

    def close_lease(self, ends: float, closed_at: float, leased: int, used: int) -> None:
        """The lease was used up to `closed_at`, and the rest of it is given back."""
        self._paid_off_at -= (leased - used) / self.per_second
        slot = _slot_of(ends)
        if slot > self._base:
            self._add_to_slot(slot, -leased)
            self._add_to_slot(_slot_of(min(ends, closed_at)), used)

    def settle_lease(self, now: float, closed_at: float, difference: int) -> None:
        """Calls of a lease that ended then used more, or less, than they had reserved.

        What is given back after the charge has left the window changes the pace only: nothing in the window is free.
        """
        self._paid_off_at += difference / self.per_second
        slot = _slot_of(closed_at)
        if slot > self._base:
            self._add_to_slot(slot, difference)
        elif difference > 0:
            self._add_to_slot(_slot_of(now), difference)

    def change_limit(self, now: float, per_minute: float) -> None:
        """Another limit from now on; what the last minute holds counts against it."""
        debt = self.backlog_seconds(now) * self.per_second
        self.per_minute = per_minute
        self._paid_off_at = min(self._paid_off_at, now) + debt / self.per_second

    def _room_at(self, now: float, amount: int) -> float:
        most = self.per_minute - amount
        if self._total <= most or self._total <= 0:
            return now
        left, slot = self._total, self._base
        while left > most and left > 0:  # ends at the newest slot: then nothing is left
            slot += 1
            left -= self._amounts.get(slot, 0)
        return slot * SLOT_SECONDS + KEPT_SECONDS

    def _add_to_slot(self, slot: int, amount: int) -> None:
        if slot > self._base and amount:
            self._amounts[slot] = self._amounts.get(slot, 0) + amount
            self._total += amount

    def _forget_old(self, now: float) -> None:
        base = math.floor((now - KEPT_SECONDS) / SLOT_SECONDS + 1e-6)
        if base <= self._base:
            return
        slots = range(self._base + 1, base + 1) if base - self._base < len(self._amounts) else list(self._amounts)
        for slot in slots:
            if slot <= base:
                self._total -= self._amounts.pop(slot, 0)
        self._base = base


def _slot_of(at: float) -> int:
    """The slot whose end is not before this time."""
    return math.ceil(at / SLOT_SECONDS - 1e-6)
