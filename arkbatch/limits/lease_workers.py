"""The workers that ask for leases, and how many calls each may have.

Pure: `now` comes in. Every sum is kept up to date, so that one message costs the same with ten workers and with
thousands.
"""

from collections import OrderedDict

from msgspec import Struct

SEEN_WITHIN_SECONDS = 3.0  # a worker that was not seen for so long takes no part in the fair share
LOST_AFTER_SECONDS = 10.0  # then its places are free for others


class _Worker(Struct):
    """What is known of a worker. `places`: calls at once that it may have; `wanted`: that it could use."""

    seen_at: float
    in_flight: int = 0
    places: int = 0
    wanted: int = 0

    @property
    def held(self) -> int:
        """Places that are not free: after its share became smaller, calls may still be in flight."""
        return max(self.places, self.in_flight)


class LeaseWorkers:
    """All workers that were seen lately, and what they hold together."""

    def __init__(self) -> None:
        self._workers: OrderedDict[str, _Worker] = OrderedDict()  # the one seen last stands last
        self._wanting: OrderedDict[str, float] = OrderedDict()  # who could use more than it got, and when it was seen
        self._held = 0
        self._even = 0  # the even share for which `_wanted` holds
        self._wanted = 0  # the places that workers could use, each counted up to the even share
        self.in_flight = 0

    def __len__(self) -> int:
        return len(self._workers)

    def note_presence(self, now: float, name: str, in_flight: int) -> None:
        """Note that a worker is present, and how many calls it has in flight."""
        worker = self._workers.get(name)
        if worker is None:
            worker = self._workers[name] = _Worker(now)
        self._held -= worker.held
        self.in_flight += in_flight - worker.in_flight
        worker.seen_at, worker.in_flight = now, in_flight
        self._held += worker.held
        self._workers.move_to_end(name)
        if name in self._wanting:
            self._wanting[name] = now
            self._wanting.move_to_end(name)

    def remove_worker(self, name: str) -> None:
        """Remove a worker; its places are free."""
        worker = self._workers.pop(name, None)
        if worker is not None:
            self._held -= worker.held
            self._wanted -= min(worker.wanted, self._even)
            self.in_flight -= worker.in_flight
            self._wanting.pop(name, None)

    def forget_unseen(self, now: float) -> list[str]:
        """Remove the workers that were not seen for long. Returns their names."""
        lost = []
        while self._workers:
            name, worker = next(iter(self._workers.items()))
            if now - worker.seen_at <= LOST_AFTER_SECONDS:
                break
            self.remove_worker(name)
            lost.append(name)
        return lost

    # ---- calls at once

    def share_places(self, name: str, wanted: int, most: int) -> int:
        """Give a worker an even share of the places that are free; all together never have more than `most`."""
        worker = self._workers[name]
        even = max(1, most // len(self._workers))
        self._count_wanted(even)
        self._wanted -= min(worker.wanted, even)
        # Who holds more than its share gives way, so that a worker that comes later finds room in a second.
        share = max(even, most - self._wanted)
        free = max(0, most - (self._held - worker.held))
        self._wanted += min(wanted, even)
        self._held -= worker.held
        worker.wanted, worker.places = wanted, min(wanted, share, free)
        self._held += worker.held
        return worker.places

    def _count_wanted(self, even: int) -> None:
        """Sum up anew where the even share changed, which happens when workers come or go."""
        if even != self._even:
            self._even = even
            self._wanted = sum(min(worker.wanted, even) for worker in self._workers.values())

    # ---- the fair share of a limit per minute

    def count_sharers(self, now: float, name: str) -> int:
        """Count this worker, and the others that were seen lately and could use more than they got."""
        while self._wanting:
            first, seen_at = next(iter(self._wanting.items()))
            if now - seen_at <= SEEN_WITHIN_SECONDS:
                break
            del self._wanting[first]
        return len(self._wanting) + (name not in self._wanting)

    def note_demand(self, now: float, name: str, *, wants_more: bool) -> None:
        """Note whether a worker could use more than it was granted last."""
        if wants_more:
            self._wanting[name] = now
            self._wanting.move_to_end(name)
        else:
            self._wanting.pop(name, None)
