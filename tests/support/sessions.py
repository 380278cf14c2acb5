"""Whole sessions in virtual time: real files, a real journal, and the simulator or a scripted transport."""

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
from msgspec import Struct
from msgspec.structs import replace
from runs import BEGAN
from virtual import run_virtual

from arkbatch.core.secret import Secret
from arkbatch.engine import session as run_module
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.resume_check import ResumeOptions
from arkbatch.engine.retry_run import RetryRun, RetrySelection
from arkbatch.engine.session import Session
from arkbatch.journal.run_directory import FAILURES, RESULTS
from arkbatch.monitor.observer import Observer
from arkbatch.pricing.summary import Summary
from arkbatch.simulator.server import Counters, Settings, serve


class Ended(Struct):
    """What a session came to. `summary` is None when it was cancelled; `seconds` are virtual."""

    summary: Summary | None
    seconds: float
    counters: Counters
    observer: Observer


async def _session(job, observer, wishes, meanwhile):
    loop = asyncio.get_running_loop()
    began = loop.time()
    with OpenRun(job, wishes, wall=lambda: BEGAN + loop.time()) as run:
        session = Session(run, [observer], chance=lambda: 0.5)
        work = asyncio.ensure_future(session.work())
        beside = asyncio.ensure_future(meanwhile(session, work)) if meanwhile else None
        await asyncio.wait([work])
        if beside:
            await beside
        return (None if work.cancelled() else work.result()), loop.time() - began


async def one_session(job):
    """One session against the server that the job names; the summary."""
    return (await _session(job, Observer(), ResumeOptions(), None))[0]


def worked(job, *, meanwhile=None, observer=None, wishes=ResumeOptions(), key="any-key", **settings):  # noqa: B008
    """One session against a simulator of its own; `meanwhile(session, task)` runs beside it."""
    counters, observer = Counters(), observer or Observer()

    async def main():
        async with serve(Settings(**settings), counters=counters) as url:
            ready = replace(job, base_url=url, api_key=Secret(key))
            return await _session(ready, observer, wishes, meanwhile)

    return Ended(*run_virtual(main()), counters, observer)


def scripted(job, transport, monkeypatch, *, meanwhile=None, observer=None, wishes=ResumeOptions()):  # noqa: B008
    """One session over a scripted transport."""

    @asynccontextmanager
    async def opened(*_):
        yield transport

    monkeypatch.setattr(run_module, "open_connection", opened)
    return Ended(*run_virtual(_session(job, observer or Observer(), wishes, meanwhile)), Counters(), observer)


def retried(job, transport, monkeypatch, choice=RetrySelection()):  # noqa: B008
    """Another try at the failed rows over a scripted transport; the summary."""

    @asynccontextmanager
    async def opened(*_):
        yield transport

    async def main():
        with RetryRun(job, choice, wall=lambda: BEGAN) as run:
            return await Session(run, chance=lambda: 0.5).work_again(run.rows())

    monkeypatch.setattr(run_module, "open_connection", opened)
    return run_virtual(main())


def lines_of(run_dir, name):
    path = run_dir / name
    return [orjson.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def results(job):
    return lines_of(Path(job.run_dir), RESULTS)


def failures(job):
    return lines_of(Path(job.run_dir), FAILURES)
