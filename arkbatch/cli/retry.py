"""`arkbatch retry`: sends the failed rows of a run again."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from arkbatch.cli.live_and_metrics import Serving
    from arkbatch.core.job import Job
    from arkbatch.engine.open_run import OpenRun
    from arkbatch.engine.retry_run import RetrySelection
    from arkbatch.engine.session import Session
    from arkbatch.pricing.summary import Summary

from arkbatch.cli.option_groups import GroupedCommand, input_option
from arkbatch.cli.options import (
    limit_options,
    notification_options,
    request_options,
    serving_options,
    summary_json_option,
    timing_options,
)


@click.command(cls=GroupedCommand, short_help="Send only the failed rows of a run again.")
@click.argument("run_dir")
@input_option("--kind", default="", metavar="K,...", help="Only failures of these kinds: timeout,overloaded.")
@input_option("--row", default="", metavar="N,...", help="Only these rows, by line number.")
@request_options
@limit_options
@timing_options
@notification_options
@serving_options
@summary_json_option
def command(
    run_dir: str, *, kind: str, row: str, live: int | None, metrics: int | None, as_json: bool, **flags: Any
) -> int:
    """Send the failed rows of a run again. A row that succeeds moves out of the failures.

    Each row is sent as it was, with what --set and --model change. Lines that were bad are read again; if you fix
    them in the input, use `arkbatch run INPUT --rebase` instead.

    \b
    Examples:
      arkbatch retry prompts.run
      arkbatch retry prompts.run --kind timeout,overloaded --concurrency 8
      arkbatch retry prompts.run --row 17,42 --set max_tokens=4096
      arkbatch retry night.run --lane files
      arkbatch retry s3://bucket/runs/night.run
    """
    from arkbatch.cli.live_and_metrics import Serving
    from arkbatch.cli.remote import upload_run
    from arkbatch.cli.sharded_runs import leave_shards
    from arkbatch.core.text import printable_text
    from arkbatch.engine.retry_run import RetrySelection, chosen_kinds
    from arkbatch.rows.object_storage import is_remote

    changes = _parse_changes(flags.pop("set_"), flags["model"])
    choice = RetrySelection(chosen_kinds(kind), _parse_rows(row), changes)
    target = run_dir.rstrip("/") if is_remote(run_dir) else ""
    if target:
        run_dir = _bring_home(target)
    else:
        leave_shards(run_dir)
    code = _retry_here(run_dir, target, choice, Serving(live, metrics), flags, as_json=as_json)
    if target:
        upload_run(run_dir, target)
        click.echo(printable_text(f"Uploaded:  {target}"), err=True)
    return code


def _bring_home(target: str) -> str:
    """Copy a run in a bucket to a directory of its name, merged if it has shards. Return that directory."""
    from arkbatch.cli.cluster_bucket import leave_shards_in_bucket
    from arkbatch.cli.remote import fetch_run
    from arkbatch.rows.object_folder import ObjectFolder

    leave_shards_in_bucket(target)
    run = Path(target.rpartition("/")[2])
    fetch_run(ObjectFolder(target), run)
    return str(run)


def _retry_here(
    run_dir: str, target: str, choice: "RetrySelection", serving: "Serving", flags: dict[str, Any], *, as_json: bool
) -> int:
    """Send the chosen rows of a run on this machine. It is uploaded to the address `target`, "" for nowhere."""
    from arkbatch.batch_jobs.open_session import refuse_open_parcels
    from arkbatch.cli.remote import keep_uploaded
    from arkbatch.cli.session import carry_out
    from arkbatch.core.job import BATCH_FILE_LANES
    from arkbatch.engine.retry_run import RetryRun
    from arkbatch.journal.run_directory import RunDirectory

    async def work(session: "Session", run: "OpenRun") -> "Summary":
        if not target:
            return await session.work_again(run.rows())
        async with keep_uploaded(run_dir, target, lambda text: click.echo(text, err=True)):
            return await session.work_again(run.rows())

    job = job_of_run(run_dir, flags)
    if job.lane in BATCH_FILE_LANES:
        as_begun = job_of_run(run_dir, flags | {"model": None})
        return retry_in_batches(job, as_begun, choice, as_json=as_json, serving=serving)
    refuse_open_parcels(RunDirectory(Path(run_dir)))
    return carry_out(job, lambda ready: RetryRun(ready, choice, wall=time.time), work, as_json=as_json, serving=serving)


def retry_in_batches(
    job: "Job", as_begun: "Job", choice: "RetrySelection", *, as_json: bool, serving: "Serving"
) -> int:
    """Send failed rows again in batch files. They become rows that are left, so a later `run` sends them too.

    as_begun: the job with the model of the run, as which a later session opens it
    """
    from msgspec.structs import replace

    from arkbatch.batch_jobs.parcel_rows import give_back_failed_rows
    from arkbatch.cli.batch_run import run_batches
    from arkbatch.cli.session import this_command
    from arkbatch.engine.open_run import OpenRun
    from arkbatch.engine.retry_run import RetryRun

    with RetryRun(job, choice, wall=time.time) as run:
        numbers = give_back_failed_rows(run)
        run.journal.close()
    return run_batches(
        replace(as_begun, row_limit=None),
        lambda ready: OpenRun(ready, wall=time.time, command=this_command()),
        as_json=as_json,
        serving=serving,
        only=numbers,
    )


def job_of_run(run_dir: str, flags: dict[str, Any]) -> "Job":
    """Return the job of an existing run, with what the flags change."""
    from arkbatch.config.resolve import resolve_retry
    from arkbatch.core.job import BATCH_FILE_LANES
    from arkbatch.engine.retry_run import read_run

    info = read_run(run_dir)
    if info.job.get("lane") in BATCH_FILE_LANES:  # a few rows are quicker online, and the answers are the same
        flags = {"lane": "online", **{name: value for name, value in flags.items() if value is not None}}
    return resolve_retry(
        info.job,
        flags | {"simulate": info.simulated or None},
        os.environ,
        [Path(run_dir).parent, Path(info.input.path).parent, Path.cwd()],
        input_path=info.input.path,
        run_dir=run_dir,
    )


def _parse_changes(settings: tuple[str, ...], model: str | None) -> dict[str, Any]:
    """Return settings such as `thinking.type=disabled` as nested values."""
    from arkbatch.config.flag_values import parse_setting

    changes: dict[str, Any] = {"model": model} if model else {}
    for text in settings:
        path, value = parse_setting(text)
        table = changes
        for name in path[:-1]:
            table = table.setdefault(name, {})
        table[path[-1]] = value
    return changes


def _parse_rows(text: str) -> frozenset[int]:
    from arkbatch.core.errors import UsageError

    try:
        return frozenset(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise UsageError(f"--row {text} is not a list of line numbers, such as 17,42.") from None
