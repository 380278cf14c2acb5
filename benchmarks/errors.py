"""Connection errors in a row, and whether they take memory: a service that went away for a year.

    python benchmarks/errors.py [--errors 1000000]

A whole session (engine, journal, log, aiohttp) calls a port of this machine on which nobody listens any more, after a
first row was answered there. Each error is a real refused connection; the pauses between them pass in virtual time.
"""

import argparse
import asyncio
import resource
import sys
import tempfile
import time
from pathlib import Path

from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from nights import job_for, session_of
from processes import BODY
from servers import Raw, served, whole
from virtual import run_virtual

from arkbatch.core.calls import Kind
from arkbatch.engine import periodic_sync as durable
from arkbatch.engine import ticker as telling
from arkbatch.monitor.observer import Observer

PAGE = resource.getpagesize()


class Errors(Observer):
    """Counts connection errors, and looks at the memory ten times on the way."""

    def __init__(self, wanted):
        self.wanted, self.errors, self.enough = wanted, 0, asyncio.Event()
        self.looks = []  # errors, MiB

    def answered(self, row, client_id, response, verdict):
        del row, client_id, response
        cause = getattr(verdict, "cause", None)
        if cause is None or cause.kind is not Kind.CONNECTION:
            return
        self.errors += 1
        if self.errors % (self.wanted // 10) == 0:
            self.looks.append((self.errors, resident()))
        if self.errors >= self.wanted:
            self.enough.set()


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / (1 << 20)


def through(folder, wanted):
    """What was seen on the way through so many errors, and the days that would have passed."""
    durable.SYNC_SECONDS = 86_400.0  # nothing new to make durable; each would be a real wait for the disk
    telling.TICK_SECONDS = 600.0

    async def main():
        errors = Errors(wanted)
        job = job_for(folder, 64, concurrency=16)
        job = replace(job, retry=replace(job.retry, give_up_after=1e12))
        async with served(Raw(whole(BODY))) as url:
            job = replace(job, base_url=url)
            await session_of(replace(job, row_limit=1))
        began = asyncio.get_running_loop().time()
        task = asyncio.create_task(session_of(job, errors))
        await errors.enough.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return errors.looks, (asyncio.get_running_loop().time() - began) / 86_400

    return run_virtual(main())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--errors", type=int, default=1_000_000)
    asked = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        looks, days = through(Path(folder), asked.errors)
        log = (Path(folder) / "a.run" / "run.log").stat().st_size
    for errors, mib in looks:
        print(f"{errors:>12,} errors   {mib:6.1f} MiB")
    print(f"{days:,.0f} days of pauses, {log >> 10:,} KiB of log, in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
