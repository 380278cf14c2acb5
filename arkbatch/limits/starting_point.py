"""What is known of the limits before the first call.

Given limits are ceilings; published and remembered ones are only where the search begins, since an account may have
been given more, and other users may have come. Nothing here knows what happens after the first call.
"""

import math

from msgspec import Struct

from arkbatch.limits.search_curve import BEGIN, QUICKEST, SLOWEST, SearchCurve

USER_MARGIN = 0.995  # of a given rate, so that a call which is a little late stays inside every minute
FRESH_SECONDS = 600.0  # a limit found so lately is still the limit, and traffic at it no steep rise
FORGOTTEN_SECONDS = 7 * 86_400.0
PUBLISHED_BEGIN = 0.9  # Ark's advice is to use 80 to 90 % of it
FIRST_WIDTH = 12  # calls at once to a server that we do not know


class StartingPoint(Struct, frozen=True):
    """Where the pace stands. None: nothing holds it back so far."""

    rpm: float | None
    concurrency: int | None


class Start(Struct, frozen=True):
    """The calls a minute that the service publishes for a model; None where it publishes none."""

    rpm: float | None = None


class Ramp(Struct, frozen=True):
    """How steeply traffic may begin: Ark's own advice is 10 calls a second, then +5 to 10 % every 10 seconds."""

    start_rpm: float = 600.0
    growth: float = 0.01  # a second
    early_growth: float = 0.05  # a second, below `start_rpm`

    def allowed(self, per_second: float, seconds: float) -> float:
        """How many calls a second there may be after so many seconds."""
        growth = self.early_growth if per_second * 60 < self.start_rpm else self.growth
        return per_second * (1.0 + growth * seconds)


class Memory(Struct, frozen=True):
    """What a session found, kept in the run directory for the next. `age` is in seconds, set by who loads it."""

    rpm: float | None = None
    concurrency: int | None = None
    age: float = 0.0

    @property
    def is_fresh(self) -> bool:
        return self.age <= FRESH_SECONDS

    @property
    def if_not_forgotten(self) -> "Memory":
        return self if self.age <= FORGOTTEN_SECONDS else Memory()

    @property
    def patience(self) -> float:
        """Seconds of the search for more: what is an hour old is tried seven times as soon as what is fresh."""
        return max(QUICKEST, SLOWEST / (1.0 + self.age / FRESH_SECONDS))


def first_rate(rate: float | None, ramp: Ramp | None, start: Start | None, memory: Memory) -> tuple[SearchCurve, str]:
    """Calls a second to begin with, and why; `rate` is what the user gave, a minute."""
    most = math.inf if rate is None else rate / 60 * USER_MARGIN
    base, begin, reason = math.inf, most, "no limit met so far"
    if memory.rpm is not None:
        base, begin = memory.rpm / 60, memory.rpm / 60 * BEGIN
        reason = f"an earlier session found {memory.rpm:.0f} calls a minute"
    elif start is not None and start.rpm is not None:
        base, begin = start.rpm / 60, start.rpm / 60 * PUBLISHED_BEGIN
        reason = f"{start.rpm:.0f} calls a minute are published for the model"
    if ramp is not None and not (memory.rpm is not None and memory.is_fresh):
        begin = min(begin, ramp.start_rpm / 60)
    return SearchCurve(begin, base=min(base, most), most=most, patience=memory.patience), reason


def first_width(concurrency: int, memory: Memory) -> SearchCurve:
    """Calls at once to begin with."""
    base, begin = math.inf, float(FIRST_WIDTH)
    if memory.concurrency is not None:
        base = begin = float(min(memory.concurrency, concurrency))
    return SearchCurve(begin, base=base, most=concurrency, step=1.0, patience=memory.patience)
