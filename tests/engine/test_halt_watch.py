"""Which refusal ends the run, and which fails its row."""

from arkbatch.core.calls import Again, Cause, Confirm, Done, Halt, Kind, Refused
from arkbatch.engine.halt_watch import ROWS_REFUSED_TO_HALT, EndedCall, HaltWatch

REFUSED_KEY = Halt(Cause(Kind.AUTH, "invalid_api_key", "no", "check the key"), Confirm.AFTER_ANSWERS)
NO_QUOTA = Halt(Cause(Kind.BILLING, "insufficient_quota", "no", "recharge"), Confirm.AFTER_A_WHILE)
PAGE = Halt(Cause(Kind.DENIED, "http_403", "no", "see the firewall"), Confirm.SEVERAL_ROWS)
ANSWER = Done({"input": 1, "output": 1})


def call(row, now=None, sent_at=None, **more):
    now = float(row) if now is None else now
    return EndedCall(row, "m", now, now if sent_at is None else sent_at, **more)


def test_a_refused_key_halts_at_once_where_nothing_was_answered():
    assert isinstance(HaltWatch().weigh_verdict(call(1), REFUSED_KEY), Halt)


def test_among_answers_it_fails_its_row_and_halts_after_three_rows_in_a_row():
    watch = HaltWatch()
    watch.weigh_verdict(call(1), ANSWER)
    verdicts = [watch.weigh_verdict(call(row), REFUSED_KEY) for row in (2, 3, 4)]
    assert [type(each) for each in verdicts] == [Refused, Refused, Halt]
    assert "3 rows in a row" in verdicts[-1].cause.message


def test_answers_between_refusals_are_no_row():
    watch = HaltWatch(has_answered=True)
    for row in range(1, 40, 2):
        assert isinstance(watch.weigh_verdict(call(row), REFUSED_KEY), Refused)
        watch.weigh_verdict(call(row + 1), ANSWER)


def test_an_answer_to_an_older_call_does_not_break_a_row_of_refusals():
    watch = HaltWatch(has_answered=True)
    watch.weigh_verdict(call(2), REFUSED_KEY)
    watch.weigh_verdict(call(3), REFUSED_KEY)
    watch.weigh_verdict(call(1, now=3.5, sent_at=1.0), ANSWER)
    assert isinstance(watch.weigh_verdict(call(4), REFUSED_KEY), Halt)


def test_older_calls_under_way_may_still_be_answered_so_they_are_waited_for():
    watch = HaltWatch(has_answered=True)
    slow = {"in_flight": 8, "oldest_in_flight": 0.5}
    assert all(isinstance(watch.weigh_verdict(call(row, **slow), REFUSED_KEY), Refused) for row in range(1, 10))
    assert isinstance(watch.weigh_verdict(call(10), REFUSED_KEY), Halt)


def test_a_firewalls_page_for_the_first_row_fails_that_row():
    assert isinstance(HaltWatch().weigh_verdict(call(1), PAGE), Refused)


def test_the_same_row_again_and_again_is_one_row():
    watch = HaltWatch(has_answered=True)
    assert all(isinstance(watch.weigh_verdict(call(7, now=float(now)), REFUSED_KEY), Refused) for now in range(5))


def test_a_missing_quota_is_tried_once_more_before_any_answer():
    watch = HaltWatch()
    first = watch.weigh_verdict(call(1, now=0.0), NO_QUOTA)
    assert (type(first), first.after) == (Again, 10.0)
    assert watch.weigh_verdict(call(2, now=1.0, sent_at=0.0), NO_QUOTA).after == 9.0  # under way before
    assert isinstance(watch.weigh_verdict(call(1, now=11.0, sent_at=10.0), NO_QUOTA), Halt)


def test_a_missing_quota_after_answers_is_waited_out_twice():
    watch = HaltWatch(has_answered=True)
    waits = [watch.weigh_verdict(call(1, now=at, sent_at=at), NO_QUOTA) for at in (0.0, 60.0, 180.0)]
    assert [getattr(each, "after", None) for each in waits] == [60.0, 120.0, None]
    assert isinstance(waits[-1], Halt)


def test_an_answer_shows_that_the_quota_was_a_limit_of_the_minute():
    watch = HaltWatch(has_answered=True)
    watch.weigh_verdict(call(1, now=0.0), NO_QUOTA)
    watch.weigh_verdict(call(1, now=61.0), ANSWER)
    assert watch.weigh_verdict(call(2, now=100.0), NO_QUOTA).after == 60.0


def test_twenty_refused_parameters_in_a_row_halt_and_moderation_never_does():
    watch = HaltWatch(has_answered=True)
    wrong, blocked = (Refused(Cause(kind, "c", "no")) for kind in (Kind.INVALID_REQUEST, Kind.BLOCKED))
    verdicts = [watch.weigh_verdict(call(row), wrong) for row in range(1, ROWS_REFUSED_TO_HALT + 1)]
    assert [isinstance(each, Halt) for each in verdicts] == [False] * (ROWS_REFUSED_TO_HALT - 1) + [True]
    assert all(watch.weigh_verdict(call(row), blocked) is blocked for row in range(100, 200))
