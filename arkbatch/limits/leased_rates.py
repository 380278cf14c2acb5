"""The worker's side of leased limits: what the limiter asks at each call, and the conversation with the coordinator.

The limiter asks synchronously, so between the question and the taking nothing comes in between. `keep` runs beside the
session: it asks for the next lease while the present one is used, tells what is used and settled, and goes on asking
while the coordinator is not there. Without a lease no call begins, so a lost coordinator costs time and no refusal.

A lease begins when its message has come and ends counted from when it was asked for: however long a message takes, a
worker sends nothing outside of what the coordinator counts.
"""

import asyncio
import contextlib
import math
from bisect import bisect_right
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

from msgspec import Struct

from arkbatch.core.errors import ArkbatchError
from arkbatch.core.types import Scope
from arkbatch.limits.lease_budget import BudgetAnswer
from arkbatch.limits.lease_messages import (
    LONGEST_CHUNK,
    SHORTEST_CHUNK,
    UNLIMITED,
    Amounts,
    Lease,
    LeaseReport,
    LeaseRequest,
    LoadRefusal,
    Settlement,
)
from arkbatch.limits.permit import Permit
from arkbatch.limits.token_split import Tokens

UNUSED_END = 0.9  # of a lease's life; the rest is for calls that are on their way
LOOK_AGAIN = 0.05  # s, until the limiter asks again for what is on its way
REMEMBERED = 3600.0  # s; calls that last longer settle nothing
FIRST_RETRY, LAST_RETRY = 0.2, 2.0  # s, while the coordinator does not answer
FEWEST_PLACES = 8  # that are asked for beyond the calls in flight, so that the number can grow
ENOUGH_LEFT = 0.5  # of a lease; with less, the next one is asked for


class ShardTaken(ArkbatchError):
    """Another worker has this shard now."""


class CoordinatorLost(Exception):
    """A message did not reach the coordinator, or its answer did not come back."""


class LimiterView(Protocol):
    """What is told about the limiter whose calls the leases are for."""

    in_flight: int

    @property
    def waiting(self) -> int: ...


class BudgetHolder(Protocol):
    """Who keeps this worker's part of the budget. Amounts in the smallest unit that counts."""

    def begin_sharing(self, share_is_short: Callable[[], None]) -> None:
        """From now on only what `allow_share` grants may be committed."""
        ...

    def committed(self) -> tuple[int, int]:
        """What is spent, and what calls in flight may still take."""
        ...

    def needed(self) -> int:
        """What the next call may take that does not fit; 0 when none waits for the budget."""
        ...

    def allow_share(self, share: int, *, used_up: bool) -> None: ...


class _Held(Struct):
    """A lease in use. `granted`: what it held at first; `requests` and the tokens: what is left of it."""

    number: int
    begins: float
    ends: float
    granted: Amounts
    requests: int
    tokens: int
    input_tokens: int
    output_tokens: int
    last_used: float

    def fits(self, amount: Tokens) -> bool:
        return (
            self.requests > 0
            and self.tokens >= amount.total
            and self.input_tokens >= amount.input
            and self.output_tokens >= amount.output
        )

    @property
    def is_low(self) -> bool:
        """Whether little is left of it."""
        granted = self.granted
        return self.requests < ENOUGH_LEFT * granted.requests or self.tokens < ENOUGH_LEFT * granted.tokens

    def report(self, now: float) -> LeaseReport:
        granted = self.granted
        used = Amounts(
            granted.requests - self.requests,
            granted.tokens - self.tokens,
            granted.input_tokens - self.input_tokens,
            granted.output_tokens - self.output_tokens,
        )
        return LeaseReport(self.number, used, max(now - self.last_used, 0.0))


class LeasedRates:
    """The leases of one attempt at a shard. An `Allowance` of requests and tokens at once; `pace` limits calls at once.

    ask: sends a request to the coordinator; CoordinatorLost when that fails
    """

    def __init__(
        self,
        ask: Callable[[LeaseRequest], Awaitable[Lease]],
        *,
        worker: str,
        shard: int,
        attempt: int,
        concurrency: int,
        clock: Callable[[], float],
    ) -> None:
        self._ask = ask
        self._names = (worker, shard, attempt)
        self._clock = clock
        self.pace = LeasedPace(concurrency, self._wake_up)
        self._held: deque[_Held] = deque()
        self._over: list[LeaseReport] = []
        self._differences: dict[int, Amounts] = {}
        self._used_from: list[float] = []  # when each lease was first used, and its number
        self._used_leases: list[int] = []
        self._first = Amounts(1)
        self._lacks = True
        self._sent = self._sent_tokens = 0  # since the last message
        self._asked_at = -math.inf
        self._ask_again_at = -math.inf
        self._wake: asyncio.Event | None = None
        self._budget: BudgetHolder | None = None
        self._gives_back = False  # the budget is short, so what is not needed goes back

    # ---- an Allowance, as the limiter knows it

    def ready_in(self, now: float, amount: Tokens) -> float:
        """Seconds until a call of this size may go."""
        lease = self._usable(now, amount)
        if lease is not None and lease.begins <= now:
            return 0.0
        if lease is not None:
            return lease.begins - now
        if not self._lacks:
            self._lacks = True
            self._wake_up()
        self._first = Amounts(1, amount.total, amount.input, amount.output)
        return LOOK_AGAIN

    def spend(self, now: float, amount: Tokens) -> None:
        """A call of this size goes now."""
        lease = self._usable(now, amount)
        assert lease is not None
        lease.requests -= 1
        lease.tokens -= amount.total
        lease.input_tokens -= amount.input
        lease.output_tokens -= amount.output
        lease.last_used = now
        self._sent += 1
        self._sent_tokens += amount.total
        if not self._used_leases or self._used_leases[-1] != lease.number:
            self._used_from.append(now)
            self._used_leases.append(lease.number)
        if lease.is_low:
            self._wake_up()

    def settle(self, now: float, granted_at: float, reserved: Tokens, used: Tokens) -> None:
        """A call that was granted then has ended, and used so many tokens."""
        del now
        place = bisect_right(self._used_from, granted_at) - 1
        if place < 0 or used == reserved:
            return
        number = self._used_leases[place]
        before = self._differences.get(number, Amounts())
        self._differences[number] = Amounts(
            0,
            before.tokens + used.total - reserved.total,
            before.input_tokens + used.input - reserved.input,
            before.output_tokens + used.output - reserved.output,
        )

    def seconds_for(self, amount: Tokens) -> float:
        """How long the limits take to grant this much; not known here."""
        del amount
        return LONGEST_CHUNK

    def _usable(self, now: float, amount: Tokens) -> _Held | None:
        """The first lease with room for the call, now or soon."""
        while self._held and now >= self._held[0].ends:
            self._over.append(self._held.popleft().report(now))
        return next((lease for lease in self._held if lease.fits(amount)), None)

    # ---- the conversation

    async def keep(self, limiter: LimiterView, is_away: Callable[[], bool], budget: BudgetHolder | None = None) -> None:
        """Ask for leases until it is cancelled. ShardTaken: another worker has the shard."""
        self._wake, retry = asyncio.Event(), FIRST_RETRY
        self._budget = budget
        if budget is not None:
            budget.begin_sharing(self._wake_up)
        while True:
            await self._until_next()
            request, asked_at = self._request(limiter, is_away=is_away()), self._clock()
            self._asked_at = asked_at
            try:
                lease = await self._ask(request)
            except CoordinatorLost:
                self._take_back(request)
                await asyncio.sleep(retry)
                retry = min(2 * retry, LAST_RETRY)
                continue
            retry = FIRST_RETRY
            if lease.is_fenced:
                raise ShardTaken(f"Shard {self._names[1]} was given to another worker, since this one was not heard.")
            self._take(lease, asked_at)
            if budget is not None and lease.budget is not None:
                budget.allow_share(lease.budget, used_up=lease.budget_answer is BudgetAnswer.USED_UP)

    async def end(self) -> None:
        """Give back what is left, once. A coordinator that is not there counts it as used."""
        now = self._clock()
        self._over += [lease.report(now) for lease in self._held]
        self._held.clear()
        self._lacks, self._sent = False, 0
        request = self._request(None, is_away=False)
        with contextlib.suppress(CoordinatorLost):
            await self._ask(request)

    @property
    def spent(self) -> int:
        """Of the budget, by all attempts at the shard; 0 without a budget."""
        return self._budget.committed()[0] if self._budget is not None else 0

    async def _until_next(self) -> None:
        """Wait until there is a reason to ask, a second at most; at most four messages a second."""
        assert self._wake is not None
        budget = self._budget
        while True:
            now = self._clock()
            soonest = max(self._asked_at + SHORTEST_CHUNK, self._ask_again_at)
            wants = self._wants_lease(now) or self.pace.refusals or (budget is not None and budget.needed())
            due = soonest if wants else self._asked_at + LONGEST_CHUNK
            if now >= due - 1e-6:
                return
            self._wake.clear()
            try:
                # Not `wait_for`, which loses a cancellation that comes together with the event.
                async with asyncio.timeout(due - now):
                    await self._wake.wait()
            except TimeoutError:
                continue
            if soonest > self._clock():
                await asyncio.sleep(soonest - self._clock())

    def _wants_lease(self, now: float) -> bool:
        if self._lacks:
            return True
        if not self._sent:
            return False
        last = self._held[-1] if self._held else None
        return last is None or last.is_low or (last.begins <= now and last.ends - now < SHORTEST_CHUNK)

    def _request(self, limiter: LimiterView | None, *, is_away: bool) -> LeaseRequest:
        now, budget = self._clock(), self._budget
        in_flight = limiter.in_flight if limiter is not None else 0
        while self._held and (now >= self._held[0].ends or not self._held[0].requests):
            self._over.append(self._held.popleft().report(now))
        worker, shard, attempt = self._names
        spent, held = budget.committed() if budget is not None else (0, 0)
        needed = budget.needed() if budget is not None else 0
        gives_back = budget is not None and self._gives_back
        if budget is not None and gives_back:
            budget.allow_share(spent + held, used_up=False)  # at once, so that no call takes what is on its way back
        wanted, first = Amounts(), Amounts()
        if self._wants_lease(now):
            wanted, first = Amounts(UNLIMITED, UNLIMITED, UNLIMITED, UNLIMITED), self._first
        request = LeaseRequest(
            worker,
            shard,
            attempt,
            wanted=wanted,
            first=first,
            in_flight=in_flight,
            places=self._places(limiter),
            reports=self._over,
            settlements=[Settlement(number, difference) for number, difference in self._differences.items()],
            refusals=[
                LoadRefusal(scope, max(now - sent_at, 0.0), after) for scope, sent_at, after in self.pace.refusals
            ],
            answered=self.pace.ended,
            is_away=is_away,
            spent=spent,
            held=held,
            needed=needed,
            gives_back=gives_back,
        )
        self._over, self._differences, self._sent = [], {}, 0
        self.pace.refusals, self.pace.ended = [], 0
        return request

    def _places(self, limiter: LimiterView | None) -> int:
        """How many calls at once this worker could use. At first nobody waits yet, and a shard has many rows."""
        if limiter is None:
            return 0
        if self._asked_at == -math.inf:
            return self.pace.most
        return min(self.pace.most, limiter.in_flight + limiter.waiting + max(FEWEST_PLACES, limiter.in_flight))

    def _take(self, lease: Lease, asked_at: float) -> None:
        now = self._clock()
        self.pace.places = lease.places
        self._gives_back = lease.budget_is_short
        self._ask_again_at = -math.inf
        if not lease.lease:
            self._ask_again_at = now + min(max(lease.starts_in, 0.0), LONGEST_CHUNK)
            return
        begins = now + lease.starts_in
        ends = asked_at + lease.starts_in + (lease.ends_in - lease.starts_in) * UNUSED_END
        granted = lease.granted
        parts = (granted.requests, granted.tokens, granted.input_tokens, granted.output_tokens)
        self._held.append(_Held(lease.lease, begins, ends, granted, *parts, begins))
        self._lacks = False
        self._first = Amounts(1)
        while self._used_from and self._used_from[0] < now - REMEMBERED:
            del self._used_from[0], self._used_leases[0]

    def _take_back(self, request: LeaseRequest) -> None:
        """What a lost message told is told again."""
        self._over = [*request.reports, *self._over]
        for settlement in request.settlements:
            before, again = self._differences.get(settlement.lease, Amounts()), settlement.difference
            self._differences[settlement.lease] = Amounts(
                0,
                before.tokens + again.tokens,
                before.input_tokens + again.input_tokens,
                before.output_tokens + again.output_tokens,
            )
        self.pace.ended += request.answered
        self._lacks = self._lacks or bool(request.wanted.requests)

    def _wake_up(self) -> None:
        if self._wake is not None:
            self._wake.set()


class LeasedPace:
    """Calls at once, as the coordinator shares them out. What the service refuses is told to it.

    most: what this worker may have at all; places: its share now
    """

    reason = "the limits are shared with other workers"

    def __init__(self, most: int, wake_up: Callable[[], None]) -> None:
        self.most, self.places = most, 0
        self.ended = 0
        self.refusals: list[tuple[Scope, float, float | None]] = []
        self._numbers = 0
        self._wake_up = wake_up

    def ready_in(self, now: float, in_flight: int) -> float:
        del now
        return 0.0 if in_flight < self.places else LOOK_AGAIN

    def sent(self, now: float) -> int:
        """Note nothing: the lease counts the call. Returns its number."""
        del now
        self._numbers += 1
        return self._numbers

    def granted(self, now: float, permit: Permit) -> None:
        """Count a call that ended."""
        del now, permit
        self.ended += 1

    def refused(self, now: float, permit: Permit, scope: Scope, after: float | None) -> float | None:
        """Note a refusal for the coordinator. Returns how long its row must wait."""
        del now
        self.refusals.append((scope, permit.at, after))
        self._wake_up()
        return after

    def told(self, now: float, remaining: int, reset: float) -> None:
        """Each worker is told the same; the coordinator learns from refusals."""

    def rested(self, now: float) -> None:
        """Nothing to do: leases begin anew by themselves."""

    def came_back(self, now: float, away: float) -> None:
        """Nothing to do: the coordinator opens slowly for all."""
