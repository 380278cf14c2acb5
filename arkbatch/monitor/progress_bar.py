"""Shows progress on stderr: a bar on a terminal, a line a minute elsewhere."""

import os
import sys
from collections.abc import Sequence
from typing import TextIO

from tqdm import tqdm

from arkbatch.core.language import Language
from arkbatch.core.limit_changes import LimitChange
from arkbatch.core.text import count_text, display_width, duration_text, printable_text, short_number
from arkbatch.monitor.commands import describe_change
from arkbatch.monitor.observer import Observer
from arkbatch.monitor.progress import Progress, rows_text, seconds_left

_WIDE_COLUMNS = 100  # a terminal from here on has room for a long bar
_USUAL_COLUMNS = 80  # where the terminal does not say


class ProgressBar(Observer):
    """A progress bar on a terminal."""

    def __init__(self, stream: TextIO | None = None, language: Language = Language.ENGLISH) -> None:
        self._stream = stream or sys.stderr
        self._language = language
        self._bar: tqdm | None = None

    def progressed(self, standing: Progress) -> None:
        columns = _terminal_width(self._stream)
        if self._bar is None:
            whole = {"total": standing.total, "initial": standing.total - standing.left}
            self._bar = tqdm(file=self._stream, ncols=columns, mininterval=0, leave=True, **whole)
        width = 20 if columns >= _WIDE_COLUMNS else 8
        self._bar.ncols = columns
        self._bar.bar_format = f"{{percentage:3.0f}}% |{{bar:{width}}}| {{desc}}"
        self._bar.total = standing.total
        self._bar.n = standing.total - standing.left
        parts = [rows_text(standing), *progress_figures(standing)]
        said = [self._language.translate_text(part) for part in parts]
        self._bar.set_description_str(fit_parts(said, columns - width - len("100% || ")))

    def stopping(self, in_flight: int) -> None:
        more = f"Ctrl-C again abandons {'it' if in_flight == 1 else 'them'}."
        say = self._language.translate_text
        self._print_line(f"{say(_stopping_text(in_flight))} {say(more)}")

    def noted(self, text: str) -> None:
        self._print_line(_sentence(text, self._language))

    def settings_changed(self, steered: LimitChange) -> None:
        self._print_line(f"{describe_change(steered)}.")

    def closed(self, ending: str) -> None:
        del ending
        if self._bar is not None:
            self._bar.close()

    def _print_line(self, text: str) -> None:
        tqdm.write(printable_text(text), file=self._stream)


class ProgressLines(Observer):
    """Progress as one line a minute, for a stream that is not a terminal."""

    def __init__(
        self, stream: TextIO | None = None, every: float = 60.0, language: Language = Language.ENGLISH
    ) -> None:
        self._stream = stream or sys.stderr
        self._language = language
        self._every = every
        self._next = every

    def progressed(self, standing: Progress) -> None:
        if standing.seconds >= self._next:
            self._next = standing.seconds + self._every
            parts = [rows_text(standing), *progress_figures(standing)]
            print(", ".join(self._language.translate_text(part) for part in parts), file=self._stream, flush=True)

    def stopping(self, in_flight: int) -> None:
        print(self._language.translate_text(_stopping_text(in_flight)), file=self._stream, flush=True)

    def noted(self, text: str) -> None:
        print(printable_text(_sentence(text, self._language)), file=self._stream, flush=True)

    def settings_changed(self, steered: LimitChange) -> None:
        print(printable_text(f"{describe_change(steered)}."), file=self._stream, flush=True)


def _sentence(text: str, language: Language) -> str:
    """Return a note as a sentence."""
    if (said := language.translate_text(text)) != text:
        return f"{said}。"
    return f"{text[:1].upper()}{text[1:]}."


def _stopping_text(in_flight: int) -> str:
    return f"Stopping: waiting for {count_text(in_flight, 'call')} in flight." if in_flight else "Stopping."


def progress_text(standing: Progress) -> str:
    """Return all figures as one line."""
    return ", ".join(progress_figures(standing))


def progress_figures(standing: Progress) -> list[str]:
    """Return the figures beside the bar, the most wanted first."""
    left = seconds_left(standing)
    if standing.parcels:  # no call is made: batches are worked off elsewhere
        told = [f"{standing.failed} failed" if standing.failed else "", standing.cost, standing.waiting]
        return [printable_text(part) for part in told if part]
    parts = [
        f"{duration_text(left)} left" if left is not None else "",
        f"{standing.failed} failed" if standing.failed else "",
        standing.cost,
        printable_text(standing.waiting),
        standing.refused,
        printable_text(standing.refused_with),
        f"{standing.in_flight} in flight",
        f"{standing.retried} {'retry' if standing.retried == 1 else 'retries'}" if standing.retried else "",
        standing.stragglers,
        _rate_text(standing.rpm, standing.rpm_found or standing.rpm_limit, "req/min"),
        _rate_text(standing.tpm, standing.tpm_limit, "tok/min"),
        "" if standing.waiting or not standing.bound_by else printable_text(f"limited by {standing.bound_by}"),
    ]
    return [part for part in parts if part]


def fit_parts(parts: Sequence[str], columns: int) -> str:
    """Join the first parts that fit; a part is never cut."""
    line = ""
    for part in parts:
        longer = f"{line}, {part}" if line else part
        if display_width(longer) <= columns:
            line = longer
    return line


def _terminal_width(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or _USUAL_COLUMNS
    except (OSError, ValueError):
        return _USUAL_COLUMNS


def _rate_text(rate: float, limit: float | None, unit: str) -> str:
    return f"{short_number(rate)}/{short_number(limit)} {unit}" if limit else f"{short_number(rate)} {unit}"
