"""The network pulled in the middle of a run, for real: what it costs beyond its own time.

    python benchmarks/outage.py --minutes 20
    python benchmarks/outage.py --minutes 0.25              a short form
    python benchmarks/outage.py --minutes 20 --how freeze   nothing is refused, nothing answers
    python benchmarks/outage.py --minutes 20 --how sleep    the run itself is stopped, as where a laptop sleeps

Real processes: a simulator, a TCP proxy before it, and the run. The same input is run twice, once without a fault and
once with one when half of the rows are recorded: the proxy is killed (each connection is refused) and started again at
the same port, or it is frozen (SIGSTOP: the kernel takes connections and nobody answers), or the run is. Printed: rows,
duplicates, losses, failures, the seconds of both runs, and what the outage cost beyond itself.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from soak import Lines, Records, write_input

ARKBATCH = [sys.executable, "-m", "arkbatch.cli"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=0.5, help="that the network is away")
    parser.add_argument("--how", choices=("kill", "freeze", "sleep"), default="kill")
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--latency", type=float, default=0.5, help="mean seconds to an answer")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    with tempfile.TemporaryDirectory(prefix="arkbatch-outage-") as folder, simulator(asked.latency) as url:
        write_input(Path(folder) / "in.jsonl", asked.rows)
        proxy = Proxy(url)
        try:
            for line in measured(Path(folder), proxy, asked):
                print(line, flush=True)
        finally:
            proxy.kill()


def measured(folder, proxy, asked):
    """Two runs, and what came of them."""
    proxy.start()
    without = seconds_of(folder, "without", proxy.url, asked)
    yield f"{asked.rows:,} rows in {without:.1f} s without an outage"

    def outage(run):
        records = Lines(folder / "with.run")
        while records.count() < asked.rows / 2:
            time.sleep(0.05)
        began = time.monotonic()
        begin, end = {
            "kill": (proxy.kill, proxy.start),
            "freeze": (lambda: stop(proxy.pid), lambda: go_on(proxy.pid)),
            "sleep": (lambda: stop(run.pid), lambda: go_on(run.pid)),
        }[asked.how]
        begin()
        away(run, asked.minutes * 60)
        end()
        return time.monotonic() - began

    lost = []
    took = seconds_of(folder, "with", proxy.url, asked, lambda run: lost.append(outage(run)))
    found = Records(folder / "with.run", asked.rows)
    counted = json.loads((folder / "with.run" / "usage.json").read_text())["usage"]
    yield f"{took:.1f} s with an outage of {lost[0]:.1f} s: it cost {took - without - lost[0]:.1f} s beyond itself"
    losses = asked.rows - found.rows
    yield (
        f"{found.rows:,} of {asked.rows:,} rows recorded, {found.doubled} duplicates, {losses} losses, "
        f"{found.failed} failures"
    )
    yield f"{found.calls:,} calls, {found.calls / asked.rows - 1:.1%} of them again"
    yield f"usage {'equals' if found.usage == Counter(counted) else 'DIFFERS FROM'} what the records add up to"


def seconds_of(folder, name, url, asked, meanwhile=lambda _: None):
    """One run from its start to its end."""
    command = [*ARKBATCH, "run", "in.jsonl", "-o", f"{name}.run", "--model", "ep-outage", "--base-url", url]
    command += ["--concurrency", str(asked.concurrency), "--set", "max_tokens=16"]
    began = time.monotonic()
    with (folder / f"{name}.txt").open("w") as said:
        env = os.environ | {"ARK_API_KEY": "key-of-the-outage", "ARK_BASE_URL": url, "NO_PROXY": "127.0.0.1"}
        run = subprocess.Popen(command, cwd=folder, env=env, stdout=said, stderr=said)
    try:
        meanwhile(run)
        code = run.wait()
    finally:
        run.kill()
        run.wait()
    if code:
        sys.exit(f"the run ended with {code}:\n{(folder / f'{name}.txt').read_text()}")
    return time.monotonic() - began


def away(run, seconds):
    """Wait, as long as the run does."""
    try:
        run.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def stop(pid):
    os.kill(pid, signal.SIGSTOP)


def go_on(pid):
    os.kill(pid, signal.SIGCONT)


@contextmanager
def simulator(latency):
    """The base URL of one in a process of its own."""
    command = [*ARKBATCH, "simulate", "--port", "0", "--latency", str(latency)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield process.stderr.readline().split(" at ")[1].split(" until ")[0]
    finally:
        process.kill()
        process.communicate()


class Proxy:
    """A TCP proxy in a process of its own, always at the same port."""

    def __init__(self, target):
        parts = urlsplit(target)
        self._target, self._path = (parts.hostname, parts.port), parts.path
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._process = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self._port}{self._path}"

    def start(self):
        forked = multiprocessing.get_context("spawn")
        ready = forked.Event()
        self._process = forked.Process(target=serve, args=(self._port, self._target, ready), daemon=True)
        self._process.start()
        ready.wait(30)

    def kill(self):
        self._process.kill()
        self._process.join()

    @property
    def pid(self):
        return self._process.pid


def serve(port, target, ready):
    asyncio.run(pass_on(port, target, ready))


async def pass_on(port, target, ready):
    async def taken(reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection(*target)
            await asyncio.gather(copied(reader, far_writer), copied(far_reader, writer))
        except ConnectionError:
            writer.close()

    async with await asyncio.start_server(taken, "127.0.0.1", port) as server:
        ready.set()
        await server.serve_forever()


async def copied(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


if __name__ == "__main__":
    main()
