"""A run of any length becomes a bounded number of stretches, and nothing is lost on the way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arkbatch.reports.page.buckets import Buckets

BEGAN = 1_790_000_000.0

calls = st.lists(
    st.tuples(st.floats(0, 90_000, allow_nan=False), st.floats(0, 5_000, allow_nan=False)), min_size=1, max_size=60
)


def filled(spans, **how):
    buckets = Buckets(**how)
    for began, lasted in spans:
        buckets.add_call(BEGAN + began, BEGAN + began + lasted)
    return buckets


def test_a_short_run_is_cut_into_seconds():
    stretches = list(filled([(0, 0.5), (1, 0.5), (3, 0.5)]).stretches())
    assert [each.bucket.calls for each in stretches] == [1, 1, 0, 1]


@given(calls)
def test_no_call_is_lost_when_stretches_are_merged(spans):
    buckets = filled(spans, most=8)
    stretches = list(buckets.stretches())
    assert sum(each.bucket.calls for each in stretches) == len(spans)
    assert len([each for each in stretches if each.bucket.begun or each.bucket.ended]) <= 8


@given(calls)
def test_time_in_flight_adds_up_to_the_seconds_of_all_calls(spans):
    """Measured over whole stretches, at any width."""
    buckets = filled(spans, most=8)
    busy = sum(each.in_flight * _length(buckets, each) for each in buckets.stretches())
    assert busy == pytest.approx(sum(lasted for _, lasted in spans), rel=1e-6, abs=0.01)


def _length(buckets, stretch):
    paused = not (stretch.bucket.begun or stretch.bucket.ended or stretch.bucket.calls)
    length = stretch.end - stretch.begin
    return length if paused else max(length, buckets.width / 2)


def test_a_call_is_in_flight_in_every_stretch_that_it_touches():
    buckets = filled([(0, 10), (0, 10), (5, 0.5)])
    assert [round(each.in_flight, 2) for each in buckets.stretches()] == [2, 2, 2.5, 2, 0]


def test_a_pause_of_days_is_one_stretch():
    spans = [(second, 0.5) for second in range(5)] + [(400_000 + second, 0.5) for second in range(5)]
    stretches = list(filled(spans).stretches())
    assert len(stretches) == 11
    assert max(each.end - each.begin for each in stretches) > 399_000


def test_memory_is_bounded_over_a_year():
    buckets = filled([(hour * 3_600, 10) for hour in range(24 * 365)])
    assert len(list(buckets.stretches())) <= 1_200
    assert sum(each.bucket.calls for each in buckets.stretches()) == 24 * 365


def test_under_a_minute_stretches_are_few():
    """What happens in a second is noise when it is scaled to a minute."""
    assert filled([(second, 0.5) for second in range(290)]).width == 5
    assert filled([(second, 0.5) for second in range(3_600)]).width == 60
