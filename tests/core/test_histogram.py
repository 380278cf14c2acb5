import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arkbatch.core.histogram import Histogram


def filled(durations):
    histogram = Histogram()
    for seconds in durations:
        histogram.add(seconds)
    return histogram


def test_nothing_added_is_zero():
    assert Histogram().quantile(0.5) == 0.0


@given(st.lists(st.floats(0.001, 86_400), min_size=1, max_size=60), st.sampled_from([0.01, 0.5, 0.95, 1.0]))
def test_a_quantile_is_right_within_five_per_cent(durations, share):
    exact = sorted(durations)[max(0, math.ceil(share * len(durations) - 1e-9) - 1)]
    assert filled(durations).quantile(share) == pytest.approx(exact, rel=0.051)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e-9, 1e12])
def test_durations_beyond_the_scale_are_counted_at_its_ends(seconds):
    assert filled([seconds]).count == 1
    assert filled([seconds]).quantile(0.5) > 0


def test_bars_hold_every_duration_between_their_edges():
    histogram = Histogram()
    for seconds in (0.2, 0.21, 0.5, 3.0):
        histogram.add(seconds)
    edges, counts = histogram.chart_bars(4)
    assert len(edges) == len(counts) + 1
    assert sum(counts) == 4
    assert edges[0] <= 0.2 < edges[1]
    assert edges[-2] <= 3.0 < edges[-1]


def test_an_empty_histogram_has_no_bars():
    assert Histogram().chart_bars(4) == ([], [])
