"""Whether a run will be done in time is said early, rightly, and not again and again."""

import datetime as dt
import math

import pytest

from arkbatch.core.schedule import Hours
from arkbatch.monitor.deadline import Deadline, DeadlineOutlook, SpeedUpOptions, describe_outlook, suggest_speed_up

BEGAN = dt.datetime(2026, 11, 21, 22, 0, tzinfo=dt.UTC).timestamp()
HOUR = 3600.0


def followed(deadline, rate, total, *, seconds=2 * HOUR, step=10.0, call_seconds=1.0):
    """(seconds, outlook) of all that was said, at `rate(worked)` rows a second."""
    said, rows, worked = [], 0.0, 0.0
    while worked < seconds and rows < total:
        worked += step
        rows = min(total, rows + step * rate(worked))
        outlook = deadline.check_outlook(BEGAN + worked, worked, int(rows), total - int(rows), call_seconds)
        if outlook is not None:
            said.append((worked, outlook))
    return said


def test_a_run_that_is_too_slow_is_said_to_be_late_after_two_minutes_and_once():
    said = followed(Deadline(BEGAN + 10 * HOUR), lambda _: 1.0, 72_000)
    [(worked, outlook)] = said
    assert worked == 120
    assert outlook.is_late
    assert outlook.done_at == pytest.approx(BEGAN + 20 * HOUR, abs=1)
    assert outlook.unfinished == pytest.approx(36_000, abs=1)
    assert outlook.faster == pytest.approx(2.0, abs=0.01)


def test_a_run_that_is_quick_enough_is_said_to_be_in_time_once():
    [(worked, outlook)] = followed(Deadline(BEGAN + 10 * HOUR), lambda _: 1.0, 30_000)
    assert (worked, outlook.is_late, outlook.unfinished) == (120, False, 0)


def test_a_run_that_slows_down_is_said_to_be_late_when_it_is_clear():
    said = followed(Deadline(BEGAN + 10 * HOUR), lambda worked: 1.0 if worked < HOUR else 0.5, 30_000)
    assert [outlook.is_late for _, outlook in said] == [False, True]
    assert HOUR < said[1][0] < HOUR + 900


def test_a_rate_that_wavers_about_what_is_needed_does_not_waver_in_words():
    said = followed(Deadline(BEGAN + 10 * HOUR), lambda worked: 1.0 + 0.02 * math.sin(worked / 300), 36_000)
    assert len(said) == 1


def test_a_rate_that_climbs_is_waited_for():
    """As at Ark: from ten calls a second by one percent a second to two hundred."""
    said = followed(Deadline(BEGAN + 2 * HOUR), lambda worked: min(200.0, 10 * 1.01**worked), 1_200_000)
    [(worked, outlook)] = said
    assert not outlook.is_late
    assert 300 < worked < 1200


def test_calls_that_take_half_an_hour_are_waited_for():
    """A hundred rows end together every half hour."""
    rate = lambda worked: 10.0 if worked % 1800 == 0 else 0.0  # noqa: E731
    said = followed(Deadline(BEGAN + 10 * HOUR), rate, 10_000, seconds=8 * HOUR, call_seconds=1800.0)
    assert [outlook.is_late for _, outlook in said] == [True]
    assert said[0][0] >= HOUR


def test_rows_that_end_seldom_are_judged_after_a_window():
    said = followed(Deadline(BEGAN + 10 * HOUR), lambda _: 0.01, 1000)
    assert [(worked, outlook.is_late) for worked, outlook in said] == [(600, True)]


def test_only_the_hours_in_which_calls_may_go_count():
    night = Hours(dt.time(22), dt.time(8), dt.UTC)
    due = BEGAN + 34 * HOUR  # the morning after the next: two nights of ten hours
    assert not followed(Deadline(due, night), lambda _: 1.0, 71_000)[0][1].is_late
    late = followed(Deadline(due, night), lambda _: 1.0, 73_000)[0][1]
    assert late.is_late
    assert late.done_at == pytest.approx(due + 14 * HOUR + 1000, abs=1)


def test_what_was_due_before_it_began_is_late_by_all_rows():
    [(_, outlook)] = followed(Deadline(BEGAN - HOUR), lambda _: 1.0, 10_000)
    assert (outlook.is_late, outlook.faster) == (True, math.inf)
    assert outlook.unfinished == 9_990


def test_a_time_that_passes_before_anything_is_known_is_told_as_it_passes():
    said_of_it = followed(Deadline(BEGAN + 60), lambda _: 1.0, 10_000, seconds=100)
    [(worked, outlook)] = said_of_it
    assert worked == 60
    assert describe_outlook(outlook, BEGAN + 60, dt.UTC) == "late: it was due by 22:01 UTC, with 9,940 rows to go"


def test_time_in_which_nothing_goes_makes_it_later():
    deadline = Deadline(BEGAN + 10 * HOUR)
    assert [outlook.is_late for _, outlook in followed(deadline, lambda _: 1.0, 30_000, seconds=600)] == [False]
    assert deadline.check_outlook(BEGAN + HOUR, 600.0, 600, 29_400) is None
    late = deadline.check_outlook(BEGAN + 3 * HOUR, 600.0, 600, 29_400)
    assert (late.is_late, late.done_at) == (True, BEGAN + 3 * HOUR + 29_400)


def test_the_window_stays_small_through_a_long_night():
    deadline = Deadline(BEGAN + 10 * HOUR)
    followed(deadline, lambda _: 1.0, 10**9, seconds=9 * HOUR, step=1.0)
    assert len(deadline._looks) < 50


def outlook(**changes):
    given = {"is_late": True, "done_at": BEGAN + 12 * HOUR, "due": BEGAN + 10 * HOUR, "unfinished": 7200, "faster": 1.2}
    return DeadlineOutlook(**given | changes)


def test_a_late_run_is_told_by_how_much_and_with_what_is_left():
    assert describe_outlook(outlook(), BEGAN, dt.UTC) == (
        "will be late by 2 h 00 min: done at about 10:00 UTC, due by 08:00 UTC, with 7,200 rows to go"
    )
    assert describe_outlook(outlook(is_late=False, done_at=BEGAN + HOUR), BEGAN, dt.UTC) == (
        "will be in time: done at about 23:00 UTC, due by 08:00 UTC"
    )


@pytest.mark.parametrize(
    ("means", "helps"),
    [
        (SpeedUpOptions("concurrency", 32), "raise concurrency from 32 to about 39; send fewer rows (--limit)"),
        (SpeedUpOptions("requests", 32, rpm=600.0), "raise rpm from 600 to about 720; send fewer rows (--limit)"),
        (
            SpeedUpOptions("tokens", 32, tpm=812_345.0),
            "raise tpm from 812345 to about 980000; send fewer rows (--limit)",
        ),
        (
            SpeedUpOptions("requests", 32, rpm=600.0, run_dir="a.run"),
            "raise rpm from 600 to about 720 (arkbatch ctl a.run set rpm=720); send fewer rows (--limit)",
        ),
        (SpeedUpOptions("input", 32), "send fewer rows (--limit)"),
        (
            SpeedUpOptions("server", 32, other_lane=True),
            (
                "the service grants no more: ask it for a higher limit, or share the rows among models; "
                "the batch lane has limits of its own, at half the price (--lane batch); send fewer rows (--limit)"
            ),
        ),
    ],
)
def test_what_would_help_is_what_holds_it_back(means, helps):
    assert suggest_speed_up(outlook(), means) == helps


def test_when_no_time_is_left_nothing_helps():
    assert not suggest_speed_up(outlook(faster=math.inf), SpeedUpOptions("requests", 32, rpm=600.0))
