"""How much of a given allowance the limiter uses, and whether any sliding minute of the server sees more.

    python benchmarks/limits.py [--minutes 60]

Workers with latency call a server that counts each request and its tokens as they arrive (up to 0.3 s after they
were sent) and keeps every arrival, so that the peak is the true one of all sliding 60 s windows. It runs in virtual
time: hours take seconds. Estimates are right in the first table, so that the limiter's arithmetic alone is measured;
in the second nobody can foresee how long an answer is, the estimator learns what it can and the pace begins with
few calls; there the average keeps to the limit, while single minutes pass it by as much as chance has it.
"""

import argparse
import asyncio
import math
import random
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from virtual import run_virtual

from arkbatch.core.calls import CallResult, Done, Reply
from arkbatch.core.row import Row, Size
from arkbatch.limits.adaptive_limit import AdaptiveLimit
from arkbatch.limits.limiter import Limiter
from arkbatch.limits.permit import Demand
from arkbatch.limits.token_estimator import Estimator
from arkbatch.limits.token_rate import TokenRate
from arkbatch.limits.token_split import Tokens

ROW = Row(1, 0, "", "", "chat", {"model": "any"})

Sizes = Callable[[random.Random], int]


def about(tokens: int) -> Sizes:
    return lambda chance: chance.randint(tokens // 2, tokens * 3 // 2)


def between(low: int, high: int) -> Sizes:
    """As many of any order of magnitude."""
    return lambda chance: round(math.exp(chance.uniform(math.log(low), math.log(high))))


def mostly(small: int, large: int, share: float) -> Sizes:
    return lambda chance: large if chance.random() < share else small


class Case(Struct, frozen=True):
    name: str
    rpm: int | None
    tpm: int | None
    sizes: Sizes
    workers: int = 300
    learned: bool = False


CASES = [
    Case("requests only", 100, None, about(500)),
    Case("requests only", 500, None, about(500)),
    Case("requests only", 5_000, None, about(500), workers=1_500),
    Case("tokens only", None, 100_000, about(200)),
    Case("tokens only", None, 1_000_000, about(2_000)),
    Case("both, requests bind", 500, 1_000_000, about(1_000)),
    Case("both, tokens bind", 500, 1_000_000, about(4_000)),
    Case("sizes 0.1 to 5 %", None, 1_000_000, between(1_000, 50_000)),
    Case("sizes 0.1 to 30 %", None, 1_000_000, between(1_000, 300_000)),
    Case("0.1 %, one in 100 30 %", None, 1_000_000, mostly(1_000, 300_000, 0.01)),
]
LEARNED = [
    Case("answers of 60 tokens", None, 1_000_000, about(60), learned=True),
    Case("answers of 20 to 5000", None, 1_000_000, between(20, 5_000), learned=True),
    Case("answers of 20 to 50000", None, 1_000_000, between(20, 50_000), learned=True),
]


class Server:
    """Counts what arrived in sliding minutes."""

    def __init__(self) -> None:
        self.arrivals: list[tuple[float, int]] = []

    def take(self, tokens: int) -> None:
        self.arrivals.append((asyncio.get_running_loop().time(), tokens))

    def peaks(self) -> tuple[int, int]:
        """The most requests and tokens of any closed 60 s."""
        window: deque[tuple[float, int]] = deque()
        tokens = most_requests = most_tokens = 0
        for when, amount in self.arrivals:
            window.append((when, amount))
            tokens += amount
            while window[0][0] < when - 60:
                tokens -= window.popleft()[1]
            most_requests, most_tokens = max(most_requests, len(window)), max(most_tokens, tokens)
        return most_requests, most_tokens

    def used(self) -> tuple[int, int]:
        return len(self.arrivals), sum(tokens for _, tokens in self.arrivals)


class Waits:
    """How long calls waited, by size."""

    def __init__(self) -> None:
        self.all: list[tuple[int, float]] = []

    def longest_of(self, part: int, parts: int) -> float:
        self.all.sort()
        step = len(self.all) // parts
        return max(wait for _, wait in self.all[part * step : (part + 1) * step])


async def load(case: Case, minutes: float, seed: int = 1) -> tuple[Server, Waits]:
    """`minutes` of workers that always have a next row."""
    loop = asyncio.get_running_loop()
    chance, server, waits, estimator = random.Random(seed), Server(), Waits(), Estimator()
    budget = None if case.tpm is None else TokenRate(case.tpm, loop.time())
    pace = AdaptiveLimit(loop.time(), concurrency=case.workers) if case.learned else None
    limiter = Limiter(concurrency=case.workers, requests_per_minute=case.rpm, tokens=budget, pace=pace)
    started = loop.time()

    async def worker() -> None:
        while True:
            tokens = case.sizes(chance)
            size, reserved = Size(2_000, 0), Tokens(tokens)
            if case.learned:
                tokens += 650
                reserved = estimator.estimate_tokens(size)
            asked = loop.time()
            permit = await limiter.acquire(Demand(ROW, size, reserved, estimator))
            if permit is None:
                return
            if asked - started > 120:  # after that, everyone has stood in line
                waits.all.append((tokens, permit.at - asked))
            await asyncio.sleep(chance.uniform(0, 0.3))
            server.take(tokens)
            await asyncio.sleep(chance.uniform(0.5, 20))
            told = 650 if case.learned else 0  # the estimator learns nothing from a usage without input
            usage = {"input": told, "output": tokens - told}
            limiter.release(permit, CallResult(Reply(200, b"", {}, 0.0), Done(usage)))

    async with asyncio.TaskGroup() as group:
        for _ in range(case.workers):
            group.create_task(worker())
        await asyncio.sleep(minutes * 60)
        limiter.close()
    return server, waits


def shares(amounts: tuple[int, int], case: Case, minutes: float = 1) -> str:
    """Of requests and tokens, in percent of their limits."""
    limits = zip(amounts, (case.rpm, case.tpm), strict=True)
    return " ".join(f"{amount / limit / minutes:7.1%}" if limit else "      -" for amount, limit in limits)


def report(case: Case, minutes: float) -> None:
    server, waits = run_virtual(load(case, minutes))
    used, top = shares(server.used(), case, minutes), shares(server.peaks(), case)
    longest = " ".join(f"{waits.longest_of(part, 3):5.0f}" for part in range(3))
    print(f"{case.name:24}{case.rpm or '-':>7}{case.tpm or '-':>9}  {used}   {top}   {longest}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    minutes = parser.parse_args().minutes
    for title, cases in (("estimates that are right", CASES), ("the limiter's own estimates", LEARNED)):
        print(f"\n{title}\n{'':24}{'rpm':>7}{'tpm':>9}  {'used':^15}   {'peak window':^15}   longest wait s, by size")
        print(
            f"{'':24}{'':7}{'':9}  {'rpm':>7} {'tpm':>7}   {'rpm':>7} {'tpm':>7}   {'small':>6}{'mid':>6}{'large':>6}"
        )
        for case in cases:
            report(case, minutes)


if __name__ == "__main__":
    main()
