"""Workers of a run on several machines, with or without a coordinator."""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from arkbatch.api.background import loop_factory
from arkbatch.api.jobs import with_simulator
from arkbatch.cli.cluster_bucket import shards_at
from arkbatch.cli.cluster_plan import job_of_run
from arkbatch.cli.session import tell_interrupted
from arkbatch.cli.signals import stop_on_signals
from arkbatch.cluster.coordinator_address import TOKEN_VARIABLE, CoordinatorAddress, known_address, read_address
from arkbatch.cluster.scratch_directory import publish_leftovers
from arkbatch.cluster.service import CoordinatorClient
from arkbatch.cluster.shard_attempt import ShardAttempt, begin_attempt, run_attempt
from arkbatch.cluster.worker import Worker, shards_for, worker_name
from arkbatch.core.errors import ExitCode, UsageError
from arkbatch.core.job import Job
from arkbatch.core.job_sections import Limits
from arkbatch.core.text import count_text, printable_text
from arkbatch.journal.shard_files import ShardDirectory
from arkbatch.rows.object_folder import ObjectFolder
from arkbatch.rows.object_storage import is_remote
from arkbatch.transport.connection import open_connection
from arkbatch.transport.connection_slots import ConnectionSlots
from arkbatch.transport.fd_limit import allow_files
from arkbatch.transport.transport import Transport

if TYPE_CHECKING:
    from arkbatch.engine.session import Session


INDEX_VARIABLES = ("SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX")


def without_shared_limits(job: Job) -> Job:
    """The job of a worker: what is shared comes by leases. A budget stays, since it is asked for by shares."""
    limits = job.limits
    return replace(
        job,
        limits=Limits(
            concurrency=limits.concurrency, max_cost=limits.max_cost, max_total_tokens=limits.max_total_tokens
        ),
    )


def static_part(job: Job, of: int) -> Job:
    """The job of one of several workers that keep a part of the limits each."""
    limits = job.limits

    def part(limit: float | None) -> float | None:
        return None if limit is None else limit / of

    return replace(
        job,
        limits=Limits(
            concurrency=max(1, limits.concurrency // of),
            rpm=part(limits.rpm),
            tpm=part(limits.tpm),
            input_tpm=part(limits.input_tpm),
            output_tpm=part(limits.output_tpm),
            max_cost=part(limits.max_cost),
            max_total_tokens=None if limits.max_total_tokens is None else limits.max_total_tokens // of,
        ),
    )


# ---- workers


def work_on(run_dir: str, index: int | None, of: int | None, url: str | None, flags: dict[str, Any]) -> int:
    """Be a worker of the run: of its coordinator where there is one, else with a part of the limits.

    index: this worker's number without a coordinator, None where the environment tells it
    url: of the coordinator, None where the run directory tells it
    """
    with _shards_for_work(run_dir) as shards:
        if url or (index is None and known_address(shards) is not None):
            return _pull_shards(shards, run_dir, url, flags)
        return _run_own_shards(shards, run_dir, _own_index(run_dir) if index is None else index, of, flags)


def _own_index(run_dir: str) -> int:
    for name in INDEX_VARIABLES:
        if os.environ.get(name, "").isdecimal():
            return int(os.environ[name])
    raise UsageError(f"Give --index I, or start the coordinator in another terminal: arkbatch shard serve {run_dir}")


@contextmanager
def _shards_for_work(run_dir: str) -> Iterator[ShardDirectory]:
    """Give the shards, after the records are in the bucket that a killed worker left on this machine."""
    if is_remote(run_dir) and (found := publish_leftovers(ObjectFolder(run_dir), time.time)):
        click.echo(f"Uploaded what {count_text(found, 'attempt')} of a killed worker had recorded here.", err=True)
    with shards_at(run_dir) as shards:
        yield shards


def _pull_shards(shards: ShardDirectory, run_dir: str, url: str | None, flags: dict[str, Any]) -> int:
    """Be a worker of the run's coordinator."""
    if url is not None and not os.environ.get(TOKEN_VARIABLE):
        raise UsageError(f"{TOKEN_VARIABLE} is not set. It is in {run_dir}/shards/coordinator.json of the coordinator.")
    job = without_shared_limits(job_of_run(shards, flags))

    def address() -> CoordinatorAddress:
        if url is not None:
            return CoordinatorAddress(url.rstrip("/"), os.environ[TOKEN_VARIABLE])
        return read_address(shards, run_dir)

    def note(text: str) -> None:
        click.echo(printable_text(text), err=True)

    async def work() -> int:
        allow_files(job.limits.concurrency)
        async with with_simulator(job) as ready, CoordinatorClient(address, note=note) as client:
            worker = Worker(client, shards, ready, name=worker_name(), wall=time.time)
            with stop_on_signals(worker):
                report = await worker.work()
        for trouble in report.troubles:
            note(trouble)
        note(f"Worked off {count_text(report.shards, 'shard')}.")
        return ExitCode.OK

    return run_async(work)


def _run_own_shards(shards: ShardDirectory, run_dir: str, index: int, of: int | None, flags: dict[str, Any]) -> int:
    """Work off the shards of one number, with a part of the limits."""
    planned = shards.read_plan()
    own = shards_for(index, of or planned.count, planned.count)
    if not own:
        raise UsageError(
            f"--index {index} is beyond the {count_text(planned.count, 'shard')} of {run_dir}: give 0 to "
            f"{min(of or planned.count, planned.count) - 1}."
        )
    workers = of or planned.count
    job = static_part(job_of_run(shards, flags), workers)
    if workers > 1:
        click.echo(
            f"No coordinator: this worker keeps 1/{workers} of each limit, also when others have nothing to do.",
            err=True,
        )

    async def work() -> int:
        code: int = ExitCode.OK
        async with (
            with_simulator(job) as ready,
            open_connection(ready, time.time, ConnectionSlots()) as transport,
        ):
            for shard in [each for each in planned.all_shards() if each.index in own]:
                shards.bring_up_to_date(shard.index)
                if shards.how_finished(shard.index) is None:
                    code = code or await _run_one(ready, shards, begin_attempt(shards, shard), transport)
                if code:
                    break
        return code

    return run_async(work)


class _StopsSession:
    """Stops the session of an attempt, also one that starts later."""

    def __init__(self) -> None:
        self._session: Session | None = None
        self.is_stopping = False

    def stop(self) -> None:
        self.is_stopping = True
        if self._session is not None:
            self._session.stop()

    def started(self, session: "Session") -> None:
        self._session = session
        if self.is_stopping:
            session.stop()


async def _run_one(job: Job, shards: ShardDirectory, attempt: ShardAttempt, transport: Transport) -> int:
    stopping = _StopsSession()
    with stop_on_signals(stopping):
        result = await run_attempt(job, shards, attempt, wall=time.time, transport=transport, started=stopping.started)
    summary = result.summary
    click.echo(
        f"Shard {result.shard}: {summary.succeeded:,} done, {summary.failed:,} failed, {summary.left:,} left.", err=True
    )
    if summary.halt is not None:
        click.echo(printable_text(f"Stopped: {summary.halt.message}. {summary.halt.advice}"), err=True)
    return ExitCode.OK if result.is_finished else int(summary.exit_code) or ExitCode.UNEXPECTED


async def run_worker(run_dir: str, name: str) -> Any:
    """One worker of a run, in whatever process this is called; keys come from the environment of its machine."""
    with _shards_for_work(run_dir) as shards:
        job = without_shared_limits(job_of_run(shards, {}))
        allow_files(job.limits.concurrency)
        async with (
            with_simulator(job) as ready,
            CoordinatorClient(lambda: read_address(shards, run_dir)) as client,
        ):
            return await Worker(client, shards, ready, name=name, wall=time.time).work()


def run_async(work: Callable[[], Any]) -> int:
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        try:
            return int(runner.run(work()))
        except (KeyboardInterrupt, asyncio.CancelledError):
            return tell_interrupted()
