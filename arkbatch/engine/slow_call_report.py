"""Shows which calls of a session take too long, while they do.

It only looks, some times a second, at the calls under way: `core.stragglers` says which of them are stragglers, and
`hedging` what is done about it. Each is told once, and the list of the longest is at hand for whoever shows it.
"""

from collections.abc import Callable

from arkbatch.limits.slow_calls import Flight, Flights, Straggler, described, said
from arkbatch.monitor.observer import Observer

SHOWN = 5


class SlowCallReport:
    """`look` now and then.

    number: how many there are; longest: some of them, those that were sent first
    """

    def __init__(self, flights: Flights | None, observer: Observer, wall: Callable[[], float]) -> None:
        self._flights = flights
        self._observer = observer
        self._wall = wall
        self.number = 0
        self.longest: tuple[Straggler, ...] = ()

    def look(self, now: float) -> list[Flight]:
        """Tell what is new. `now`: on the clock of the loop."""
        flights = [] if self._flights is None else self._flights.stragglers(now)
        if not flights and not self.number:
            return flights
        wall = self._wall()
        before, self.number = self.longest, len(flights)
        self.longest = tuple(_shown(flight, now, wall) for flight in flights[:SHOWN])
        for flight in flights:
            if not flight.told:
                flight.told = True
                self._observer.slow_call_noticed(described(_shown(flight, now, wall), wall))
        if before and not flights:
            self._observer.slow_call_noticed("")
        return flights

    def next_in(self, now: float) -> float:
        """Seconds until there may be another."""
        return float("inf") if self._flights is None else self._flights.next_in(now)

    @property
    def words(self) -> str:
        return said(self.longest, self._wall(), self.number)


def _shown(flight: Flight, now: float, wall: float) -> Straggler:
    return Straggler(flight.row, wall - (now - flight.heard_at), flight.peers.usual)
