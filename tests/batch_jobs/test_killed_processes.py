"""The real command is killed again and again in the middle of its batches, and comes to the right end."""

import asyncio
import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import orjson
from batch_runs import MODEL, billed_usage

from arkbatch.simulator.server import Counters, Settings, serve

KILLS, ROWS = 12, 40
# A kill between an order and its answer has the next start look for that order for minutes; the simulator lists at once.
COMMAND = """
import sys
from arkbatch.batch_jobs import parcel_submission
parcel_submission.SETTLING_SECONDS, parcel_submission._LIST_AGAIN_SECONDS = 5.0, 1.0
from arkbatch.cli import main
sys.exit(main())
"""


class Service:
    """A simulator in a thread of its own, which outlives the processes."""

    def __init__(self, **settings):
        self.counters, self.settings = Counters(), Settings(**settings)
        self.up, self.thread = threading.Event(), threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self):
        self.loop, self.over = asyncio.get_running_loop(), asyncio.Event()
        async with serve(self.settings, counters=self.counters) as url:
            self.url = url.replace("/api/v3", "/v1")
            self.up.set()
            await self.over.wait()

    def __enter__(self):
        self.thread.start()
        assert self.up.wait(30)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.over.set)
        self.thread.join(30)


def test_kill_9_at_random_moments_orders_no_file_twice_and_loses_no_row(tmp_path):
    lines = [{"model": MODEL, "messages": [{"role": "user", "content": f"row {n}"}]} for n in range(ROWS)]
    (tmp_path / "in.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    chance = random.Random(7)
    with Service(batch_seconds=0.5) as service:
        text = f'input = "in.jsonl"\nmodel = ""\nbase_url = "{service.url}"\nlane = "files"\n[files]\nrows = 4\n'
        (tmp_path / "job.toml").write_text(text, encoding="utf-8")
        env = {**os.environ, "OPENAI_BASE_URL": service.url, "OPENAI_API_KEY": "any"}
        command = [sys.executable, "-c", COMMAND, "run", "job.toml", "-o", "a.run", "--detach"]
        for _ in range(KILLS):
            process = subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.DEVNULL, stdout=-3)
            try:
                process.wait(0.5 + chance.random())
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for _ in range(10):  # what was ordered is collected, what was not is ordered
            if subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, check=False).returncode == 0:
                break
            threading.Event().wait(1)
        records = [orjson.loads(line) for line in (Path(tmp_path) / "a.run/results.jsonl").read_bytes().splitlines()]
        assert sorted(record["row"] for record in records) == list(range(1, ROWS + 1))
        total = {name: sum(record["usage"].get(name, 0) for record in records) for name in ("input", "output")}
        assert total == billed_usage(service.counters.batches)
        files = [batch.input_file_id for batch in service.counters.batches.store.state.batches.values()]
        assert len(files) == len(set(files))
