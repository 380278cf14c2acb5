"""Rows through mixed faults in a real process: what comes out, and what it takes.

    python benchmarks/soak.py                 an hour's worth: 1,000,000 rows
    python benchmarks/soak.py --rows 5000     the short form

A simulator in a process of its own breaks one call in eight, in every way that a call can break and still be tried
again. Printed at the end: rows, duplicates, losses, failures, calls, peak memory and most open files of the run.
"""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FAULTS = {
    "server_error": 0.03,
    "bad_gateway": 0.02,
    "drop_before": 0.02,
    "drop_inside": 0.02,
    "garbled": 0.01,
    "empty": 0.01,
    "overloaded": 0.002,
    "no_choices": 0.01,
}
ARKBATCH = [sys.executable, "-m", "arkbatch.cli"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--concurrency", type=int, default=64)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(report(Path(folder), *soak(Path(folder), asked.rows, asked.concurrency), asked.rows))


def soak(folder, rows, concurrency):
    """Run to the end; the exit code, seconds, peak memory in MiB and most open files."""
    with (folder / "in.jsonl").open("w") as file:
        for number in range(1, rows + 1):
            file.write(f'{{"custom_id": "r{number}", "prompt": "question {number}"}}\n')
    faults = [word for name, rate in FAULTS.items() for word in ("--fault", f"{name}={rate}")]
    simulator = subprocess.Popen([*ARKBATCH, "simulate", "--port", "0", *faults], stderr=subprocess.PIPE, text=True)
    url = simulator.stderr.readline().split(" at ")[1].split(" until ")[0]
    command = [*ARKBATCH, "run", "in.jsonl", "--model", "m", "--base-url", url, "--concurrency", str(concurrency)]
    command += ["--max-attempts", "20", "--json"]
    began, files = time.monotonic(), 0
    with (folder / "err.txt").open("w") as err:
        run = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=err)
        peak = 0
        while run.poll() is None:
            files, peak = max(files, open_files(run.pid)), max(peak, memory(run.pid))
            time.sleep(0.5)
    simulator.send_signal(signal.SIGTERM)
    simulator.communicate()
    return run.returncode, time.monotonic() - began, peak, files


def open_files(pid):
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # it has just ended
        return 0


def memory(pid):
    """Peak MiB so far."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) // 1024 for line in text.splitlines() if line.startswith("VmHWM")), 0)


def report(folder, code, seconds, peak, files, rows):
    seen, doubled, failed, calls = bytearray(rows + 1), 0, 0, 0
    for name in ("results.jsonl", "failures.jsonl"):
        with (folder / "in.run" / name).open("rb") as lines:
            for line in map(json.loads, lines):
                doubled += seen[line["row"]]
                seen[line["row"]] = 1
                failed += line["error"] is not None
                calls += line["attempts"]
    return (
        f"exit code {code}, {seconds:.0f} s, {rows / seconds:.0f} rows a second\n"
        f"{sum(seen):,} of {rows:,} rows recorded, {doubled} duplicates, {rows - sum(seen)} losses, {failed} failures\n"
        f"{calls:,} calls, {calls / rows - 1:.1%} of them again\n"
        f"peak memory {peak} MiB, at most {files} open files"
    )


if __name__ == "__main__":
    main()
