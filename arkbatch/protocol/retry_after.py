"""How long a reply asks to wait, in all the forms that servers use.

Seconds, decimals, milliseconds by the header's name, durations (`1m2s`, `2.6s`), HTTP dates, ISO times, epochs in
seconds and milliseconds, and the same in the words of a message. Negative numbers, NaN and what lies years away say
nothing. Of two answers the longer one counts. Dates are compared with the server's clock where it tells its own.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from arkbatch.protocol.ratelimit_headers import seconds_of

MAX_MEANT_SECONDS = 366 * 86_400.0  # what lies further away is no time to wait
_MIN_EPOCH_SECONDS, _MIN_EPOCH_MILLISECONDS = 1e9, 1e12
_MAX_HEADER = 200  # characters

_HEADERS_IN_SECONDS = ("retry-after",)
_HEADERS_IN_MILLISECONDS = ("retry-after-ms", "x-ms-retry-after-ms")
_RESETS = tuple(
    (
        f"x-ratelimit-remaining-{what}" if what else "x-ratelimit-remaining",
        f"x-ratelimit-reset-{what}" if what else name,
    )
    for what, name in (("requests", ""), ("tokens", ""), ("", "x-ratelimit-reset"))
)
_UNIT = "(?:ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)"
_DURATION = rf"(\d+(?:\.\d+)?\s*{_UNIT}?(?:\s*\d+(?:\.\d+)?\s*(?:ms|s|m|h))*)"
_BEFORE_DURATION = r"(?:try|retry|again|wait)[^.\d]{0,40}?\b(?:in|after|for)|retry[_ -]?after|resets? in"
_IN_WORDS = re.compile(rf"(?:{_BEFORE_DURATION})[:\s]*{_DURATION}(?![\d-])", re.IGNORECASE)
_CLOCK_IN_WORDS = re.compile(r"\b(?:in|after|for) (\d{1,3}):([0-5]\d):([0-5]\d)\b")  # Azure's API Management
_DAY_AND_CLOCK = r"(\d{4}-\d\d-\d\d)(?: at |[ T])(\d\d:\d\d(?::\d\d(?:\.\d+)?)?)\s*(Z|UTC|GMT|[+-]\d\d:?\d\d)?"
_RESET_TIME = re.compile(
    rf"(?:reset|available|regain access|try again|until|将在|将于|于|至)[^\d]{{0,40}}{_DAY_AND_CLOCK}", re.IGNORECASE
)
_TIME = re.compile(_DAY_AND_CLOCK)
_UNIT_WORDS = (
    (re.compile(r"\s*(?:milliseconds?)"), "ms"),
    (re.compile(r"\s*(?:seconds?|secs?)"), "s"),
    (re.compile(r"\s*(?:minutes?|mins?)"), "m"),
    (re.compile(r"\s*(?:hours?|hrs?)"), "h"),
    (re.compile(r"\s*(?:days?)"), "d"),
)
_CHINA = "+08:00"


def asked_wait(headers: Mapping[str, str], field: str, message: str, wall: float) -> float | None:
    """Return the seconds that a reply asks to wait, None when it does not say.

    field: what a field of the body says, "" for nothing
    wall: unix time by the server's clock
    """
    asked = [wait_of(headers[name], wall) for name in _HEADERS_IN_SECONDS if name in headers]
    asked += [_times(wait_of(headers[name], wall), 0.001) for name in _HEADERS_IN_MILLISECONDS if name in headers]
    if field:
        asked.append(wait_of(field, wall))
    if (reset := reset_time(message)) is not None:
        asked.append(_believable(max(0.0, reset.timestamp() - wall)))
    asked += [3600.0 * int(h) + 60 * int(m) + int(s) for h, m, s in _CLOCK_IN_WORDS.findall(message)]
    message = _CLOCK_IN_WORDS.sub("", message)
    asked += [seconds_of(_short_units(found.strip())) for found in _IN_WORDS.findall(message)]
    known = [seconds for seconds in asked if seconds is not None]
    return max(known) if known else _until_reset(headers, wall)


def wait_of(value: str, wall: float) -> float | None:
    """Return the seconds that one text names, in whatever form; None when it names none."""
    value = value.strip()
    if not value or len(value) > _MAX_HEADER:
        return None
    if "," in value and not value[0].isalpha():  # two headers that a proxy joined
        waits = [seconds for part in value.split(",") if (seconds := wait_of(part, wall)) is not None]
        return max(waits, default=None)
    try:
        return _of_number(float(value), wall)
    except ValueError:
        pass
    if (seconds := seconds_of(_short_units(value))) is not None:
        return _believable(seconds)
    moment = http_date(value)
    if moment is None and (found := _TIME.search(value)) is not None:
        moment = _unix_time(found)
    return None if moment is None else _believable(max(0.0, moment - wall))


def reset_time(message: str) -> datetime | None:
    """Return the time in `... will reset at 2026-07-10 16:59:53 +0800 CST`; without a zone it is China's."""
    found = _RESET_TIME.search(message)
    if found is None or (moment := _unix_time(found)) is None:
        return None
    zone = datetime.fromisoformat(f"2000-01-01T00:00{_zone_offset(found.group(3))}").tzinfo
    return datetime.fromtimestamp(moment, zone)


def http_date(value: str) -> float | None:
    """Return the unix time of an HTTP date (RFC 9110, 5.6.7), None when it is none."""
    if not value or len(value) > _MAX_HEADER:
        return None
    try:
        date = parsedate_to_datetime(value)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _of_number(number: float, wall: float) -> float | None:
    if math.isnan(number) or number < 0:
        return None
    if math.isinf(number):
        return MAX_MEANT_SECONDS
    if number >= _MIN_EPOCH_MILLISECONDS:
        return _believable(max(0.0, number / 1000 - wall))
    if number >= _MIN_EPOCH_SECONDS:
        return _believable(max(0.0, number - wall))
    return min(number, MAX_MEANT_SECONDS)


def _until_reset(headers: Mapping[str, str], wall: float) -> float | None:
    """Return the longest reset whose allowance is used up: several limits may be told at once."""
    waits = [
        seconds
        for remaining, reset in _RESETS
        if headers.get(remaining, "").strip() in ("0", "0.0")
        and reset in headers
        and (seconds := wait_of(headers[reset], wall))
    ]
    return max(waits, default=None)


def _believable(seconds: float) -> float | None:
    return seconds if 0 <= seconds <= MAX_MEANT_SECONDS else None


def _times(seconds: float | None, factor: float) -> float | None:
    return None if seconds is None else seconds * factor


def _short_units(text: str) -> str:
    """Return `2 minutes 5 seconds` as `2m5s`."""
    for pattern, unit in _UNIT_WORDS:
        text = pattern.sub(unit, text)
    return text.replace(" ", "")


def _unix_time(found: re.Match[str]) -> float | None:
    day, clock, zone = found.groups()
    try:
        return datetime.fromisoformat(f"{day}T{clock}{_zone_offset(zone)}").timestamp()
    except (ValueError, OverflowError):
        return None


def _zone_offset(zone: str | None) -> str:
    return "+00:00" if zone and zone.upper() in ("Z", "UTC", "GMT") else zone or _CHINA
