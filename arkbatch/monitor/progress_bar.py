"""The progress of a session on stderr: a bar on a terminal, a line a minute elsewhere."""

import sys
from typing import TextIO

from tqdm import tqdm

from arkbatch.core.steered import Steered
from arkbatch.core.text import counted, duration, printable, short
from arkbatch.monitor.commands import describe_change
from arkbatch.monitor.observer import Observer
from arkbatch.monitor.progress import Progress, seconds_left


class ProgressBar(Observer):
    """A progress bar on a terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._bar: tqdm | None = None

    def progressed(self, standing: Progress) -> None:
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

    def settings_changed(self, steered: Steered) -> None:
        self._say(f"{describe_change(steered)}.")

    def closed(self, ending: str) -> None:
        del ending
        if self._bar is not None:
            self._bar.close()

    def _say(self, text: str) -> None:
        tqdm.write(printable(text), file=self._stream)


class ProgressLines(Observer):
    """For a stream that is no terminal."""

    def __init__(self, stream: TextIO | None = None, every: float = 60.0) -> None:
        self._stream = stream or sys.stderr
        self._every = every
        self._next = every

    def progressed(self, standing: Progress) -> None:
        if standing.seconds >= self._next:
            self._next = standing.seconds + self._every
            rows = f"{standing.total - standing.left}/{standing.total} rows"
            print(f"{rows}{', ' + text if (text := described(standing)) else ''}", file=self._stream, flush=True)

    def stopping(self, in_flight: int) -> None:
        print(_stopping(in_flight), file=self._stream, flush=True)

    def noted(self, text: str) -> None:
        print(printable(f"{text[:1].upper()}{text[1:]}."), file=self._stream, flush=True)

    def settings_changed(self, steered: Steered) -> None:
        print(printable(f"{describe_change(steered)}."), file=self._stream, flush=True)


def _stopping(in_flight: int) -> str:
    return f"Stopping: waiting for {counted(in_flight, 'call')} in flight." if in_flight else "Stopping."


def described(standing: Progress) -> str:
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
        printable(standing.waiting or (f"limited by {standing.bound_by}" if standing.bound_by else "")),
    ]
    return ", ".join(part for part in parts if part)


def _against(rate: float, limit: float | None, unit: str) -> str:
    return f"{short(rate)}/{short(limit)} {unit}" if limit else f"{short(rate)} {unit}"
