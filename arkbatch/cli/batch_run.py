"""Runs a session over batch files for `run` and `cancel`."""

import asyncio
import os
import shlex
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import click
from msgspec.structs import replace

from arkbatch.api.background import loop_factory
from arkbatch.batch_jobs.open_session import open_batch_session
from arkbatch.batch_jobs.parcel_journal import read_parcels
from arkbatch.batch_jobs.parcel_loop import REST
from arkbatch.cli.live_and_metrics import Serving, Watchers
from arkbatch.cli.session import (
    accept_session_commands,
    print_remarks,
    print_summary,
    progress_observer,
    tell_interrupted,
    this_command,
)
from arkbatch.cli.signals import stop_on_signals
from arkbatch.cli.standard_streams import echo_text
from arkbatch.core.job import BATCH_FILE_LANES, Job
from arkbatch.core.language import language_of
from arkbatch.core.secret import NO_KEY, Access, Secret
from arkbatch.core.text import count_text, printable_text
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.session_summary import summary_of
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.pricing.summary import Summary
from arkbatch.reports.text.summary import found_line
from arkbatch.transport.tos_bucket import REGION

_SIMULATED_SECONDS = 2.0  # that a batch takes there
_STORE = "simulated"


def run_batches(
    job: Job,
    open_run: Callable[[Job], OpenRun],
    *,
    as_json: bool,
    detach: bool = False,
    cancel: frozenset[int] | None = None,
    go_online: Callable[[], int] | None = None,
    serving: Serving = Serving(),
    only: frozenset[int] | None = None,
) -> int:
    """Open the run, work on its batches, and print how it ended.

    go_online: sends what is left as online calls, when the job wants that
    only: the rows to send, None for all that are left
    """
    serving.check_extras()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        try:
            summary = runner.run(_run_batches(job, open_run, detach=detach, cancel=cancel, serving=serving, only=only))
        except (KeyboardInterrupt, asyncio.CancelledError):
            return tell_interrupted(job.run_dir, batches=True)
    if summary.ending == REST and go_online is not None:
        click.echo(f"{count_text(summary.left, 'row')} came back from batches; they go as online calls now.", err=True)
        return go_online()
    code = print_summary(summary, as_json=as_json)
    _tell_open_parcels(summary)
    return code


async def _run_batches(
    job: Job,
    open_run: Callable[[Job], OpenRun],
    *,
    detach: bool,
    cancel: frozenset[int] | None,
    serving: Serving,
    only: frozenset[int] | None,
) -> Summary:
    # The page goes last, so that it still shows how the run stands when it is closed.
    async with _simulated_job(job) as ready, AsyncExitStack() as served, AsyncExitStack() as stack:
        run = stack.enter_context(open_run(ready))
        click.echo(printable_text(found_line(run.found, language_of(os.environ))), err=True)
        if not run.found.to_send and not read_parcels(run.directory).open_parcels:
            return summary_of(run, "nothing left", 0.0)
        for note in run.notes:
            click.echo(printable_text(f"  {language_of(os.environ).translate_text(note)}"), err=True)
        print_remarks(run.job)
        watchers = await Watchers.serve_run(run, progress_observer(), serving, served)
        session = await stack.enter_async_context(open_batch_session(run, watchers.observers))
        await watchers.open_page(session.stop)
        with stop_on_signals(session):
            async with accept_session_commands(session, run):
                return await session.work(detach=detach, cancel=cancel, only=only)


@asynccontextmanager
async def _simulated_job(job: Job) -> AsyncIterator[Job]:
    """Give the job the address of a simulator, whose files and batches are kept in the run directory."""
    if not job.simulated:
        yield job
        return
    from arkbatch.simulator.server import serve
    from arkbatch.simulator.settings import ACCESS_KEY, Settings

    echo_text("Simulated: no request leaves this machine, and the answers mean nothing.")
    store = str(Path(job.run_dir) / _STORE)
    async with serve(Settings(batch_seconds=_SIMULATED_SECONDS, batch_store=store)) as url:
        root = url.removesuffix("/api/v3")
        key_id, secret = map(Secret, ACCESS_KEY)
        access = Access(key_id, secret, root, storage=root, region=REGION)
        files = replace(job.files, bucket=job.files.bucket or "simulated")
        with_access = {"access": access, "files": files} if job.lane == "job" else {}
        yield replace(job, base_url=url, api_key=NO_KEY, **with_access)


def online_job(job: Job) -> Job:
    """Return the job for rows that are left, as online calls; these use an access key only without an API key."""
    if job.lane not in BATCH_FILE_LANES:
        return job
    return replace(job, lane="online", access=job.access if job.api_key == NO_KEY else None)


def _tell_open_parcels(summary: Summary) -> None:
    """Print how many batches still run at the provider, and the commands that collect and cancel them."""
    ordered = [parcel for parcel in read_parcels(RunDirectory(Path(summary.run_dir))).open_parcels if parcel.is_ordered]
    if ordered:
        directory = shlex.quote(summary.run_dir)
        click.echo(f"{count_text(len(ordered), 'batch')} {'runs' if len(ordered) == 1 else 'run'} on there.", err=True)
        echo_text(f"Collect:  {this_command()}\nCancel:  arkbatch cancel {directory}")
