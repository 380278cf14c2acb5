"""What a running session tells the outside: an `Observer` with empty methods, and one that passes it on to several.

The engine calls an observer and never asks it anything, so that a live page or metrics plug in without touching
it. Nothing here decides.
"""

from collections.abc import Callable, Sequence

from arkbatch.core.steered import Steered
from arkbatch.core.types import (
    Again,
    Cause,
    Outcome,
    Response,
    Row,
    Usage,
    Verdict,
)
from arkbatch.monitor.progress import FoundRows, Progress


class Observer:
    """Hears what happens. Overrides must be quick, and must not raise: they run between a reply and the next."""

    def opened(self, found: FoundRows) -> None:
        """A session begins."""

    def answered(self, row: Row, client_id: str, response: Response, verdict: Verdict) -> None:
        """A call ended."""

    def retrying(self, row: Row, client_id: str, verdict: Again, seconds: float) -> None:
        """The row of that call will be tried again after so many seconds."""

    def tool_failed(self, row: Row, name: str, trouble: str) -> None:
        """A function that the model called went wrong, which the model was told."""

    def recorded(self, outcome: Outcome) -> None:
        """A row has its record."""

    def halted(self, cause: Cause) -> None:
        """No row can work until someone acts."""

    def stopping(self, in_flight: int) -> None:
        """Someone asked for a stop; calls in flight are waited for."""

    def progressed(self, standing: Progress) -> None:
        """How it goes; some times a second."""

    def pace_changed(self, reason: str) -> None:
        """Why the pace has changed."""

    def noted(self, text: str) -> None:
        """Something happened that a person wants to know, such as an outage."""

    def detailed(self, text: str) -> None:
        """A detail for `run.log`, which nobody needs to see while the run goes on."""

    def settings_changed(self, steered: Steered) -> None:
        """Somebody changed how the session goes on."""

    def slow_call_noticed(self, text: str) -> None:
        """A call takes far longer than is usual; "" when none does any more."""

    def hedged(self, row: int, seconds: float) -> None:
        """A second call is made for a row that was silent for so long."""

    def hedge_lost(self, row: Row, client_id: str, usage: Usage) -> None:
        """That call lost to another of its row; it is counted with this usage, which nobody may have told."""

    def closed(self, ending: str) -> None:
        """The session ended; its records are on disk."""


class ObserverGroup(Observer):
    """Passes everything on to each; what is told of every row, to those that listen."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers
        self._hear_answers = [each for each in observers if _listens(each.answered, Observer.answered)]
        self._hear_records = [each for each in observers if _listens(each.recorded, Observer.recorded)]

    def opened(self, found: FoundRows) -> None:
        for each in self._observers:
            each.opened(found)

    def answered(self, row: Row, client_id: str, response: Response, verdict: Verdict) -> None:
        for each in self._hear_answers:
            each.answered(row, client_id, response, verdict)

    def retrying(self, row: Row, client_id: str, verdict: Again, seconds: float) -> None:
        for each in self._observers:
            each.retrying(row, client_id, verdict, seconds)

    def tool_failed(self, row: Row, name: str, trouble: str) -> None:
        for each in self._observers:
            each.tool_failed(row, name, trouble)

    def recorded(self, outcome: Outcome) -> None:
        for each in self._hear_records:
            each.recorded(outcome)

    def halted(self, cause: Cause) -> None:
        for each in self._observers:
            each.halted(cause)

    def stopping(self, in_flight: int) -> None:
        for each in self._observers:
            each.stopping(in_flight)

    def progressed(self, standing: Progress) -> None:
        for each in self._observers:
            each.progressed(standing)

    def pace_changed(self, reason: str) -> None:
        for each in self._observers:
            each.pace_changed(reason)

    def noted(self, text: str) -> None:
        for each in self._observers:
            each.noted(text)

    def detailed(self, text: str) -> None:
        for each in self._observers:
            each.detailed(text)

    def settings_changed(self, steered: Steered) -> None:
        for each in self._observers:
            each.settings_changed(steered)

    def slow_call_noticed(self, text: str) -> None:
        for each in self._observers:
            each.slow_call_noticed(text)

    def hedged(self, row: int, seconds: float) -> None:
        for each in self._observers:
            each.hedged(row, seconds)

    def hedge_lost(self, row: Row, client_id: str, usage: Usage) -> None:
        for each in self._observers:
            each.hedge_lost(row, client_id, usage)

    def closed(self, ending: str) -> None:
        for each in self._observers:
            each.closed(ending)


def _listens(method: Callable[..., None], empty: Callable[..., None]) -> bool:
    return getattr(method, "__func__", None) is not empty
