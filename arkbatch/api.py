"""The library: the same runs as on the command line, for a program.

    import arkbatch

    job = arkbatch.load_job("job.toml", concurrency=64)
    summary = arkbatch.run(job)
    for line in arkbatch.iter_results(summary.run_dir):
        print(line["custom_id"], line["response"]["body"]["choices"][0]["message"]["content"])

A job that is run again resumes. `arun` is the same inside a running event loop. Everything that can go wrong on
purpose is an `arkbatch.core.errors.ArkbatchError`; rows that fail are counted in the summary and never raise.
"""

import asyncio
import contextlib
import os
import time
from pathlib import Path
from typing import Any

from arkbatch.config.resolve import resolve
from arkbatch.core.errors import UsageError
from arkbatch.core.job import Job
from arkbatch.engine.open_run import OpenRun, ResumeOptions
from arkbatch.engine.session import Session, summary_of
from arkbatch.monitor.observer import Observer
from arkbatch.pricing.summary import Summary

__all__ = ["arun", "load_job", "run"]


def load_job(path: str | Path, **flags: Any) -> Job:
    """A job from a job file, or from an input file and flags. Flags are those of `arkbatch run`, with underscores.

    The environment and `.env` are read as on the command line. UsageError, JobError: what is wrong, in one line.
    """
    return resolve(str(path), flags, os.environ, Path.cwd())


async def arun(job: Job, observer: Observer | None = None, *, rebase: bool = False, mixed: bool = False) -> Summary:
    """Work off the rows that have no record yet. Cancelling it abandons the calls in flight; the run resumes.

    rebase: keep the results of unchanged rows of an edited input; mixed: go on with changed parameters
    """
    if job.simulated:
        raise UsageError(
            "Only the command starts a simulator: say arkbatch run --simulate, "
            "or start one with arkbatch simulate and give its address as base_url."
        )
    with OpenRun(job, ResumeOptions(rebase, mixed), wall=time.time) as opened:
        if not opened.found.to_send:
            return summary_of(opened, "nothing left", 0.0)
        return await Session(opened, [observer] if observer else []).work()


def run(job: Job, observer: Observer | None = None, *, rebase: bool = False, mixed: bool = False) -> Summary:
    """The same, from a program without an event loop."""
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop()
        raise UsageError("An event loop is running here, as in a notebook: say await arkbatch.arun(job) instead.")
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(arun(job, observer, rebase=rebase, mixed=mixed))


def loop_factory() -> Any:
    """Uvloop's where the platform has it, else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
