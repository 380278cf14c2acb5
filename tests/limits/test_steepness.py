"""How steeply traffic may rise."""

import math

import pytest

from arkbatch.limits.ramp import Ramp
from arkbatch.limits.steepness import SLOWEST, Steepness


def test_without_a_ramp_nothing_is_steep():
    steepness = Steepness(None)
    assert steepness.allowed(10_000.0, 1.0) == math.inf
    assert not steepness.refused(10_000.0, rose=True)


def test_who_rose_and_was_refused_rises_half_as_steeply_and_never_stands_still():
    steepness = Steepness(Ramp())
    assert steepness.allowed(1_000.0, 1.0) == pytest.approx(1.01)
    assert steepness.refused(1_000.0, rose=True)
    assert steepness.allowed(1_000.0, 1.0) == pytest.approx(1.005)
    for _ in range(20):
        steepness.refused(1_000.0, rose=True)
    assert steepness.allowed(1_000.0, 1.0) == pytest.approx(1 + SLOWEST)


def test_a_refusal_without_a_rise_gives_the_growth_back_up_to_the_ramp():
    steepness = Steepness(Ramp())
    for rose in (True, False, False):
        steepness.refused(1_000.0, rose=rose)
    assert steepness.allowed(1_000.0, 1.0) == pytest.approx(1.01)


def test_below_the_rate_to_begin_with_nothing_is_steep():
    """From three calls at once to nine is a rise that no service minds."""
    steepness = Steepness(Ramp(start_rpm=600.0))
    assert not steepness.refused(90.0, rose=True)
    assert steepness.allowed(90.0, 1.0) > steepness.allowed(700.0, 1.0)
