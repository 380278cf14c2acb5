"""Counts what happened, for tests and for the summary of `arkbatch simulate`.

Its memory is bounded: it keeps the last calls, and the attempts of as many requests as are ever in flight.
"""

from collections import Counter, OrderedDict, deque
from typing import Any

from msgspec import Struct

_REQUESTS_KEPT = 65_536


class Seen(Struct, frozen=True, gc=False):
    """One call as the server saw it; `at` is in seconds of the loop's clock."""

    at: float
    request_id: str
    client_request_id: str
    path: str
    model: str
    attempt: int
    outcome: str


class Counters:
    """All counts.

    outcomes: how calls ended: "ok", an error code, the name of a fault, or "client_gone"
    in_flight, most_in_flight: calls that are being handled, now and at most
    most_spent: the most that a window of `rps`, `rpm` or `tpm` held; absent without such a limit
    usage: tokens in and out, of all answers
    control: how control plane calls ended: "ok" or an error code; they are not counted as calls of the service
    recent: the last calls, oldest first
    attempts: how often each request came, by fingerprint; identical requests are one
    """

    def __init__(self, recent: int = 10_000) -> None:
        self.outcomes: Counter[str] = Counter()
        self.usage: Counter[str] = Counter()
        self.control: Counter[str] = Counter()
        self.batches: Any = None  # the files and batches, for tests to look at
        self.in_flight = 0
        self.most_in_flight = 0
        self.most_spent: dict[str, int] = {}
        self.recent: deque[Seen] = deque(maxlen=recent)
        self.attempts: OrderedDict[bytes, int] = OrderedDict()

    @property
    def calls(self) -> int:
        """The number of calls that have ended."""
        return self.outcomes.total()

    def call_began(self) -> None:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def call_ended(self, seen: Seen) -> None:
        self.in_flight -= 1
        self.outcomes[seen.outcome] += 1
        self.recent.append(seen)

    def count_attempt(self, fingerprint: bytes) -> int:
        """Return which attempt of this request it is, from 1.

        A request that was not seen for long begins again.
        """
        number = self.attempts.pop(fingerprint, 0) + 1
        self.attempts[fingerprint] = number
        if len(self.attempts) > _REQUESTS_KEPT:
            self.attempts.popitem(last=False)
        return number

    def note_spent(self, window: str, used: int) -> None:
        self.most_spent[window] = max(used, self.most_spent.get(window, 0))
