"""What a running session tells the outside: an `Observer` with empty methods, and those that print or log.

The engine calls an observer and never asks it anything, so that a live page or metrics plug in without touching
it. Progress goes to stderr: a bar on a terminal, a line a minute elsewhere. Nothing here decides.
"""

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from tqdm import tqdm

from arkbatch.adapters.rundir import disk, private
from arkbatch.core.orders import Steered, told
from arkbatch.core.records import (
    ASSUMED,
    Again,
    Cause,
    Failure,
    Outcome,
    Response,
    Row,
    Scope,
    Usage,
    Verdict,
    total_tokens,
)
from arkbatch.core.standing import Found, Standing, seconds_left
from arkbatch.core.words import counted, duration, printable, short

_LINES_A_MINUTE = 200  # of the log about rows; a million errors must not become a file of a gigabyte
_PROBES_AN_HOUR = 5  # of the log about a service that is away: what they say is mostly the same


class Observer:
    """Hears what happens. Overrides must be quick, and must not raise: they run between a reply and the next."""

    def opened(self, found: Found) -> None:
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

    def stands(self, standing: Standing) -> None:
        """How it goes; some times a second."""

    def paced(self, reason: str) -> None:
        """Why the pace has changed."""

    def noted(self, text: str) -> None:
        """Something happened that a person wants to know, such as an outage."""

    def steered(self, steered: Steered) -> None:
        """Somebody changed how the session goes on."""

    def straggles(self, text: str) -> None:
        """A call takes far longer than is usual; "" when none does any more."""

    def asked_again(self, row: int, seconds: float) -> None:
        """A second call is made for a row that was silent for so long."""

    def outran(self, row: Row, client_id: str, usage: Usage) -> None:
        """That call lost to another of its row; it is counted with this usage, which nobody may have told."""

    def closed(self, ending: str) -> None:
        """The session ended; its records are on disk."""


class Several(Observer):
    """Passes everything on to each; what is told of every row, to those that listen."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers
        self._hear_answers = [each for each in observers if _listens(each.answered, Observer.answered)]
        self._hear_records = [each for each in observers if _listens(each.recorded, Observer.recorded)]

    def opened(self, found: Found) -> None:
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

    def stands(self, standing: Standing) -> None:
        for each in self._observers:
            each.stands(standing)

    def paced(self, reason: str) -> None:
        for each in self._observers:
            each.paced(reason)

    def noted(self, text: str) -> None:
        for each in self._observers:
            each.noted(text)

    def steered(self, steered: Steered) -> None:
        for each in self._observers:
            each.steered(steered)

    def straggles(self, text: str) -> None:
        for each in self._observers:
            each.straggles(text)

    def asked_again(self, row: int, seconds: float) -> None:
        for each in self._observers:
            each.asked_again(row, seconds)

    def outran(self, row: Row, client_id: str, usage: Usage) -> None:
        for each in self._observers:
            each.outran(row, client_id, usage)

    def closed(self, ending: str) -> None:
        for each in self._observers:
            each.closed(ending)


def _listens(method: Callable[..., None], empty: Callable[..., None]) -> bool:
    return getattr(method, "__func__", None) is not empty


class Bar(Observer):
    """A progress bar on a terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar: tqdm | None = None

    def stands(self, standing: Standing) -> None:
        if self._bar is None:
            form = "{percentage:3.0f}% |{bar:20}| {n_fmt}/{total_fmt} rows{postfix}"
            whole = {"total": standing.total, "initial": standing.total - standing.left}
            self._bar = tqdm(file=self._stream, bar_format=form, dynamic_ncols=True, mininterval=0, leave=True, **whole)
        self._bar.total = standing.total
        self._bar.n = standing.total - standing.left
        self._bar.set_postfix_str(described(standing), refresh=False)
        self._bar.refresh()

    def stopping(self, in_flight: int) -> None:
        self._say(f"{_stopping(in_flight)} Ctrl-C again abandons {'it' if in_flight == 1 else 'them'}.")

    def noted(self, text: str) -> None:
        self._say(f"{text[:1].upper()}{text[1:]}.")

    def steered(self, steered: Steered) -> None:
        self._say(f"{told(steered)}.")

    def closed(self, ending: str) -> None:
        del ending
        if self._bar is not None:
            self._bar.close()

    def _say(self, text: str) -> None:
        tqdm.write(printable(text), file=self._stream)


class LineAMinute(Observer):
    """For a stream that is no terminal."""

    def __init__(self, stream: TextIO | None = None, every: float = 60.0) -> None:
        self._stream = stream or sys.stderr
        self._every = every
        self._next = every

    def stands(self, standing: Standing) -> None:
        if standing.seconds >= self._next:
            self._next = standing.seconds + self._every
            rows = f"{standing.total - standing.left}/{standing.total} rows"
            print(f"{rows}{', ' + text if (text := described(standing)) else ''}", file=self._stream, flush=True)

    def stopping(self, in_flight: int) -> None:
        print(_stopping(in_flight), file=self._stream, flush=True)

    def noted(self, text: str) -> None:
        print(printable(f"{text[:1].upper()}{text[1:]}."), file=self._stream, flush=True)

    def steered(self, steered: Steered) -> None:
        print(printable(f"{told(steered)}."), file=self._stream, flush=True)


def _stopping(in_flight: int) -> str:
    return f"Stopping: waiting for {counted(in_flight, 'call')} in flight." if in_flight else "Stopping."


def described(standing: Standing) -> str:
    """The figures beside the bar."""
    left = seconds_left(standing)
    parts = [
        f"{standing.failed} failed" if standing.failed else "",
        f"{standing.retried} {'retry' if standing.retried == 1 else 'retries'}" if standing.retried else "",
        f"{standing.in_flight} in flight",
        standing.stragglers,
        _against(standing.rpm, standing.rpm_found or standing.rpm_limit, "req/min"),
        _against(standing.tpm, standing.tpm_limit, "tok/min"),
        f"{duration(left)} left" if left is not None else "",
        printable(standing.waiting or (f"bound by {standing.bound_by}" if standing.bound_by else "")),
    ]
    return ", ".join(part for part in parts if part)


def _against(rate: float, limit: float | None, unit: str) -> str:
    return f"{short(rate)}/{short(limit)} {unit}" if limit else f"{short(rate)} {unit}"


class Log(Observer):
    """`run.log`: what went wrong and what was done, with request ids. Never a key, a prompt or an answer."""

    def __init__(self, path: Path, wall: Callable[[], float]) -> None:
        self._wall = wall
        with disk(path):
            # Unbuffered: what a full disk refused must not come again when the file is closed.
            self._file = open(path, "ab", buffering=0, opener=private)
        self._path = path
        self._rows, self._probes = _Ration(_LINES_A_MINUTE, 60), _Ration(_PROBES_AN_HOUR, 3600)
        self._dropped = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if error is not None:
                self._tell(f"ended by {type(error).__name__}: {error}")

    def opened(self, found: Found) -> None:
        self._tell(f"session begins: {found.done} done, {found.failed} failed, {found.to_send} to send")
        for change in found.changes:
            self._tell(f"changed: {change}")

    def retrying(self, row: Row, client_id: str, verdict: Again, seconds: float) -> None:
        ration = self._probes if verdict.scope is Scope.SERVICE else self._rows
        self._write(f"row {row.number} again in {seconds:.1f} s: {_said(verdict.cause)} id={client_id}", ration)

    def tool_failed(self, row: Row, name: str, trouble: str) -> None:
        self._write(f"row {row.number}: tool {name}: {trouble}")

    def recorded(self, outcome: Outcome) -> None:
        if isinstance(outcome, Failure):
            ids = "".join(f" id={call.id} request_id={call.request_id}" for call in outcome.calls[-1:])
            how = "interrupted" if outcome.interrupted else "failed"
            self._write(f"row {outcome.row.number} {how}: {_said(outcome.cause)}{ids}")

    def halted(self, cause: Cause) -> None:
        self._tell(f"halted: {_in_words(cause)}")

    def stopping(self, in_flight: int) -> None:
        self._tell(f"stop asked for; {in_flight} calls in flight")

    def paced(self, reason: str) -> None:
        self._write(f"pace: {reason}")

    def noted(self, text: str) -> None:
        self._write(text)

    def steered(self, steered: Steered) -> None:
        self._tell(told(steered))

    def straggles(self, text: str) -> None:
        if text:
            self._write(f"straggler, {text}")

    def asked_again(self, row: int, seconds: float) -> None:
        self._write(f"row {row} is asked once more after {seconds:.1f} s")

    def outran(self, row: Row, client_id: str, usage: Usage) -> None:
        how = "assumed" if ASSUMED in usage else "told"
        self._write(f"row {row.number}: another call was quicker; {total_tokens((usage,))} tokens {how} id={client_id}")

    def closed(self, ending: str) -> None:
        self._tell(f"session ends: {ending}")

    def _write(self, text: str, ration: "_Ration | None" = None) -> None:
        """Of a row, as far as there are lines left for it."""
        if (ration or self._rows).grants(self._wall()):
            self._tell_dropped()
            self._append(text)
        else:
            self._dropped += 1

    def _tell(self, text: str) -> None:
        """Of the session; these are few and never left out."""
        self._tell_dropped()
        self._append(text)

    def _tell_dropped(self) -> None:
        dropped, self._dropped = self._dropped, 0
        if dropped:
            self._append(f"{dropped} more line{' was' if dropped == 1 else 's were'} left out here")

    def _append(self, text: str) -> None:
        stamp = datetime.fromtimestamp(self._wall(), UTC).isoformat(timespec="milliseconds")
        with disk(self._path):
            self._file.write(f"{stamp} {printable(' '.join(text.split()))}\n".encode("utf-8", "replace"))


class _Ration:
    """So many lines in each span of so many seconds."""

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
    """For people to read; `status` shows it."""
    name = " ".join(filter(None, (cause.kind.value, cause.code)))
    said = f"{cause.message} ({name})" if cause.message else name
    return f"{said}. {cause.advice[:1].upper()}{cause.advice[1:]}" if cause.advice else said


def _said(cause: Cause) -> str:
    return " ".join(part for part in (cause.kind.value, cause.code, cause.message) if part)
