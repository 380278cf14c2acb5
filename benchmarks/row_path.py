"""How many files and how many calls of functions one row takes, from its reading to its record.

    python benchmarks/row_path.py [--calls]

Runs a job twice against a simulator in the same process, over 120 rows and over 160. What the second run does more is
done for 40 rows. Each run looks at its first 100 rows before it begins, which is done once a run and not for each row.
The simulator's own calls are left out, and a coroutine that is resumed is one call. With `--calls`
each function is listed, with its calls a row. PYTHONPATH says which code is measured.
"""

import argparse
import asyncio
import inspect
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import arkbatch
from arkbatch.simulator.server import Settings, serve

PACKAGE = str(Path(arkbatch.__file__).parent)
FEW, MANY = 120, 160
OFTEN = 0.5  # calls a row; a function that is called less often is not part of the way of a row
RESUMED = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


class CallCounter:
    """Counts calls of functions of the package, and how often a call enters another file than the one before."""

    def __init__(self) -> None:
        self.calls: Counter[CodeType] = Counter()
        self.changes = 0
        self._last_file = ""
        self._begun: set[FrameType] = set()

    def count(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(PACKAGE) or "/simulator/" in code.co_filename:
            return
        if code.co_flags & RESUMED:
            if frame in self._begun:
                return
            self._begun.add(frame)
        self.calls[code] += 1
        self.changes += code.co_filename != self._last_file
        self._last_file = code.co_filename


async def counted_run(rows: int, folder: Path) -> CallCounter:
    """One run of so many rows."""
    prompts, counter = folder / f"{rows}.jsonl", CallCounter()
    prompts.write_text("".join(f'{{"prompt": "row {number}"}}\n' for number in range(rows)))
    async with serve(Settings(latency=0.2)) as url:
        given = {"base_url": url, "model": "doubao-seed-1-6-250615", "concurrency": 200}
        job = arkbatch.load_job(prompts, **given, run_dir=str(folder / f"run-{rows}"))
        sys.setprofile(counter.count)
        try:
            summary = await arkbatch.arun(job)
        finally:
            sys.setprofile(None)
    assert summary.succeeded == rows
    return counter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", action="store_true", help="list each function")
    listed = parser.parse_args().calls
    os.environ["ARK_API_KEY"] = "any-key"
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(counted_run(FEW - 1, Path(folder)))  # imports and caches
        few, many = (asyncio.run(counted_run(rows, Path(folder))) for rows in (FEW, MANY))
    per_row = {code: (many.calls[code] - few.calls[code]) / (MANY - FEW) for code in many.calls}
    often = {code: calls for code, calls in per_row.items() if calls >= OFTEN}
    files: Counter[str] = Counter()
    for code, calls in often.items():
        files[code.co_filename] += calls
    changes = (many.changes - few.changes) / (MANY - FEW)
    print(f"one row: {len(files)} files, {sum(often.values()):.0f} calls, {changes:.0f} changes of file")
    for name, calls in sorted(files.items()):
        print(f"{calls:7.1f}  {Path(name).relative_to(PACKAGE)}")
        for code in sorted(often, key=lambda code: code.co_firstlineno) if listed else ():
            if code.co_filename == name:
                print(f"{often[code]:15.1f}  {code.co_qualname}")


if __name__ == "__main__":
    main()
