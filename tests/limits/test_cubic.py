"""The curve: back to the ceiling, flat around it, then beyond."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arkbatch.limits.cubic import Climb


def after(climb, seconds, step=0.1):
    for _ in range(round(seconds / step)):
        climb.endure(step)
    return climb.value


def test_it_is_flat_around_the_ceiling_for_two_minutes():
    climb = Climb(98.5, ceiling=100.0, most=math.inf)
    assert after(climb, 30) == pytest.approx(100, abs=0.5)
    assert after(climb, 90) == pytest.approx(100, abs=0.5)
    assert not climb.beyond


def test_a_ceiling_that_is_not_there_any_more_is_tripled_within_five_minutes():
    climb = Climb(98.5, ceiling=100.0, most=math.inf)
    assert after(climb, 240) > 300
    assert climb.beyond


def test_from_half_it_is_back_near_the_ceiling_within_a_minute():
    assert after(Climb(50.0, ceiling=100.0, most=math.inf), 60) > 97


def test_time_alone_raises_nothing():
    """Only what `endure` is told counts; a number that was not the bottleneck stays where it is."""
    climb = Climb(50.0, ceiling=100.0, most=math.inf)
    climb.endure(0.0)
    assert climb.value == pytest.approx(50)


def grown(climb, seconds, growth, step=0.1):
    for _ in range(round(seconds / step)):
        climb.endure(step, climb.value * (1 + growth * step))
    return climb.value


def test_a_growth_limit_slows_it_and_leaves_the_flat_part_as_long():
    """Ten times the start at 1 % a second takes 230 s; what follows is the curve as ever, without a jump."""
    climb = Climb(10.0, ceiling=100.0, most=math.inf)
    assert grown(climb, 60, 0.01) == pytest.approx(10 * math.exp(0.6), rel=0.01)
    grown(climb, 180, 0.01)
    assert grown(climb, 60, 0.01) == pytest.approx(100, rel=0.03)


@pytest.mark.parametrize(
    ("value", "step", "beyond"),
    [(2.02, 0.0, True), (2.0, 0.0, False), (2.99, 1.0, False), (3.0, 1.0, True), (math.inf, 0.0, False)],
)
def test_the_ceiling_is_left_behind_by_a_whole_step(value, step, beyond):
    ceiling = math.inf if value == math.inf else 2.0
    assert Climb(value, ceiling=ceiling, most=math.inf, step=step).beyond is beyond


def test_without_a_ceiling_it_grows_at_its_limit():
    assert grown(Climb(10.0, ceiling=math.inf, most=math.inf), 60, 0.01) == pytest.approx(18.2, rel=0.01)


@given(
    st.floats(0.1, 1e4),
    st.floats(0.1, 1e4),
    st.floats(0.1, 1e4),
    st.lists(st.floats(0.0, 100.0), max_size=50),
)
def test_it_never_falls_by_enduring_and_never_passes_its_most(value, ceiling, most, steps):
    climb = Climb(value, ceiling=min(ceiling, most), most=most)
    for seconds in steps:
        before = climb.value
        climb.endure(seconds)
        assert before * (1 - 1e-9) <= climb.value <= most
