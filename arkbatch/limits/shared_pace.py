"""The adaptive limit of all workers together, fed with what they tell once a second.

The limit itself is the one that a single process uses. Here calls come in groups, at the time at which the last of the
group started, and answers are counted without saying which call they are to. That blurs what is measured by less than
a second. A call whose end is told before its lease was reported counts as sent when it is told.
"""

from collections import deque
from typing import Any, Protocol

from arkbatch.core.calls import Scope
from arkbatch.limits.permit import Permit
from arkbatch.limits.starting_point import Ramp

LONGEST_CLOSURE = 3600.0  # s; stands for "until a call ends"
NO_DEMAND: Any = None  # the limit asks how a call was sent, and not what for


class _Found(Protocol):
    @property
    def rpm(self) -> float | None: ...

    @property
    def concurrency(self) -> int | None: ...


class _Limit(Protocol):
    """What is used of an adaptive limit, or of a fixed one."""

    @property
    def found(self) -> _Found: ...

    def ready_in(self, now: float, in_flight: int) -> float: ...

    def begin_call(self, now: float) -> int: ...

    def note_grant(self, now: float, permit: Permit) -> None: ...

    def note_refusal(self, now: float, permit: Permit, scope: Scope, after: float | None) -> float | None: ...

    def allow_concurrency(self, concurrency: int) -> None: ...

    def allow_rate(self, now: float, rate: float | None, ramp: Ramp | None = None) -> None: ...


class SharedPace:
    """An adaptive limit as the lease core asks it."""

    def __init__(self, limit: _Limit) -> None:
        self._limit = limit
        self._open: deque[tuple[int, float]] = deque()  # number and time of calls whose end was not told, oldest first
        self._ahead = 0  # calls that ended before they were reported as sent

    @property
    def requests_per_minute(self) -> float | None:
        """Calls a minute that the service was found to take, or that the job allows."""
        return self._limit.found.rpm

    @property
    def places(self) -> int | None:
        """Calls at once that the service was found to take."""
        return self._limit.found.concurrency

    def closed_for(self, now: float) -> float:
        """Seconds in which no call is to begin."""
        return min(self._limit.ready_in(now, 0), LONGEST_CLOSURE)

    def sent(self, at: float, calls: int) -> None:
        """Note that a group of calls has started by then."""
        known = min(self._ahead, calls)
        self._ahead -= known
        for _ in range(calls - known):
            self._open.append((self._limit.begin_call(at), at))

    def answered(self, now: float, calls: int) -> None:
        """Note that so many calls ended without a word about the load."""
        for _ in range(calls):
            self._limit.note_grant(now, self._ended(now))

    def refused(self, now: float, scope: Scope, after: float | None, sent_at: float) -> None:
        """Note a refusal that a worker met."""
        self._limit.note_refusal(now, self._ended(sent_at), scope, after)

    def change_ceilings(
        self, now: float, concurrency: int, requests_per_minute: float | None, ramp: Ramp | None
    ) -> None:
        """Set other ceilings. ramp: how steeply the service lets calls grow where there is no ceiling."""
        self._limit.allow_rate(now, requests_per_minute, ramp)
        self._limit.allow_concurrency(concurrency)

    def _ended(self, at: float) -> Permit:
        beside = len(self._open)
        if not self._open:
            self._ahead += 1
            return Permit(at, NO_DEMAND, None, self._limit.begin_call(at), 0)
        number, sent_at = self._open.popleft()
        return Permit(sent_at, NO_DEMAND, None, number, beside - 1)
