"""What the pace is worth against servers of many kinds, beside a loop of SDK calls and a plain semaphore loop.

    python benchmarks/pace_table.py                    all kinds, some minutes
    python benchmarks/pace_table.py --held-out         the kinds that were not looked at while the pace was designed
    python benchmarks/pace_table.py "window 10 s"      one kind

In virtual time, rows without end. For each policy: the share of what an oracle gets that knows the server, mean and
worst seed, and the share of calls that were refused beyond those that this server refuses at any pace.
"""

import argparse
import random
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from pace_held_out import HELD_OUT
from pace_kinds import KINDS
from pace_policies import POLICIES, play


class Night(NamedTuple):
    """Of one policy at one server with one seed."""

    share: float
    refused: float
    longest_rest: float


def one(task: tuple[str, str, int]) -> Night:
    """Play one night."""
    name, policy, seed = task
    world = {**KINDS, **HELD_OUT}[name](random.Random(f"{name} {seed}"))
    result = play(world, [policy] * world.users, random.Random(seed))
    refused = result.refused / max(1, result.refused + result.granted) - world.floor
    return Night(result.granted / world.oracle, refused, result.longest_rest)


def cell(nights: list[Night]) -> str:
    """The figures of one policy at one kind of server."""
    shares = [night.share for night in nights]
    refused = statistics.mean(night.refused for night in nights)
    return f"{statistics.mean(shares):7.1%}{min(shares):7.1%}{max(refused, 0.0):7.1%}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("kind", nargs="*", help="names of kinds")
    parser.add_argument("--held-out", action="store_true", help="the kinds that were not looked at")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed")
    given = parser.parse_args()
    print(f"{'server':26}" + "".join(f"{policy + ': mean, worst, refused':>28}" for policy in POLICIES))
    seeds = range(given.first, given.first + given.seeds)
    with ProcessPoolExecutor() as pool:
        for name in given.kind or (HELD_OUT if given.held_out else KINDS):
            tasks = [(name, policy, seed) for policy in POLICIES for seed in seeds]
            nights = list(pool.map(one, tasks))
            cells = (nights[at : at + given.seeds] for at in range(0, len(nights), given.seeds))
            print(f"{name:26}" + "".join(f"{cell(each):>28}" for each in cells), flush=True)


if __name__ == "__main__":
    sys.exit(main())
