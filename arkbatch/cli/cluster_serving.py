"""Serves the report page and the metrics of a run on several workers.

The page shows the run directory, so the shards are merged now and then while somebody looks at it. A merge takes time
with the number of records; the pauses between two are ten times as long.
"""

import time
from collections.abc import Callable
from contextlib import AsyncExitStack

import click

from arkbatch.cluster.coordinator import Coordinator
from arkbatch.cluster.merge import merge
from arkbatch.cluster.messages import CallTallies
from arkbatch.core.job import Job
from arkbatch.journal.shard_files import ShardDirectory
from arkbatch.monitor.observer import Observer
from arkbatch.pricing.amounts import Money
from arkbatch.reports.page.page import Now, PageData
from arkbatch.reports.serve.live import Look, Moment, serve_page

SHORTEST_PAUSE_SECONDS = 5.0
PAUSE_IN_MERGES = 10


class ClusterPage:
    """Each call brings the run directory up to date, where that is due, and reads it."""

    def __init__(
        self,
        shards: ShardDirectory,
        wall: Callable[[], float],
        clock: Callable[[], float],
        now: Callable[[], Now | None],
    ) -> None:
        self._shards, self._wall, self._clock, self._now = shards, wall, clock, now
        self._merge_again_at = clock()
        self._look: Look | None = None

    def __call__(self) -> PageData:
        """RunDirectoryError: it cannot be read now."""
        began = self._clock()
        if began >= self._merge_again_at or self._look is None:
            self._shards.bring_all_up_to_date(with_records=True)
            merge(self._shards.run, self._wall, self._shards)
            ended = self._clock()
            self._merge_again_at = ended + max(SHORTEST_PAUSE_SECONDS, PAUSE_IN_MERGES * (ended - began))
            self._look = Look(str(self._shards.run), self._wall, self._now)  # what it knew of the files is out of date
        return self._look()


async def serve_counts(
    job: Job, run_id: str, port: int | None, observers: list[Observer], stack: AsyncExitStack
) -> Callable[[CallTallies, int], None]:
    """Serve metrics where they are asked for. Returns what counts the calls of workers."""
    if port is None:
        return lambda _, __: None
    from arkbatch.reports.serve.metrics import Described, Metrics, serve_metrics

    described = Described(run_id, job.model, job.endpoint, job.lane, "yes" if job.simulated else "no")
    metrics = Metrics(described, Money)  # what the run costs is known after the merge
    observers.append(metrics)
    url = await stack.enter_async_context(serve_metrics(metrics, port))
    click.echo(f"Metrics:  {url}", err=True)

    def count_calls(tallies: CallTallies, succeeded: int) -> None:
        metrics.count_elsewhere(
            calls=tallies.calls,
            retries=tallies.retries,
            failures=tallies.failures,
            tokens=tallies.tokens,
            discarded=tallies.discarded,
            succeeded=succeeded,
        )

    return count_calls


async def serve_live_page(
    shards: ShardDirectory, port: int | None, coordinator: Coordinator, observers: list[Observer], stack: AsyncExitStack
) -> None:
    if port is None:
        return
    moment = Moment()
    observers.append(moment)
    page = ClusterPage(shards, time.time, time.monotonic, moment.state_now)
    url = await stack.enter_async_context(serve_page(page, port=port, stop=coordinator.drain))
    click.echo(f"Live page:  {url}", err=True)
