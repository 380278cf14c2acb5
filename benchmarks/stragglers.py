"""What a second call for slow rows gains in time, and what it costs in tokens.

    python benchmarks/stragglers.py [--rows 2000]

Whole runs against the simulator, in virtual time: answers take a second on average, and one call in so many takes a
hundred times as long. The records are real, and what they add up to is what is printed; the simulator tells how many
calls it has answered.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from runs import job_of, numbered, prompts
from sessions import Ended, worked

from arkbatch.core.usage import total_tokens


def run(folder: Path, rows: int, slow: float, *, hedge: bool) -> Ended:
    job = job_of(prompts(folder, *numbered(rows)), hedge=hedge, concurrency=32)
    return worked(job, latency=1.0, faults={"slow": slow})


def told(rows: int, slow: float) -> None:
    ended = {}
    for hedge in (False, True):
        with tempfile.TemporaryDirectory(prefix="arkbatch-stragglers-") as folder:
            ended[hedge] = run(Path(folder), rows, slow, hedge=hedge)
    plain, hedged = ended[False], ended[True]
    assert plain.summary is not None
    assert hedged.summary is not None
    session, used = hedged.summary.session, total_tokens((hedged.summary.usage,))
    more = used / total_tokens((plain.summary.usage,)) - 1
    print(
        f"{slow:>8.1%} {plain.seconds:>9.0f} {hedged.seconds:>9.0f} {session['asked_again']:>12} "
        f"{session['second_won']:>11} {more:>12.1%} {hedged.summary.succeeded:>9}"
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=2000)
    rows = options.parse_args().rows
    print(f"{rows} rows, 32 calls at once, answers of 1 s, some of them a hundred times as slow")
    print(f"{'slow':>8} {'plain, s':>9} {'hedge, s':>9} {'asked again':>12} {'second won':>11}", end=" ")
    print(f"{'more tokens':>12} {'recorded':>9}")
    for slow in (0.01, 0.03):
        told(rows, slow)


if __name__ == "__main__":
    main()
