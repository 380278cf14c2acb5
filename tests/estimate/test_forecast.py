"""Estimates from a measured few: through the cliff by row, bracketing the truth, and honest where nothing is known."""

import importlib.util
import random
import sys
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arkbatch.estimate.confidence import SampleWeights, fit_line, growth_power, student_t_limit
from arkbatch.estimate.extrapolate import Measured, _scale_usage
from arkbatch.estimate.forecast import (
    Range,
    Recorded,
    RunPace,
    combined_cost,
    from_sample,
    without_sample,
)
from arkbatch.estimate.strata import Sizes, Strata
from arkbatch.pricing.amounts import Cost, Unknown
from arkbatch.pricing.price_book import PriceRow
from arkbatch.pricing.price_files import packaged_prices
from arkbatch.pricing.pricer import Pricer

AT = datetime(2026, 11, 21, tzinfo=UTC)
PRICER = Pricer(packaged_prices().only_provider("ark"))
PACE = RunPace(concurrency=10)
NOTHING_YET = Recorded()

FILE = Path(__file__).parents[2] / "benchmarks" / "estimate.py"
spec = importlib.util.spec_from_file_location("benchmark_estimate", FILE)
benchmark = sys.modules["benchmark_estimate"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(benchmark)


def prices(model="doubao-seed-1.6", lane="online"):
    question = {"model": model, "lane": lane, "service_tier": "", "at": AT}
    return {
        "price": lambda usage: PRICER.cost_of_call(usage, **question),
        "ceiling": lambda given_, answered: PRICER.highest_cost(**question, given=given_, answered=answered),
        "pace": PACE,
    }


def row(tokens, output, ceiling=None, seconds=1.0, **more):
    """A measured row, whose input is what its size lets expect."""
    return Measured(tokens, ceiling, {"input": tokens, "output": output, **more}, seconds)


def sizes_of(rows):
    counted = Sizes()
    for each in rows:
        counted.add(each.tokens, each.ceiling)
    return counted


def estimate(left, sample, recorded=NOTHING_YET, pace=PACE, **kwargs):
    chance = random.Random(1).random
    return from_sample(sizes_of(left), recorded, sample, **prices(**kwargs) | {"pace": pace}, chance=chance)


def job(rows, seed, output, ceiling=4096):
    rng = random.Random(seed)
    return [row(rng.randrange(60, 1000), output(rng), ceiling) for _ in range(rows)]


def thinking(rng):
    return min(4096, round(rng.lognormvariate(5.5, 0.8)))


def test_averages_across_the_cliff_are_wrong_and_are_not_used():
    """Half the rows answer 100 tokens, half 300: the mean of 200 is in the cheap tier, half of the rows are not."""
    rows = [row(70, 100 if n % 2 else 300) for n in range(1000)]
    found = estimate(rows, rows[:20])
    by_hand = 1000 * Decimal("0.80") * 70 + 500 * Decimal(2) * 100 + 500 * Decimal(8) * 300
    assert found.cost.expected == pytest.approx(float(by_hand) / 1e6)
    assert found.cost.expected > 2 * float(1000 * (Decimal("0.80") * 70 + 2 * 200)) / 1e6


def test_rows_beyond_an_input_edge_are_priced_in_their_own_tier():
    """The sample is short; the long half of the file is priced at the long tier all the same."""
    found = estimate([row(130, 150), row(40_000, 150)] * 50, [row(130, 150)] * 5)
    by_hand = 50 * (130 * 0.8 + 150 * 2) / 1e6 + 50 * (40_000 * 1.2 + 150 * 16) / 1e6
    assert found.cost.expected == pytest.approx(by_hand)


def test_a_sample_of_20_brackets_the_cost_nine_times_of_ten():
    """A few seeds of the table that `benchmarks/estimate.py` prints for many."""
    promised = [name for name, kind in benchmark.KINDS.items() if kind.promised] + [*benchmark.MIXED]
    trials = [benchmark.trial(name, seed, rows=150) for name in promised for seed in range(3)]
    assert len(promised) >= 8
    assert benchmark.figures(trials).held >= 0.9


def test_the_bound_by_limits_holds_where_no_sample_could_know():
    unknowable = [name for name, kind in benchmark.KINDS.items() if not kind.promised]
    trials = [benchmark.trial(name, seed, rows=150) for name in unknowable for seed in range(4)]
    assert all(one.true <= one.surely for one in trials)


def test_low_allows_for_failures_and_high_for_longer_answers_that_the_sample_did_not_meet():
    rows = [row(100, 150)] * 1000
    found = estimate(rows, rows[:20])
    assert 0.8 < found.cost.low / found.cost.expected < 0.9
    assert 1.05 < found.cost.high / found.cost.expected < 1.5


def test_a_row_that_failed_counts_as_one_that_takes_nothing():
    rows = [row(100, 150)] * 1000
    failed = Measured(100, None, {}, 0.0)
    found = estimate(rows, [*rows[:15], *[failed] * 5])
    assert found.cost.expected == pytest.approx(estimate(rows, rows[:15]).cost.expected * 0.75)


def test_an_answer_that_grows_with_its_text_is_followed_to_larger_rows():
    translated = [row(tokens, tokens + tokens % 7) for tokens in range(100, 2000, 100)]
    assert estimate([row(12_000, 0)] * 100, translated).output.expected == pytest.approx(100 * 12_000, rel=0.05)
    labelled = [row(tokens, 1 + tokens % 7) for tokens in range(100, 2000, 100)]
    assert estimate([row(12_000, 0)] * 100, labelled).output.expected < 100 * 8


def test_no_answer_is_expected_beyond_a_row_s_own_limit():
    sample = [row(70, 1000)] * 5
    found = estimate([row(70, 0, ceiling=100)] * 50, sample)
    assert found.output.expected == 50 * 100
    assert found.output.high == pytest.approx(50 * 100)
    assert found.cost.expected == pytest.approx(found.ceiling)


def test_a_limit_that_was_passed_is_no_ceiling():
    """Ark's max_tokens does not count the chain of thought."""
    found = estimate([row(70, 0, ceiling=100)] * 50, [row(70, 1000, ceiling=100)] * 5)
    assert isinstance(found.ceiling, Unknown)
    assert isinstance(found.surely, Unknown)
    assert found.output.expected == 50 * 1000


def test_what_is_recorded_counts_as_it_is():
    rows = job(30, 3, thinking)
    known = Recorded(rows=10, input=5000, output=4000, cost=1.25)
    found, alone = estimate(rows[10:], rows[:10], known), estimate(rows[10:], rows[:10])
    assert (found.rows, found.recorded, found.sampled) == (30, 10, 10)
    for name, more in (("input", 5000), ("output", 4000), ("cost", 1.25)):
        ours, theirs = getattr(found, name), getattr(alone, name)
        assert [ours.low - more, ours.expected - more, ours.high - more] == pytest.approx(
            [theirs.low, theirs.expected, theirs.high]
        )
    assert (found.surely, found.ceiling) == (pytest.approx(alone.surely + 1.25), pytest.approx(alone.ceiling + 1.25))
    assert found.seconds == alone.seconds


def test_when_no_row_is_left_the_estimate_is_what_is_recorded():
    rows = job(8, 3, thinking)
    found = estimate([], rows, Recorded(rows=8, input=10, output=20, cost=0.5))
    assert found.cost == Range(0.5, 0.5, 0.5)
    assert found.input == Range(10, 10, 10)
    assert found.surely == found.ceiling == 0.5


def test_records_without_a_price_leave_the_cost_unknown():
    rows = job(30, 4, thinking)
    found = estimate(rows, rows[:10], Recorded(rows=1, cost=Unknown("no price")))
    assert found.cost == found.ceiling == found.surely == Unknown("no price")


def test_too_few_rows_give_an_expectation_without_bounds():
    rows = job(100, 3, thinking)
    found = estimate(rows, rows[:4])
    assert found.cost.expected > 0
    assert (found.cost.low, found.cost.high) == (None, None)


def test_cached_input_of_the_sample_is_expected_of_all():
    sample = [row(1000, 100, cached=500)] * 5
    found = estimate(sample * 20, sample)
    assert found.cost.expected == pytest.approx(100 * (500 * 0.8 + 500 * 0.16 + 100 * 2) / 1e6)


def test_a_model_without_a_price_leaves_the_cost_unknown_and_the_rest_known():
    rows = job(30, 4, thinking)
    found = estimate(rows, rows[:10], model="gpt-4o")
    assert found.cost == Unknown("gpt-4o is not in the price book for this server")
    assert found.output.expected > 0


def test_a_price_that_is_an_upper_bound_makes_the_estimate_one():
    rows = job(30, 4, thinking)
    assert estimate(rows, rows[:10], model="deepseek-v4-pro").at_most
    assert not estimate(rows, rows[:10]).at_most


def test_the_batch_lane_is_estimated_beside_the_online_one():
    rows = job(30, 4, thinking)
    online, batch = estimate(rows, rows[:10]), estimate(rows, rows[:10], lane="batch")
    assert batch.cost.expected == pytest.approx(online.cost.expected / 2)


@pytest.mark.parametrize(
    ("pace", "seconds"),
    [
        (RunPace(10), 100 * 5 / 10),
        (RunPace(1000), 0.5),
        (RunPace(1000, rpm=60), 100),
        (RunPace(1000, tpm=10_000), 100 * (70 + 30) / 10_000 * 60),
        (RunPace(10, rpm=6000, tpm=1e9), 50),
        (RunPace(1000, input_tpm=7000, tpm=1e9), 60),
        (RunPace(1000, input_tpm=1e9, output_tpm=1000), 180),
    ],
)
def test_the_tightest_limit_decides_the_time(pace, seconds):
    rows = [row(70, 30, seconds=5.0)] * 10
    assert estimate(rows * 10, rows, pace=pace).seconds.expected == pytest.approx(seconds)


def before(rows, pace=PACE):
    return without_sample(sizes_of(rows), **prices() | {"pace": pace})


def test_without_a_sample_only_the_input_and_the_limits_are_known():
    found = before([row(100, 0, ceiling=500)] * 10, pace=RunPace(10, rpm=5))
    assert (found.input.expected, found.output.expected, found.cost.expected) == (1000, None, None)
    assert found.output.high == 5000
    assert found.cost.high == found.ceiling == pytest.approx(10 * (160 * 0.8 + 500 * 8) / 1e6)
    assert 0 < found.cost.low < found.cost.high
    assert (found.seconds.low, found.seconds.expected) == (120, None)


def test_without_a_limit_on_answers_there_is_no_ceiling():
    found = before([row(100, 0, ceiling=500), row(100, 0)])
    assert found.ceiling == Unknown("a row sets no limit to its answer")
    assert (found.output.high, found.cost.high) == (None, None)


def test_embeddings_have_no_answer_and_cost_their_input():
    rows = [row(70, 0, ceiling=0)] * 5
    found = estimate(rows * 20, rows, model="doubao-embedding-large")
    assert (found.output.expected, found.cost.expected) == (0, pytest.approx(100 * 70 * 0.7 / 1e6))


def test_independent_errors_of_several_kinds_of_rows_partly_cancel():
    kinds = [estimate(rows, rows[:20]) for rows in (job(100, seed, thinking) for seed in range(4))]
    whole, costs = combined_cost(kinds), [each.cost for each in kinds]
    assert whole.expected == pytest.approx(sum(cost.expected for cost in costs))
    assert sum(cost.low for cost in costs) < whole.low < whole.expected < whole.high < sum(cost.high for cost in costs)


def test_kinds_without_a_sample_are_added_end_by_end_and_an_unknown_cost_has_no_sum():
    rows = [row(100, 0, ceiling=500)] * 10
    one = before(rows)
    assert combined_cost([one, one]) == Range(2 * one.cost.low, None, 2 * one.cost.high)
    assert combined_cost([one, estimate(rows, rows, model="gpt-4o")]) is None


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
    scaled = _scale_usage(usage, larger, 1.0)
    assert 0 <= scaled["audio_cached"] <= min(scaled["cached"], scaled["audio_input"])
    assert scaled["cached"] + scaled["audio_input"] - scaled["audio_cached"] <= scaled["input"]


@given(st.lists(st.integers(1, 20_000), min_size=1, max_size=300), st.integers(1, 60), st.randoms())
def test_the_sample_has_one_row_of_each_stretch_of_sizes(lengths, count, rng):
    strata, again = Strata(), Strata()
    places = [strata.add("", length) for length in lengths]
    chosen = strata.choose_rows(count, rng.random)
    assert len(chosen) == min(count, len(lengths))
    assert [again.add("", length) for length in lengths] == places
    ranks = sorted(rank for rank, place in enumerate(sorted(places)) if place in chosen)
    assert all(later - earlier <= 2 * len(lengths) / count + 2 for earlier, later in pairwise(ranks))


@given(st.dictionaries(st.integers(), st.integers(1, 50), min_size=1, max_size=6), st.integers(1, 100), st.randoms())
def test_each_kind_has_its_part_of_the_sample(rows, count, rng):
    strata = Strata()
    for kind, many in rows.items():
        for _ in range(many):
            strata.add(kind, 10)
    chosen = strata.choose_rows(count, rng.random)
    assert len(chosen) == min(count, sum(rows.values()))
    if count >= 2 * len(rows):
        assert {place.kind for place in chosen} == set(rows)


def test_a_rare_kind_gets_enough_of_the_sample_for_bounds_of_its_own():
    strata = Strata()
    for number in range(1000):
        strata.add("rare" if number % 50 == 0 else "usual", 10)
    kinds = Counter(place.kind for place in strata.choose_rows(20, random.Random(1).random))
    assert kinds["rare"] >= 5


@given(st.lists(st.integers(1, 100_000), min_size=1, max_size=200))
def test_sizes_remember_rows_and_their_total_within_a_group(lengths):
    counted, moved = sizes_of([row(length, 0) for length in lengths]), Sizes()
    moved.add_all(counted, 10, 2)
    for sizes, total in ((counted, sum(lengths)), (moved, sum(10 + 2 * length for length in lengths))):
        groups = list(sizes.size_groups())
        assert sum(group.rows for group in groups) == sizes.rows == len(lengths)
        assert sum(group.rows * group.tokens for group in groups) == pytest.approx(total)


@given(st.lists(st.floats(0, 1e6), min_size=5, max_size=30), st.integers())
def test_bounds_hold_the_sample_s_mean_and_reach_the_ends_allowed(values, seed):
    bounds = SampleWeights(len(values), random.Random(seed).random, draws=200).mean_bounds(values, 0.0, 2e6)
    assert 0 <= bounds.low <= sum(values) / len(values) * (1 + 1e-9)
    assert sum(values) / len(values) * (1 - 1e-9) <= bounds.high <= 2e6


def test_a_mean_is_bounded_whatever_the_distribution_between_known_ends():
    """Nineteen of twenty means of a skewed one lie above low and below high, each."""
    rng, below, above = random.Random(7), 0, 0
    for _ in range(200):
        values = [rng.random() ** 6 for _ in range(20)]
        low, high = SampleWeights(20, rng.random, draws=200).mean_bounds(values, 0.0, 1.0)
        below, above = below + (low > 1 / 7), above + (high < 1 / 7)
    assert max(below, above) <= 0.05 * 200


@pytest.mark.parametrize(("freedom", "t"), [(4, 2.776), (9, 2.262), (19, 2.093), (99, 1.984)])
def test_student_s_t_is_right_to_one_per_cent(freedom, t):
    assert student_t_limit(freedom) == pytest.approx(t, rel=0.01)


def test_a_growth_is_seen_only_where_it_is_more_than_chance():
    rng = random.Random(5)
    xs = [rng.uniform(10, 1000) for _ in range(20)]
    assert growth_power([(x, 3 * x * rng.uniform(0.9, 1.1)) for x in xs]) == pytest.approx(1, abs=0.05)
    assert growth_power([(x, 5.0) for x in xs]) == pytest.approx(0, abs=1e-9)
    assert growth_power([(x, 1000 / x) for x in xs]) == 0
    assert growth_power([(5.0, x) for x in xs]) == 0


def test_a_line_tells_the_overhead_from_the_text_unless_all_texts_are_alike():
    assert fit_line([(x, 55 + 0.9 * x) for x in (10, 100, 1000)]) == (pytest.approx(55), pytest.approx(0.9))
    assert fit_line([(100, 150), (101, 149), (99, 151)]) == (0, pytest.approx(1.5, rel=0.01))
    assert fit_line([(10, 100)]) == (0, 10)
    assert fit_line([(10, 1), (1000, 1000)])[0] == 0


def test_the_price_is_asked_once_a_group_and_not_once_a_row():
    asked = []

    def price(usage):
        asked.append(usage)
        return Cost(Decimal(1), "CNY", PriceRow("m", "CNY", ()))

    sizes = sizes_of([row(40 + n % 300, 0) for n in range(20_000)])
    free = {"ceiling": lambda *_: Unknown(""), "pace": PACE, "chance": random.Random(1).random}
    from_sample(sizes, NOTHING_YET, [row(43, 5)] * 5, price=price, **free)
    assert len(asked) <= 20 * 60
