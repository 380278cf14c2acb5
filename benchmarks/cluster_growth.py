"""What several workers cost and give on one machine, beside one local process.

    python benchmarks/cluster_growth.py [ROWS]        # 20,000 rows, 1,000 rows a shard, about two minutes

A server of this script answers at once, and takes about a core itself, so rows a second grow only as far as the machine
has cores. The processor time a row is that of the coordinator and all workers, without their starts. Each number of
workers stands beside one process with as many calls in flight as each of them has: with fewer calls in flight a row
takes more processor time in any process, since each turn of its loop serves fewer of them.
"""

import contextlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cluster_faults
from cluster_faults import ROOT, Service, until

cluster_faults.LATENCY = 0.02
ROWS_A_SHARD = 1_000
CONCURRENCY = 128  # calls in flight of all workers together


def processor_time():
    """Of all processes that have ended and were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Measured:
    """Commands in a folder, beside a server."""

    def __init__(self, folder, url, rows):
        self.folder, self.url, self.rows = folder, url, rows
        lines = (f'{{"prompt": "row {number}"}}\n' for number in range(1, rows + 1))
        (folder / "in.jsonl").write_text("".join(lines))

    def start(self, *words):
        kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
        environment = kept | {"PYTHONPATH": str(ROOT), "OPENAI_API_KEY": "sk-any", "OPENAI_BASE_URL": self.url}
        with open(self.folder / "log.txt", "ab") as log:
            command = [sys.executable, "-m", "arkbatch", *map(str, words)]
            return subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)

    def asked(self, run):
        return ["in.jsonl", "-o", run, "--base-url", self.url, "--model", "m", "--concurrency", CONCURRENCY]

    def local(self, concurrency):
        """One process. Returns seconds and processor time."""
        began, used = time.monotonic(), processor_time()
        assert self.start("run", *self.asked("local.run"), "--concurrency", concurrency).wait(600) == 0
        return time.monotonic() - began, processor_time() - used

    def workers(self, count):
        run = f"{count}.run"
        shards = -(-self.rows // ROWS_A_SHARD)
        assert self.start("shard", "plan", *self.asked(run), "--shards", shards).wait(60) == 0
        began, used = time.monotonic(), processor_time()
        coordinator = self.start("shard", "serve", run)
        until((self.folder / run / "shards" / "coordinator.json").exists, 60)
        workers = [self.start("shard", "run", run) for _ in range(count)]
        try:
            codes = [worker.wait(600) for worker in workers]
            seconds = time.monotonic() - began
            assert [*codes, coordinator.wait(120)] == [0] * (count + 1)
        finally:
            for process in [*workers, coordinator]:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGKILL)
        return seconds, processor_time() - used


def marginal(measure, rows):
    """Rows a second, and the processor time of one row more: what starts take is in both runs, and falls out."""
    (few, few_used), (many, many_used) = measure(rows // 4), measure(rows)
    return rows * 3 / 4 / (many - few), (many_used - few_used) / (rows * 3 / 4)


def in_a_folder(work):
    with tempfile.TemporaryDirectory() as folder, Service() as service:
        return work(Path(folder), service.url)


def main():
    rows = int(sys.argv[1]) if sys.argv[1:] else 20_000

    def local(concurrency):
        return lambda rows: in_a_folder(lambda folder, url: Measured(folder, url, rows).local(concurrency))

    def several(count):
        return lambda rows: in_a_folder(lambda folder, url: Measured(folder, url, rows).workers(count))

    for count in (1, 2, 4):
        each = CONCURRENCY // count
        rate, alone = marginal(local(each), rows)
        said = f"{rate:7,.0f} rows/s  {1_000 * alone:.3f} ms of processor time a row"
        print(f"one process, {each:3} calls in flight  {said}", flush=True)
        rate, used = marginal(several(count), rows)
        said = f"{rate:7,.0f} rows/s  {1_000 * used:.3f} ms of processor time a row, {1_000 * (used - alone):+.3f}"
        print(f"{count} worker{'s' if count > 1 else ' '}, {each:3} calls in flight each {said}", flush=True)


if __name__ == "__main__":
    main()
