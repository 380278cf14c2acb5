"""The hours in which calls may be sent, and the deadline of a run.

The module is pure: a moment is unix seconds, a place is a `tzinfo`, or None for the clock of this machine. A time of
day is interpreted as in RFC 5545 (3.3.5): if a clock change skips it, it counts in hours from midnight; if it comes
twice, the first one is meant. So each day has one window, an hour longer or shorter where the clocks change. The
engine decides what a run does outside its hours (`engine.run_hours`).
"""

import datetime as dt
import math
import re
from collections.abc import Iterator

from msgspec import Struct

ALWAYS = "always"
_TIME = r"(\d{1,2}):(\d{2})"
_WINDOW = re.compile(rf"{_TIME}\s*[-–—]\s*{_TIME}(?:\s+(\S+))?")
_MOMENT = re.compile(rf"(?:(\d{{4}}-\d{{2}}-\d{{2}})[T\s]+)?{_TIME}(?:\s+(\S+))?")
_DAY = dt.timedelta(days=1)
_NEAR = 20 * 3600.0  # seconds; a time of day within them needs no date


class Hours(Struct, frozen=True):
    """The hours of every day in which calls may be sent.

    closes: on the next day when it is not after `opens`
    """

    opens: dt.time
    closes: dt.time
    zone: dt.tzinfo | None = None

    def is_open(self, now: float) -> bool:
        return any(opens <= now < closes for opens, closes in self._merged_windows(now, 1))

    def changes_at(self, now: float) -> float:
        """Return the next moment when `is_open` changes."""
        return min(moment for window in self._merged_windows(now, 3) for moment in window if moment > now)

    def open_seconds(self, begin: float, end: float) -> float:
        """Return how many seconds between two moments are within the hours."""
        days = int((end - begin) // 86_400) + 2
        return sum(
            max(0.0, min(closes, end) - max(opens, begin)) for opens, closes in self._merged_windows(begin, days)
        )

    def moment_after(self, now: float, seconds: float) -> float:
        """Return the moment by which the hours have been open for so many seconds."""
        for opens, closes in self._merged_windows(now, None):
            seconds -= (room := max(0.0, closes - max(opens, now)))
            if seconds <= 0 < room:
                return closes + seconds
        raise AssertionError("days do not end")

    def _merged_windows(self, now: float, days: int | None) -> Iterator[tuple[float, float]]:
        """Yield the windows of some days; two that overlap after a clock change become one."""
        opens = closes = -math.inf
        for next_opens, next_closes in self._daily_windows(now, days):
            if next_opens <= closes:
                closes = next_closes
                continue
            if closes > opens:
                yield opens, closes
            opens, closes = next_opens, next_closes
        yield opens, closes

    def _daily_windows(self, now: float, days: int | None) -> Iterator[tuple[float, float]]:
        """Yield the windows that begin from yesterday on; `days` None: without an end."""
        day = dt.datetime.fromtimestamp(now, self.zone).date() - _DAY
        over_night = _DAY if self.closes <= self.opens else dt.timedelta()
        number = 0
        while days is None or number <= days:
            window = moment_of(day, self.opens, self.zone), moment_of(day + over_night, self.closes, self.zone)
            if window[0] < window[1]:  # a change of the clocks can swallow a short one
                yield window
            day, number = day + _DAY, number + 1


class Due(Struct, frozen=True):
    """The deadline of a run: a time of day, today or on a date."""

    time: dt.time
    day: dt.date | None = None
    zone: dt.tzinfo | None = None

    def first_moment_after(self, begin: float) -> float:
        """Return the moment that is meant when the time was given at `begin`."""
        if self.day is not None:
            return moment_of(self.day, self.time, self.zone)
        today = dt.datetime.fromtimestamp(begin, self.zone).date()
        days = (today + _DAY * number for number in range(3))
        return next(moment for day in days if (moment := moment_of(day, self.time, self.zone)) > begin)


def moment_of(day: dt.date, time: dt.time, zone: dt.tzinfo | None) -> float:
    return dt.datetime.combine(day, time, zone).timestamp()


def clock_text(moment: float, now: float, zone: dt.tzinfo | None) -> str:
    """Return a moment as local clock time, with the date when it is not near."""
    shown = dt.datetime.fromtimestamp(moment, zone)
    text = f"{shown:%H:%M}" if abs(moment - now) < _NEAR else f"{shown:%Y-%m-%d %H:%M}"
    return text if zone is None else f"{text} {zone}"


def read_window(text: str) -> tuple[dt.time, dt.time, str]:
    """Parse hours such as `22:00-08:00 Asia/Shanghai` into start, end and time zone name.

    The name is "" for this machine's zone. Raises ValueError for any other text.
    """
    found = _WINDOW.fullmatch(text.strip())
    if found is None:
        raise ValueError(f'window = "{text}" is not a window: write it as 22:00-08:00 or 22:00-08:00 Asia/Shanghai')
    opens, closes = _parse_time(found[1], found[2]), _parse_time(found[3], found[4])
    if opens == closes:
        raise ValueError(f'window = "{text}" begins when it ends: for the whole day write "{ALWAYS}"')
    return opens, closes, found[5] or ""


def read_due(text: str) -> tuple[dt.date | None, dt.time, str]:
    """Parse `08:00` or `2026-11-22 08:00`, each with an optional time zone name behind it.

    Raises ValueError for any other text.
    """
    found = _MOMENT.fullmatch(text.strip())
    if found is None:
        raise ValueError(
            f'finish_by = "{text}" is not a time: write it as 08:00, as 2026-11-22 08:00, or as 08:00 Asia/Shanghai'
        )
    return dt.date.fromisoformat(found[1]) if found[1] else None, _parse_time(found[2], found[3]), found[4] or ""


def _parse_time(hours: str, minutes: str) -> dt.time:
    if (hours, minutes) == ("24", "00"):
        return dt.time()
    try:
        return dt.time(int(hours), int(minutes))
    except ValueError:
        raise ValueError(f"{hours}:{minutes} is not a time of day: hours go from 00:00 to 24:00") from None
