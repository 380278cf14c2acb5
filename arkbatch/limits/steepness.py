"""How steeply traffic may rise at a service that refuses who rises too fast, whatever the number of calls.

Such refusals look like those of any other limit; they are told by the minute before, which had many more calls than
those before it. Each halves the growth, and a refusal that had nothing to do with rising gives it back; time does
not, since a service that minds goes on minding. Below the rate at which it advises to begin, nothing is steep. This
knows numbers only; what rises, and when, is `pace`'s.
"""

import math

from arkbatch.limits.ramp import Ramp

SLOWEST = 0.001  # a second; +20 % in three minutes, which Ark never calls steep
EARLY = 0.05  # a second, below the rate to begin with


class Steepness:
    """From the `ramp` that the service advises; without one nothing is steep."""

    __slots__ = ("_growth", "ramp")

    def __init__(self, ramp: Ramp | None) -> None:
        self.ramp = ramp
        self._growth = math.inf if ramp is None else ramp.growth

    def allowed(self, per_minute: float, seconds: float) -> float:
        """How many times as many calls there may be after so many seconds."""
        if self.ramp is None:
            return math.inf
        if per_minute < self.ramp.start_rpm:
            return 1.0 + EARLY * seconds
        return 1.0 + self._growth * seconds

    def refused(self, per_minute: float, *, rose: bool) -> bool:
        """So many calls were too many; whether that was because they `rose` so fast."""
        steep = rose and self.ramp is not None and per_minute > self.ramp.start_rpm
        if self.ramp is not None:
            self._growth = min(max(self._growth * (0.5 if steep else 2.0), SLOWEST), self.ramp.growth)
        return steep
