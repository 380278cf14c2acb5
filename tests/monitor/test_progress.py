import pytest

from arkbatch.monitor.progress import Progress, RowRate, seconds_left

LOOK = {"total": 610, "failed": 0, "left": 600, "in_flight": 1, "retried": 0, "recorded": 10, "seconds": 60.0}
LOOK |= {"rows_per_minute": 60.0, "rpm": 60.0, "tpm": 6_000.0}


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({}, 600),
        ({"rpm_limit": 30.0}, 1_200),
        ({"rpm_limit": 3_000.0}, 600),
        ({"tpm_limit": 1_000.0}, 3_600),
        ({"left": 0}, 0),
        ({"recorded": 0}, None),
        ({"rows_per_minute": 0.0}, None),
        ({"tpm_limit": 1_000.0, "rpm": 0.0}, 600),
    ],
)
def test_the_time_left_is_the_slowest_of_pace_and_limits(changes, seconds):
    assert seconds_left(Progress(**(LOOK | changes))) == seconds


def test_rows_a_minute_are_those_of_the_last_minute():
    recent = RowRate(0.0)
    assert recent.rows_per_minute(0.0, 0) == 0.0
    assert recent.rows_per_minute(30.0, 50) == 100.0
    for second in range(60, 200, 10):
        rate = recent.rows_per_minute(second, 50 + second - 30)
    assert rate == pytest.approx(60.0)


def test_looking_twice_a_second_for_a_night_needs_no_more_memory():
    recent = RowRate(0.0)
    for half in range(20_000):
        recent.rows_per_minute(half / 2, half)
    assert len(recent._looks) < 130
