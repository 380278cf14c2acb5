"""A limit that does not adapt (`[limits] mode = "fixed"`).

The requests and tokens a minute that the user gave are kept by the limiter. A row that was refused waits as long as
its own reply asked for.
"""

import math

from arkbatch.core.calls import Scope
from arkbatch.limits.permit import Permit
from arkbatch.limits.starting_point import Memory, Ramp, StartingPoint


class FixedLimit:
    """So many calls at once, whatever the service says."""

    reason = "the limits are fixed: they do not adapt to the service"
    found = StartingPoint(None, None)

    def __init__(self, concurrency: float = math.inf) -> None:
        self.concurrency = concurrency
        self._numbers = 0

    def ready_in(self, now: float, in_flight: int) -> float:  # noqa: ARG002 - the adaptive limit needs them
        return math.inf if in_flight >= self.concurrency else 0.0

    def begin_call(self, now: float) -> int:  # noqa: ARG002
        self._numbers += 1
        return self._numbers

    def note_grant(self, now: float, permit: Permit) -> None: ...

    def note_refusal(self, now: float, permit: Permit, scope: Scope, after: float | None) -> float | None:  # noqa: ARG002
        return after

    def note_headers(self, now: float, remaining: int, reset: float) -> None: ...

    def end_pause(self, now: float) -> None: ...

    def came_back(self, now: float, away: float) -> None: ...

    def allow_concurrency(self, concurrency: int) -> None:
        """Another number of calls at once."""
        self.concurrency = concurrency

    def allow_rate(self, now: float, rate: float | None, ramp: Ramp | None = None) -> None: ...

    def memory(self) -> Memory:
        """Nothing was found out."""
        return Memory()
