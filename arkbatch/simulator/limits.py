"""Sliding windows of requests and tokens, and calls in flight, per model family.

Times are passed in. A call is admitted in two steps, because failed calls count as requests too: `count_request` when
the model is known, `count_tokens` when the body was accepted. Output tokens are counted when they are known.
"""

from collections import deque

from msgspec import Struct

from arkbatch.simulator import refusals
from arkbatch.simulator.counters import Counters
from arkbatch.simulator.models import model_family
from arkbatch.simulator.refusals import Refusal
from arkbatch.simulator.settings import Settings


class UsageWindow:
    """What was spent within the last `seconds`."""

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit = limit
        self.used = 0
        self._seconds = seconds
        self._spent: deque[tuple[float, int]] = deque()

    def seconds_until_fits(self, amount: int, now: float) -> float:
        """Return the seconds until the amount fits.

        An empty window takes any amount; otherwise a large one would never pass.
        """
        self._forget_old(now)
        excess = self.used + amount - self.limit
        until = now
        for at, spent in self._spent:
            if excess <= 0:
                break
            excess -= spent
            until = at + self._seconds
        return until - now

    def spend(self, amount: int, now: float) -> None:
        self._forget_old(now)
        self.used += amount
        self._spent.append((now, amount))

    def _forget_old(self, now: float) -> None:
        while self._spent and self._spent[0][0] + self._seconds <= now:
            self.used -= self._spent.popleft()[1]


class TurnedAway(Struct, frozen=True, gc=False):
    """A limit refused the call, which would be admitted after `seconds`; `say`: they are sent."""

    refusal: Refusal
    seconds: float
    say: bool


_SECONDS = {"rps": 1.0, "rpm": 60.0, "tpm": 60.0}


class AccountLimits:
    """The limits of one account."""

    def __init__(self, settings: Settings, counters: Counters) -> None:
        self._settings = settings
        self._counters = counters
        self._limits = {"rps": settings.rps, "rpm": settings.rpm, "tpm": settings.tpm}
        self._windows: dict[tuple[str, str], UsageWindow] = {}
        self._in_flight: dict[str, int] = {}

    def count_request(self, model: str, now: float) -> TurnedAway | None:
        """Count a request and a call in flight, which `end_call` ends; or refuse it."""
        model, say = model_family(model), self._settings.retry_after
        busy, allowed = self._in_flight.get(model, 0), self._settings.max_inflight
        if allowed is not None and busy >= allowed:
            return TurnedAway(refusals.INFLIGHT, 1.0, say)
        if seconds := self._try_to_spend("rps", model, 1, now):
            return TurnedAway(refusals.ENDPOINT_RPM, seconds, say=True)
        if seconds := self._try_to_spend("rpm", model, 1, now):
            return TurnedAway(refusals.MODEL_RPM, seconds, say)
        self._in_flight[model] = busy + 1
        return None

    def count_tokens(self, model: str, amount: int, now: float) -> TurnedAway | None:
        """Count the tokens of a prompt, or refuse it."""
        if seconds := self._try_to_spend("tpm", model_family(model), amount, now):
            return TurnedAway(refusals.MODEL_TPM, seconds, self._settings.retry_after)
        return None

    def count_output(self, model: str, amount: int, now: float) -> None:
        """Count the tokens of an answer, which can no longer be refused."""
        if window := self._window_of("tpm", model_family(model)):
            self._spend_and_note("tpm", window, amount, now)

    def end_call(self, model: str) -> None:
        self._in_flight[model_family(model)] -= 1

    def _try_to_spend(self, name: str, model: str, amount: int, now: float) -> float:
        """Spend the amount and return zero, or return the seconds until that is possible."""
        window = self._window_of(name, model)
        if window is None:
            return 0.0
        wait = window.seconds_until_fits(amount, now)
        if not wait:
            self._spend_and_note(name, window, amount, now)
        elif self._settings.count_refused and name != "tpm":
            window.spend(amount, now)
        return wait

    def _spend_and_note(self, name: str, window: UsageWindow, amount: int, now: float) -> None:
        window.spend(amount, now)
        self._counters.note_spent(name, window.used)

    def _window_of(self, name: str, model: str) -> UsageWindow | None:
        limit = self._limits[name]
        if limit is None:
            return None
        key = (name, model)
        if key not in self._windows:
            self._windows[key] = UsageWindow(limit, _SECONDS[name])
        return self._windows[key]
