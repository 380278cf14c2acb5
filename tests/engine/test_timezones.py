"""Places by name, as a window or a time to be done by has them."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from arkbatch.core.errors import UsageError
from arkbatch.core.job_sections import Schedule
from arkbatch.engine import timezones as zones
from arkbatch.engine.timezones import due_of, hours_of, zone_of


@pytest.mark.parametrize(
    ("place", "zone"),
    [
        ("", None),
        ("UTC", dt.UTC),
        ("Asia/Shanghai", ZoneInfo("Asia/Shanghai")),
        ("+08:00", dt.timezone(dt.timedelta(hours=8))),
        ("UTC-3", dt.timezone(dt.timedelta(hours=-3))),
    ],
)
def test_a_place_is_found(place, zone):
    assert zone_of(place) == zone


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("Shanghai", "did you mean Asia/Shanghai?"),
        ("Beijing", "write it as in Asia/Shanghai"),
        ("Asia", "write it as in"),
        ("../../etc/passwd", "write it as in"),
        ("+99:00", "write it as in"),
    ],
)
def test_a_place_that_nobody_knows_is_said_to_be_so(place, said):
    with pytest.raises(UsageError) as caught:
        zone_of(place)
    assert said in str(caught.value)


def test_a_machine_without_a_database_is_told_what_to_do(monkeypatch):
    monkeypatch.setattr(zones, "available_timezones", set)
    with pytest.raises(UsageError, match="pip install tzdata"):
        zone_of("Asia/Nowhere")


def test_the_time_to_be_done_goes_by_the_clock_of_the_window_unless_it_names_a_place():
    def zone(window, finish_by):
        return due_of(Schedule(window, finish_by)).zone

    assert zone("22:00-08:00 Asia/Shanghai", "08:00") == ZoneInfo("Asia/Shanghai")
    assert zone("22:00-08:00 Asia/Shanghai", "08:00 UTC") == dt.UTC
    assert zone(None, "08:00") is None
    assert zone("always", "08:00") is None
    assert hours_of(Schedule("always")) is None
    assert due_of(Schedule()) is None
