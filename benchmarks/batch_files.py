"""A large input through `--lane files`, with faults of the provider, killed and started again, to its last row.

The faults are all those that a run outlives by itself. Others end it with advice, or take days (`hang`, `lost_output`).

    python benchmarks/batch_files.py                  120,000 rows over three models and two endpoints
    python benchmarks/batch_files.py --rows 6000      the short form

Printed at the end: rows with a record, tokens and cost beside what the simulated provider billed, batches, files that
were ordered twice, the time, and the peak memory of the last session.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import orjson
from kills import FAULTS, MODEL, SimulatedProvider, outcome_of

MODELS = (MODEL, "doubao-seed-1-6-flash-250828", "doubao-embedding-large-text-250515")
MORE_FAULTS = {
    "lost_create": 0.2,
    "slow_list": 0.2,
    "late_file": 0.3,
    "strange_state": 0.3,
    "token_limit": 0.2,
    "no_output": 0.1,
    "oldest_first": 1.0,
    "torn_line": 0.2,
}


def write_input(path, rows):
    """Two chat models and one of embeddings, in turn."""
    with path.open("wb") as file:
        for number in range(rows):
            model = MODELS[number % 3]
            text = f"Sort this remark: number {number}"
            body = {"input": text} if number % 3 == 2 else {"messages": [{"role": "user", "content": text}]}
            file.write(orjson.dumps({"model": model, **body}) + b"\n")


def billed_cost(provider):
    """What the provider billed, line by line, at the batch prices of the book; models without a price are left out."""
    from arkbatch.pricing.amounts import Unknown
    from arkbatch.pricing.price_files import packaged_prices
    from arkbatch.pricing.pricer import Pricer
    from arkbatch.protocol.endpoints.usage import meters_of_usage

    pricer, now = Pricer(packaged_prices().only_provider("ark")), datetime.now(UTC)
    costs = (
        pricer.cost_of_call(meters_of_usage(line.usage), model=line.model, lane="batch", service_tier="", at=now)
        for line in provider.counters.batches.store.billed
    )
    return sum((cost.amount for cost in costs if not isinstance(cost, Unknown)), Decimal(0))


def run_to_its_end(command, place, env):
    """The exit code, and the peak memory in KiB; `ru_maxrss` would also count this process, before the fork."""
    memory = 0
    with (place / "said.txt").open("wb") as said:
        process = subprocess.Popen(command, cwd=place, env=env, stdout=said, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            time.sleep(0.2)
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                continue
            memory = max(memory, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)
    return process.returncode, memory


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=120_000)
    parser.add_argument("--in-a-file", type=int, default=5_000)
    parser.add_argument("--kills", type=int, default=3)
    options = parser.parse_args()
    chance, began = random.Random(3), time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        SimulatedProvider(
            batch_seconds=20.0, batch_faults=FAULTS | MORE_FAULTS, batch_store=f"{folder}/store"
        ) as provider,
    ):
        place = Path(folder)
        write_input(place / "in.jsonl", options.rows)
        text = f'input = "in.jsonl"\nmodel = ""\nbase_url = "{provider.url}"\nlane = "files"\n'
        text += f"[files]\nrows = {options.in_a_file}\n[retry]\nmax_attempts = 20\n"
        (place / "job.toml").write_text(text, encoding="utf-8")
        env = {**os.environ, "ARK_BASE_URL": provider.url, "ARK_API_KEY": "any"}
        command = [sys.executable, "-m", "arkbatch", "run", "job.toml", "-o", "a.run"]
        for _ in range(options.kills):
            process = subprocess.Popen(command, cwd=place, env=env, stderr=subprocess.DEVNULL, stdout=-3)
            time.sleep(20 + 40 * chance.random())
            process.kill()
            process.wait()
        exit_code, memory = run_to_its_end(command, place, env)
        seconds = time.monotonic() - began
        rows, tokens = outcome_of(place)
        said = orjson.loads((place / "said.txt").read_bytes().splitlines()[-1])
        doubled = [row for row, count in Counter(rows).items() if count > 1]
        orders = provider.orders
        faults = provider.counters.batches.faults | Counter(
            name for batch in provider.counters.batches.store.state.batches.values() for name in batch.faults
        )
        print(f"exit {exit_code}, {seconds:.0f} s, {options.kills} kills, faults {dict(faults)}")
        print(f"rows {len(set(rows)):,} of {options.rows:,}, doubled {len(doubled)}, failed {said['failed']}")
        print(f"tokens {tokens}, billed {provider.billed}")
        print(f"cost {said['cost']['amounts']['CNY']}, billed {billed_cost(provider)}, of models with a price")
        print(f"batches {len(orders)}, files ordered twice {len(orders) - len(set(orders))}")
        print(f"peak memory of the last session {memory / 1024:.0f} MB")


if __name__ == "__main__":
    main()
