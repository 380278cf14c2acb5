"""Windows of time by the clocks of a place, also in the nights in which these are changed."""

import datetime as dt
import os
import time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arkbatch.core.schedule import Due, Hours, clock_text, moment_of, read_due, read_window

SHANGHAI, NEW_YORK, LORD_HOWE = ZoneInfo("Asia/Shanghai"), ZoneInfo("America/New_York"), ZoneInfo("Australia/Lord_Howe")
HOUR = 3600.0


def at(text, zone=SHANGHAI, fold=0):
    return dt.datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def hours(text, zone=SHANGHAI):
    opens, closes, _ = read_window(text)
    return Hours(opens, closes, zone)


@pytest.mark.parametrize(
    ("window", "now", "is_open", "change"),
    [
        ("22:00-08:00", "2026-11-21T21:59", False, "2026-11-21T22:00"),
        ("22:00-08:00", "2026-11-21T22:00", True, "2026-11-22T08:00"),
        ("22:00-08:00", "2026-11-22T00:00", True, "2026-11-22T08:00"),
        ("22:00-08:00", "2026-11-22T07:59", True, "2026-11-22T08:00"),
        ("22:00-08:00", "2026-11-22T08:00", False, "2026-11-22T22:00"),
        ("09:30-17:00", "2026-11-22T09:29", False, "2026-11-22T09:30"),
        ("09:30-17:00", "2026-11-22T12:00", True, "2026-11-22T17:00"),
        ("09:30-17:00", "2026-11-22T17:00", False, "2026-11-23T09:30"),
        ("00:00-08:00", "2026-11-22T00:00", True, "2026-11-22T08:00"),
        ("22:00-24:00", "2026-11-22T23:59", True, "2026-11-23T00:00"),
        ("08:01-08:00", "2026-11-22T08:00", False, "2026-11-22T08:01"),
    ],
)
def test_a_window_is_open_from_its_first_time_of_day_to_its_last(window, now, is_open, change):
    found = hours(window)
    assert found.is_open(at(now)) is is_open
    assert found.changes_at(at(now)) == at(change)


@pytest.mark.parametrize(
    ("zone", "window", "day", "length"),
    [
        (NEW_YORK, "22:00-08:00", "2026-03-07", 9),  # the clocks go forward in this night
        (NEW_YORK, "22:00-08:00", "2026-10-31", 11),  # and back in this one
        (NEW_YORK, "22:00-08:00", "2026-11-01", 10),
        (NEW_YORK, "22:00-02:30", "2026-03-07", 4.5),  # 02:30 is left out: as long after midnight as ever
        (NEW_YORK, "02:30-08:00", "2026-03-08", 4.5),
        (NEW_YORK, "22:00-01:30", "2026-10-31", 3.5),  # 01:30 comes twice: the first is meant
        (NEW_YORK, "01:30-08:00", "2026-11-01", 7.5),
        (LORD_HOWE, "22:00-08:00", "2026-10-03", 9.5),  # half an hour forward
        (SHANGHAI, "22:00-08:00", "2026-03-07", 10),
    ],
)
def test_a_night_in_which_the_clocks_change_has_one_window(zone, window, day, length):
    found = hours(window, zone)
    opens = moment_of(dt.date.fromisoformat(day), found.opens, zone)
    assert not found.is_open(opens - 1)
    assert found.is_open(opens)
    assert found.changes_at(opens) == opens + length * HOUR
    assert not any(found.is_open(opens + length * HOUR + after) for after in (0, 600, 1800, 3600))


def test_a_time_of_day_that_is_left_out_opens_an_hour_later_by_the_new_clock():
    now = at("2026-03-08T01:00", NEW_YORK)
    assert clock_text(hours("02:30-08:00", NEW_YORK).changes_at(now), now, NEW_YORK) == "03:30 America/New_York"


def test_a_window_that_a_change_of_the_clocks_swallows_is_not_there_on_that_day():
    found = hours("02:30-03:15", NEW_YORK)
    now = at("2026-03-08T00:00", NEW_YORK)
    assert found.changes_at(now) == at("2026-03-09T02:30", NEW_YORK)


def test_two_windows_that_a_change_of_the_clocks_lets_overlap_are_one():
    """On that day 02:45 is at the moment of 03:45, when the next one has begun."""
    found, now = hours("03:15-02:45", NEW_YORK), at("2026-03-08T01:00", NEW_YORK)
    assert found.is_open(now)
    assert found.changes_at(now) == at("2026-03-09T02:45", NEW_YORK)
    assert found.open_seconds(now, now + 4 * HOUR) == 4 * HOUR


def test_without_a_place_the_clock_of_the_machine_counts(monkeypatch):
    monkeypatch.setitem(os.environ, "TZ", "America/New_York")
    time.tzset()
    try:
        here = hours("22:00-08:00", None)
        there = hours("22:00-08:00", NEW_YORK)
        for day in (dt.date(2026, 3, 7), dt.date(2026, 10, 31), dt.date(2026, 7, 1)):
            for hour in range(0, 48, 3):
                now = moment_of(day, dt.time(), NEW_YORK) + hour * HOUR
                assert (here.is_open(now), here.changes_at(now)) == (there.is_open(now), there.changes_at(now))
    finally:
        monkeypatch.undo()
        time.tzset()


minutes = st.integers(0, 24 * 60 - 1)
moments = st.integers(int(at("2026-01-01T00:00")), int(at("2028-01-01T00:00")))


@given(minutes, minutes, moments, st.sampled_from([SHANGHAI, NEW_YORK, LORD_HOWE]))
def test_what_is_said_of_now_holds_until_it_is_said_to_change_and_not_longer(opens, closes, now, zone):
    if opens == closes:
        return
    found = Hours(dt.time(*divmod(opens, 60)), dt.time(*divmod(closes, 60)), zone)
    change = found.changes_at(now)
    assert now < change <= now + 50 * HOUR
    assert found.is_open((now + change) / 2) == found.is_open(now)
    assert found.is_open(change) != found.is_open(now)


@given(minutes, minutes, moments, st.floats(1.0, 10 * 24 * HOUR))
def test_so_much_work_is_done_when_the_window_was_open_for_so_long(opens, closes, now, seconds):
    if opens == closes:
        return
    found = Hours(dt.time(*divmod(opens, 60)), dt.time(*divmod(closes, 60)), NEW_YORK)
    # What takes longer than a minute's window allows in a year is not asked here.
    seconds = min(seconds, found.open_seconds(now, now + 30 * 24 * HOUR))
    if seconds > 1:
        assert found.open_seconds(now, found.moment_after(now, seconds)) == pytest.approx(seconds, abs=0.001)


@pytest.mark.parametrize(
    ("said", "begin", "due"),
    [
        ("08:00", "2026-11-21T22:00", "2026-11-22T08:00"),
        ("08:00", "2026-11-22T07:59", "2026-11-22T08:00"),
        ("08:00", "2026-11-22T08:00", "2026-11-23T08:00"),
        ("2026-11-25 08:00", "2026-11-21T22:00", "2026-11-25T08:00"),
        ("2026-11-20T08:00", "2026-11-21T22:00", "2026-11-20T08:00"),
    ],
)
def test_a_time_to_be_done_is_the_next_one_or_that_of_its_day(said, begin, due):
    day, time_of_day, _ = read_due(said)
    assert Due(time_of_day, day, SHANGHAI).first_moment_after(at(begin)) == at(due)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("22:00-08:00", (dt.time(22), dt.time(8), "")),
        (" 9:30 – 17:00  Europe/Berlin ", (dt.time(9, 30), dt.time(17), "Europe/Berlin")),
        ("20:00-24:00", (dt.time(20), dt.time(0), "")),
    ],
)
def test_a_window_is_read(text, read):
    assert read_window(text) == read


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("at night", "is not a window: write it as 22:00-08:00"),
        ("22-8", "is not a window"),
        ("25:00-08:00", "25:00 is not a time of day"),
        ("22:00-08:60", "08:60 is not a time of day"),
        ("08:00-08:00", 'for the whole day write "always"'),
        ("00:00-24:00", 'for the whole day write "always"'),
    ],
)
def test_what_is_no_window_is_said_to_be_none(text, said):
    with pytest.raises(ValueError, match=said):
        read_window(text)


@pytest.mark.parametrize("text", ["tomorrow", "8", "2026-13-01 08:00", "2026-11-22"])
def test_what_is_no_time_is_said_to_be_none(text):
    with pytest.raises(ValueError, match=r"is not a time|month must be"):
        read_due(text)


def test_a_far_moment_is_shown_with_its_date():
    now = at("2026-11-21T22:00")
    assert clock_text(at("2026-11-22T08:00"), now, SHANGHAI) == "08:00 Asia/Shanghai"
    assert clock_text(at("2026-11-23T08:00"), now, SHANGHAI) == "2026-11-23 08:00 Asia/Shanghai"
