"""How long a run with many done rows takes from its start to its first new call.

    python benchmarks/reopen.py [--rows 10000000]

The run directory is written by the journal's own encoder, some 4 GB for ten million rows. It is opened twice, each
time by a fresh process that ends with its first answer: once without `ledger.bin`, when every line has to be read
again, and once with it.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from servers import canned_server

import arkbatch
from arkbatch.core.calls import Reply
from arkbatch.core.input_info import Position
from arkbatch.core.job import Job
from arkbatch.core.outcomes import Attempt, Success
from arkbatch.core.row import Row
from arkbatch.engine.open_run import OpenRun
from arkbatch.journal.record_format import encode
from arkbatch.journal.run_directory import RESULTS

MODEL = "doubao-seed-1-6-251015"
LEFT = 100  # rows that are not done
USAGE = {"input": 60, "output": 80}
FINISHED = datetime(2027, 1, 15, tzinfo=UTC)
REPLY = Reply(200, b'{"choices":[]}', {"x-request-id": "02179525974321300000"}, 0.5)

REOPEN = """
import os, sys, time
began = float(sys.argv[4])
import arkbatch
from arkbatch.monitor.observer import Observer
class First(Observer):
    def answered(self, *call):
        print(time.time() - began, flush=True)
        os._exit(0)
base_url, path, run_dir = sys.argv[1:4]
arkbatch.run(arkbatch.load_job(path, base_url=base_url, run_dir=run_dir, model="doubao-seed-1-6-251015"), First())
"""


def write_input(path: Path, rows: int) -> int:
    """The offset at which the rows that are left begin."""
    with path.open("wb") as file:
        for number in range(1, rows + 1):
            file.write(b'{"prompt":"%d"}\n' % number)
        left = file.tell()
        for number in range(LEFT):
            file.write(b'{"prompt":"left %d"}\n' % number)
    return left


def write_results(path: Path, run_id: str, rows: int) -> None:
    with path.open("wb", buffering=1 << 20) as file:
        for number in range(1, rows + 1):
            row = Row(number, number * 16, "0123456789abcdef", f"row-{number}", "chat", {})
            calls = [Attempt(f"{run_id}-1-{number}-1", "done", 0.5, "02179525974321300000", 200)]
            done = Success(row, REPLY, MODEL, "default", 1, calls, USAGE, {}, 0.5)
            file.write(encode(done, run_id=run_id, finished_at=FINISHED, url=""))


def write_run(job: Job, rows: int) -> None:
    with OpenRun(job, wall=time.time) as run:
        run_id, directory = run.info.run_id, run.directory
    write_results(directory / RESULTS, run_id, rows)


def snapshot(job: Job, rows: int, offset: int) -> None:
    with OpenRun(job, wall=time.time) as run:
        run.journal.close(Position(rows, offset))


def seconds_to_first_call(base_url: str, path: Path, job: Job) -> float:
    command = [sys.executable, "-c", REOPEN, base_url, path, job.run_dir, repr(time.time())]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder, canned_server() as base_url:
        path = Path(folder) / "rows.jsonl"
        offset = write_input(path, rows)
        job = arkbatch.load_job(path, base_url=base_url, run_dir=str(Path(folder) / "a.run"), model=MODEL)
        write_run(job, rows)
        without = seconds_to_first_call(base_url, path, job)
        snapshot(job, rows, offset)
        print(
            f"{rows:,} done rows: first call after {seconds_to_first_call(base_url, path, job):.2f} s with ledger.bin"
        )
        print(f"{rows:,} done rows: first call after {without:.2f} s without ledger.bin")


if __name__ == "__main__":
    main()
