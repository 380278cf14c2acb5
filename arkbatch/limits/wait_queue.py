"""The line in front of the limiter: who is next, and who may pass whom.

First come, first served, with two exceptions. While the first in line is too large for what is left of the minute,
smaller calls pass it, for `PATIENCE` times as long as the allowance takes to grant its own amount. That starves
nobody: the line in front of anyone takes at most 1 + `PATIENCE` times as long as in strict order. In strict order,
rows between 0.1 and 30 % of a minute's tokens leave a tenth of the allowance unused, while the minute drains for the
large ones. And while the service seems to be away, a row that was never sent goes before those that failed, since
its answer says more. What stands in the way of a call is for the limiter to know.
"""

import asyncio
from collections.abc import Callable
from itertools import islice

from msgspec import Struct

from arkbatch.limits.permit import Demand, Permit
from arkbatch.limits.rate_meter import LimitedBy
from arkbatch.limits.token_split import Tokens

PATIENCE = 4.0  # for those rows: 0 uses 90 % of the allowance, 2 92 %, 3 97.0 %, 4 97.6 %
LOOK_AHEAD = 100  # how many of those in line are asked whether they fit

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
    """Who may go now, or None and in how many seconds somebody may. bound: what the first in line waits for."""

    waiter: Waiter | None
    wait: float
    bound: LimitedBy | None


class WaitQueue:
    """Those who wait, in order of coming.

    obstacle: what is in the way of a call of so many tokens at a time
    seconds_for: how long the scarcest allowance takes to grant so many tokens
    """

    def __init__(self, obstacle: Callable[[float, Tokens], Obstacle], seconds_for: Callable[[Tokens], float]) -> None:
        self._obstacle = obstacle
        self._seconds_for = seconds_for
        self._waiting: dict[Waiter, None] = {}  # a dict, to leave it from the middle
        self._first: Waiter | None = None
        self._patient_until = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, waiter: Waiter) -> None:
        self._waiting[waiter] = None

    def leave(self, waiter: Waiter) -> None:
        self._waiting.pop(waiter, None)

    def dissolve(self) -> None:
        """Tell all who wait that nobody goes any more."""
        for waiter in self._waiting:
            if not waiter.granted.done():
                waiter.granted.set_result(None)
        self._waiting.clear()

    def next(self, now: float, *, rather_untried: bool) -> Next:
        """Of a line in which somebody waits."""
        first = self._foremost(rather_untried=rather_untried)
        if first is not self._first:
            self._first, self._patient_until = first, now + PATIENCE * self._seconds_for(first.tokens)
        wait, bound = self._obstacle(now, first.tokens)
        if bound is None:
            return Next(first, 0.0, None)
        if bound is LimitedBy.TOKENS and now < self._patient_until:
            smaller, wait = self._smaller(now, first.tokens, wait)
            return Next(smaller, wait, bound)
        return Next(None, wait, bound)

    def _foremost(self, *, rather_untried: bool) -> Waiter:
        if rather_untried:
            for waiter in self._waiting:
                if waiter.untried:
                    return waiter
        return next(iter(self._waiting))

    def _smaller(self, now: float, too_large: Tokens, wait: float) -> tuple[Waiter | None, float]:
        """The same among those that the first would let pass."""
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


class Pauses:
    """Why nobody is let through just now, and for how long that was so. Times are seconds of one clock.

    Several reasons may stand at a time (a pause by hand, the hours of the night); what counts is whether any does.

    since: when each hold that stands was put, by its name
    """

    def __init__(self) -> None:
        self.since: dict[str, float] = {}
        self._began = 0.0
        self._before = 0.0  # seconds, in holds that are over

    def begin_pause(self, name: str, now: float) -> bool:
        """Whether it is the first; one that stands already is put no later for that."""
        is_first = not self.since
        if is_first:
            self._began = now
        self.since.setdefault(name, now)
        return is_first

    def end_pause(self, name: str, now: float) -> bool:
        """Whether none is left now; one that does not stand is none."""
        if self.since.pop(name, None) is None or self.since:
            return False
        self._before += now - self._began
        return True

    def seconds(self, now: float) -> float:
        """How long any stood so far."""
        return self._before + (now - self._began if self.since else 0.0)
