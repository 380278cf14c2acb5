"""What `arkbatch --help` costs beside an interpreter that does nothing, both started in turns in one run.

python benchmarks/startup.py [--rounds 20]
"""

import argparse
import statistics
import subprocess
import sys
import time

HELP = [sys.executable, "-c", "from arkbatch.cli import main; main()", "--help"]
NOTHING = [sys.executable, "-c", "pass"]


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = [(seconds(NOTHING), seconds(HELP)) for _ in range(parser.parse_args().rounds)]
    nothing, help_ = (statistics.median(times) for times in zip(*rounds, strict=True))
    print(f"python -c pass {nothing:.3f} s, arkbatch --help {help_:.3f} s, difference {help_ - nothing:.3f} s")


if __name__ == "__main__":
    main()
