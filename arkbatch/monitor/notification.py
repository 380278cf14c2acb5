"""The messages about a run to people who do not watch it.

The module is pure. It decides which events are worth a message, how often, and how an address is shown without the
secret in it. `monitor.notify_channels` delivers a message; `engine.notifier` knows when one is due.
"""

import re
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from arkbatch.core.text import duration_text, number_text, printable_text
from arkbatch.pricing.amounts import Money

_LONGEST = 500  # characters of a reason; it may be the words of a service
_SHORTEST_SECRET = 4
MASK = "***"


class NotificationEvent(StrEnum):
    """The events that a message can be about: the words of `[notify] on`."""

    END = "end"
    HALT = "halt"
    BUDGET = "budget"
    OUTAGE = "outage"
    LATE = "late"
    STOP = "stop"
    TRIAL = "trial"


_ENDS = {NotificationEvent.END, NotificationEvent.HALT, NotificationEvent.BUDGET, NotificationEvent.STOP}


class Notification(Struct, frozen=True):
    """One message.

    said: what happened, in a phrase; reason, advice: why, and what to do, empty when there is nothing to say
    done, failed, left: rows; cost: of the whole run so far, None when that is not known
    go_on: the command that resumes the run, or what to look at it with; at: when, in ISO 8601
    """

    event: NotificationEvent
    said: str
    run_dir: str
    host: str
    at: str
    simulated: bool = False
    done: int = 0
    failed: int = 0
    left: int = 0
    seconds: float = 0.0
    cost: Money | None = None
    reason: str = ""
    advice: str = ""
    go_on: str = ""

    @property
    def title(self) -> str:
        name = self.run_dir.rstrip("/\\").replace("\\", "/").rpartition("/")[2]
        return f"{'[simulated] ' if self.simulated else ''}arkbatch: {self.said}{f' ({name})' if name else ''}"

    @property
    def text(self) -> str:
        """The message as a few lines without control characters."""
        rows = f"{number_text(self.done)} done, {number_text(self.failed)} failed, {number_text(self.left)} left"
        lines = [
            ("Rows", f"{rows}, after {duration_text(self.seconds)}" if self.seconds else rows),
            ("Cost", _cost_text(self.cost, simulated=self.simulated)),
            ("Reason", _shorten_text(self.reason)),
            ("What to do", _shorten_text(self.advice)),
            ("Where", f"{self.host}, {self.run_dir}" if self.run_dir else self.host),
            ("Resume with" if self.event in _ENDS and self.left else "Next command", self.go_on),
        ]
        shown = lines if self.event is not NotificationEvent.TRIAL else lines[-2:]
        return printable_text("\n".join(f"{name}: {value}" for name, value in shown if value))

    def to_builtins(self) -> dict[str, Any]:
        """Return the message as JSON values, as a webhook and a command receive it."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        plain["cost"] = self.cost and self.cost.to_builtins()
        return {"event": self.event.value, "title": self.title, "text": self.text, **plain}


class OutageAlarm:
    """Reports once that an outage has lasted long, and once that it is over.

    Short outages are not worth a message.
    """

    def __init__(self, after: float) -> None:
        self._after = after
        self._lasted = 0.0
        self._told = False

    def check_outage(self, lasts: float) -> str:
        """Return what to report now, mostly "".

        lasts: seconds of the present outage, 0 without one
        """
        if lasts:
            self._lasted = lasts
            if self._told or lasts < self._after:
                return ""
            self._told = True
            return f"the service has been away for {duration_text(lasts)}"
        told, self._told = self._told, False
        return f"the service is back after {duration_text(self._lasted)}" if told else ""


def mask_address(url: str) -> str:
    """Return an address without its secrets, for messages.

    In addresses of Apprise services even the host is a token, so only the service's name is left.
    """
    scheme, colon, _ = url.partition("://")
    if not colon or not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        return MASK
    if scheme.lower() not in {"http", "https"}:
        return f"{scheme}://{MASK}"
    try:
        return f"{scheme}://{urlsplit(url).hostname or ''}/{MASK}"
    except ValueError:
        return f"{scheme}://{MASK}"


def remove_address(text: str, url: str) -> str:
    """Remove every piece of the address from a text, since each may be a token."""
    host = urlsplit(url).hostname if url.lower().startswith(("http://", "https://")) else None
    pieces = {piece for piece in re.split(r"[:/?#@&=,]+", url.partition("://")[2]) if len(piece) >= _SHORTEST_SECRET}
    for piece in sorted(pieces - {host}, key=len, reverse=True):
        text = text.replace(piece, MASK)
    return text


def mask_command_line(words: list[str]) -> list[str]:
    """Return a command line in which `--notify` values and commands with a URL are masked."""
    shown = list(words)
    for place, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag not in {"--notify", "--notify-command"}:
            continue
        at = place if equals else place + 1
        if at < len(words) and (flag == "--notify" or "://" in (value if equals else words[at])):
            shown[at] = f"{flag}={MASK}" if equals else MASK
    return shown


def _cost_text(cost: Money | None, *, simulated: bool) -> str:
    if cost is None or not (cost.amounts or cost.unpriced):
        return ""
    return f"{cost}, had it been real" if simulated else str(cost)


def _shorten_text(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
