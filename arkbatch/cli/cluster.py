"""What the commands for runs on several machines share: the job of a planned run, and leading it to its end."""

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from arkbatch.api.background import loop_factory
from arkbatch.api.jobs import simulated
from arkbatch.cli.options import job_from
from arkbatch.cli.session import tell_interrupted
from arkbatch.cli.signals import stop_on_signals
from arkbatch.cluster.earlier_records import hand_over_records
from arkbatch.cluster.plan import find_inputs, plan_parts, shard_bytes_for
from arkbatch.cluster.service import (
    TOKEN_VARIABLE,
    CoordinatorAddress,
    CoordinatorClient,
    read_address,
)
from arkbatch.cluster.shard_attempt import ShardAttempt, begin_attempt, run_attempt
from arkbatch.cluster.worker import Worker, shards_for, worker_name
from arkbatch.config.resolve import resolve_retry
from arkbatch.core.errors import ExitCode, RunChanged, UsageError
from arkbatch.core.job import Job, answer_settings, job_tables
from arkbatch.core.job_sections import Limits
from arkbatch.core.text import count_text, printable_text
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.journal.shard_files import PLAN_FORMAT, ShardDirectory, ShardPlan
from arkbatch.journal.shard_sessions import ShardSessions, write_sessions
from arkbatch.rows.csv_table import CsvTable
from arkbatch.rows.job_diff import asked_digest, differences
from arkbatch.rows.object_storage import is_remote, open_bytes
from arkbatch.rows.source import open_source
from arkbatch.transport.connection import open_connection
from arkbatch.transport.connection_slots import ConnectionSlots
from arkbatch.transport.fd_limit import allow_files
from arkbatch.transport.transport import Transport

if TYPE_CHECKING:
    from arkbatch.engine.session import Session

SAMPLE_BYTES = 1 << 16


def plan_run(
    inputs: Sequence[str], flags: dict[str, Any], *, shards: int | None = None, workers: int = 8
) -> tuple[Job, ShardPlan]:
    """The job, and its plan: the one that the run directory has, or a new one. RunChanged: they do not fit."""
    job, names = _job_of(inputs, flags)
    directory = ShardDirectory(Path(job.run_dir))
    if job.row_limit is not None:
        raise UsageError("--limit is for a run on one machine. Leave it out.")
    if directory.is_planned:
        return job, _known_plan(job, directory, names)
    if job.lane not in {"online", "batch"}:
        raise UsageError(f"--lane {job.lane} is for a run on one machine, since the provider does the work.")
    said = answer_settings(job)
    parts, size = plan_parts(
        names, lambda total: shard_bytes_for(total, workers, shards), has_header=job.reading.header
    )
    if any(part.kind == "csv" for part in parts):
        job = _with_settled_reading(job, parts[0].path, directory.run)
    run = RunDirectory(directory.run)
    info = run.read_info() if run.exists else None
    planned = ShardPlan(
        format=PLAN_FORMAT,
        run_id=info.run_id if info else secrets.token_hex(4),
        created_at=info.created_at if info else f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S+00:00}",
        shard_bytes=size,
        parts=parts,
        job=job_tables(job),
        asked=said,
        asked_digest=asked_digest(said),
        simulated=job.simulated,
        insecure=bool(flags.get("insecure")),
    )
    if info is not None and (changes := differences(info.asked, said)):
        raise RunChanged(f"{directory.run} was begun with other parameters: {'; '.join(changes)}.")
    if info is not None:
        hand_over_records(directory, planned, info.input)
        write_sessions(directory, ShardSessions(earlier=info.sessions))
    directory.write_plan(planned)
    return job, planned


def _with_settled_reading(job: Job, path: str, run: Path) -> Job:
    """How the table is read is found out once, from its beginning, and not anew by each shard."""
    local = run / "shards" / f"sample{Path(path).suffix}" if is_remote(path) else Path(path)
    source = open_source(local, job.reading)
    assert isinstance(source, CsvTable)
    shape = source.shape
    return replace(job, reading=replace(job.reading, encoding=shape.encoding.name, delimiter=shape.delimiter))


def _known_plan(job: Job, directory: ShardDirectory, names: Sequence[str]) -> ShardPlan:
    planned = directory.read_plan()
    paths = [name if is_remote(name) else str(Path(name).absolute()) for name in names]
    if paths != [part.path for part in planned.parts]:
        raise RunChanged(f"{directory.run} was planned for other input files. Give another directory with -o.")
    if changes := differences(planned.asked, answer_settings(job)):
        raise RunChanged(
            f"{directory.run} was planned with other parameters: {'; '.join(changes)}. Give another directory with -o."
        )
    reading = planned.job.get("reading")
    planned.job = job_tables(job) | ({"reading": reading} if reading is not None else {})  # limits may change
    directory.write_plan(planned)
    return planned


def _job_of(inputs: Sequence[str], flags: dict[str, Any]) -> tuple[Job, list[str]]:
    """The job of a command line, and the files that it reads."""
    flags = dict(flags)
    if len(inputs) == 1 and inputs[0].endswith(".toml"):
        job = job_from(inputs[0], flags)
        return job, find_inputs([job.input])
    names = find_inputs(inputs)
    if not is_remote(names[0]):
        return job_from(names[0], flags), names
    if not flags.get("run_dir"):
        raise UsageError("Say with -o RUN_DIR where the results of a remote input go.")
    sample = Path(flags["run_dir"]) / "shards" / f"sample{Path(names[0]).suffix}"
    sample.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    begin = open_bytes(names[0]).read(0, SAMPLE_BYTES)
    sample.write_bytes(begin[: begin.rfind(b"\n") + 1] or begin)
    return replace(job_from(str(sample), flags), input=names[0]), names


def job_of_run(run_dir: str, flags: dict[str, Any]) -> Job:
    """The job of a planned run, with limits from flags, and keys from this machine's environment."""
    planned = ShardDirectory(Path(run_dir)).read_plan()
    first = planned.parts[0].path
    folders = [Path(run_dir).parent, *([] if is_remote(first) else [Path(first).parent]), Path.cwd()]
    given = flags | {"simulate": planned.simulated or None, "insecure": planned.insecure or None}
    return resolve_retry(planned.job, given, os.environ, folders, input_path=first, run_dir=run_dir)


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


def pull_shards(run_dir: str, url: str | None, flags: dict[str, Any]) -> int:
    """Be a worker of the run's coordinator."""
    run = Path(run_dir)
    if url is not None and not os.environ.get(TOKEN_VARIABLE):
        raise UsageError(f"{TOKEN_VARIABLE} is not set. It is in {run_dir}/shards/coordinator.json of the coordinator.")
    job = without_shared_limits(job_of_run(run_dir, flags))

    def address() -> CoordinatorAddress:
        return read_address(run) if url is None else CoordinatorAddress(url.rstrip("/"), os.environ[TOKEN_VARIABLE])

    async def work() -> int:
        allow_files(job.limits.concurrency)
        async with simulated(job) as ready, CoordinatorClient(address) as client:
            worker = Worker(client, ShardDirectory(run), ready, name=worker_name(), wall=time.time)
            with stop_on_signals(worker):
                report = await worker.work()
        for trouble in report.troubles:
            click.echo(printable_text(trouble), err=True)
        click.echo(f"Worked off {count_text(report.shards, 'shard')}.", err=True)
        return ExitCode.OK

    return run_async(work)


def run_own_shards(run_dir: str, index: int, of: int | None, flags: dict[str, Any]) -> int:
    """Work off the shards of one number, with a part of the limits."""
    shards = ShardDirectory(Path(run_dir))
    planned = shards.read_plan()
    own = shards_for(index, of or planned.count, planned.count)
    if not own:
        raise UsageError(f"--index {index} is beyond the {count_text(planned.count, 'shard')} of {run_dir}.")
    workers = of or planned.count
    job = static_part(job_of_run(run_dir, flags), workers)
    if workers > 1:
        click.echo(
            f"No coordinator: this worker keeps 1/{workers} of each limit, also when others have nothing to do.",
            err=True,
        )

    async def work() -> int:
        code: int = ExitCode.OK
        async with (
            simulated(job) as ready,
            open_connection(ready, time.time, ConnectionSlots()) as transport,
        ):
            for shard in [each for each in planned.all_shards() if each.index in own]:
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
    run = Path(run_dir)
    job = without_shared_limits(job_of_run(run_dir, {}))
    allow_files(job.limits.concurrency)
    async with (
        simulated(job) as ready,
        CoordinatorClient(lambda: read_address(run)) as client,
    ):
        return await Worker(client, ShardDirectory(run), ready, name=name, wall=time.time).work()


def run_async(work: Callable[[], Any]) -> int:
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        try:
            return int(runner.run(work()))
        except (KeyboardInterrupt, asyncio.CancelledError):
            return tell_interrupted()
