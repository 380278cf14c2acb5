"""Kills the real command in the middle of its batch files, again and again, and counts what came of it.

    python benchmarks/kills.py --kills 200          over runs of 20 parcels each, with faults of the provider

Each process is killed (SIGKILL) a moment after it wrote its next step, so that the kills spread over all steps, or
while it waits for a batch. At the end every row must have one record, no file two batches, and the tokens must be those
that the provider billed.
"""

import argparse
import asyncio
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import orjson

from arkbatch.simulator.server import Counters, Settings, serve

MODEL = "doubao-seed-1-6-251015"
FAULTS = {
    "lost_upload": 0.1,
    "lost_create": 0.1,
    "poll_502": 0.05,
    "torn_content": 0.1,
    "cut_content": 0.05,
    "doubled_lines": 0.2,
    "missing_lines": 0.2,
    "misplaced_lines": 0.3,
    "failed_lines": 0.2,
    "expired": 0.2,
    "refused_lines": 0.2,
    "failed_partly": 0.1,
    "late_output": 0.02,
    "web_page": 0.02,
    "wrong_counts": 0.2,
    "early_expiry": 0.2,
    "crlf": 0.3,
    "text_body": 0.2,
    "bare_reply": 0.2,
}
# The real command. Only how long it waits for a batch to show in a list is shorter than five minutes.
COMMAND = (
    "import arkbatch.batch_jobs.parcel_submission as o; o.SETTLING_SECONDS = 1.0; o._LIST_AGAIN_SECONDS = 0.5; "
    "from arkbatch.cli import main; main()"
)


class SimulatedProvider:
    """A simulator in a thread of its own, which outlives the processes."""

    def __init__(self, **settings):
        self.counters, self.settings = Counters(), Settings(**settings)
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    async def _serve(self):
        self._loop, self._is_over = asyncio.get_running_loop(), asyncio.Event()
        async with serve(self.settings, counters=self.counters) as url:
            self.url = url.replace("/api/v3", "/v1")
            self._is_up.set()
            await self._is_over.wait()

    def __enter__(self):
        self._thread.start()
        assert self._is_up.wait(60)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._is_over.set)
        self._thread.join(60)

    @property
    def billed(self):
        """Input and output tokens of every line that was billed."""
        total = {"input": 0, "output": 0}
        for line in self.counters.batches.store.billed:
            total["input"] += line.usage.get("prompt_tokens", 0) + line.usage.get("input_tokens", 0)
            total["output"] += line.usage.get("completion_tokens", 0) + line.usage.get("output_tokens", 0)
        return total

    @property
    def orders(self):
        """The input file of each batch, without those that failed before they began and are ordered again."""
        batches = self.counters.batches.store.state.batches.values()
        return [batch.input_file_id for batch in batches if batch.status != "failed"]


def killed_run(folder, provider, *, kills, parcels, rows, chance):
    """One run that is killed up to so many times and then left to end; how often it was killed."""
    folder.mkdir(parents=True)
    lines = [{"model": MODEL, "messages": [{"role": "user", "content": f"row {n}"}]} for n in range(parcels * rows)]
    (folder / "in.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    text = f'input = "in.jsonl"\nmodel = ""\nbase_url = "{provider.url}"\nlane = "files"\n'
    (folder / "job.toml").write_text(text + f"[files]\nrows = {rows}\n[retry]\nmax_attempts = 20\n", encoding="utf-8")
    env = {**os.environ, "OPENAI_BASE_URL": provider.url, "OPENAI_API_KEY": "any"}
    command = [sys.executable, "-c", COMMAND, "run", "job.toml", "-o", "a.run"]
    done = 0
    while done < kills:
        process = subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        if not killed_at_its_next_step(process, folder / "a.run/parcels.jsonl", chance):
            break
        done += 1
    return done, left_to_end(command, folder, env)


def killed_at_its_next_step(process, journal, chance, patience=20.0):
    """Whether the process was killed: some milliseconds behind one of its next steps, or when it only waits."""
    before, steps = size_of(journal), chance.randint(1, 3)
    until = time.monotonic() + patience
    while process.poll() is None and time.monotonic() < until:
        if (now := size_of(journal)) > before:
            before, steps = now, steps - 1
            until = min(until, time.monotonic() + 1.0)
            if not steps:
                break
        time.sleep(0.001)
    time.sleep(chance.random() * 0.02)
    was_alive = process.poll() is None
    process.kill()
    process.wait()
    return was_alive


def size_of(path):
    return path.stat().st_size if path.exists() else 0


def left_to_end(command, folder, env, most=200):
    """How many sessions it took to the end; each but the last is killed as it waits, since a new one looks at once."""
    for sessions in range(1, most):
        process = subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        journal, quiet_since, before = folder / "a.run/parcels.jsonl", time.monotonic(), -1
        while process.poll() is None:
            if (now := size_of(journal)) != before:
                before, quiet_since = now, time.monotonic()
            if time.monotonic() - quiet_since > 4.0 + sessions / 4:  # a busy machine may take longer to start it
                process.kill()
                process.wait()
            time.sleep(0.01)
        if process.returncode in (0, 3):
            return sessions
    raise SystemExit(f"the run in {folder} came to no end in {most} sessions")


def outcome_of(folder):
    """The rows with a record, and the tokens of all records."""
    rows, total = [], {"input": 0, "output": 0}
    for name in ("results.jsonl", "failures.jsonl"):
        for line in (folder / "a.run" / name).read_bytes().splitlines():
            record = orjson.loads(line)
            if not record.get("interrupted"):  # such a record tells what a row spent that goes on
                rows.append(record["row"])
            for meter in total:
                total[meter] += record["usage"].get(meter, 0)
    return sorted(rows), total


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--parcels", type=int, default=20)
    parser.add_argument("--rows", type=int, default=6, help="in one parcel")
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()
    chance, killed, runs, began = random.Random(options.seed), 0, 0, time.monotonic()
    wrong = []
    while killed < options.kills:
        runs += 1
        with (
            tempfile.TemporaryDirectory() as folder,
            SimulatedProvider(batch_seconds=0.5, batch_faults=FAULTS, seed=runs) as provider,
        ):
            place = Path(folder) / "run"
            done, sessions = killed_run(
                place,
                provider,
                kills=options.kills - killed,
                parcels=options.parcels,
                rows=options.rows,
                chance=chance,
            )
            killed += done + sessions - 1
            rows, tokens = outcome_of(place)
            if rows != list(range(1, options.parcels * options.rows + 1)):
                wrong.append(f"run {runs}: rows {rows}")
            if tokens != provider.billed:
                wrong.append(f"run {runs}: tokens {tokens}, billed {provider.billed}")
            if len(provider.orders) != len(set(provider.orders)):
                wrong.append(f"run {runs}: a file was ordered twice")
            said = f"{done + sessions - 1} kills, {len(provider.orders)} batches, {len(wrong)} wrong so far"
            print(f"run {runs}: {said}", flush=True)
    seconds = time.monotonic() - began
    print(f"{killed} kills over {runs} runs of {options.parcels} parcels in {seconds:.0f} s: {len(wrong)} wrong")
    for line in wrong:
        print(line)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
