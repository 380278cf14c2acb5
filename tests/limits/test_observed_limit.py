"""What a refusal says about the limit."""

import math

import pytest

from arkbatch.limits.cooldown import Door
from arkbatch.limits.observed_limit import Granted


def seen(calls, begin, end, *, granted=None):
    """So many evenly spaced calls from begin to end."""
    granted = granted or Granted(begin)
    for number in range(calls):
        granted.sent(begin + (end - begin) * number / calls)
    return granted


def refused(granted, at, after=None):
    door = Door()
    granted.sent(at)
    granted.refused(at + 0.1, at, old_news=False)
    door.shut(at + 0.1, after, at)
    return door


def test_a_minute_that_was_used_up_is_the_limit():
    """500 calls in 16 seconds, then nothing until the minute is over: 500 a minute, not 500 in 16 seconds."""
    granted = seen(500, 1000.0, 1016.0)
    door = refused(granted, 1016.0, after=44.0)
    least, most = granted.bounds(1060.5, 1060.0, door, math.inf)
    assert least == most == pytest.approx(500 / 60)


def test_a_burst_that_used_up_a_second_shows_the_second():
    """20 calls at once and `Retry-After: 1` are 20 a second, although the news and the rounding take longer."""
    granted = seen(20, 1000.0, 1000.2)
    door = refused(granted, 1000.2, after=1.0)
    assert granted.bounds(1001.3, 1000.7, door, math.inf) == (20.0, 20.0)


def test_near_the_rate_the_truth_lies_between_what_was_granted_and_what_was_sent():
    granted = seen(590, 1000.0, 1060.0)
    door = refused(granted, 1060.0)
    assert granted.bounds(1061.0, 1060.0, door, 10.0) == pytest.approx((590 / 60, 10.0))


def test_far_below_the_rate_only_what_was_granted_counts():
    granted = seen(300, 1000.0, 1060.0)
    door = refused(granted, 1060.0)
    assert granted.bounds(1061.0, 1060.0, door, 10.0) == pytest.approx((5.0, 5.0))


def test_one_refusal_cuts_to_a_quarter_at_most():
    granted = seen(6, 1000.0, 1060.0)
    door = refused(granted, 1060.0)
    assert granted.bounds(1061.0, 1060.0, door, 10.0) == (2.5, 2.5)


def test_who_granted_nothing_for_a_minute_was_away():
    granted = seen(600, 1000.0, 1060.0)
    door = refused(granted, 1130.0)
    assert granted.bounds(1131.0, 1130.0, door, 10.0) is None


def test_time_without_rows_is_not_held_against_the_service():
    granted = seen(10, 1000.0, 1001.0)
    granted.pause_ended(1050.0)
    seen(100, 1050.0, 1060.0, granted=granted)
    door = refused(granted, 1060.0)
    least, _ = granted.bounds(1061.0, 1060.0, door, 12.0)
    assert least == pytest.approx(10.0, rel=0.15)


@pytest.mark.parametrize(("per_minute", "rose"), [([100, 100, 100, 100], False), ([100, 100, 100, 150], True)])
def test_a_fifth_more_than_before_is_a_rise(per_minute, rose):
    granted = Granted(1000.0)
    for minute, calls in enumerate(per_minute):
        seen(calls, 1000.0 + 60 * minute, 1060.0 + 60 * minute, granted=granted)
    refused(granted, 1240.0)
    assert granted.rose is rose
