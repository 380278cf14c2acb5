"""The events of a session: `Observer`, and a group that passes them on.

The engine calls observers and never asks them anything, so that a live page or metrics can be added without a change
of the engine.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from arkbatch.core.calls import Again, Cause, Response, Verdict
from arkbatch.core.limit_changes import LimitChange
from arkbatch.core.outcomes import Outcome
from arkbatch.core.row import Row
from arkbatch.core.usage import Usage
from arkbatch.monitor.progress import FoundRows, Progress


class Observer:
    """Base class for code that follows a session; override the events of interest.

    An override must return quickly, since it runs between two replies.
    """

    def opened(self, found: FoundRows) -> None:
        """A session begins."""

    def answered(self, row: Row, client_id: str, response: Response, verdict: Verdict) -> None:
        """A call ended."""

    def retrying(self, row: Row, client_id: str, verdict: Again, seconds: float) -> None:
        """The row of that call will be tried again after so many seconds."""

    def tool_failed(self, row: Row, name: str, trouble: str) -> None:
        """A function that the model called failed; the model was told."""

    def recorded(self, outcome: Outcome) -> None:
        """A row has its record."""

    def halted(self, cause: Cause) -> None:
        """No row can work until someone acts."""

    def stopping(self, in_flight: int) -> None:
        """Someone asked for a stop; the session waits for calls in flight."""

    def progressed(self, standing: Progress) -> None:
        """The progress was measured, a few times a second."""

    def pace_changed(self, reason: str) -> None:
        """The pace has changed, for this reason."""

    def noted(self, text: str) -> None:
        """Something happened that a person wants to know, such as an outage."""

    def detailed(self, text: str) -> None:
        """A detail for `run.log` that nobody needs to see during the run."""

    def settings_changed(self, steered: LimitChange) -> None:
        """A user changed the limits or paused the session."""

    def slow_call_noticed(self, text: str) -> None:
        """A call takes far longer than usual; "" when none does any more."""

    def hedged(self, row: int, seconds: float) -> None:
        """A second call is made for a row that was silent for so long."""

    def hedge_lost(self, row: Row, client_id: str, usage: Usage) -> None:
        """A call lost to another of its row; the counted usage may be estimated."""

    def closed(self, ending: str) -> None:
        """The session ended; its records are on disk."""


EVENTS = tuple(name for name, value in vars(Observer).items() if callable(value) and not name.startswith("_"))


class ObserverGroup(Observer):
    """Passes every event on to each observer that overrides it.

    An observer that raises gets no more events. So a closed terminal or a vanished reader of stderr stops the display,
    and never the session.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._listeners = {
            name: [each for each in observers if _listens(getattr(each, name), getattr(Observer, name))]
            for name in EVENTS
        }
        for name, listeners in self._listeners.items():
            if listeners:  # else it stays the empty method
                setattr(self, name, partial(self._tell, name))

    def _tell(self, event: str, *details: Any) -> None:
        for each in self._listeners[event]:
            try:
                getattr(each, event)(*details)
            except Exception as error:  # noqa: BLE001 - whatever it is, the session goes on
                self._drop(each, error)

    def _drop(self, failed: Observer, error: Exception) -> None:
        for name, listeners in self._listeners.items():  # anew, since one of the lists is being gone through
            self._listeners[name] = [each for each in listeners if each is not failed]
        self.detailed(f"{type(failed).__name__} shows no more: {type(error).__name__}: {error}")


def _listens(method: Callable[..., None], empty: Callable[..., None]) -> bool:
    return getattr(method, "__func__", None) is not empty
