"""Writes `run.log`: what went wrong in a session, and what was done about it.

It writes a limited number of lines a minute, so that a million errors do not fill a gigabyte.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from arkbatch.core.calls import Again, Cause, Scope
from arkbatch.core.disk_errors import explain_disk_errors
from arkbatch.core.limit_changes import LimitChange
from arkbatch.core.outcomes import Failure, Outcome
from arkbatch.core.row import Row
from arkbatch.core.text import printable_text
from arkbatch.core.usage import ASSUMED, Usage, total_tokens
from arkbatch.journal.atomic_files import open_private
from arkbatch.monitor.commands import describe_change
from arkbatch.monitor.observer import Observer
from arkbatch.monitor.progress import FoundRows

_LINES_A_MINUTE = 200  # of the log about rows; a million errors must not become a file of a gigabyte
_PROBES_AN_HOUR = 5  # of the log about a service that is away: what they say is mostly the same


class RunLog(Observer):
    """The observer that writes `run.log`, with request ids and no key, prompt or answer."""

    def __init__(self, path: Path, wall: Callable[[], float]) -> None:
        self._wall = wall
        with explain_disk_errors(path):
            # Unbuffered: what a full disk refused must not come again when the file is closed.
            self._file = open(path, "ab", buffering=0, opener=open_private)
        self._path = path
        self._rows, self._probes = _LineQuota(_LINES_A_MINUTE, 60), _LineQuota(_PROBES_AN_HOUR, 3600)
        self._dropped = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if error is not None:
                self._write_session_line(f"ended by {type(error).__name__}: {error}")

    def opened(self, found: FoundRows) -> None:
        self._write_session_line(f"session begins: {found.done} done, {found.failed} failed, {found.to_send} to send")
        for change in found.changes:
            self._write_session_line(f"changed: {change}")

    def retrying(self, row: Row, client_id: str, verdict: Again, seconds: float) -> None:
        ration = self._probes if verdict.scope is Scope.SERVICE else self._rows
        self._write_row_line(
            f"row {row.number} again in {seconds:.1f} s: {_cause_text(verdict.cause)} id={client_id}", ration
        )

    def tool_failed(self, row: Row, name: str, trouble: str) -> None:
        self._write_row_line(f"row {row.number}: tool {name}: {trouble}")

    def recorded(self, outcome: Outcome) -> None:
        if isinstance(outcome, Failure):
            ids = "".join(f" id={call.id} request_id={call.request_id}" for call in outcome.calls[-1:])
            how = "interrupted" if outcome.interrupted else "failed"
            self._write_row_line(f"row {outcome.row.number} {how}: {_cause_text(outcome.cause)}{ids}")

    def halted(self, cause: Cause) -> None:
        self._write_session_line(f"halted: {_in_words(cause)}")

    def stopping(self, in_flight: int) -> None:
        self._write_session_line(f"stop asked for; {in_flight} calls in flight")

    def pace_changed(self, reason: str) -> None:
        self._write_row_line(f"pace: {reason}")

    def noted(self, text: str) -> None:
        self._write_row_line(text)

    def detailed(self, text: str) -> None:
        self._write_row_line(text)

    def settings_changed(self, steered: LimitChange) -> None:
        self._write_session_line(describe_change(steered))

    def slow_call_noticed(self, text: str) -> None:
        if text:
            self._write_row_line(f"straggler, {text}")

    def hedged(self, row: int, seconds: float) -> None:
        self._write_row_line(f"row {row} is asked once more after {seconds:.1f} s")

    def hedge_lost(self, row: Row, client_id: str, usage: Usage) -> None:
        how = "assumed" if ASSUMED in usage else "told"
        self._write_row_line(
            f"row {row.number}: another call was quicker; {total_tokens((usage,))} tokens {how} id={client_id}"
        )

    def closed(self, ending: str) -> None:
        self._write_session_line(f"session ends: {ending}")

    def _write_row_line(self, text: str, ration: "_LineQuota | None" = None) -> None:
        """Write a line about a row, while the quota lasts."""
        if (ration or self._rows).grants(self._wall()):
            self._write_dropped_count()
            self._append_line(text)
        else:
            self._dropped += 1

    def _write_session_line(self, text: str) -> None:
        """Write a line about the session; these are few and never left out."""
        self._write_dropped_count()
        self._append_line(text)

    def _write_dropped_count(self) -> None:
        dropped, self._dropped = self._dropped, 0
        if dropped:
            self._append_line(f"{dropped} more line{' was' if dropped == 1 else 's were'} left out here")

    def _append_line(self, text: str) -> None:
        stamp = datetime.fromtimestamp(self._wall(), UTC).isoformat(timespec="milliseconds")
        line = f"{stamp} {printable_text(' '.join(text.split()))}\n".encode("utf-8", "replace")
        try:
            self._file.write(line)
        except OSError:  # a full disk stops the log, and the session only if it takes no records either
            self._dropped += 1


class _LineQuota:
    """Allows so many lines in each span of so many seconds."""

    def __init__(self, lines: int, seconds: int) -> None:
        self._lines, self._seconds = lines, seconds
        self._span, self._granted = 0, 0

    def grants(self, now: float) -> bool:
        span = int(now / self._seconds)
        if span != self._span:
            self._span, self._granted = span, 0
        self._granted += 1
        return self._granted <= self._lines


def _in_words(cause: Cause) -> str:
    """Return a cause as text; `status` shows it too."""
    name = " ".join(filter(None, (cause.kind.value, cause.code)))
    said = f"{cause.message} ({name})" if cause.message else name
    return f"{said}. {cause.advice[:1].upper()}{cause.advice[1:]}" if cause.advice else said


def _cause_text(cause: Cause) -> str:
    return " ".join(part for part in (cause.kind.value, cause.code, cause.message) if part)
