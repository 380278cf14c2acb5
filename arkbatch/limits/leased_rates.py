"""The worker's side of leased limits, and its conversation with the coordinator.

The limiter asks synchronously, so between the question and the taking nothing comes in between. `renew_leases` runs
beside the session: it asks for the next lease while the present one is used, tells what is used and settled, and goes
on asking while the coordinator is not there. Without a lease no call begins, so a lost coordinator costs time and no
refusal.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Protocol

from arkbatch.core.errors import ArkbatchError
from arkbatch.limits.held_leases import HeldLeases
from arkbatch.limits.lease_messages import (
    LONGEST_CHUNK,
    SHORTEST_CHUNK,
    UNLIMITED,
    Amounts,
    Lease,
    LeaseRequest,
    LoadRefusal,
)
from arkbatch.limits.leased_pace import LOOK_AGAIN_SECONDS, LeasedPace, LimiterView, WorkerPlaces
from arkbatch.limits.shared_budget import BudgetAnswer
from arkbatch.limits.token_split import Tokens

FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 0.2, 2.0  # while the coordinator does not answer
FEWEST_PLACES = 8  # that are asked for beyond the calls in flight, so that the number can grow


class ShardTaken(ArkbatchError):
    """Another worker has this shard now."""


class CoordinatorLost(Exception):
    """A message did not reach the coordinator, or its answer did not come back."""


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


class LeasedRates:
    """The leases of one attempt at a shard. An `Allowance` of requests and tokens at once; `pace` limits calls at once.

    ask: sends a request to the coordinator; CoordinatorLost when that fails
    places: of the worker, which may work on another shard beside
    """

    def __init__(
        self,
        ask: Callable[[LeaseRequest], Awaitable[Lease]],
        *,
        worker: str,
        shard: int,
        attempt: int,
        places: WorkerPlaces,
        clock: Callable[[], float],
    ) -> None:
        self._ask = ask
        self._names = (worker, shard, attempt)
        self._clock = clock
        self._places = places
        self.pace = LeasedPace(places, self._wake_up)
        self._leases = HeldLeases()
        self._first = Amounts(1)
        self._lacks = True
        self._has_sent = False  # since the last message
        self._asked_at = -math.inf
        self._ask_again_at = -math.inf
        self._wake: asyncio.Event | None = None
        self._budget: BudgetHolder | None = None
        self._gives_back = False  # the budget is short, so what is not needed goes back

    # ---- an Allowance, as the limiter knows it

    def ready_in(self, now: float, amount: Tokens) -> float:
        """Seconds until a call of this size may go."""
        lease = self._leases.usable_lease(now, amount)
        if lease is not None and lease.begins <= now:
            return 0.0
        if lease is not None:
            return lease.begins - now
        if not self._lacks:
            self._lacks = True
            self._wake_up()
        self._first = Amounts(1, amount.total, amount.input, amount.output)
        return LOOK_AGAIN_SECONDS

    def spend_tokens(self, now: float, amount: Tokens) -> None:
        """A call of this size goes now."""
        lease = self._leases.spend_tokens(now, amount)
        self._has_sent = True
        if lease.is_low:
            self._wake_up()

    def settle_tokens(self, now: float, granted_at: float, reserved: Tokens, used: Tokens) -> None:
        """A call that was granted then has ended, and used so many tokens."""
        del now
        self._leases.settle_tokens(granted_at, reserved, used)

    def seconds_for(self, amount: Tokens) -> float:
        """How long the limits take to grant this much; not known here."""
        del amount
        return LONGEST_CHUNK

    # ---- the conversation

    async def renew_leases(
        self, limiter: LimiterView, is_away: Callable[[], bool], budget: BudgetHolder | None = None
    ) -> None:
        """Ask for leases until it is cancelled. ShardTaken: another worker has the shard."""
        self._places.add_limiter(limiter)
        try:
            await self._ask_on(is_away, budget)
        finally:
            self._places.remove_limiter(limiter)

    async def _ask_on(self, is_away: Callable[[], bool], budget: BudgetHolder | None) -> None:
        self._wake, retry = asyncio.Event(), FIRST_RETRY_SECONDS
        self._budget = budget
        if budget is not None:
            budget.begin_sharing(self._wake_up)
        while True:
            await self._until_next()
            request, asked_at = self._next_request(is_away=is_away()), self._clock()
            self._asked_at = self._places.asked_at = asked_at
            try:
                lease = await self._ask(request)
            except CoordinatorLost:
                self._take_back(request)
                await asyncio.sleep(retry)
                retry = min(2 * retry, LAST_RETRY_SECONDS)
                continue
            retry = FIRST_RETRY_SECONDS
            if lease.is_fenced:
                raise ShardTaken(f"Shard {self._names[1]} was given to another worker, since this one was not heard.")
            self._take_lease(lease, asked_at)
            if budget is not None and lease.budget is not None:
                budget.allow_share(lease.budget, used_up=lease.budget_answer is BudgetAnswer.USED_UP)

    def last_request(self) -> LeaseRequest:
        """Return the message that gives back what is left. Without it, the coordinator counts that as used."""
        self._leases.close_all(self._clock())
        self._lacks = self._has_sent = False
        return self._next_request(is_away=False)

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
            soonest = max(self._last_asked_at() + SHORTEST_CHUNK, self._ask_again_at)
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

    def _last_asked_at(self) -> float:
        """When the worker asked last, for whichever shard; the first question about one is put at once."""
        return self._asked_at if self._asked_at == -math.inf else self._places.asked_at

    def _wants_lease(self, now: float) -> bool:
        if self._lacks:
            return True
        return self._has_sent and self._leases.is_last_low(now)

    def _next_request(self, *, is_away: bool) -> LeaseRequest:
        now, budget = self._clock(), self._budget
        worker, shard, attempt = self._names
        spent, held = budget.committed() if budget is not None else (0, 0)
        needed = budget.needed() if budget is not None else 0
        gives_back = budget is not None and self._gives_back
        if budget is not None and gives_back:
            budget.allow_share(spent + held, used_up=False)  # at once, so that no call takes what is on its way back
        wanted, first = Amounts(), Amounts()
        if self._wants_lease(now):
            wanted, first = Amounts(UNLIMITED, UNLIMITED, UNLIMITED, UNLIMITED), self._first
        reports, settlements = self._leases.take_reports(now)
        request = LeaseRequest(
            worker,
            shard,
            attempt,
            wanted=wanted,
            first=first,
            in_flight=self._places.in_flight,
            places=self._wanted_places(),
            reports=reports,
            settlements=settlements,
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
        self._has_sent = False
        self.pace.refusals, self.pace.ended = [], 0
        return request

    def _wanted_places(self) -> int:
        """How many calls at once this worker could use. At first nobody waits yet, and a shard has many rows."""
        places = self._places
        if self._asked_at == -math.inf:
            return places.most
        return min(places.most, places.in_flight + places.waiting + max(FEWEST_PLACES, places.in_flight))

    def _take_lease(self, lease: Lease, asked_at: float) -> None:
        now = self._clock()
        self._places.granted = lease.places
        self._gives_back = lease.budget_is_short
        self._ask_again_at = -math.inf
        if not lease.lease:
            self._ask_again_at = now + min(max(lease.starts_in, 0.0), LONGEST_CHUNK)
            return
        self._leases.add_lease(now, lease, asked_at)
        self._lacks = False
        self._first = Amounts(1)

    def _take_back(self, request: LeaseRequest) -> None:
        """What a lost message told is told again."""
        self._leases.put_back(request.reports, request.settlements)
        self.pace.ended += request.answered
        self._lacks = self._lacks or bool(request.wanted.requests)

    def _wake_up(self) -> None:
        if self._wake is not None:
            self._wake.set()
