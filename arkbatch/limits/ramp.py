"""What is known before the first call: what the user gave, the service publishes and an earlier session found.

Given limits are ceilings; published and remembered ones are only where the search begins, since an account may have
been given more, and other users may have come. Nothing here knows what happens after the first call.
"""

import math

from msgspec import Struct

from arkbatch.limits.cubic import Climb

USER_MARGIN = 0.995  # of a given rate, so that a call which is a little late stays inside every minute
FRESH, FRESH_BEGIN = 600.0, 0.95  # s; a limit found so lately is still the limit, and traffic at it no steep rise
OLD, OLD_BEGIN = 7 * 86_400.0, 0.7  # other users may have come since; after a week it is forgotten
PUBLISHED_BEGIN = 0.9  # Ark's advice is to use 80 to 90 % of it
FIRST_WIDTH = 12  # calls at once to a server that we do not know


class Start(Struct, frozen=True):
    """The calls a minute that the service publishes for a model; None where it publishes none."""

    rpm: float | None = None


class Ramp(Struct, frozen=True):
    """How steeply traffic may begin: Ark's own advice is 10 calls a second, then +5 to 10 % every 10 seconds."""

    start_rpm: float = 600.0
    growth: float = 0.01  # a second


class Memory(Struct, frozen=True):
    """What a session found, kept in the run directory for the next. `age` is in seconds, set by who loads it."""

    rpm: float | None = None
    concurrency: int | None = None
    age: float = 0.0

    @property
    def is_fresh(self) -> bool:
        return self.age <= FRESH

    @property
    def if_not_forgotten(self) -> "Memory":
        return self if self.age <= OLD else Memory()


def first_rate(rate: float | None, ramp: Ramp | None, start: Start | None, memory: Memory) -> tuple[Climb, str]:
    """Calls a second to begin with, and why; `rate` is what the user gave, a minute."""
    most = math.inf if rate is None else rate / 60 * USER_MARGIN
    ceiling, begin, reason = math.inf, most, "no limit met so far"
    if memory.rpm is not None:
        ceiling, begin = memory.rpm / 60, memory.rpm / 60 * (FRESH_BEGIN if memory.is_fresh else OLD_BEGIN)
        reason = f"an earlier session found {memory.rpm:.0f} calls a minute"
    elif start is not None and start.rpm is not None:
        ceiling, begin = start.rpm / 60, start.rpm / 60 * PUBLISHED_BEGIN
        reason = f"{start.rpm:.0f} calls a minute are published for the model"
    if ramp is not None and not (memory.rpm is not None and memory.is_fresh):
        begin = min(begin, ramp.start_rpm / 60)
    return Climb(begin, ceiling=min(ceiling, most), most=most), reason


def first_width(concurrency: int, memory: Memory) -> Climb:
    """Calls at once to begin with."""
    ceiling, begin = math.inf, float(FIRST_WIDTH)
    if memory.concurrency is not None:
        ceiling = min(memory.concurrency, concurrency)
        begin = max(memory.concurrency * (FRESH_BEGIN if memory.is_fresh else OLD_BEGIN), 1.0)
    return Climb(begin, ceiling=ceiling, most=concurrency, step=1.0)
