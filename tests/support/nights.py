"""Whole sessions in virtual time: a real engine, client and simulator in one loop, with files in `tmp_path`."""

import asyncio
from contextlib import asynccontextmanager

import orjson
from msgspec.structs import replace
from runs import numbered, prompts
from virtual import run_virtual

from arkbatch.config.resolve import resolve_job
from arkbatch.core.secret import Secret
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.session import Session
from arkbatch.journal.run_directory import FAILURES, RESULTS
from arkbatch.monitor.observer import Observer
from arkbatch.simulator.server import Counters, serve
from arkbatch.simulator.settings import Settings

KEY = "the-secret-key-of-the-test"


class Looks(Observer):
    """Keeps what was told."""

    def __init__(self):
        self.standings, self.reasons, self.notes, self.halts = [], [], [], []

    def progressed(self, standing):
        self.standings.append(standing)

    def pace_changed(self, reason):
        self.reasons.append(reason)

    def noted(self, text):
        self.notes.append(text)

    def halted(self, cause):
        self.halts.append(cause)


def job_for(folder, count=0, **flags):
    """A job over `count` numbered rows, or over an input that is there."""
    path = prompts(folder, *numbered(count)) if count else folder / "in.jsonl"
    given = {"model": "doubao", "run_dir": str(folder / "a.run"), "base_url": "http://127.0.0.1:1", **flags}
    return replace(resolve_job(str(path), given, {}, folder), api_key=Secret(KEY))


async def session_of(job, *observers, wishes=None, command="run"):
    """One session of a job; its summary. The wall clock goes with the loop's."""
    import asyncio

    begin = asyncio.get_running_loop().time()
    wall = lambda: 1_790_000_000.0 + asyncio.get_running_loop().time() - begin  # noqa: E731
    with OpenRun(job, wall=wall, command=command) as run:
        return await Session(run, observers, chance=lambda: 0.5).work()


@asynccontextmanager
async def simulated(**settings):
    counters = Counters()
    async with serve(Settings(**settings), counters=counters) as url:
        yield url, counters


def night(job, *observers, **settings):
    """A session against a simulator with these settings; summary and the server's counters."""

    async def main():
        async with simulated(**settings) as (url, counters):
            return await session_of(replace(job, base_url=url), *observers), counters

    return run_virtual(main())


def records(folder, name):
    """The lines of one of the journal's files."""
    return [orjson.loads(line) for line in (folder / "a.run" / name).read_bytes().splitlines()]


def recorded(folder):
    """Row numbers by file, sorted, each as often as it stands there."""
    return [sorted(line["row"] for line in records(folder, name)) for name in (RESULTS, FAILURES)]


class Proxy:
    """A TCP proxy on loopback that can be stopped and started again on the same port."""

    def __init__(self, target):
        from urllib.parse import urlsplit

        parts = urlsplit(target)
        self._target, self._path = (parts.hostname, parts.port), parts.path
        self._server, self._writers, self.port = None, set(), 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}{self._path}"

    async def start(self):
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self):
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _pass_on(self, reader, writer):
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        self._writers |= {writer, far_writer}
        await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer))
        self._writers -= {writer, far_writer}

    async def _copy(self, reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()
