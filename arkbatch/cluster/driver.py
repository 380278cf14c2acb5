"""The process that leads a run on several machines."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import ROUND_DOWN, Decimal
from pathlib import Path

from arkbatch.cluster.coordinator import Coordinator
from arkbatch.cluster.coordinator_address import CoordinatorAddress, write_address
from arkbatch.cluster.messages import CallTallies
from arkbatch.cluster.service import serve_coordinator
from arkbatch.core.errors import ArkbatchError, UsageError
from arkbatch.core.job import Job
from arkbatch.core.job_sections import Limits
from arkbatch.core.text import count_text
from arkbatch.core.usage import total_tokens
from arkbatch.engine.cost_limit import UNITS
from arkbatch.engine.session_parts import build_pace
from arkbatch.journal.journal import read_ledger
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.journal.shard_files import ShardDirectory
from arkbatch.journal.shard_plan import ShardPlan
from arkbatch.limits.lease_core import LeaseCore
from arkbatch.limits.lease_messages import SharedLimits
from arkbatch.limits.shared_pace import SharedPace
from arkbatch.monitor.observer import Observer
from arkbatch.monitor.progress import FoundRows, Progress, RowRate
from arkbatch.pricing.run_price_file import bill_of

LOOK_SECONDS = 0.5
GRACE_SECONDS = 3.0  # in which workers of a coordinator that died say what they are working on


def shared_limits(limits: Limits) -> SharedLimits:
    """Return the limits of all workers together. UsageError: two budgets at once are not shared out."""
    if limits.max_cost is not None and limits.max_total_tokens is not None:
        raise UsageError("A run on several workers keeps one budget: give --max-cost or --max-tokens.")
    budget = limits.max_total_tokens
    if limits.max_cost is not None:
        budget = int((Decimal(str(limits.max_cost)) * UNITS).to_integral_value(rounding=ROUND_DOWN))
    return SharedLimits(
        concurrency=limits.concurrency,
        requests_per_minute=limits.rpm,
        tokens_per_minute=limits.tpm,
        input_tokens_per_minute=limits.input_tpm,
        output_tokens_per_minute=limits.output_tpm,
        budget=budget,
    )


def build_coordinator(
    job: Job, shards: ShardDirectory, plan: ShardPlan, now: float, pace: SharedPace | None = None
) -> Coordinator:
    """Build the coordinator of a run as its directory stands: finished shards need no work."""
    attempts = shards.all_attempts()
    finished = {shard for shard in attempts if shards.how_finished(shard) is not None}
    core = LeaseCore(
        shared_limits(job.limits),
        now,
        pace or SharedPace(build_pace(job, now)),
        first=1 + (int(now * 1000) % (1 << 20) << 24),
    )
    if core.budget is not None:
        for shard, numbers in attempts.items():
            core.budget.begin_with(shard, _spent_by(job, shards.attempt_path(shard, numbers[-1])))
    is_resumed = len(finished) < len(attempts)
    return Coordinator(core, plan.count, finished, hands_out_from=now + GRACE_SECONDS if is_resumed else now)


def _spent_by(job: Job, attempt: Path) -> int:
    """What the records of an attempt have spent, in the unit of the budget."""
    directory = RunDirectory(attempt)
    if job.limits.max_cost is None or not directory.exists:
        return total_tokens(tally.usage for tally in read_ledger(directory)[0].tallies)
    bill = bill_of(directory.read_info())
    read_ledger(directory, bill)
    amounts = bill.total_cost().amounts.values()
    return int(sum(amounts, Decimal(0)) * UNITS) + 1


class ClusterProgress:
    """Tells observers how the whole run stands, from what workers tell with each lease.

    count_calls: is given what workers counted since the last time, and how many rows succeeded
    tell_outage: is given how many seconds the service has been away, 0 while it is there
    """

    def __init__(
        self,
        coordinator: Coordinator,
        shards: ShardDirectory,
        plan: ShardPlan,
        observer: Observer,
        now: float,
        *,
        count_calls: Callable[[CallTallies, int], None] = lambda _, __: None,
        tell_outage: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._coordinator, self._observer = coordinator, observer
        self._count_calls, self._tell_outage = count_calls, tell_outage
        self._shards = plan.count
        self._done_before = self._failed_before = self._rows_before = self._finished_before = 0
        for shard in shards.all_attempts():
            if (done := shards.how_finished(shard)) is not None:
                self._finished_before += 1
                self._done_before += done.done
                self._failed_before += done.failed
                self._rows_before += done.rows
        self._began = now
        self._rate = RowRate(now)
        self._troubles_told = 0
        self._counted, self._succeeded = CallTallies(), 0
        self._away_since: float | None = None
        observer.opened(self._found(str(shards.run)))

    def note(self, text: str) -> None:
        """Tell people something."""
        self._observer.noted(text)

    def _found(self, run_dir: str) -> FoundRows:
        left = self._total() - self._done_before - self._failed_before
        return FoundRows(
            run_dir, self._done_before, self._failed_before, left, left, self._total(), self._finished_before == 0
        )

    def _opened(self) -> int:
        """Shards whose number of rows is known."""
        return self._finished_before + self._coordinator.opened

    def _total(self) -> int:
        """Return the number of rows, as far as shards were opened; the others are taken to be alike."""
        state, seen = self._coordinator.state(), self._opened()
        known = self._rows_before + state.counts.rows
        return known if not seen else max(known, round(known * self._shards / seen))

    def update(self, now: float) -> None:
        """Look for lost workers, and tell observers what is new."""
        self._coordinator.check_workers(now)
        for trouble in self._coordinator.troubles[self._troubles_told :]:
            self._observer.noted(trouble)
        self._troubles_told = len(self._coordinator.troubles)
        self._observer.progressed(self.progress(now))
        self._tell_tallies()
        self._tell_away(now)

    def progress(self, now: float) -> Progress:
        """Return how the run stands."""
        state = self._coordinator.state()
        counts, total, limits = state.counts, self._total(), self._coordinator.core.limits
        ended = self._done_before + self._failed_before + counts.done + counts.failed
        shards = f"{state.finished} of {count_text(state.shards, 'shard')}"
        return Progress(
            total=total,
            left=max(0, total - ended),
            failed=self._failed_before + counts.failed,
            in_flight=state.in_flight,
            retried=counts.retried,
            recorded=counts.recorded,
            seconds=now - self._began,
            rows_per_minute=self._rate.rows_per_minute(now, counts.recorded),
            rpm=counts.requests_per_minute,
            tpm=counts.tokens_per_minute,
            rpm_limit=limits.requests_per_minute,
            tpm_limit=limits.tokens_per_minute,
            is_estimated=self._opened() < self._shards,
            bound_by=f"{count_text(state.workers, 'worker')}, {shards} done",
            waiting=", ".join(sorted(self._coordinator.pauses)),
        )

    def _tell_tallies(self) -> None:
        counts = self._coordinator.state().counts
        succeeded = max(counts.recorded - sum(counts.tallies.failures.values()), self._succeeded)
        self._count_calls(counts.tallies.plus(self._counted, -1), succeeded - self._succeeded)
        self._counted, self._succeeded = counts.tallies, succeeded

    def _tell_away(self, now: float) -> None:
        if not self._coordinator.core.is_away:
            self._away_since = None
        elif self._away_since is None:
            self._away_since = now
            self._observer.noted("The service is away: one worker tries it, and the others wait.")
        self._tell_outage(0.0 if self._away_since is None else now - self._away_since)


@asynccontextmanager
async def coordinating(
    coordinator: Coordinator, shards: ShardDirectory, token: str, *, host: str, port: int, clock: Callable[[], float]
) -> AsyncIterator[CoordinatorAddress]:
    """Serve the coordinator while the body runs, and say in the run directory where."""
    async with serve_coordinator(coordinator, token, host=host, port=port, clock=clock) as url:
        address = CoordinatorAddress(url, token)
        write_address(shards, address)
        try:
            yield address
        finally:
            with contextlib.suppress(ArkbatchError):  # then workers find out by themselves
                write_address(shards, CoordinatorAddress("", token))


async def until_over(coordinator: Coordinator, progress: ClusterProgress, clock: Callable[[], float]) -> None:
    """Tell observers some times a second how the run stands, until nothing is left to do."""
    while not coordinator.is_over:
        await asyncio.sleep(LOOK_SECONDS)
        progress.update(clock())
    progress.update(clock())
