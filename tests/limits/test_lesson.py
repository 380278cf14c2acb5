"""What is concluded when a shut door opens: the limit, or that the service was away."""

import math

import pytest

from arkbatch.limits.cooldown import Door
from arkbatch.limits.cubic import Climb
from arkbatch.limits.lesson import Crowd, brief_pause, rate_limit
from arkbatch.limits.observed_limit import Granted


def refused(crowd, door, in_flight, sent_at, *, after=None):
    crowd.refused(in_flight, is_first=not door.is_shut)
    door.shut(sent_at + 0.2, after, sent_at)


def places(width, ceiling=math.inf):
    return Climb(width, ceiling=ceiling, most=400.0, step=1.0)


def test_calls_in_flight_that_were_not_refused_too_are_the_limit():
    crowd, door = Crowd(), Door()
    refused(crowd, door, 9, 1000.0)
    crowd.refused_too()
    assert crowd.limit(door, 900.0, places(12.0)) == 8


def test_between_a_try_that_was_refused_and_one_that_was_taken_lies_the_limit():
    crowd, door = Crowd(), Door()
    refused(crowd, door, 9, 1000.0)
    refused(crowd, door, 6, 1002.0)
    crowd.tried(3)
    assert crowd.limit(door, 900.0, places(12.0)) == 5


def test_who_refuses_a_call_alone_was_away():
    crowd, door = Crowd(), Door()
    refused(crowd, door, 20, 1000.0)
    refused(crowd, door, 2, 1002.0)
    assert crowd.limit(door, 900.0, places(21.0)) is None


@pytest.mark.parametrize(("kept", "since", "limit"), [(2, 999.0, 2), (9, 999.0, 9), (40, 999.0, 36), (40, 900.0, 40)])
def test_a_refusal_soon_after_another_takes_a_tenth_but_none_of_a_few(kept, since, limit):
    crowd, door = Crowd(), Door()
    refused(crowd, door, kept, 1000.0)
    assert crowd.limit(door, since, places(kept + 1.0, ceiling=kept)) == limit


def test_a_limit_of_places_is_whole_and_at_least_one():
    crowd, door = Crowd(), Door()
    refused(crowd, door, 7, 1000.0)
    assert crowd.limit(door, 900.0, places(4.7)) == 4
    refused(crowd, door := Door(), 0, 1000.0)
    assert crowd.limit(door, 900.0, places(4.7)) == 1


def test_nothing_is_tried_while_as_many_calls_last_as_were_too_many():
    crowd, door = Crowd(), Door()
    assert not crowd.is_full(door, 4)
    refused(crowd, door, 4, 1000.0)
    assert [crowd.is_full(door, in_flight) for in_flight in (4, 3)] == [True, False]
    named = Door()
    refused(crowd, named, 4, 1000.0, after=3.0)
    assert not crowd.is_full(named, 4)


@pytest.mark.parametrize(
    ("sent_at", "since", "rate", "seconds"),
    [(1010.0, 1000.0, 10.0, 0.6), (1010.0, 1000.0, 2.0, 1.0), (1004.0, 1000.0, 10.0, 0.0), (1010.0, None, 10.0, 0.0)],
    ids=["fast", "slow", "soon", "first"],
)
def test_near_the_known_limit_a_refusal_costs_a_moment_only(sent_at, since, rate, seconds):
    assert brief_pause(sent_at, since, Climb(rate, ceiling=rate * 1.01, most=math.inf)) == seconds
    assert brief_pause(sent_at, since, Climb(rate, ceiling=rate * 1.2, most=math.inf)) == 0


def test_what_a_minute_granted_is_the_limit_and_what_a_named_time_cost_was_missed():
    granted, door, rate = Granted(1000.0), Door(), Climb(2.0, ceiling=math.inf, most=math.inf)
    for second in range(60):
        granted.sent(1000.0 + second)
    granted.sent(1060.0)
    granted.refused(1060.2, 1060.0, old_news=False)
    door.shut(1060.2, 20.0, 1060.0)
    limit = rate_limit(1080.2, door.opened(1080.2), door, granted, rate)
    assert limit.ceiling == pytest.approx(1.5, rel=0.05)  # between one a second, granted, and two, refused
    assert limit.begin == pytest.approx(1.0 / limit.ceiling, rel=0.05)
    assert limit.missed == pytest.approx(0.5 * 20.2 * limit.ceiling, rel=0.05)


def test_where_nothing_was_granted_there_is_no_limit_to_learn():
    granted, door, rate = Granted(1000.0), Door(), Climb(2.0, ceiling=2.0, most=math.inf)
    granted.sent(1000.0)
    granted.refused(1000.2, 1000.0, old_news=False)
    door.shut(1000.2, 20.0, 1000.0)
    assert rate_limit(1020.2, door.opened(1020.2), door, granted, rate) is None
