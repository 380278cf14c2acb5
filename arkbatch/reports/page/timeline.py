"""What happened when: reads the lines of a run once, in the order in which they stand, and keeps only sums.

A line says when its row ended and how long each call took, but not when a row waited between two calls. So the calls of
a row are taken to lie back to back before its end; a row that waited is shown as in flight a little late. Lines that a
retry replaced count here as long as they are in the file, since their calls were made and billed; how rows stand is
told by the ledger alone.

`Follower` reads on from where it stopped, in slices, so that a page can be kept up to date beside a running session.
"""

from collections import deque
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw, Struct

from arkbatch.adapters.journal import read_lines
from arkbatch.adapters.rundir import FAILURES, RESULTS, RunDirectory
from arkbatch.core.errors import RunDamaged
from arkbatch.core.histogram import Histogram
from arkbatch.core.lines import EntryError
from arkbatch.reports.page.buckets import Bucket, Buckets

LAST_FAILURES = 20
_SHOWN = 300  # characters
_DONE = "done"
_OTHERS = "others"  # calls beyond those that a line lists


class _Call(Struct, gc=False):
    verdict: str
    seconds: float


class _Earlier(Struct, gc=False):
    usage: dict[str, int]
    attempts: int


class _Line(Struct, gc=False):
    row: int
    custom_id: str
    attempts: int
    seconds: float
    usage: dict[str, int]
    finished_at: datetime
    calls: list[_Call] = []
    error: EntryError | None = None
    before: tuple[_Earlier, ...] = ()
    first_token_seconds: float | None = None
    request: Raw = Raw(b"null")


_decode = msgspec.json.Decoder(_Line).decode


class LastFailure(Struct, frozen=True):
    """A row that was given up a while ago. `prompt` is the beginning of what was asked; both texts are untrusted."""

    row: int
    custom_id: str
    kind: str
    code: str
    message: str
    prompt: str
    at: float


class Timeline:
    """Folds lines.

    latency: of the calls that gave an answer, in seconds; first_token: of those that were streamed
    retried: calls without a usable answer, by kind
    """

    def __init__(self) -> None:
        self.buckets = Buckets()
        self.latency = Histogram()
        self.first_token = Histogram()
        self.retried: dict[str, int] = {}
        self.last_failures: deque[LastFailure] = deque(maxlen=LAST_FAILURES)

    def fold(self, text: bytes) -> None:
        """Count one line. msgspec.DecodeError: it is none of ours."""
        line = _decode(text)
        ended = line.finished_at.timestamp()
        self._add_calls(line, ended)
        bucket = self.buckets.at(ended)
        bucket.tokens += _own_tokens(line)
        if line.error is None:
            bucket.done += 1
            if line.calls:
                self.latency.add(line.calls[-1].seconds)
            if line.first_token_seconds is not None:
                self.first_token.add(line.first_token_seconds)
        else:
            bucket.failed += 1
            self.last_failures.append(_last_failure(line, line.error, ended))

    def _add_calls(self, line: _Line, ended: float) -> None:
        unlisted = line.attempts - len(line.calls)
        if line.before:
            unlisted -= sum(earlier.attempts for earlier in line.before)
        if unlisted > 0:
            bucket = self.buckets.at(ended)
            bucket.calls += unlisted
            self._count(bucket, _OTHERS, unlisted)
        for call in reversed(line.calls):
            began = ended - call.seconds
            bucket = self.buckets.add_call(began, ended)
            if call.verdict != _DONE:
                self._count(bucket, call.verdict, 1)
            ended = began

    def _count(self, bucket: Bucket, kind: str, calls: int) -> None:
        bucket.causes[kind] = bucket.causes.get(kind, 0) + calls
        self.retried[kind] = self.retried.get(kind, 0) + calls


def _own_tokens(line: _Line) -> int:
    """Without what the line carries from records that it replaced."""
    tokens = _tokens(line.usage)
    return tokens - sum(_tokens(earlier.usage) for earlier in line.before) if line.before else tokens


def _tokens(usage: dict[str, int]) -> int:
    return usage.get("input", 0) + usage.get("output", 0)


def _last_failure(line: _Line, error: EntryError, at: float) -> LastFailure:
    message, prompt = error.message[:_SHOWN], _prompt(line.request)
    return LastFailure(line.row, line.custom_id, error.kind, error.code, message, prompt, at)


def _prompt(request: Raw) -> str:
    """The beginning of the last message, or of what else was sent; empty for a line that was never sent."""
    asked: Any = msgspec.json.decode(request)
    body = asked["body"] if asked else {}
    messages = body.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    content = last.get("content") if isinstance(last, dict) else body.get("input")
    text = content if isinstance(content, str) else msgspec.json.encode(content).decode() if content else ""
    return text[:_SHOWN]


class Follower:
    """Keeps a timeline of a directory up to date."""

    def __init__(self, directory: RunDirectory) -> None:
        self._directory = directory
        self._start_over()

    def _start_over(self) -> None:
        self.timeline = Timeline()
        self._files = [_Followed(self._directory / FAILURES), _Followed(self._directory / RESULTS)]

    def read_on(self, size: int | None = None) -> bool:
        """Read what was added, at most `size` bytes of it or all; whether everything has been read.

        A file that was replaced is read from its beginning, and then so is the other: sums cannot forget.
        """
        if any(file.replaced() for file in self._files):
            self._start_over()
        return all(file.read_on(self.timeline, size) for file in self._files)


class _Followed:
    """One file and how far it was read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._inode = self._stat()[0]

    def replaced(self) -> bool:
        inode, size = self._stat()
        if not self._inode:
            self._inode = inode
        return inode != self._inode or size < self._offset

    def read_on(self, timeline: Timeline, size: int | None) -> bool:
        end = None if size is None else self._offset + size
        for offset, line in read_lines(self._path, self._offset, end):
            try:
                timeline.fold(line)
            except msgspec.DecodeError as error:
                raise RunDamaged(
                    f"{self._path} holds a line at byte {offset} that arkbatch did not write ({error}). "
                    "Take it out, delete ledger.bin beside it, and try again."
                ) from error
            self._offset = offset + len(line)
        return end is None or self._offset < end

    def _stat(self) -> tuple[int, int]:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return 0, 0
        return stat.st_ino, stat.st_size
