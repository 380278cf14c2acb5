"""Places by name for the hours of a run, from the time zone database.

A place left out is this machine's own clock, as it is set when it is asked.
"""

import datetime as dt
import re
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from arkbatch.core.errors import UsageError
from arkbatch.core.job_sections import Schedule
from arkbatch.core.schedule import ALWAYS, Due, Hours, read_due, read_window

_OFFSET = re.compile(r"(?:UTC)?([+-])(\d{1,2}):?(\d{2})?")


def hours_of(schedule: Schedule) -> Hours | None:
    """The hours in which calls may go, None for all. UsageError: no such place is known."""
    if schedule.window is None or schedule.window == ALWAYS:
        return None
    opens, closes, place = read_window(schedule.window)
    return Hours(opens, closes, zone_of(place))


def due_of(schedule: Schedule) -> Due | None:
    """When it is to be done, by the clock of the window unless a place is named. UsageError: none is known by it."""
    if schedule.finish_by is None:
        return None
    day, time, place = read_due(schedule.finish_by)
    hours = hours_of(schedule)
    return Due(time, day, zone_of(place) if place or hours is None else hours.zone)


def zone_of(place: str) -> dt.tzinfo | None:
    """`Asia/Shanghai`, `UTC`, `+08:00`; None for "", which is here."""
    if not place:
        return None
    if place.upper() in {"UTC", "Z"}:
        return dt.UTC
    if offset := _OFFSET.fullmatch(place):
        minutes = int(offset[2]) * 60 + int(offset[3] or 0)
        if minutes < 24 * 60:
            return dt.timezone(dt.timedelta(minutes=minutes if offset[1] == "+" else -minutes))
    try:
        return ZoneInfo(place)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"{place} is no place that this machine knows the time of: {_zone_advice(place)}") from None


def _zone_advice(place: str) -> str:
    known = available_timezones()
    if not known:
        return "it has no time zone database, so pip install tzdata, or write an offset such as +08:00"
    same = sorted(name for name in known if name.rpartition("/")[2].lower() == place.rpartition("/")[2].lower())
    return f"did you mean {same[0]}?" if same else "write it as in Asia/Shanghai, as UTC or as +08:00"
