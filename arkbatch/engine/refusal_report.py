"""Notes what all calls are refused with while none is answered.

A refusal here is a reply that says "later" without spending an attempt: a rate, an overload, a quota that returns.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from msgspec import Struct

from arkbatch.core.calls import Again, Done, Reply, Response, Scope, Verdict
from arkbatch.core.row import Row
from arkbatch.engine import ticker
from arkbatch.monitor.observer import Observer

_MIN_REFUSALS = 2  # a single one is nothing to tell
_REWRITE_SECONDS = 20.0  # after which the count in the run directory is renewed
_MAX_WORDS = 120  # characters


class Refusals(Struct, frozen=True):
    """The refusals since the last answer.

    since: unix time of the first; words: the service's own; until: unix time until which it last asked to wait, 0: none
    """

    count: int
    since: float
    words: str
    until: float = 0.0

    @property
    def how_often(self) -> str:
        """In a few words: how often and since when."""
        until = f", asked to wait until {_clock_text(self.until)}" if self.until else ""
        return f"refused {self.count:,} times since {_clock_text(self.since)}{until}"

    @property
    def full_text(self) -> str:
        """The same with the service's words."""
        return f"{self.how_often}: {self.words}"


class RefusalReport(Observer):
    """Watches the calls of one session.

    wall: unix time; write_soon: has the run directory tell of it
    """

    def __init__(self, wall: Callable[[], float], write_soon: Callable[[], None]) -> None:
        self._wall = wall
        self._write_soon = write_soon
        self._count = 0
        self._since = self._until = 0.0
        self._words = ""
        self._written_at: float | None = None  # loop time; None while there is nothing to tell

    @property
    def refusals(self) -> Refusals | None:
        """None: calls are answered, or were hardly refused."""
        if self._count < _MIN_REFUSALS:
            return None
        return Refusals(self._count, self._since, self._words, self._until)

    def answered(self, row: Row, client_id: str, response: Response, verdict: Verdict) -> None:
        del row, client_id
        if isinstance(verdict, Done):
            self._count = 0
        elif isinstance(verdict, Again) and isinstance(response, Reply) and verdict.scope is not Scope.ROW:
            self._add_refusal(verdict, response)

    def _add_refusal(self, refusal: Again, reply: Reply) -> None:
        wall = self._wall()
        if not self._count:
            self._since = wall
        self._count += 1
        self._until = wall + refusal.after if refusal.after else 0.0
        cause = refusal.cause
        said = f"{cause.code}: {cause.message}" if cause.message else cause.code
        words = f"{reply.status} {said}"
        self._words = words if len(words) <= _MAX_WORDS else f"{words[: _MAX_WORDS - 1]}…"

    def tick(self, now: float) -> float:
        """Have it written when it begins, when it ends, and now and then between."""
        is_due = self._written_at is None or now >= self._written_at + _REWRITE_SECONDS
        if self.refusals is None:
            if self._written_at is not None:
                self._written_at = None
                self._write_soon()
        elif is_due:
            self._written_at = now
            self._write_soon()
        return ticker.TICK_SECONDS if self._count else ticker.LONGEST_TICK_SECONDS


def _clock_text(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%H:%M} UTC"
