"""The granted leases within the window, and what calls under them used.

Pure: `now` comes in. A settlement that comes before the end of its lease is known waits for it, since until then it
could only be booked at a wrong time.
"""

from collections import deque

from msgspec import Struct

from arkbatch.limits.lease_messages import Amounts, LeaseReport, Settlement
from arkbatch.limits.lease_meter import KEPT_SECONDS, LeaseMeter


class OpenLease(Struct):
    """begins, ends: by the core's clock; closed_at: when its last call was sent, None while that is not known.

    pending: settlements that came before its end was known
    """

    begins: float
    ends: float
    granted: Amounts
    closed_at: float | None = None
    pending: list[Amounts] = []


class OpenLeases:
    """All leases whose charge still lies in the window.

    meters: of requests, tokens, input and output tokens, None where there is no limit; the owner may replace them
    first: number of the first lease
    """

    def __init__(self, meters: list[LeaseMeter | None], first: int) -> None:
        self._meters = meters
        self._leases: dict[int, OpenLease] = {}
        self._ends: deque[tuple[float, int]] = deque()  # when each of them ends, in the order of the grants
        self._first = first
        self._number = first - 1

    def __len__(self) -> int:
        """Return how many leases are kept."""
        return len(self._leases)

    def open_lease(self, begins: float, ends: float, granted: Amounts) -> int:
        """Charge a lease, and return its number."""
        self._number += 1
        self._leases[self._number] = OpenLease(begins, ends, granted)
        self._ends.append((ends, self._number))
        for meter, amount in zip(self._meters, amount_parts(granted), strict=True):
            if meter is not None:
                meter.charge_lease(begins, ends, amount)
        return self._number

    def close_lease(self, now: float, report: LeaseReport) -> float | None:
        """Give back what a lease did not use. Returns when its last call was sent, None if it was closed before."""
        lease = self._leases.get(report.lease)
        if lease is None or lease.closed_at is not None:
            return None
        lease.closed_at = max(lease.begins, min(lease.ends, now - report.seconds_ago))
        used = zip(self._meters, amount_parts(lease.granted), amount_parts(report.used), strict=True)
        for meter, granted, spent in used:
            if meter is not None:
                meter.close_lease(lease.ends, lease.closed_at, granted, min(spent, granted))
        for difference in lease.pending:
            self._book_differences(now, lease.closed_at, difference)
        return lease.closed_at

    def settle_lease(self, now: float, settlement: Settlement) -> None:
        """Book what calls under a lease used beyond what they reserved, or less."""
        lease = self._leases.get(settlement.lease)
        if lease is None:
            if self._first <= settlement.lease <= self._number:  # its charge has left the window
                self._book_differences(now, now - KEPT_SECONDS, settlement.difference)
        elif lease.closed_at is None:
            lease.pending.append(settlement.difference)
        else:
            self._book_differences(now, lease.closed_at, settlement.difference)

    def _book_differences(self, now: float, at: float, differences: Amounts) -> None:
        for meter, difference in zip(self._meters, amount_parts(differences), strict=True):
            if meter is not None:
                meter.settle_lease(now, at, difference)

    def forget_old(self, now: float) -> None:
        """Drop the leases whose charge has left the window."""
        while self._ends and self._ends[0][0] <= now - KEPT_SECONDS:
            self._leases.pop(self._ends.popleft()[1], None)


def amount_parts(amounts: Amounts) -> tuple[int, int, int, int]:
    """Return the four amounts in the order of the meters."""
    return amounts.requests, amounts.tokens, amounts.input_tokens, amounts.output_tokens
