"""The queue of calls that wait for a permit.

First come, first served, with two exceptions. While the first call is too large for what is left of the minute,
smaller calls overtake it, for at most `PATIENCE` times as long as the limit takes to grant its tokens. So no call waits
more than 1 + `PATIENCE` times as long as in strict order. In strict order, rows between 0.1 and 30 % of a minute's
tokens leave a tenth of the limit unused while the minute drains for the large ones. And while the service seems to be
away, a row that was never sent goes before those that failed, since its answer tells more. What holds a call back is
decided by the limiter.
"""

import asyncio
from collections.abc import Callable
from itertools import islice

from msgspec import Struct

from arkbatch.limits.permit import Demand, Permit
from arkbatch.limits.rate_meter import LimitedBy
from arkbatch.limits.token_split import Tokens

PATIENCE = 4.0  # for those rows: 0 uses 90 % of the allowance, 2 92 %, 3 97.0 %, 4 97.6 %
LOOK_AHEAD = 100  # waiting calls that are examined for one that fits

Obstacle = tuple[float, LimitedBy | None]  # seconds to wait and what for; None: nothing is in the way
NO_OBSTACLE: Obstacle = (0.0, None)


class Waiter:
    """A call that waits. granted: its permit, once it has one; untried: its row has not been sent so far."""

    __slots__ = ("demand", "granted", "tokens", "untried")

    def __init__(self, demand: Demand, granted: asyncio.Future[Permit | None], *, untried: bool) -> None:
        self.demand = demand
        self.tokens = demand.tokens
        self.granted = granted
        self.untried = untried


class Next(Struct, frozen=True, gc=False):
    """The call that may go now, or None and the seconds until one may. bound: what holds the first call back."""

    waiter: Waiter | None
    wait: float
    bound: LimitedBy | None


class WaitQueue:
    """The waiting calls, in the order in which they came.

    obstacle: what holds back a call of so many tokens at a loop time
    seconds_for: the seconds that the scarcest limit takes to grant so many tokens
    """

    def __init__(self, obstacle: Callable[[float, Tokens], Obstacle], seconds_for: Callable[[Tokens], float]) -> None:
        self._obstacle = obstacle
        self._seconds_for = seconds_for
        self._waiting: dict[Waiter, None] = {}  # a dict, to leave it from the middle
        self._first: Waiter | None = None
        self._patient_until = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def add_waiter(self, waiter: Waiter) -> None:
        self._waiting[waiter] = None

    def remove_waiter(self, waiter: Waiter) -> None:
        self._waiting.pop(waiter, None)

    def release_all(self) -> None:
        """Return all waiting calls without a permit."""
        for waiter in self._waiting:
            if not waiter.granted.done():
                waiter.granted.set_result(None)
        self._waiting.clear()

    def next_waiter(self, now: float, *, rather_untried: bool) -> Next:
        """Return what may go now. The queue must not be empty."""
        first = self._first_waiter(rather_untried=rather_untried)
        if first is not self._first:
            self._first, self._patient_until = first, now + PATIENCE * self._seconds_for(first.tokens)
        wait, bound = self._obstacle(now, first.tokens)
        if bound is None:
            return Next(first, 0.0, None)
        if bound is LimitedBy.TOKENS and now < self._patient_until:
            smaller, wait = self._smaller_waiter(now, first.tokens, wait)
            return Next(smaller, wait, bound)
        return Next(None, wait, bound)

    def _first_waiter(self, *, rather_untried: bool) -> Waiter:
        if rather_untried:
            for waiter in self._waiting:
                if waiter.untried:
                    return waiter
        return next(iter(self._waiting))

    def _smaller_waiter(self, now: float, too_large: Tokens, wait: float) -> tuple[Waiter | None, float]:
        """Return a smaller call that fits and 0, or None and the seconds until one may fit."""
        for waiter in islice(self._waiting, 1, LOOK_AHEAD):
            if waiter.tokens.total >= too_large.total:
                continue
            too_large = waiter.tokens
            its_wait, bound = self._obstacle(now, too_large)
            if bound is None:
                return waiter, 0.0
            wait = min(wait, its_wait)
            if bound is not LimitedBy.TOKENS:
                break
        return None, wait
