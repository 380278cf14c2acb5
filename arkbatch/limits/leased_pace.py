"""Calls at once as the coordinator shares them out, with refusals to report."""

import math
from collections.abc import Callable
from typing import Protocol

from arkbatch.core.calls import Scope
from arkbatch.limits.permit import Permit

LOOK_AGAIN_SECONDS = 0.05  # until the limiter asks again for what is on its way


class LimiterView(Protocol):
    """What is told about the limiter whose calls the leases are for."""

    in_flight: int

    @property
    def waiting(self) -> int: ...


class WorkerPlaces:
    """The calls at once that a worker may have, for all of its attempts together.

    most: what it may have at all; granted: its share now; asked_at: when one of its attempts asked last
    """

    def __init__(self, most: int) -> None:
        self.most, self.granted = most, 0
        self.asked_at = -math.inf
        self._limiters: list[LimiterView] = []

    def add_limiter(self, limiter: LimiterView) -> None:
        """An attempt begins, whose calls count from now on."""
        self._limiters.append(limiter)

    def remove_limiter(self, limiter: LimiterView) -> None:
        """An attempt has ended. Without any other, the coordinator takes the places back."""
        self._limiters.remove(limiter)
        if not self._limiters:
            self.granted = 0

    @property
    def in_flight(self) -> int:
        return sum(limiter.in_flight for limiter in self._limiters)

    @property
    def waiting(self) -> int:
        return sum(limiter.waiting for limiter in self._limiters)

    def are_taken(self, in_flight: int) -> bool:
        """Whether an attempt with so many calls in flight must wait for a place."""
        return (in_flight if len(self._limiters) <= 1 else self.in_flight) >= self.granted


class LeasedPace:
    """Calls at once, as the coordinator shares them out. What the service refuses is told to it."""

    reason = "the limits are shared with other workers"

    def __init__(self, places: WorkerPlaces, wake_up: Callable[[], None]) -> None:
        self._places = places
        self.ended = 0
        self.refusals: list[tuple[Scope, float, float | None]] = []
        self._numbers = 0
        self._wake_up = wake_up

    def ready_in(self, now: float, in_flight: int) -> float:
        del now
        return LOOK_AGAIN_SECONDS if self._places.are_taken(in_flight) else 0.0

    def begin_call(self, now: float) -> int:
        """Note nothing: the lease counts the call. Returns its number."""
        del now
        self._numbers += 1
        return self._numbers

    def note_grant(self, now: float, permit: Permit) -> None:
        """Count a call that ended."""
        del now, permit
        self.ended += 1

    def note_refusal(self, now: float, permit: Permit, scope: Scope, after: float | None) -> float | None:
        """Note a refusal for the coordinator. Returns how long its row must wait."""
        del now
        self.refusals.append((scope, permit.at, after))
        self._wake_up()
        return after

    def note_headers(self, now: float, remaining: int, reset: float) -> None:
        """Each worker is told the same; the coordinator learns from refusals."""

    def end_pause(self, now: float) -> None:
        """Nothing to do: leases begin anew by themselves."""

    def came_back(self, now: float, away: float) -> None:
        """Nothing to do: the coordinator opens slowly for all."""
