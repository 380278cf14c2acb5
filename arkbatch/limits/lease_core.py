"""Leases on shared limits: how much each worker may send next second.

Pure: `now` comes in with each call. All times that go to a worker, or come from one, are seconds from or until the
moment of the message, so clocks of different machines are never compared; the time that a message takes makes a lease
begin later and end earlier than the core counts, never the other way round.

The reasoning:

* **A lease is a slot in the future.** The core grants the next slot that is free, so a worker never polls, and who
  asks first is served first. A worker asks for the next lease while it uses the one before.
* **A lease is small**: a quarter of a second to one second of a worker's fair share, at least the first call in line.
  While nobody else wants the limit, it is as much as the limit grants in that time.
* **What is not used comes back** with the next request, and so does the difference between what calls had reserved
  and what they used.
* **A worker that dies** leaves its lease charged until the lease ends and the window has passed. Nothing else is lost.
* **A refusal that any worker meets slows all**: the adaptive limit stands here, once, and says when the next lease
  may begin.
* **While the service is away, one worker probes**; the others get no lease until a call was answered.
* **An attempt that was replaced gets no lease**, so a worker that returns after it was given up for dead stops.
"""

import math
from typing import Protocol

from msgspec.structs import replace

from arkbatch.core.calls import Scope
from arkbatch.limits.lease_messages import (
    LONGEST_CHUNK,
    SHORTEST_CHUNK,
    UNLIMITED,
    Amounts,
    Lease,
    LeaseRequest,
    SharedLimits,
)
from arkbatch.limits.lease_meter import LeaseMeter
from arkbatch.limits.lease_workers import LeaseWorkers
from arkbatch.limits.open_leases import OpenLeases, amount_parts
from arkbatch.limits.shared_budget import SharedBudget

CALLS_IN_A_CHUNK = 4  # a chunk is as long as it takes a worker to send so many, within these bounds
LEASES_A_SECOND = 1_000  # of all workers together, so that the coordinator stays below half a core
LIFE_IN_CHUNKS = 2.0
CATCH_UP = 1.1  # times a chunk, so that a worker that asks a little late loses nothing
LONGEST_RESERVATION = 2.0  # s; a slot further away is not reserved, since much may change until then


class AdaptivePace(Protocol):
    """What the core asks of the adaptive limit, and tells it."""

    @property
    def requests_per_minute(self) -> float | None:
        """Calls a minute that the service takes, None where it never refused."""
        ...

    @property
    def places(self) -> int | None:
        """Calls at once that the service takes, None where it never refused."""
        ...

    def closed_for(self, now: float) -> float:
        """Seconds in which no call is to begin, after a refusal."""
        ...

    def sent(self, at: float, calls: int) -> None: ...

    def answered(self, now: float, calls: int) -> None: ...

    def refused(self, now: float, scope: Scope, after: float | None, sent_at: float) -> None: ...


class LeaseCore:
    """One for each account and model. Not for threads.

    pace: the adaptive limit, None for none; spent: of the budget, before
    first: number of the first lease, so that a coordinator that begins anew does not mistake those of the one before
    """

    def __init__(
        self, limits: SharedLimits, now: float, pace: AdaptivePace | None = None, *, spent: int = 0, first: int = 1
    ) -> None:
        self.limits = limits
        self.budget = None if limits.budget is None else SharedBudget(limits.budget, spent)
        self._meters = [None if limit is None else LeaseMeter(limit, now) for limit in _per_minute(limits)]
        self._leases = OpenLeases(self._meters, first)
        self._pace = pace
        self._workers = LeaseWorkers()
        self._attempts: dict[int, int] = {}  # the attempt that may work, by shard
        self._last_begin = now
        self._prober: tuple[str, int] | None = None  # the worker, and the shard for which it probes
        self.calls = 0

    # ---- what the coordinator says

    def admit_attempt(self, shard: int, attempt: int) -> None:
        """From now on this attempt works on the shard, and every earlier one is shut out."""
        if self.budget is not None and self._attempts.get(shard, attempt) != attempt:
            self.budget.lose_attempt(shard)
        self._attempts[shard] = attempt

    def change_limits(self, now: float, limits: SharedLimits) -> None:
        """Other limits from now on."""
        self.limits = limits
        for place, limit in enumerate(_per_minute(limits)):
            meter = self._meters[place]
            if limit is None or meter is None:
                self._meters[place] = None if limit is None else LeaseMeter(limit, now)
            else:
                meter.change_limit(now, limit)
        if self.budget is not None and limits.budget is not None:
            self.budget.change_budget(limits.budget)

    def forget_worker(self, worker: str) -> None:
        """A worker is gone; its leases end by themselves."""
        self._workers.remove_worker(worker)
        if self._prober is not None and self._prober[0] == worker:
            self._prober = None

    def end_probing(self, worker: str, shard: int) -> None:
        """A worker, which goes on with another shard, probes no more for this one."""
        if self._prober == (worker, shard):
            self._prober = None

    def is_fenced(self, shard: int, attempt: int) -> bool:
        """Whether another attempt has taken the place of this one."""
        return attempt < self._attempts.get(shard, attempt)

    @property
    def in_flight(self) -> int:
        """Calls in flight at all workers, as last told."""
        return self._workers.in_flight

    @property
    def is_away(self) -> bool:
        """Whether the service is away, and one worker probes it."""
        return self._prober is not None

    # ---- what a worker asks

    def grant_lease(self, now: float, request: LeaseRequest) -> Lease:
        """Take in what the worker tells, and grant the next slot."""
        self.calls += 1
        self._forget_old(now)
        self.take_in(now, request)
        if self.is_fenced(request.shard, request.attempt):
            return Lease(is_fenced=True)
        self._attempts[request.shard] = request.attempt
        common = self._with_budget(request, Lease(places=self._share_places(request)))
        if not request.wanted.requests:
            self._workers.note_demand(now, request.worker, wants_more=False)
            return replace(common, starts_in=LONGEST_CHUNK)
        if self._prober is not None and self._prober != (request.worker, request.shard):
            return replace(common, starts_in=LONGEST_CHUNK, reason="the service is away")
        return self._grant_slot(now, request, common)

    def take_in(self, now: float, request: LeaseRequest) -> None:
        """Take in what a worker tells: leases that are over, calls in flight, answers, refusals."""
        for report in request.reports:
            closed_at = self._leases.close_lease(now, report)
            if self._pace is not None and closed_at is not None and report.used.requests:
                self._pace.sent(closed_at, report.used.requests)
        for settlement in request.settlements:
            self._leases.settle_lease(now, settlement)
        self._workers.note_presence(now, request.worker, request.in_flight)
        if self._pace is not None:
            for refusal in request.refusals:
                self._pace.refused(now, refusal.scope, refusal.retry_after, now - refusal.sent_seconds_ago)
            if request.answered:
                self._pace.answered(now, request.answered)
        if request.answered:
            self._prober = None
        elif request.is_away and self._prober is None:
            self._prober = (request.worker, request.shard)

    # ---- places and budget

    def _share_places(self, request: LeaseRequest) -> int:
        """Return how many calls at once this worker may have."""
        most = self.limits.concurrency
        if self._pace is not None and self._pace.places is not None:
            most = min(most, self._pace.places)
        return self._workers.share_places(request.worker, request.places, most)

    def _with_budget(self, request: LeaseRequest, lease: Lease) -> Lease:
        budget = self.budget
        if budget is None:
            return lease
        names = (request.shard, request.attempt)
        answer = None
        share = budget.report_spending(*names, request.spent, request.held, gives_back=request.gives_back)
        if request.needed:
            answer = budget.extend_share(*names, request.needed)
            share = budget.report_spending(*names, request.spent, request.held, gives_back=False)
        return replace(lease, budget=share, budget_answer=answer, budget_is_short=budget.is_short)

    # ---- one slot

    def _grant_slot(self, now: float, request: LeaseRequest, common: Lease) -> Lease:
        self._follow_pace(now)
        chunk = self._chunk_seconds()
        granted = self._fair_share(now, request, chunk)
        begins = max(self._last_begin, now, *self._earliest(now, granted))
        if self._pace is not None and (wait := self._pace.closed_for(now)) > 0:
            begins = max(begins, now + wait)
            if wait > LONGEST_CHUNK:
                return replace(common, starts_in=LONGEST_CHUNK, reason="the service asked for fewer calls")
        if begins - now > LONGEST_RESERVATION:
            return replace(common, starts_in=min(begins - now - LONGEST_RESERVATION / 2, LONGEST_CHUNK))
        return self._reserve_slot(now, begins, begins + LIFE_IN_CHUNKS * chunk, granted, common)

    def _reserve_slot(self, now: float, begins: float, ends: float, granted: Amounts, common: Lease) -> Lease:
        number = self._leases.open_lease(begins, ends, granted)
        self._last_begin = begins
        return replace(common, lease=number, starts_in=begins - now, ends_in=ends - now, granted=granted)

    def _follow_pace(self, now: float) -> None:
        """Calls a minute: the given limit, or what the service was found to take if that is less."""
        found = None if self._pace is None else self._pace.requests_per_minute
        limits = [limit for limit in (self.limits.requests_per_minute, found) if limit is not None]
        meter = self._meters[0]
        if not limits:
            self._meters[0] = None
        elif meter is None:
            self._meters[0] = LeaseMeter(min(limits), now)
        elif meter.per_minute != min(limits):
            meter.change_limit(now, min(limits))

    def _chunk_seconds(self) -> float:
        """Seconds of the limit that one lease stands for."""
        requests = self._meters[0]
        if requests is None:
            return SHORTEST_CHUNK if len(self._workers) < CALLS_IN_A_CHUNK else LONGEST_CHUNK
        workers = len(self._workers)
        needed = max(CALLS_IN_A_CHUNK * workers / requests.per_second, workers / LEASES_A_SECOND)
        return min(max(needed, SHORTEST_CHUNK), LONGEST_CHUNK)

    def _fair_share(self, now: float, request: LeaseRequest, chunk: float) -> Amounts:
        """A fair share of a chunk, among the workers that could use more than they get."""
        sharers = self._workers.count_sharers(now, request.worker)
        wants_more, parts = False, []
        for meter, wanted, first in zip(
            self._meters, amount_parts(request.wanted), amount_parts(request.first), strict=True
        ):
            if meter is None:
                parts.append(min(wanted, UNLIMITED))
                continue
            share = max(first, math.floor(meter.per_second * CATCH_UP * chunk / sharers))
            wants_more |= wanted > share
            parts.append(min(wanted, share) if wanted > first else first)
        self._workers.note_demand(now, request.worker, wants_more=wants_more)
        parts[0] = max(parts[0], 1)
        return Amounts(*parts)

    def _earliest(self, now: float, granted: Amounts) -> list[float]:
        amounts = zip(self._meters, amount_parts(granted), strict=True)
        return [meter.earliest_begin(now, amount) for meter, amount in amounts if meter is not None and amount]

    def _forget_old(self, now: float) -> None:
        for name in self._workers.forget_unseen(now):
            self.forget_worker(name)
        self._leases.forget_old(now)


def _per_minute(limits: SharedLimits) -> tuple[float | None, ...]:
    return (
        limits.requests_per_minute,
        limits.tokens_per_minute,
        limits.input_tokens_per_minute,
        limits.output_tokens_per_minute,
    )
