"""The real command in a process of its own, and a quick server in a thread of this one."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from servers import Raw, served, whole

ROOT = Path(__file__).parents[2]
BODY = (
    b'{"id":"02","model":"doubao-x","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}'
)


@contextmanager
def serving(handler, **how):
    """The base URL of a server of its own in a thread."""
    loop, ready, ended = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    found = []

    async def main():
        async with served(handler, **how) as url:
            found.append(url)
            ready.set()
            await ended.wait()

    def serve():
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(main())

    thread = threading.Thread(target=serve)
    thread.start()
    ready.wait(10)
    try:
        yield found[0]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)


@contextmanager
def canned(latency=0.02):
    """The base URL of a server that gives everyone the same answer, and what it heard."""
    handler = Raw(whole(BODY), silent=latency)
    with serving(handler) as url:
        yield url, handler.heard


def arguments(*words):
    return [sys.executable, "-m", "arkbatch.cli", *map(str, words)]


def environment(**more):
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "TMPDIR", "LANG"}}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "NO_PROXY": "127.0.0.1"} | more


def arkbatch(*words, cwd, stdin=None, **how):
    """Run the command to its end."""
    given = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
    env = environment(**how.pop("env", {}))
    return subprocess.run(
        arguments(*words), cwd=cwd, env=env, capture_output=True, timeout=60, check=False, **given, **how
    )


def started(*words, cwd, env=None, **how):
    return subprocess.Popen(
        arguments(*words), cwd=cwd, env=env or environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, **how
    )


def until(happened, seconds=20):
    """Wait for what another process does."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def size(path):
    return path.stat().st_size if path.exists() else 0
