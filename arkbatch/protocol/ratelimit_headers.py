"""What a server says about its own limits in the headers of an answer (`x-ratelimit-*-requests`).

OpenAI and services like it send them, Ark does not. Two kinds of server write the same names: one whose minute
ends at a moment, so that `remaining` is all there is until `reset`, and one whose allowance flows back all the time,
so that `reset` is when it is full again. The second kind is known by its arithmetic, see `_flows_back`.
"""

import re
from collections.abc import Mapping

REMAINING = "x-ratelimit-remaining-requests"
RESET = "x-ratelimit-reset-requests"
LIMIT = "x-ratelimit-limit-requests"

PERIODS = (60.0, 86_400.0)  # limits are kept by the minute or by the day
MAX_DIGITS = 15  # of a count that is believed
LONGEST_RESET = 3600.0  # s; what lies further away is learnt from refusals, not believed in advance

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "": 1.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|)")


def requests_allowed(headers: Mapping[str, str]) -> tuple[int, float] | None:
    """Return how many more calls are allowed within how many seconds; None if the headers do not say so clearly."""
    said = headers.get(REMAINING)
    if said is None:
        return None
    remaining, reset = _whole_count(said), seconds_of(headers.get(RESET, ""))
    if remaining is None or reset is None or not 0 < reset <= LONGEST_RESET:
        return None
    limit = _whole_count(headers.get(LIMIT, ""))
    return (limit if limit and _flows_back(limit, remaining, reset) else remaining), reset


def seconds_of(text: str) -> float | None:
    """Return the seconds of `1s`, `6m0s`, `120ms` or `17`; None for anything else, such as a date."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _flows_back(limit: int, remaining: int, reset: float) -> bool:
    """Whether the used calls become free evenly until `reset`, so that the whole `limit` fits into that time."""
    return any(abs(reset - (limit - remaining) * period / limit) <= 0.05 * reset + 0.001 for period in PERIODS)


def _whole_count(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) <= MAX_DIGITS else None
