"""Jobs from Python: `load_job`, `run` and `arun`."""

import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from os import PathLike
from pathlib import Path
from typing import Unpack

from msgspec.structs import replace

from arkbatch.api.background import run_in_thread
from arkbatch.api.options import FilePath, JobOptions, flags_of, parameter_names
from arkbatch.batch_jobs.open_session import open_batch_session, refuse_open_parcels
from arkbatch.config.resolve import resolve_job
from arkbatch.core.errors import Halted
from arkbatch.core.job import BATCH_FILE_LANES, Job
from arkbatch.core.secret import NO_KEY
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.resume_check import ResumeOptions
from arkbatch.engine.session import Session
from arkbatch.engine.session_summary import summary_of
from arkbatch.journal.shard_files import SHARDS_PLAN
from arkbatch.monitor.observer import Observer
from arkbatch.monitor.progress_bar import ProgressBar
from arkbatch.pricing.summary import Summary
from arkbatch.rows.several_files import joined_inputs

SIMULATED_LATENCY = 0.5  # seconds, as a small model takes


def load_job(path: FilePath | Sequence[FilePath], **options: Unpack[JobOptions]) -> Job:
    """Return a job from a job file, or from an input file (or several) and options.

    The environment and `.env` are read as on the command line. UsageError, JobError: what is wrong, in one line.
    """
    names = [str(path)] if isinstance(path, str | PathLike) else [str(each) for each in path]
    with parameter_names():
        return resolve_job(joined_inputs(names), flags_of(options), os.environ, Path.cwd())


async def arun(
    job: Job | FilePath,
    observer: Observer | None = None,
    *,
    progress: bool | None = None,
    rebase: bool = False,
    mixed: bool = False,
    **options: Unpack[JobOptions],
) -> Summary:
    """Send the rows that have no record yet, and return where the run stands. A job that is run again resumes.

    Failed rows never raise. Cancelling it abandons the calls in flight.

    job: of `load_job`, or a path with the options of `load_job`
    progress: show a progress bar on standard error; None: where that is a terminal or a notebook
    rebase: keep the results of unchanged rows of an edited input; mixed: accept changed parameters
    Halted: every request would fail until something is fixed; its `run_dir` and `summary` say where the run stands.
    """
    return await JobSession(job, observer, progress=progress, rebase=rebase, mixed=mixed, options=options).work()


def run(
    job: Job | FilePath,
    observer: Observer | None = None,
    *,
    progress: bool | None = None,
    rebase: bool = False,
    mixed: bool = False,
    **options: Unpack[JobOptions],
) -> Summary:
    """Do as `arun`, and wait for it; also inside a running event loop, as in a notebook.

    The first interrupt waits for the calls in flight, the second one abandons them. The run resumes.
    """
    jobs = JobSession(job, observer, progress=progress, rebase=rebase, mixed=mixed, options=options)
    return run_in_thread(jobs.work, jobs.drain)


class JobSession:
    """One session of a job, that can be asked to end early."""

    def __init__(
        self,
        job: Job | FilePath,
        observer: Observer | None,
        *,
        progress: bool | None,
        rebase: bool,
        mixed: bool,
        options: JobOptions,
    ) -> None:
        self._job = _job_without_options(job, options) if isinstance(job, Job) else load_job(job, **options)
        shown = shows_progress() if progress is None else progress
        self._observers = [each for each in (observer, ProgressBar() if shown else None) if each is not None]
        self._resume = ResumeOptions(rebase, mixed)
        self._session: Session | None = None
        self._is_draining = False

    def drain(self) -> None:
        self._is_draining = True
        if self._session is not None:
            self._session.stop()

    async def work(self) -> Summary:
        _leave_shards(self._job)
        async with with_simulator(self._job) as ready:
            with parameter_names(), OpenRun(ready, self._resume, wall=time.time) as opened:
                if not opened.found.to_send:
                    return summary_of(opened, "nothing left", 0.0)
                if ready.lane in BATCH_FILE_LANES:
                    async with open_batch_session(opened, self._observers) as batches:
                        return _unless_halted(await batches.work())
                refuse_open_parcels(opened.directory)
                self._session = Session(opened, self._observers)
                if self._is_draining:
                    self._session.stop()
                return _unless_halted(await self._send_rows(self._session, opened))

    async def _send_rows(self, session: Session, opened: OpenRun) -> Summary:
        del opened
        return await session.work()


def _leave_shards(job: Job) -> None:
    """Merge the shards of a run of several workers, so that it goes on with one. RunLocked: they are at work."""
    if (Path(job.run_dir) / SHARDS_PLAN).is_file():
        from arkbatch.cluster.merge import set_shards_aside

        set_shards_aside(Path(job.run_dir), time.time)


def _job_without_options(job: Job, options: JobOptions) -> Job:
    if options:
        raise TypeError("options go with a path; those of a Job were given to load_job")
    return job


def _unless_halted(summary: Summary) -> Summary:
    if summary.halt is None:
        return summary
    advice = f" What to do: {summary.halt.advice}." if summary.halt.advice else ""
    halted = Halted(f"{summary.halt.message}{advice} ({summary.run_dir} keeps what was done; run it again to resume)")
    halted.run_dir, halted.summary = summary.run_dir, summary
    raise halted


@asynccontextmanager
async def with_simulator(job: Job) -> AsyncIterator[Job]:
    """Give a simulated job the address of a simulator that runs meanwhile; any other job as it is."""
    if not job.simulated:
        yield job
        return
    from arkbatch.simulator.server import serve
    from arkbatch.simulator.settings import Settings

    async with serve(Settings(latency=SIMULATED_LATENCY)) as url:
        yield replace(job, base_url=url, api_key=NO_KEY)


def shows_progress() -> bool:
    """Whether somebody looks on: standard error is a terminal, or this is a notebook."""
    if "ipykernel" in sys.modules:
        return True
    with contextlib.suppress(AttributeError, ValueError):
        return sys.stderr.isatty()
    return False
