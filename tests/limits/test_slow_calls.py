"""Which calls are stragglers: learnt, by size, followed when the service changes, and never by their length alone."""

import math

import pytest

from arkbatch.limits.slow_calls import (
    FACTOR,
    MAX_GROUPS,
    MIN_CALLS,
    MIN_SILENCE,
    REMEMBERED,
    CallsInFlight,
    HedgeAllowance,
    SimilarCalls,
    SlowCall,
    slow_calls_text,
)

KEY = ("/v3/chat/completions", "doubao", False, 8)


def known(*durations, peers=None):
    peers = peers or SimilarCalls()
    for seconds in durations:
        peers.add_silence(seconds)
    return peers


def test_little_is_known_of_the_first_calls():
    assert known(*[10.0] * (MIN_CALLS - 1)).limit == math.inf
    assert known(*[10.0] * MIN_CALLS).limit == pytest.approx(30, rel=0.05)


def test_while_more_are_under_way_than_have_ended_only_the_quick_ones_have_ended():
    peers = known(*[10.0] * 99)
    peers.in_flight = 100
    assert peers.limit == math.inf
    assert known(10.0, peers=peers).limit < math.inf


def test_a_straggler_takes_several_times_as_long_as_nearly_all():
    peers = known(*[4.0] * 900, *[20.0] * 100)
    assert peers.limit == pytest.approx(FACTOR * 20, rel=0.05)
    assert peers.usual == pytest.approx(4, rel=0.05)


def test_one_straggler_in_a_hundred_does_not_move_the_limit_to_where_stragglers_are():
    assert known(*[2.0, *[1.0] * 49] * 20, *[200.0] * 10).limit == MIN_SILENCE


def test_nobody_minds_a_few_seconds():
    assert known(*[0.01] * 100).limit == MIN_SILENCE


def test_a_service_that_became_slower_is_followed_and_the_past_forgotten():
    peers = known(*[2.0] * 3 * REMEMBERED)
    assert known(*[40.0] * 200, peers=peers).limit == pytest.approx(FACTOR * 40, rel=0.05)
    assert known(*[2.0] * 2 * REMEMBERED, peers=peers).limit == pytest.approx(FACTOR * 2, rel=0.05)


def flying(count=100, seconds=2.0, key=KEY):
    """Flights that know how long a call takes."""
    flights = CallsInFlight()
    for _ in range(count):
        flight = flights.add_call(0.0, 1, key)
        flights.remove_call(flight)
        flight.learn_silence(seconds)
    return flights


def test_a_call_is_one_when_its_time_has_come():
    flights = flying()
    flights.add_call(10.0, 17, KEY)
    limit = flights.next_in(10.0)
    assert limit == pytest.approx(FACTOR * 2, rel=0.05)
    assert flights.slow_calls(10.0 + limit - 0.01) == []
    assert [flight.row for flight in flights.slow_calls(10.0 + limit + 0.01)] == [17]


def test_a_call_that_ended_is_none():
    flights = flying()
    flights.remove_call(flights.add_call(0.0, 17, KEY))
    assert flights.slow_calls(1000.0) == []
    assert flights.next_in(1000.0) == math.inf


def test_large_calls_are_not_compared_with_small_ones():
    flights = flying()
    flights.add_call(0.0, 17, (*KEY[:3], 14))
    assert flights.slow_calls(1000.0) == []


def test_a_streamed_answer_that_moves_is_none_however_long_it_takes():
    flights = flying()
    flight = flights.add_call(0.0, 17, KEY)
    for second in range(1, 600):
        flight.note_data(float(second))
        assert flights.slow_calls(float(second)) == []
    assert [one.row for one in flights.slow_calls(620.0)] == [17]


def test_of_a_streamed_answer_the_longest_silence_is_learnt():
    peers = SimilarCalls()
    for _ in range(MIN_CALLS):
        flight = CallsInFlight().add_call(0.0, 1, KEY)
        flight.similar = peers
        for moment in (4.0, 5.0, 6.0):
            flight.note_data(moment)
        flight.learn_silence(7.0)
    assert peers.usual == pytest.approx(4.0, rel=0.05)


def test_rows_may_name_any_number_of_models():
    flights = CallsInFlight()
    for number in range(10 * MAX_GROUPS):
        flights.remove_call(flights.add_call(0.0, 1, (KEY[0], f"ep-{number}", False, 8)))
    assert len(flights._peers) == MAX_GROUPS


def test_second_calls_are_a_share_and_little_is_saved_up():
    share = HedgeAllowance(width=400)
    assert not share.take_one()
    for _ in range(19):
        share.note_answer()
    assert not share.take_one()
    for _ in range(10_000):
        share.note_answer()
    assert [share.take_one() for _ in range(22)] == [True] * 20 + [False] * 2


def test_stragglers_are_said_with_the_first_of_them_and_what_is_usual():
    assert (
        slow_calls_text([SlowCall(17, 1000.0, 2.14)], 1093.0, 3)
        == "3 stragglers (row 17 for 1 min 33 s, usually 2.1 s)"
    )
    assert slow_calls_text([], 1000.0, 0) == ""
