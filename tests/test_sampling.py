"""Estimates from a measured few: through the cliff by row, bracketing the truth, and honest where nothing is known."""

import random
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arkbatch.adapters.pricebook import packaged
from arkbatch.core.bounds import bounds_of_mean, growth, student
from arkbatch.core.money import Cost, Unknown
from arkbatch.core.pricebook import PriceRow
from arkbatch.core.pricing import Pricer
from arkbatch.core.records import Size
from arkbatch.core.sampling import Measured, Pace, _scaled, from_sample, without_sample
from arkbatch.core.sizes import Sizes, choose

AT = datetime(2026, 11, 21, tzinfo=UTC)
PRICER = Pricer(packaged().of("ark"))
PACE = Pace(concurrency=10)


def predict(size):
    return 40 + 0.3 * size.narrow + 0.65 * size.wide


def prices(model="doubao-seed-1.6", lane="online"):
    question = {"model": model, "lane": lane, "service_tier": "", "at": AT}
    return (
        lambda usage: PRICER.cost(usage, **question),
        lambda given_, answered: PRICER.ceiling(**question, given=given_, answered=answered),
    )


def sizes_of(sizes):
    counted = Sizes(predict)
    for size in sizes:
        counted.add(size)
    return counted


def estimate(sizes, sample, pace=PACE, **kwargs):
    return from_sample(sizes_of(sizes), sample, *prices(**kwargs), pace)


def job(rows, seed, output):
    """A job whose truth is known: sizes, and what each row would use."""
    rng = random.Random(seed)
    sizes = [Size(narrow=rng.randrange(50, 4000), wide=0, ceiling=4096) for _ in range(rows)]
    usages = [
        {"input": round(45 + 0.27 * size.narrow * rng.uniform(0.9, 1.1)), "output": output(rng, size)} for size in sizes
    ]
    return [Measured(size, usage, usage["output"] / 50) for size, usage in zip(sizes, usages, strict=True)]


def test_averages_across_the_cliff_are_wrong_and_are_not_used():
    """Half the rows answer 100 tokens, half 300: the mean of 200 is in the cheap tier, half of the rows are not."""
    rows = [Measured(Size(100, 0), {"input": 70, "output": 100 if n % 2 else 300}, 1.0) for n in range(1000)]
    found = estimate([row.size for row in rows], rows[:20])
    by_hand = 1000 * Decimal("0.80") * 70 + 500 * Decimal(2) * 100 + 500 * Decimal(8) * 300
    assert found.cost.expected == pytest.approx(float(by_hand) / 1e6)
    assert found.cost.expected > 2 * float(1000 * (Decimal("0.80") * 70 + 2 * 200)) / 1e6


def test_rows_beyond_an_input_edge_are_priced_in_their_own_tier():
    """The sample is short; the long half of the file is priced at the long tier all the same."""
    short, long = Size(300, 0), Size(133_200, 0)  # 130 and 40,000 tokens
    sample = [Measured(short, {"input": 130, "output": 150}, 1.0)] * 5
    found = estimate([short, long] * 50, sample)
    by_hand = 50 * (130 * 0.8 + 150 * 2) / 1e6 + 50 * (40_000 * 1.2 + 150 * 16) / 1e6
    assert found.cost.expected == pytest.approx(by_hand)


SHAPES = {
    "label": lambda rng, _: rng.randrange(1, 8),
    "around the 200-token edge": lambda rng, _: max(1, round(rng.gauss(200, 80))),
    "thinking": lambda rng, _: min(4096, round(rng.lognormvariate(5.5, 0.8))),
    "translation": lambda rng, size: round(size.narrow * 0.3 * rng.uniform(0.8, 1.2)),
    "two kinds": lambda rng, _: round(rng.gauss(150, 20) if rng.random() < 0.7 else rng.gauss(1500, 200)),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_sample_of_20_brackets_the_truth_nine_times_of_ten(shape):
    price, held = prices()[0], dict.fromkeys(("cost", "input", "output", "seconds"), 0)
    for seed in range(60):
        rows = job(300, seed, SHAPES[shape])
        picked = choose(len(rows), 20, random.Random(seed).random)
        found = estimate([row.size for row in rows], [rows[n] for n in picked])
        truth = {
            "cost": float(sum(price(row.usage).amount for row in rows)),
            "input": sum(row.usage["input"] for row in rows),
            "output": sum(row.usage["output"] for row in rows),
            "seconds": sum(row.seconds for row in rows) / PACE.concurrency,
        }
        for name, true in truth.items():
            span = getattr(found, name)
            held[name] += span.low <= true <= span.high
    assert min(held.values()) >= 52, held


def test_an_answer_that_grows_with_its_text_is_followed_to_larger_rows():
    rows = job(40, 1, SHAPES["translation"])
    found = estimate([Size(40_000, 0)] * 100, rows)
    assert found.output.expected == pytest.approx(100 * 12_000, rel=0.15)
    labels = job(40, 1, SHAPES["label"])
    assert estimate([Size(40_000, 0)] * 100, labels).output.expected < 100 * 8


def test_no_answer_is_expected_beyond_a_row_s_own_limit():
    rows = [Measured(Size(100, 0), {"input": 70, "output": 1000}, 10.0)] * 5
    found = estimate([Size(100, 0, ceiling=100)] * 50, rows)
    assert found.output.expected == 50 * 100
    assert found.cost.expected == pytest.approx(found.ceiling)


def test_when_every_row_was_sent_the_estimate_is_the_sum():
    rows = job(8, 3, SHAPES["thinking"])
    found = estimate([row.size for row in rows], rows)
    true = float(sum(prices()[0](row.usage).amount for row in rows))
    assert (found.cost.low, found.cost.high) == (found.cost.expected, found.cost.expected)
    assert found.cost.expected == pytest.approx(true)
    assert found.input.expected == sum(row.usage["input"] for row in rows)


def test_too_few_rows_give_an_expectation_without_bounds():
    rows = job(100, 3, SHAPES["thinking"])
    found = estimate([row.size for row in rows], rows[:4])
    assert found.cost.expected > 0
    assert (found.cost.low, found.cost.high) == (None, None)


def test_cached_input_of_the_sample_is_expected_of_all():
    rows = [Measured(Size(3200, 0), {"input": 1000, "cached": 500, "output": 100}, 1.0)] * 5
    found = estimate([Size(3200, 0)] * 100, rows)
    assert found.cost.expected == pytest.approx(100 * (500 * 0.8 + 500 * 0.16 + 100 * 2) / 1e6)


def test_a_model_without_a_price_leaves_the_cost_unknown_and_the_rest_known():
    rows = job(30, 4, SHAPES["thinking"])
    found = estimate([row.size for row in rows], rows[:10], model="gpt-4o")
    assert found.cost == Unknown("gpt-4o is not in the price book")
    assert found.output.expected > 0


def test_a_price_that_is_an_upper_bound_makes_the_estimate_one():
    rows = job(30, 4, SHAPES["thinking"])
    assert estimate([row.size for row in rows], rows[:10], model="deepseek-v4-pro").at_most
    assert not estimate([row.size for row in rows], rows[:10]).at_most


def test_the_batch_lane_is_estimated_beside_the_online_one():
    rows = job(30, 4, SHAPES["thinking"])
    sizes = [row.size for row in rows]
    online, batch = estimate(sizes, rows[:10]), estimate(sizes, rows[:10], lane="batch")
    assert batch.cost.expected == pytest.approx(online.cost.expected / 2)


@pytest.mark.parametrize(
    ("pace", "seconds"),
    [
        (Pace(10), 100 * 5 / 10),
        (Pace(1000), 0.5),
        (Pace(1000, rpm=60), 100),
        (Pace(1000, tpm=10_000), 100 * (70 + 30) / 10_000 * 60),
        (Pace(10, rpm=6000, tpm=1e9), 50),
    ],
)
def test_the_tightest_limit_decides_the_time(pace, seconds):
    rows = [Measured(Size(100, 0), {"input": 70, "output": 30}, 5.0)] * 10
    assert estimate([Size(100, 0)] * 100, rows, pace).seconds.expected == pytest.approx(seconds)


def test_without_a_sample_only_the_input_and_the_limits_are_known():
    found = without_sample(sizes_of([Size(200, 0, ceiling=500)] * 10), *prices(), Pace(10, rpm=5))
    assert (found.input.expected, found.output.expected, found.cost.expected) == (1000, None, None)
    assert found.output.high == 5000
    assert found.cost.high == found.ceiling == pytest.approx(10 * (160 * 0.8 + 500 * 8) / 1e6)
    assert 0 < found.cost.low < found.cost.high
    assert (found.seconds.low, found.seconds.expected) == (120, None)


def test_without_a_limit_on_answers_there_is_no_ceiling():
    found = without_sample(sizes_of([Size(200, 0, ceiling=500), Size(200, 0)]), *prices(), PACE)
    assert found.ceiling == Unknown("a row sets no limit to its answer")
    assert (found.output.high, found.cost.high) == (None, None)


def test_embeddings_have_no_answer_and_cost_their_input():
    rows = [Measured(Size(100, 0, ceiling=0), {"input": 70, "output": 0}, 0.1)] * 5
    found = estimate([Size(100, 0, ceiling=0)] * 100, rows, model="doubao-embedding-large")
    assert (found.output.expected, found.cost.expected) == (0, pytest.approx(100 * 70 * 0.7 / 1e6))


PARTS = st.tuples(st.integers(1, 100_000), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)).map(
    lambda t: {
        "input": t[0],
        "cached": (cached := int(t[0] * t[1])),
        "audio_input": (audio := int(t[0] * t[2])),
        "audio_cached": max(cached + audio - t[0], int(min(cached, audio) * t[3])),
        "output": 10,
    }
)


@given(PARTS, st.floats(0.001, 1000))
def test_a_scaled_usage_never_contradicts_itself(usage, larger):
    scaled = _scaled(usage, larger, 1.0)
    assert 0 <= scaled["audio_cached"] <= min(scaled["cached"], scaled["audio_input"])
    assert scaled["cached"] + scaled["audio_input"] - scaled["audio_cached"] <= scaled["input"]


@given(st.integers(0, 10_000), st.integers(1, 100), st.randoms())
def test_the_sample_is_spread_over_the_file(rows, count, rng):
    chosen = choose(rows, count, rng.random)
    assert len(set(chosen)) == len(chosen) == min(rows, count)
    assert all(0 <= row < rows for row in chosen)
    assert all(later - earlier <= 2 * rows / count + 1 for earlier, later in pairwise(chosen))


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=200))
def test_sizes_remember_rows_and_their_total_within_a_group(lengths):
    counted = sizes_of([Size(length, 0) for length in lengths])
    groups = list(counted.groups())
    assert sum(group.rows for group in groups) == counted.rows == len(lengths)
    assert sum(group.rows * group.tokens for group in groups) == pytest.approx(sum(40 + 0.3 * n for n in lengths))


@given(st.lists(st.floats(0, 1e6), min_size=5, max_size=30), st.floats(0, 1))
def test_bounds_hold_the_sample_s_mean_and_close_when_nothing_is_left(values, left):
    low, high = bounds_of_mean(values, left)
    mean = sum(values) / len(values)
    assert 0 <= low <= high
    assert high >= mean * (1 - 1e-6)
    assert bounds_of_mean(values, 0.0) == (pytest.approx(mean), pytest.approx(mean))


@pytest.mark.parametrize(("freedom", "t"), [(4, 2.776), (9, 2.262), (19, 2.093), (99, 1.984)])
def test_student_s_t_is_right_to_one_per_cent(freedom, t):
    assert student(freedom) == pytest.approx(t, rel=0.01)


def test_a_growth_is_seen_only_where_it_is_more_than_chance():
    rng = random.Random(5)
    xs = [rng.uniform(10, 1000) for _ in range(20)]
    assert growth([(x, 3 * x * rng.uniform(0.9, 1.1)) for x in xs]) == pytest.approx(1, abs=0.05)
    assert growth([(x, 5.0) for x in xs]) == pytest.approx(0, abs=1e-9)
    assert growth([(x, 1000 / x) for x in xs]) == 0
    assert growth([(5.0, x) for x in xs]) == 0


def test_the_price_is_asked_once_a_group_and_not_once_a_row():
    asked = []

    def price(usage):
        asked.append(usage)
        return Cost(Decimal(1), "CNY", PriceRow("m", "CNY", ()))

    sizes = sizes_of([Size(n % 1000, 0) for n in range(20_000)])
    from_sample(
        sizes, [Measured(Size(10, 0), {"input": 43, "output": 5}, 1.0)] * 5, price, lambda *_: Unknown(""), PACE
    )
    assert len(asked) <= 5 * 120
