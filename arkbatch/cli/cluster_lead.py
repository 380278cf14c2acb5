"""Leads a run on several workers from its start to the summary."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
from msgspec import Struct
from msgspec.structs import replace

from arkbatch import __version__
from arkbatch.cli.cluster_bucket import LEADER, merge_in_bucket, shards_at
from arkbatch.cli.cluster_plan import job_of_run, plan_run
from arkbatch.cli.cluster_serving import serve_counts, serve_live_page
from arkbatch.cli.cluster_worker import run_async, run_worker
from arkbatch.cli.live_and_metrics import Serving
from arkbatch.cli.session import print_summary, progress_observer, this_command
from arkbatch.cli.signals import stop_on_signals
from arkbatch.cluster.bucket_shards import BucketShards
from arkbatch.cluster.cluster_commands import ClusterCommands
from arkbatch.cluster.cluster_notifier import ClusterNotifier
from arkbatch.cluster.coordinator import Coordinator
from arkbatch.cluster.coordinator_address import known_address, token_for
from arkbatch.cluster.driver import ClusterProgress, build_coordinator, coordinating, shared_limits, until_over
from arkbatch.cluster.merge import merge
from arkbatch.cluster.service import LOOPBACK, refuse_second_coordinator
from arkbatch.core.calls import Cause
from arkbatch.core.errors import RunDirectoryError, RunLocked
from arkbatch.core.job import Job
from arkbatch.core.text import count_text
from arkbatch.engine.cost_limit import MAX_COST, MAX_TOKENS, plain_amount
from arkbatch.engine.session_parts import build_pace
from arkbatch.journal.journal import read_ledger
from arkbatch.journal.merge_state import Merged
from arkbatch.journal.run_directory import LOG, RunDirectory
from arkbatch.journal.shard_files import ShardDirectory
from arkbatch.journal.shard_sessions import LedSession
from arkbatch.limits.shared_pace import SharedPace
from arkbatch.monitor.control_socket import HERE, accept_commands
from arkbatch.monitor.observer import Observer, ObserverGroup
from arkbatch.monitor.run_log import RunLog
from arkbatch.pricing.run_price_file import bill_of
from arkbatch.pricing.summary import Summary, summarise
from arkbatch.rows.object_storage import is_remote

LOCK_LOOK_SECONDS = 0.2  # between two looks whether another merge has ended
LAST_QUESTION_SECONDS = 3.0  # in which workers ask once more, and learn that all is over


class Lead(Struct):
    """What leads a run. Ctrl-C stops it as it stops a session."""

    session: LedSession
    coordinator: Coordinator
    progress: ClusterProgress
    observer: Observer
    notifier: ClusterNotifier

    @property
    def is_stopping(self) -> bool:
        """Whether somebody asked for a stop."""
        return self.coordinator.is_draining

    def stop(self) -> None:
        """Have all workers end their calls in flight and stop."""
        self.observer.stopping(self.coordinator.state().in_flight)
        self.coordinator.drain()


def lead_run(
    run_dir: str, flags: dict[str, Any], *, host: str, port: int, as_json: bool, serving: Serving = Serving()
) -> int:
    """Serve the coordinator until all is done, then merge."""
    serving.check_extras()
    with shards_at(run_dir, LEADER) as shards:
        job = job_of_run(shards, flags)

        async def lead() -> int:
            async with leading(job, shards, serving, host=host, port=port) as led:
                click.echo(f"Start workers:  arkbatch shard run {run_dir}", err=True)
                with stop_on_signals(led):
                    await until_over(led.coordinator, led.progress, time.monotonic)
                    await asyncio.sleep(LAST_QUESTION_SECONDS)
                return finish_run(job, shards, led, run_dir, as_json=as_json)

        return run_async(lead)


def run_on_ray(
    inputs: Sequence[str], flags: dict[str, Any], *, address: str, workers: int, as_json: bool, serving: Serving
) -> tuple[int, str]:
    """Plan the input, work it off on a Ray cluster, and merge. Returns the exit code, and where the run is."""
    from arkbatch.cluster.ray_engine import RayCluster

    serving.check_extras()
    planned = plan_run(inputs, flags, workers=workers)
    if planned.job.simulated:
        click.echo("Simulated: no request leaves this machine, and the answers mean nothing.", err=True)
    click.echo(
        f"{count_text(planned.plan.count, 'shard')} of {count_text(len(planned.plan.parts), 'file')} on "
        f"{count_text(workers, 'worker')}: {planned.run_dir}",
        err=True,
    )
    run_dir = planned.run_dir if is_remote(planned.run_dir) else str(Path(planned.run_dir).absolute())
    with shards_at(run_dir, LEADER) as shards:
        job = replace(planned.job, run_dir=str(shards.run))

        async def lead() -> int:
            with RayCluster(address, workers, lambda text: click.echo(text, err=True)) as cluster:
                async with leading(job, shards, serving, host=cluster.host) as led:
                    with stop_on_signals(led):
                        watching = asyncio.ensure_future(until_over(led.coordinator, led.progress, time.monotonic))
                        try:
                            await cluster.work_off(run_dir, run_worker, led.coordinator, led.progress.note)
                            await watching
                        finally:
                            watching.cancel()
                    return finish_run(job, shards, led, planned.run_dir, as_json=as_json)

        return run_async(lead), planned.run_dir


@asynccontextmanager
async def leading(
    job: Job, shards: ShardDirectory, serving: Serving, *, host: str = LOOPBACK, port: int = 0
) -> AsyncIterator[Lead]:
    """A coordinator that is served, with everything that people see of the run and can do to it."""
    run, clock, wall = shards.run, time.monotonic, time.time
    planned = shards.read_plan()
    shared_limits(job.limits)
    pace = SharedPace(build_pace(job, clock()))
    async with AsyncExitStack() as stack:
        stack.enter_context(shards.hold_lock(wall))
        await refuse_second_coordinator(known_address(shards))
        shards.bring_all_up_to_date(
            with_records=job.limits.max_cost is not None or job.limits.max_total_tokens is not None
        )
        session = LedSession(shards, this_command(), began=wall(), version=__version__, limits=job.limits)
        coordinator = build_coordinator(job, shards, planned, clock(), pace)
        observers: list[Observer] = [progress_observer(), stack.enter_context(RunLog(run / LOG, wall))]
        count_calls = await serve_counts(job, planned.run_id, serving.metrics, observers, stack)
        await serve_live_page(shards, serving.live, coordinator, observers, stack)
        observer, named = ObserverGroup(observers), replace(job, run_dir=shards.shown)
        notifier = await stack.enter_async_context(ClusterNotifier(named, observer.noted, wall, this_command()))
        progress = ClusterProgress(
            coordinator,
            shards,
            planned,
            observer,
            clock(),
            count_calls=count_calls,
            tell_outage=notifier.check_outage,
        )
        commands = ClusterCommands(
            coordinator,
            job,
            session,
            pace=pace,
            progress=lambda: progress.progress(clock()),
            observer=observer,
            clock=clock,
            wall=wall,
        )
        await _take_commands(run, commands, stack)
        token = token_for(shards, os.environ)
        await stack.enter_async_context(coordinating(coordinator, shards, token, host=host, port=port, clock=clock))
        try:
            yield Lead(session, coordinator, progress, observer, notifier)
        finally:
            ending = ending_of(coordinator)
            if not session.info.ended_at:
                session.end(ending, wall())
            observer.closed(ending)


async def _take_commands(run: Path, commands: ClusterCommands, stack: AsyncExitStack) -> None:
    """`arkbatch ctl` reaches this process. Where it cannot, that is no reason not to run."""
    if HERE:
        try:
            await stack.enter_async_context(accept_commands(RunDirectory(run), commands.handle))
        except RunDirectoryError as error:
            click.echo(f"{error}.", err=True)


def ending_of(coordinator: Coordinator) -> str:
    """Return how the session of the process that leads ends, in the words of a local session."""
    if coordinator.halt is not None:
        return "halted"
    return "finished" if coordinator.state().finished == coordinator.state().shards else "stopped"


def finish_run(job: Job, shards: ShardDirectory, led: Lead, run_dir: str, *, as_json: bool) -> int:
    """Merge, and say how it ended. run_dir: as the user names it."""
    led.session.end(ending_of(led.coordinator), time.time())
    merged = merge_in_bucket(shards) if isinstance(shards, BucketShards) else _merge_when_free(shards.run)
    summary = _summary(job, merged, led, run_dir)
    led.notifier.ended(summary)
    return int(print_summary(summary, as_json=as_json, place=str(shards.run)))


def _merge_when_free(run: Path) -> Merged:
    """Merge as soon as no other command does: `answers` or `report` may be at it."""
    while True:
        try:
            return merge(run, time.time)
        except RunLocked:
            time.sleep(LOCK_LOOK_SECONDS)


def _summary(job: Job, merged: Merged, led: Lead, run_dir: str) -> Summary:
    directory = RunDirectory(Path(job.run_dir))
    bill = bill_of(directory.read_info())
    ledger, _ = read_ledger(directory, bill)
    counts, halt = led.coordinator.state().counts, led.coordinator.halt
    return summarise(
        ledger,
        led.coordinator.latency,
        ending="halted" if halt is not None else "stopped" if merged.left else "finished",
        run_dir=run_dir,
        simulated=job.simulated,
        total=merged.rows,
        session={"recorded": counts.recorded, "retried": counts.retried},
        seconds=led.session.info.seconds,
        halt=halt,
        budget=_larger_budget(job, halt),
        bill=bill,
    )


def _larger_budget(job: Job, halt: Cause | None) -> str:
    """Return a budget with which a run can go on that ended for want of it, "" for any other end."""
    if halt is None or halt.code not in {MAX_COST, MAX_TOKENS}:
        return ""
    given = job.limits.max_cost if halt.code == MAX_COST else job.limits.max_total_tokens
    return plain_amount(2 * Decimal(str(given)))
