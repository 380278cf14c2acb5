"""Shows which calls take too long while they last, and has them hedged.

Each slow call is told once. Those that began first are at hand for whoever shows them.
"""

import math
from collections.abc import Callable

from arkbatch.engine import ticker
from arkbatch.engine.hedging import HedgedCallRunner
from arkbatch.limits.slow_calls import CallInFlight, CallsInFlight, SlowCall, slow_call_text, slow_calls_text
from arkbatch.monitor.observer import Observer

SHOWN = 5


class SlowCallReport:
    """The slow calls of one session, as of the last look.

    number: how many there are; longest: some of them, those that were sent first
    """

    def __init__(
        self,
        flights: CallsInFlight | None,
        observer: Observer,
        hedging: HedgedCallRunner | None,
        wall: Callable[[], float],
    ) -> None:
        self._flights = flights
        self._hedging = hedging
        self._observer = observer
        self._wall = wall
        self.number = 0
        self.longest: tuple[SlowCall, ...] = ()

    def tick(self, now: float) -> float:
        """Tell of new slow calls, and have them hedged. The next look is when another call may be too slow."""
        if self._flights is None:
            return math.inf
        slow = self._flights.slow_calls(now)
        if slow or self.number:
            self._tell_observers(slow, now)
        if self._hedging is not None:
            self._hedging.hedge_slow_calls(slow)
        return max(ticker.TICK_SECONDS, self._flights.next_in(now))

    def _tell_observers(self, slow: list[CallInFlight], now: float) -> None:
        wall = self._wall()
        before, self.number = self.longest, len(slow)
        self.longest = tuple(_as_straggler(flight, now, wall) for flight in slow[:SHOWN])
        for flight in slow:
            if not flight.told:
                flight.told = True
                self._observer.slow_call_noticed(slow_call_text(_as_straggler(flight, now, wall), wall))
        if before and not slow:
            self._observer.slow_call_noticed("")

    @property
    def slow_calls_text(self) -> str:
        return slow_calls_text(self.longest, self._wall(), self.number)


def _as_straggler(flight: CallInFlight, now: float, wall: float) -> SlowCall:
    return SlowCall(flight.row, wall - (now - flight.heard_at), flight.similar.usual)
