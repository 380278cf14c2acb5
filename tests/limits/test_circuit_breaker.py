"""When a service is away, whose fault a failure is, and how it is found again. Pure, so time is a number."""

import math
import random

import pytest

from arkbatch.core.calls import Again, Cause, Done, Kind, Refused, Scope
from arkbatch.limits.circuit_breaker import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    LONGEST_UNTRIED,
    PAUSE_GROWTH,
    SLOW_PROBE,
    CircuitBreaker,
)

DROPPED = Again(Cause(Kind.CONNECTION, "dropped", "the connection ended early"))
UNREACHED = Again(Cause(Kind.CONNECTION, "connect", "no connection"))
BROKEN = Again(Cause(Kind.SERVER_ERROR, "InternalError", "boom"))
BAD_GATEWAY = Again(Cause(Kind.SERVER_ERROR, "http_502", "bad gateway"))
DONE = Done({})


def outage(width=16, give_up_after=1000.0, known=True):
    return CircuitBreaker(0.0, width=width, give_up_after=give_up_after, known=known)


def call(one, now, row, verdict):
    """A call of no duration."""
    one.note_call(now)
    return one.note_verdict(now, row, verdict, now)


def away(now=10.0, **how):
    one = outage(**how)
    for row in range(1, 4):
        call(one, now, row, DROPPED)
    assert one.is_away
    return one


def test_different_rows_that_fail_without_an_answer_between_them_make_an_outage():
    one = outage()
    assert [call(one, 1.0, row, DROPPED).scope for row in (1, 2, 3, 4)] == [Scope.ROW, Scope.ROW, *[Scope.SERVICE] * 2]
    assert one.is_away


def test_one_row_alone_or_an_answer_in_between_makes_none():
    one = outage()
    for _ in range(10):
        assert call(one, 1.0, 7, DROPPED).scope is Scope.ROW
    assert not one.is_away
    for row in range(10):
        call(one, 2.0, row, DROPPED)
        call(one, 2.0, 99, DONE)
    assert not one.is_away


@pytest.mark.parametrize("answer", [DONE, Refused(DROPPED.cause), Again(Cause(Kind.RATE_LIMITED, "", ""), Scope.RATE)])
def test_every_answer_is_a_sign_of_life(answer):
    one = away()
    call(one, 20.0, 1, answer)
    assert one.reason == "the service is coming back"


def test_no_connection_is_never_the_rows_fault():
    one = outage()
    assert [call(one, 1.0, 1, UNREACHED).scope for _ in range(50)] == [Scope.SERVICE] * 50
    assert one.is_away


def test_more_calls_under_way_need_more_witnesses():
    one = outage(width=64)
    for _ in range(40):
        one.note_call(0.5)
    for row in range(6):
        assert one.note_verdict(1.0, row, DROPPED, 0.5).scope is Scope.ROW
    for row in range(6):
        one.note_verdict(1.0, row, DROPPED, 0.5)
    assert not one.is_away  # the same rows again are no new witnesses


def test_what_failed_just_before_is_covered_once_it_is_known():
    one = outage()
    call(one, 1.0, 9, DONE)
    assert not one.covers_failure(5.0)
    for row in range(3):
        call(one, 5.0, row, DROPPED)
    assert one.covers_failure(5.0)
    assert not one.covers_failure(0.5)
    assert not one.covers_failure(6.0)  # by then it was known, and what was put on a row was meant


def test_a_row_that_fails_at_every_probe_answers_for_itself_in_the_end():
    one = away()
    scopes = [call(one, 20.0 + 60 * number, 77, DROPPED).scope for number in range(25)]
    assert (scopes[19], scopes[20]) == (Scope.SERVICE, Scope.ROW)


def rows_left(verdict, *, are_last=True):
    """The scopes of the calls of three rows in ten minutes and a half of nothing but this verdict."""
    one = outage()
    for row in range(3):
        call(one, 1.0, row, verdict)
    if are_last:
        one.note_last_row(1.0)
    scopes = {now: call(one, float(now), now % 3, verdict).scope for now in (200, 400, 600, 602)}
    return one, [scopes[now] for now in (200, 600, 602)]


def test_the_last_rows_answer_for_themselves_where_the_server_answers_each_with_an_error():
    one, scopes = rows_left(BROKEN)
    assert scopes == [Scope.SERVICE, Scope.SERVICE, Scope.ROW]
    assert one.ready_in(602.0, 0) == FIRST_PAUSE


@pytest.mark.parametrize("verdict", [DROPPED, UNREACHED, BAD_GATEWAY])
def test_the_last_rows_wait_for_a_service_that_is_away(verdict):
    _, scopes = rows_left(verdict)
    assert set(scopes) == {Scope.SERVICE}


def test_rows_wait_while_there_are_others_to_be_tried():
    _, scopes = rows_left(BROKEN, are_last=False)
    assert set(scopes) == {Scope.SERVICE}


@pytest.mark.parametrize(
    ("verdict", "words"),
    [(BROKEN, "every call fails: boom"), (DROPPED, "the service is away: the connection ended early")],
)
def test_a_server_that_answers_is_not_said_to_be_away(verdict, words):
    one, _ = rows_left(verdict)
    assert one.reason == words
    one = outage(known=False)
    for row in range(3):
        call(one, 1.0, row, BROKEN)
    assert one.plan_text.startswith("no call has succeeded so far")


def test_probes_go_one_at_a_time_at_growing_pauses():
    one, now, pauses = away(), 10.0, []
    while now < 2000:
        wait = one.ready_in(now, 0)
        pauses.append(wait)
        now += wait
        one.note_call(now)
        assert one.ready_in(now, 1) == pytest.approx(SLOW_PROBE)
        one.note_verdict(now, 1, DROPPED, now)
    assert pauses == pytest.approx(sorted(pauses))
    assert (pauses[0], pauses[-1]) == (FIRST_PAUSE, pytest.approx(LONGEST_PAUSE))


def test_it_opens_slowly_and_is_over_when_all_may_go_again():
    one = away(width=6)
    call(one, 100.0, 1, DONE)
    assert (one.ready_in(100.0, 1), one.ready_in(100.0, 2)) == (0.0, math.inf)
    for _ in range(4):
        call(one, 101.0, 1, DONE)
    assert not one.is_away
    assert one.total_seconds(500.0) == 101.0  # since the last sign of life, at the beginning


def test_calls_that_hang_since_before_do_not_keep_it_from_opening():
    one = outage()
    for _ in range(6):
        one.note_call(0.5)
    for row in range(1, 4):
        call(one, 1.0, row, DROPPED)
    call(one, 100.0, 1, DONE)
    assert (one.ready_in(100.0, 7), one.ready_in(100.0, 8)) == (0.0, math.inf)
    one.note_verdict(101.0, 9, DROPPED, 0.5)
    assert (one.ready_in(101.0, 6), one.ready_in(101.0, 7)) == (0.0, math.inf)


def test_failures_while_it_opens_shut_it_again():
    one = away()
    call(one, 100.0, 1, DONE)
    call(one, 101.0, 2, DROPPED)
    assert one.ready_in(101.0, 0) == 0.0
    call(one, 101.0, 3, DROPPED)
    assert one.ready_in(101.0, 0) == pytest.approx(FIRST_PAUSE)


def test_one_failure_in_eight_does_not_keep_a_wide_run_from_opening():
    one, chance, now, under_way = away(width=256), random.Random(1), 100.0, 0
    for number in range(2000):
        if not under_way:
            now += one.ready_in(now, 0)
        while under_way < 256 and one.ready_in(now, under_way) == 0:
            one.note_call(now)
            under_way += 1
        under_way -= 1
        one.note_verdict(now, number, DROPPED if chance.random() < 0.125 else DONE, now)
    assert not one.is_away
    assert one.total_seconds(now) < 200


def test_where_one_call_in_eight_fails_anyway_chance_makes_no_outage():
    """Of short calls, few are under way at a time, and three in a row fail every some seconds."""
    one, chance = outage(width=256), random.Random(2)
    for _ in range(8):
        one.note_call(0.0)
    aways = 0
    for number in range(100_000):
        one.note_call(number / 300)
        one.note_verdict(number / 300, number, DROPPED if chance.random() < 0.125 else DONE, number / 300)
        aways += one.is_away
    assert not one.is_away
    assert aways < 500  # of which most are the first ones, when nothing was known


def test_rows_that_all_fail_at_the_end_of_such_a_run_are_enough():
    one = outage(width=256)
    for number in range(1000):
        call(one, number / 300, number, DROPPED if number % 8 == 0 else DONE)
    assert [call(one, 10.0, row, DROPPED).scope for row in (1, 2, 3)][-1] is Scope.SERVICE


def test_a_service_that_comes_back_is_not_given_up():
    one = away(give_up_after=1000.0)
    call(one, 990.0, 1, DONE)
    assert one.given_up(2000.0) is None


def test_four_failures_in_five_calls_are_as_good_as_away():
    one = outage(width=4)
    for number in range(200):
        call(one, number / 10, number, DONE if number % 10 == 9 else DROPPED)
    assert one.total_seconds(20.0) > 10


def test_waiting_ends_when_it_was_told_to_and_sooner_where_nobody_ever_answered():
    one = away(give_up_after=1000.0)
    assert one.given_up(900.0) is None
    assert "away for 16 min 50 s" in one.given_up(1010.0).message
    never = away(known=False)
    assert "not answered" in never.given_up(301.0).message


def test_a_rest_is_no_time_in_which_the_service_was_away():
    one = away(10.0)
    one.begin_pause(100.0)
    assert one.given_up(5_000.0) is None
    one.end_pause(5_000.0)
    assert one.away_seconds(5_010.0) == one.total_seconds(5_010.0) == 110.0
    assert one.given_up(5_901.0) is not None
    assert one.ready_in(5_010.0, 0) == 0


def test_a_rest_before_the_outage_was_known_is_taken_off_too():
    """The last sign of life was before the rest, and what fails comes after it."""
    one = outage()
    call(one, 50.0, 1, DONE)
    one.begin_pause(60.0)
    one.end_pause(4_060.0)
    for row in (1, 2, 3):
        call(one, 4_070.0, row, DROPPED)
    assert one.away_seconds(4_070.0) == 20.0


@pytest.mark.parametrize("answered_at", [80.0, 120.0])
def test_a_rest_before_a_sign_of_life_does_not_count_twice(answered_at):
    one = outage()
    one.begin_pause(60.0)
    if answered_at < 100.0:  # of a call that was under way
        call(one, answered_at, 1, DONE)
    one.end_pause(100.0)
    if answered_at > 100.0:
        call(one, answered_at, 1, DONE)
    for row in (1, 2, 3):
        call(one, 140.0, row, DROPPED)
    assert one.away_seconds(140.0) == (40.0 if answered_at < 100.0 else 20.0)


def test_a_call_of_which_nothing_is_heard_is_no_longer_under_way_and_no_probe():
    one = outage(width=64)
    for _ in range(40):
        one.note_call(0.5)
    for _ in range(40):
        one.note_no_verdict(0.6, 0.5)
    for row in range(1, 4):
        call(one, 1.0, row, DROPPED)
    assert one.is_away
    one.note_call(10.0)
    assert one.ready_in(10.0, 1) == SLOW_PROBE
    one.note_no_verdict(10.0, 10.0)
    assert one.ready_in(10.0, 0) == 0


def test_probes_had_better_be_rows_that_never_failed_and_every_other_call_while_it_opens():
    one, wanted = away(), []
    for verdict in (DROPPED, DROPPED, DONE, DONE, DONE, DONE):
        wanted.append(one.wants_untried)
        call(one, 20.0, 1, verdict)
    assert wanted == [True, True, True, True, False, True]


def test_no_row_is_doubted_while_nothing_can_be_sent():
    one = outage()
    for row in range(3):
        call(one, 1.0, row, UNREACHED)
    assert one.is_away
    assert not one.wants_untried


def test_an_answer_to_a_row_that_failed_clears_the_others_and_one_to_another_row_does_not():
    one = away()
    call(one, 20.0, 77, DROPPED)
    call(one, 21.0, 99, DONE)
    assert [call(one, 22.0, 77, DROPPED).scope for _ in range(2)] == [Scope.ROW, Scope.SERVICE]
    call(one, 23.0, 99, DONE)
    call(one, 23.0, 1, DONE)
    assert call(one, 24.0, 77, DROPPED).scope is Scope.SERVICE


def test_those_who_fail_while_others_are_answered_do_not_shut_it_again():
    one = away(width=64)
    call(one, 20.0, 99, DONE)
    for row in (1, 2, 3):
        call(one, 21.0, row, DROPPED)
    assert one.reason == "the service is coming back"


def test_rows_that_never_failed_probe_sooner():
    one = away()
    call(one, 500.0, 77, DROPPED)
    assert one.ready_in(500.0, 0) == LONGEST_UNTRIED
    call(one, 520.0, 77, DROPPED)
    assert one.ready_in(520.0, 0) == PAUSE_GROWTH * 520


def test_of_a_service_that_never_answered_it_says_that_the_address_may_be_wrong():
    one = away(known=False)
    assert one.plan_text.startswith("it has never answered, so it is tried again for 5 min 00 s only")
    call(one, 20.0, 1, DONE)
    assert one.plan_text == "trying it again from time to time"
