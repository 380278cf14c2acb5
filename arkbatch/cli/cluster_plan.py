"""Plans a run on several machines, and reads the job of a planned run."""

import os
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from arkbatch.cli.cluster_bucket import bucket_shards_at
from arkbatch.cli.options import job_from
from arkbatch.cli.remote import copy_run_files, inputs_of, remote_run_dir
from arkbatch.cluster.bucket_shards import BucketShards
from arkbatch.cluster.earlier_records import hand_over_records
from arkbatch.cluster.plan import find_inputs, plan_parts, shard_bytes_for
from arkbatch.config.resolve import resolve_retry
from arkbatch.core.errors import RunChanged, UsageError
from arkbatch.core.job import Job, answer_settings, job_tables
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.journal.shard_files import ShardDirectory
from arkbatch.journal.shard_plan import PLAN_FORMAT, InputPart, ShardPlan
from arkbatch.journal.shard_sessions import ShardSessions, write_sessions
from arkbatch.rows.csv_table import CsvTable
from arkbatch.rows.first_look import LOOKED_AT, check_first_rows, look_at
from arkbatch.rows.job_diff import asked_digest, job_differences
from arkbatch.rows.object_storage import is_remote, open_bytes
from arkbatch.rows.source import open_source, source_of

SAMPLE_BYTES = 1 << 16


class PlannedRun(Struct, frozen=True):
    """A run that is planned. run_dir: its directory, or its address in a bucket, as later commands name it."""

    job: Job
    plan: ShardPlan
    run_dir: str


def plan_run(
    inputs: Sequence[str], flags: dict[str, Any], *, shards: int | None = None, workers: int = 8
) -> PlannedRun:
    """Plan a run, or read the plan that it has. RunChanged: that plan is for another input or job."""
    target, insecure = remote_run_dir(inputs[0], flags), bool(flags.get("insecure"))

    def shard_bytes_of(total: int) -> int:
        return shard_bytes_for(total, workers, shards)

    if not target:
        job, names = _job_of(inputs, flags)
        directory = ShardDirectory(Path(job.run_dir))
        plan = _plan_in(directory, job, names, shard_bytes_of, insecure=insecure, run_dir=job.run_dir)
        return PlannedRun(job, plan, job.run_dir)
    with bucket_shards_at(target) as stored:
        stored.run.mkdir(mode=0o700, exist_ok=True)
        if stored.is_planned_in_bucket:
            stored.fetch_plan()
        else:
            copy_run_files(stored.folder, stored.run)
        job, names = _job_of(inputs, flags | {"run_dir": str(stored.run)})
        plan = _plan_in(stored, job, names, shard_bytes_of, insecure=insecure, run_dir=target)
        return PlannedRun(job, plan, target)


def _plan_in(
    directory: ShardDirectory,
    job: Job,
    names: Sequence[str],
    shard_bytes_of: Callable[[int], int],
    *,
    insecure: bool,
    run_dir: str,
) -> ShardPlan:
    """Return the plan that the directory has, or write a new one.

    shard_bytes_of: the length of a shard, from the length of all inputs together; run_dir: as messages name it
    """
    if job.row_limit is not None:
        raise UsageError("--limit is for a run on one machine. Leave it out.")
    if directory.is_planned:
        return _known_plan(job, directory, names, run_dir)
    if job.lane not in {"online", "batch"}:
        raise UsageError(f"--lane {job.lane} is for a run on one machine, since the provider does the work.")
    parts, size = plan_parts(names, shard_bytes_of, has_header=job.reading.header)
    if any(part.kind == "csv" for part in parts):
        job = _with_settled_reading(job, parts[0].path, directory.run)
    _check_input(job, parts)
    run, said = RunDirectory(directory.run), answer_settings(job)
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
        insecure=insecure,
    )
    if info is not None and (changes := job_differences(info.asked, said)):
        raise RunChanged(f"{run_dir} was begun with other parameters: {'; '.join(changes)}.")
    if info is not None:
        hand_over_records(directory, planned, info.input)
        write_sessions(directory, ShardSessions(earlier=info.sessions))
        if isinstance(directory, BucketShards):
            directory.publish_seeds()
    directory.write_plan(planned)
    return planned


def _check_input(job: Job, parts: Sequence[InputPart]) -> None:
    """UsageError: none of the first rows can be sent. What is in a bucket is not fetched for it."""
    if is_remote(parts[0].path):
        return
    source = source_of(job)
    if len(parts) == 1 or look_at(source, job).rows >= LOOKED_AT:
        check_first_rows(source, job)


def _with_settled_reading(job: Job, path: str, run: Path) -> Job:
    """How the table is read is found out once, from its beginning, and not anew by each shard."""
    local = run / "shards" / f"sample{Path(path).suffix}" if is_remote(path) else Path(path)
    source = open_source(local, job.reading)
    assert isinstance(source, CsvTable)
    shape = source.shape
    return replace(job, reading=replace(job.reading, encoding=shape.encoding.name, delimiter=shape.delimiter))


def _known_plan(job: Job, directory: ShardDirectory, names: Sequence[str], run_dir: str) -> ShardPlan:
    planned = directory.read_plan()
    paths = [name if is_remote(name) else str(Path(name).absolute()) for name in names]
    if paths != [part.path for part in planned.parts]:
        raise RunChanged(f"{run_dir} was planned for other input files. Give another directory with -o.")
    if changes := job_differences(planned.asked, answer_settings(job)):
        raise RunChanged(
            f"{run_dir} was planned with other parameters: {'; '.join(changes)}. Give another directory with -o."
        )
    reading = planned.job.get("reading")
    planned.job = job_tables(job) | ({"reading": reading} if reading is not None else {})  # limits may change
    directory.write_plan(planned)
    return planned


def _job_of(inputs: Sequence[str], flags: dict[str, Any]) -> tuple[Job, list[str]]:
    """The job of a command line, and the files that it reads."""
    is_job_file = len(inputs) == 1 and inputs[0].endswith(".toml")
    names = find_inputs(inputs_of(inputs[0])[0] if is_job_file else inputs)
    if not is_remote(names[0]):
        return job_from(inputs[0] if is_job_file else names[0], dict(flags)), names
    run_dir = flags.get("run_dir") or (inputs_of(inputs[0])[1] if is_job_file else "")
    if not run_dir:
        raise UsageError("Say with -o RUN_DIR where the results of a remote input go.")
    sample = _fetch_sample(names[0], Path(run_dir))
    given = flags | {"run_dir": run_dir}
    job = job_from(inputs[0], given | {"input": sample}) if is_job_file else job_from(sample, given)
    return replace(job, input=names[0]), names


def _fetch_sample(address: str, run: Path) -> str:
    """Copy the beginning of an object, from which the job is made, and return where it is."""
    sample = run / "shards" / f"sample{Path(address).suffix}"
    sample.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    begin = open_bytes(address).read_range(0, SAMPLE_BYTES)
    sample.write_bytes(begin[: begin.rfind(b"\n") + 1] or begin)
    return str(sample)


def job_of_run(shards: ShardDirectory, flags: dict[str, Any]) -> Job:
    """The job of a planned run, with limits from flags, and keys from this machine's environment."""
    planned = shards.read_plan()
    first = planned.parts[0].path
    folders = [shards.run.parent, *([] if is_remote(first) else [Path(first).parent]), Path.cwd()]
    given = flags | {"simulate": planned.simulated or None, "insecure": planned.insecure or None}
    return resolve_retry(planned.job, given, os.environ, folders, input_path=first, run_dir=str(shards.run))
