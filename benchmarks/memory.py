"""Peak memory of a process that runs many rows, and whether more rows take more.

    python benchmarks/memory.py [--rows 100000 1000000] [--concurrency 500]

Each number of rows is a run of its own, in a process of its own, against a loopback server in another process.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from servers import canned_server

RUN = """
import resource, sys
import arkbatch
base_url, path, run_dir, concurrency = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
job = arkbatch.load_job(path, base_url=base_url, run_dir=run_dir, model="doubao-seed-1-6-251015",
                        concurrency=concurrency, rpm=100_000_000, tpm=100_000_000_000)
summary = arkbatch.run(job)
assert summary.succeeded == summary.session["recorded"] and not summary.failed, summary
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux, bytes on macOS
print(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10))
"""


def write_rows(path: Path, rows: int) -> None:
    prompt = "Summarise the following paragraph in one sentence for a reader in a hurry. " * 4
    with path.open("w") as file:
        for number in range(rows):
            file.write(json.dumps({"messages": [{"role": "user", "content": f"{number} {prompt}"}]}) + "\n")


def peak_mib(base_url: str, folder: Path, rows: int, concurrency: int) -> float:
    path = folder / f"{rows}.jsonl"
    write_rows(path, rows)
    command = [sys.executable, "-c", RUN, base_url, path, folder / f"{rows}.run", str(concurrency)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--concurrency", type=int, default=500)
    options = parser.parse_args()
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as folder, canned_server() as base_url:
            peak = peak_mib(base_url, Path(folder), rows, options.concurrency)
        print(f"{rows:,} rows at concurrency {options.concurrency}: peak {peak:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
