"""CSV beside JSON lines of the same rows, and the memory that a large table takes on its way in and out.

    python benchmarks/tables.py [--rows 20000] [--rounds 5] [--large 100000 1000000]

First the same rows go through whole runs, as CSV and as JSON lines with the same prompt, in turns, each run in a
process of its own against a loopback server. The ratio of processor time says more than that of throughput on a machine
that others use as well.

Then tables of `--large` rows are read as a run reads them (its survey, and every row made into a request), and written
back with their answers as CSV. The records of such a run are made up from the record of one real call, since ten
million real calls take an hour. What counts is that the peak does not grow with the rows.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from servers import canned_server

PROMPT = "Label this review as good or bad: {text}"
RUN = """
import sys, time
import arkbatch
base_url, path, run_dir, concurrency, prompt = *sys.argv[1:4], int(sys.argv[4]), sys.argv[5]
job = arkbatch.load_job(path, base_url=base_url, run_dir=run_dir, model="m-1", prompt=prompt, id_column="id",
                        concurrency=concurrency, rpm=100_000_000, tpm=100_000_000_000)
busy = time.process_time()
summary = arkbatch.run(job)
busy = time.process_time() - busy
assert summary.succeeded == summary.session["recorded"] and not summary.failed, summary
print(summary.succeeded / summary.seconds, busy / summary.succeeded)
"""
PEAK = """
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux, bytes on macOS
print(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), time.process_time() - began)
"""
READ = (
    """
import resource, sys, time
import arkbatch
from arkbatch.engine.open_run import OpenRun
job = arkbatch.load_job(sys.argv[1], base_url="http://127.0.0.1:9/v1", run_dir=sys.argv[2], model="m-1",
                        prompt=sys.argv[3], id_column="id")
began = time.process_time()
with OpenRun(job, wall=time.time) as run:
    assert sum(1 for _ in run.rows()) == run.found.total
"""
    + PEAK
)
WRITE = (
    """
import resource, sys, time
from arkbatch.reports.answers.answers import write_answers
began = time.process_time()
written = write_answers(sys.argv[1], sys.argv[2])
assert written.done == written.rows > 0, written
"""
    + PEAK
)


def write_table(path: Path, rows: int, words: int) -> None:
    """A table whose every twentieth row has quotes and a newline in a cell."""
    text = "The film was long, but the actors were good and 音乐很好. " * words
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", "text", "label", "language"])
        for number in range(1, rows + 1):
            table.writerow([number, f"{number} {text}{chr(10) + chr(34) if number % 20 == 0 else ''}", "good", "en"])


def as_lines(table: Path) -> Path:
    """The same rows as JSON lines."""
    path = table.with_suffix(".jsonl")
    with table.open(newline="", encoding="utf-8") as file, path.open("w") as out:
        for row in csv.DictReader(file):
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


def measured(script: str, *arguments: object) -> tuple[float, float]:
    """The two numbers that a script prints last."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True
    )
    first, second = done.stdout.split()[-2:]
    return float(first), float(second)


def compare(rows: int, rounds: int, concurrency: int) -> None:
    """Runs over CSV and over JSON lines, in turns."""
    ratios: list[tuple[float, float]] = []
    with canned_server() as base_url, tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "rows.csv"
        write_table(table, rows, 6)
        inputs = {"csv": table, "jsonl": as_lines(table)}
        for turn in range(rounds):
            names = list(inputs) if turn % 2 == 0 else list(reversed(inputs))
            run = partial(measured, RUN, base_url)
            found = {name: run(inputs[name], f"{folder}/{name}{turn}.run", concurrency, PROMPT) for name in names}
            (rate, busy), (other_rate, other_busy) = found["csv"], found["jsonl"]
            ratios.append((rate / other_rate, other_busy / busy))
            print(
                f"CSV {rate:,.0f}/s at {busy * 1e6:.0f} us, JSON lines {other_rate:,.0f}/s at {other_busy * 1e6:.0f} "
                f"us: ratio {ratios[-1][0]:.2f}, of processor time {ratios[-1][1]:.2f}",
                flush=True,
            )
    throughput, processor = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"CSV to JSON lines, median of {rounds}: throughput {throughput:.2f}, processor time {processor:.2f}")


def made_up_run(folder: Path, table: Path, rows: int) -> Path:
    """A run directory with a record of each row, all copies of the record of one real call."""
    small = folder / "one.csv"
    write_table(small, 1, 1)
    run_dir = folder / f"{rows}.run"
    with canned_server() as base_url:
        measured(RUN, base_url, small, run_dir, 1, PROMPT)
    results, info = run_dir / "results.jsonl", run_dir / "run.json"
    record = json.loads(results.read_text())
    before, _, after = json.dumps({**record, "row": "@"}, ensure_ascii=False).partition('"@"')
    with results.open("w") as out:
        for number in range(1, rows + 1):
            out.write(f"{before}{number}{after}\n")
    (run_dir / "ledger.bin").unlink(missing_ok=True)
    info.write_text(info.read_text().replace(str(small), str(table)))
    described = json.loads(info.read_text())
    stat = table.stat()
    described["input"] |= {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "rows": rows, "lines": rows}
    info.write_text(json.dumps(described))
    return run_dir


def show_memory(rows: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = folder / "rows.csv"
        write_table(table, rows, 1)
        peak, busy = measured(READ, table, folder / "read.run", PROMPT)
        print(f"{rows:,} rows in: peak {peak:.0f} MiB, {rows / busy:,.0f} rows a second of processor time", flush=True)
        peak, busy = measured(WRITE, made_up_run(folder, table, rows), folder / "answers.csv")
        print(f"{rows:,} rows out: peak {peak:.0f} MiB, {rows / busy:,.0f} rows a second of processor time", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, default=200)
    parser.add_argument("--large", type=int, nargs="*", default=[100_000, 1_000_000])
    options = parser.parse_args()
    if options.rounds:
        compare(options.rows, options.rounds, options.concurrency)
    for rows in options.large:
        show_memory(rows)


if __name__ == "__main__":
    main()
