"""Calls at once as the coordinator shares them out, with refusals to report."""

from collections.abc import Callable

from arkbatch.core.calls import Scope
from arkbatch.limits.permit import Permit

LOOK_AGAIN_SECONDS = 0.05  # until the limiter asks again for what is on its way


class LeasedPace:
    """Calls at once, as the coordinator shares them out. What the service refuses is told to it.

    most: what this worker may have at all; places: its share now
    """

    reason = "the limits are shared with other workers"

    def __init__(self, most: int, wake_up: Callable[[], None]) -> None:
        self.most, self.places = most, 0
        self.ended = 0
        self.refusals: list[tuple[Scope, float, float | None]] = []
        self._numbers = 0
        self._wake_up = wake_up

    def ready_in(self, now: float, in_flight: int) -> float:
        del now
        return 0.0 if in_flight < self.places else LOOK_AGAIN_SECONDS

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
