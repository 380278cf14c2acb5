"""How often a sample of 20 rows brackets what a job really costs, and how wide its bounds are, over kinds of jobs.

    python benchmarks/estimate.py              the whole table
    python benchmarks/estimate.py --seeds 40   quicker

Each seed makes a job of 2,000 rows whose answers are drawn from a known distribution, chooses a sample as
`estimate --sample` does, and compares low and high with the sum of the exact prices of all rows. A job is one
independent trial: nothing of it but the sample is seen by the estimate.
"""

import argparse
import random
import statistics
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from typing import NamedTuple

from msgspec.structs import replace

from arkbatch.estimate.confidence import fit_line
from arkbatch.estimate.extrapolate import Measured
from arkbatch.estimate.forecast import Estimate, Range, Recorded, RunPace, combined_cost, from_sample
from arkbatch.estimate.strata import Sizes, Strata
from arkbatch.pricing.amounts import Unknown
from arkbatch.pricing.price_files import packaged_prices
from arkbatch.pricing.pricer import Pricer

AT = datetime(2026, 11, 21, tzinfo=UTC)
PRICER = Pricer(packaged_prices().only_provider("ark"))
PACE = RunPace(concurrency=10)
ROWS, SAMPLE = 2000, 20

Chance = random.Random


class Kind(NamedTuple):
    """A kind of job. `output` is told the input tokens; it gives None for a row that fails and is not billed."""

    about: str
    input: Callable[[Chance], float]
    output: Callable[[Chance, int], float | None]
    model: str = "doubao-seed-1.6"
    ceiling: int | None = 4096
    promised: bool = True


def _short(rng: Chance) -> float:
    return rng.uniform(60, 900)


def _either(rng: Chance, share: float, one: float, other: float) -> float:
    return one if rng.random() < share else other


KINDS = {
    "labels": Kind("1 to 7 tokens", _short, lambda rng, _: rng.randrange(1, 8)),
    "even": Kind("150 tokens, give or take 20, below an edge", _short, lambda rng, _: rng.gauss(150, 20)),
    "on the edge": Kind("200 tokens, give or take 80; the edge is at 200", _short, lambda rng, _: rng.gauss(200, 80)),
    "two kinds": Kind(
        "70 % of 150, 30 % of 1,500 tokens",
        _short,
        lambda rng, _: _either(rng, 0.7, rng.gauss(150, 20), rng.gauss(1500, 200)),
    ),
    "one in ten over the edge": Kind(
        "90 % of 120, 10 % of 400 tokens",
        _short,
        lambda rng, _: _either(rng, 0.9, rng.gauss(120, 25), rng.gauss(400, 80)),
    ),
    "lognormal 0.8": Kind("median 245 tokens", _short, lambda rng, _: rng.lognormvariate(5.5, 0.8)),
    "lognormal 1.2": Kind("median 150 tokens", _short, lambda rng, _: rng.lognormvariate(5.0, 1.2), ceiling=None),
    "thinking": Kind(
        "half think, 1,200 tokens lognormal 0.9",
        _short,
        lambda rng, _: _either(rng, 0.5, rng.lognormvariate(4.5, 0.5), rng.lognormvariate(7.1, 0.9)),
        model="doubao-seed-1.6-thinking",
        ceiling=None,
    ),
    "long inputs": Kind(
        "input lognormal over the edges at 32k and 128k, answers of 300",
        lambda rng: min(rng.lognormvariate(9.5, 1.2), 220_000),
        lambda rng, _: rng.lognormvariate(5.5, 0.5),
    ),
    "translation": Kind(
        "an answer as long as its text, give or take a fifth",
        lambda rng: rng.lognormvariate(6.5, 1.0),
        lambda rng, given: given * rng.uniform(0.8, 1.2),
        ceiling=None,
    ),
    "summaries": Kind(
        "a tenth of a text of up to 60,000 tokens, lognormal 0.4",
        lambda rng: min(rng.lognormvariate(8.5, 1.2), 60_000),
        lambda rng, given: 20 + 0.1 * given * rng.lognormvariate(0, 0.4),
    ),
    "failures": Kind(
        "one row in seven fails and costs nothing",
        _short,
        lambda rng, _: None if rng.random() < 0.15 else rng.lognormvariate(5.3, 0.5),
    ),
    "one in twenty, 20 times as dear": Kind(
        "95 % of 100, 5 % of 2,000 tokens",
        _short,
        lambda rng, _: _either(rng, 0.95, rng.gauss(100, 20), rng.gauss(2000, 300)),
        promised=False,
    ),
    "one in a thousand, 100 times as dear": Kind(
        "99.9 % of 30, 0.1 % of 3,000 tokens",
        _short,
        lambda rng, _: _either(rng, 0.999, rng.gauss(30, 5), rng.gauss(3000, 300)),
        promised=False,
    ),
}


# Jobs of several kinds of rows: each is estimated by itself, and the costs are put together.
MIXED = {"two models": {"lognormal 0.8": 0.8, "thinking": 0.2}}


class Trial(NamedTuple):
    true: float
    cost: Range
    surely: float | Unknown


def job(kind: Kind, seed: int, rows: int) -> list[Measured]:
    """A job whose truth is known: sizes, and what each row uses."""
    rng, made = Chance(f"{kind.about} {seed}"), []
    for _ in range(rows):
        given = max(int(kind.input(rng)), 1)
        by_rule = given * rng.uniform(1.0, 1.15)  # characters tell tokens so well
        answered = kind.output(rng, given)
        if answered is not None:
            answered = max(1, min(round(answered), kind.ceiling or 32_000))
        usage = {} if answered is None else {"input": given + 55, "output": answered}
        made.append(Measured(by_rule, kind.ceiling, usage, (answered or 0) / 50))
    return made


def trial(name: str, seed: int, rows: int = ROWS, sample: int = SAMPLE) -> Trial:
    """One job, a sample of it, and what is estimated from that."""
    parts = {part: job(KINDS[part], seed, int(rows * share)) for part, share in MIXED.get(name, {name: 1.0}).items()}
    picked = chosen(parts, sample, Chance(seed))
    found = {part: estimate(KINDS[part], made, picked[part], seed) for part, made in parts.items()}
    true = sum(sum(costs(KINDS[part], made)) for part, made in parts.items())
    whole = combined_cost(list(found.values()))
    assert whole is not None
    return Trial(true, whole, next(iter(found.values())).surely if len(found) == 1 else Unknown("several kinds"))


def estimate(kind: Kind, rows: list[Measured], picked: set[int], seed: int) -> Estimate:
    price, ceiling = prices(kind.model)
    sent = [rows[number] for number in sorted(picked)]
    start, slope = fit_line([(row.tokens, row.usage["input"]) for row in sent if row.usage])
    measured = [replace(row, tokens=start + slope * row.tokens) for row in sent]
    left = Sizes()
    for number, row in enumerate(rows):
        if number not in picked:
            left.add(start + slope * row.tokens, row.ceiling)
    recorded = Recorded(
        len(measured),
        sum(row.usage.get("input", 0) for row in measured),
        sum(row.usage.get("output", 0) for row in measured),
        sum(costs(kind, sent)),
    )
    chance = Chance(seed).random
    return from_sample(left, recorded, measured, price=price, ceiling=ceiling, pace=PACE, chance=chance)


def costs(kind: Kind, rows: list[Measured]) -> list[float]:
    price, _ = prices(kind.model)
    return [float(price(row.usage).amount) if row.usage else 0.0 for row in rows]


def chosen(parts: dict[str, list[Measured]], count: int, chance: Chance) -> dict[str, set[int]]:
    strata = Strata()
    places = {part: [strata.add(part, row.tokens) for row in rows] for part, rows in parts.items()}
    wanted = strata.choose_rows(count, chance.random)
    return {part: {number for number, place in enumerate(found) if place in wanted} for part, found in places.items()}


def prices(model: str):
    question = {"model": model, "lane": "online", "service_tier": "", "at": AT}
    return (
        lambda usage: PRICER.cost_of_call(usage, **question),
        lambda given, answered: PRICER.highest_cost(**question, given=given, answered=answered),
    )


class Figures(NamedTuple):
    """Shares of the trials, and medians over the true cost."""

    held: float
    below: float
    above: float
    low: float
    high: float
    surely: float
    surely_held: float


def figures(trials: list[Trial]) -> Figures:
    costs = [(true, cost) for true, cost, _ in trials]
    sure = [(true, surely) for true, _, surely in trials if isinstance(surely, float)]
    return Figures(
        held=statistics.mean(cost.low <= true <= cost.high for true, cost in costs),
        below=statistics.mean(true < cost.low for true, cost in costs),
        above=statistics.mean(true > cost.high for true, cost in costs),
        low=statistics.median(cost.low / true for true, cost in costs),
        high=statistics.median(cost.high / true for true, cost in costs),
        surely=statistics.median(most / true for true, most in sure) if sure else float("nan"),
        surely_held=statistics.mean(true <= most for true, most in sure) if sure else float("nan"),
    )


def _all(name: str, seeds: int, sample: int) -> Figures:
    return figures([trial(name, seed, sample=sample) for seed in range(seeds)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--sample", type=int, default=SAMPLE)
    parser.add_argument("kinds", nargs="*")
    asked = parser.parse_args()
    print(f"{'':38}held  true is     median low-high     surely")
    print(f"{'':38}      below above  of the true cost    at most  held")
    with ProcessPoolExecutor() as pool:
        names = asked.kinds or [*KINDS, *MIXED]
        jobs = [pool.submit(_all, name, asked.seeds, asked.sample) for name in names]
        for name, each in zip(names, jobs, strict=True):
            f = each.result()
            print(
                f"{name:38}{f.held:4.0%} {f.below:5.0%} {f.above:5.0%}    {f.low:.2f} - {f.high:.2f}"
                f"{f.surely:12.2f} {f.surely_held:7.0%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
