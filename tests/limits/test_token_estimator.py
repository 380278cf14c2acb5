"""Estimates: sensible before anything is known, right after some dozen replies, and never absurd."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arkbatch.core.row import Size
from arkbatch.limits.token_estimator import ALWAYS_LEARNED, Estimator

counts = st.integers(0, 100_000)
any_size = st.builds(Size, counts, counts, st.integers(0, 5), st.one_of(st.none(), st.integers(0, 65_536)))
any_usage = st.fixed_dictionaries({}, optional={"input": st.integers(0, 300_000), "output": st.integers(0, 65_536)})


def rows(number, seed=1):
    """Sizes of all kinds and what a model with a large overhead makes of them: 97 + 0.24 narrow + 0.58 wide."""
    chance = random.Random(seed)
    for _ in range(number):
        narrow, wide = (int(chance.lognormvariate(5, 1.5)) * chance.randint(0, 1) for _ in range(2))
        yield Size(narrow, wide), round(97 + 0.24 * narrow + 0.58 * wide)


@pytest.mark.parametrize(
    ("size", "low", "high"),
    [(Size(0, 0), 30, 60), (Size(1000, 0), 250, 400), (Size(0, 1000), 600, 750), (Size(0, 0, 1), 700, 1400)],
)
def test_the_first_guess_is_of_the_right_order(size, low, high):
    estimate = Estimator().estimate_tokens(size)
    assert low < estimate.input < high
    assert 300 < estimate.output < 600


def test_input_is_right_within_two_percent_after_a_hundred_replies_of_all_kinds():
    estimator, errors = Estimator(), []
    for number, (size, truth) in enumerate(rows(400)):
        if number >= 100:
            errors.append(abs(estimator.estimate_tokens(size).input - truth) / truth)
        estimator.learn_usage(size, {"input": truth, "output": 50})
    assert sum(errors) / len(errors) < 0.02


def test_input_is_right_at_once_where_all_rows_are_alike():
    estimator = Estimator()
    for _ in range(20):
        estimator.learn_usage(Size(500, 0), {"input": 400, "output": 9})
    assert estimator.estimate_tokens(Size(500, 0)).input == pytest.approx(400, rel=0.01)


def test_output_is_reserved_a_little_above_its_mean():
    estimator, chance, reserved, used = Estimator(), random.Random(2), 0, 0
    for number, (size, truth) in enumerate(rows(3000)):
        output = round(chance.lognormvariate(6, 1))
        if number >= 100:
            reserved += estimator.estimate_tokens(size).output
            used += output
        estimator.learn_usage(size, {"input": truth, "output": output})
    assert 1.0 < reserved / used < 1.15


def test_output_that_grows_with_the_input_is_learned_as_such():
    estimator = Estimator()
    for size, truth in rows(300):
        estimator.learn_usage(size, {"input": truth, "output": truth})
    estimates = [estimator.estimate_tokens(size) for size, _ in rows(300, seed=2)]
    assert sum(each.output for each in estimates) == pytest.approx(sum(each.input for each in estimates), rel=0.05)
    assert estimator.estimate_tokens(Size(20_000, 0)).output == pytest.approx(5_000, rel=0.05)


def test_one_reply_is_believed_more_than_the_first_guess():
    estimator = Estimator()
    for _ in range(10):
        estimator.learn_usage(Size(500, 0), {"input": 200, "output": 2})
    assert estimator.estimate_tokens(Size(500, 0)).output < 20


def test_the_ceiling_of_the_request_bounds_its_output():
    assert Estimator().estimate_tokens(Size(100, 0, ceiling=16)).output == 16


def test_an_endpoint_without_output_reserves_none():
    estimator = Estimator(output=0)
    estimator.learn_usage(Size(100, 0), {"input": 60})
    assert estimator.estimate_tokens(Size(100_000, 0)).output == 0


def test_a_reply_that_was_not_billed_teaches_nothing():
    estimator = Estimator()
    estimator.learn_usage(Size(500, 500), {})
    estimator.learn_usage(Size(500, 500), {"output": 3})
    assert estimator.estimate_tokens(Size(500, 500)) == Estimator().estimate_tokens(Size(500, 500))


@given(lessons=st.lists(st.tuples(any_size, any_usage), max_size=30), size=any_size)
def test_whatever_is_learned_an_estimate_is_positive_and_grows_with_the_text(lessons, size):
    estimator = Estimator()
    for seen, usage in lessons:
        estimator.learn_usage(seen, usage)
    estimate = estimator.estimate_tokens(size)
    assert estimate.input >= 1
    assert estimate.output >= 0
    assert estimator.estimate_tokens(Size(size.narrow + 999, size.wide + 999, size.parts)).input >= estimate.input


def test_only_so_many_replies_a_second_are_learned_from_once_it_is_known():
    estimator, learned = Estimator(), 0
    for reply in range(10_000):  # in two seconds
        now = reply / 5_000
        if now >= estimator.learns_again_at:
            estimator.learn_usage(Size(500, 0), {"input": 200, "output": 20}, now)
            learned += 1
    assert ALWAYS_LEARNED + 150 < learned < ALWAYS_LEARNED + 250
