"""Reads the lines of a run once, and sums up what happened when.

A line says when its row ended, how long each call took and how long after the first one it was sent. The last call is
taken to have ended with its row. Lines written before the beginnings were kept have their calls drawn back to back, so
that a row that waited shows as in flight a little late. Lines that a retry replaced count here as long as they are in
the file, since their calls were made and billed; how rows stand is told by the ledger alone.

`Follower` reads on from where it stopped, in slices, so that a page can be kept up to date beside a running session.
"""

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from arkbatch.core.errors import RunDamaged
from arkbatch.core.histogram import Histogram
from arkbatch.journal.record_format import EntryError, record_decoder
from arkbatch.journal.record_reader import read_lines
from arkbatch.journal.run_directory import FAILURES, RESULTS, RunDirectory
from arkbatch.pricing.billed_usage import BilledCall, BilledEntry, spent_of
from arkbatch.pricing.run_cost import Bill
from arkbatch.pricing.run_price_file import bill_of
from arkbatch.reports.page.buckets import Bucket, Buckets

LAST_FAILURES = 20
_SHOWN = 300  # characters
_DONE = {"done", "tools"}  # an answer, or a call of tools on the way to one
_OTHERS = "others"  # calls beyond those that a line lists


class _Call(BilledCall, gc=False):
    seconds: float = 0.0
    after: float = 0.0


class _TimelineRecord(BilledEntry, gc=False):
    custom_id: str = ""
    calls: list[_Call] = field(default_factory=list)  # type: ignore[assignment]  # it is only read
    first_token_seconds: float | None = None
    request: Raw = Raw(b"null")


_decode = record_decoder(_TimelineRecord)


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

    new_bill: an empty bill of the run; without it no cost is counted
    latency: of the calls that gave an answer, in seconds; first_token: of those that were streamed
    retried: calls without a usable answer, by kind
    """

    def __init__(self, new_bill: Callable[[], Bill] | None = None) -> None:
        self.buckets = Buckets()
        self.latency = Histogram()
        self.first_token = Histogram()
        self.retried: dict[str, int] = {}
        self.last_failures: deque[LastFailure] = deque(maxlen=LAST_FAILURES)
        self._till = _Till(new_bill, self.buckets) if new_bill else None

    def count_line(self, text: bytes) -> None:
        """Count one line. msgspec.DecodeError: it is none of ours."""
        line = _decode(text)
        ended = line.finished_at.timestamp()
        self._add_calls(line, ended)
        bucket = self.buckets.bucket_at(ended)
        bucket.tokens += _own_tokens(line)
        if self._till:
            self._till.add(line, ended)
        if line.error is None:
            bucket.done += 1
            if line.calls:
                self.latency.add(line.calls[-1].seconds)
            if line.first_token_seconds is not None:
                self.first_token.add(line.first_token_seconds)
        elif not line.interrupted:
            bucket.failed += 1
            self.last_failures.append(_last_failure(line, line.error, ended))

    def settle_costs(self) -> None:
        """Put what was spent last into its bucket; call it before the buckets are read."""
        if self._till:
            self._till.settle()

    def _add_calls(self, line: _TimelineRecord, ended: float) -> None:
        unlisted = line.attempts - len(line.calls)
        if line.before:
            unlisted -= sum(earlier.attempts for earlier in line.before)
        if unlisted > 0:
            bucket = self.buckets.bucket_at(ended)
            bucket.calls += unlisted
            self._count_cause(bucket, _OTHERS, unlisted)
        for call, began in _moments_sent(line.calls, ended):
            bucket = self.buckets.add_call(began, began + call.seconds)
            if call.verdict not in _DONE:
                self._count_cause(bucket, call.verdict, 1)

    def _count_cause(self, bucket: Bucket, kind: str, calls: int) -> None:
        bucket.causes[kind] = bucket.causes.get(kind, 0) + calls
        self.retried[kind] = self.retried.get(kind, 0) + calls


class _Till:
    """Turns tokens into money by exact price tiers, a stretch at a time.

    Lines come in order of time, so that one bill is open at once. Its sum is exact; only what the chart adds up is not.
    """

    def __init__(self, new_bill: Callable[[], Bill], buckets: Buckets) -> None:
        self._new_bill = new_bill
        self._buckets = buckets
        self._bill: Bill | None = None
        self._moment = 0.0

    def add(self, line: _TimelineRecord, moment: float) -> None:
        spent = spent_of(line)
        if spent is None:
            return
        width = self._buckets.width
        if moment // width != self._moment // width:
            self.settle()
        if self._bill is None:
            self._bill = self._new_bill()
        self._moment = moment
        self._bill.add_spent(spent)

    def settle(self) -> None:
        if self._bill is None:
            return
        cost = self._buckets.bucket_at(self._moment).cost
        for currency, amount in self._bill.total_cost().amounts.items():
            cost[currency] = cost.get(currency, 0.0) + float(amount)
        self._bill = None


def _moments_sent(calls: list[_Call], ended: float) -> Iterator[tuple[_Call, float]]:
    """Each call with the moment at which it was sent."""
    if calls and calls[-1].after:
        first = ended - calls[-1].seconds - calls[-1].after
        yield from ((call, first + call.after) for call in calls)
        return
    for call in reversed(calls):
        ended -= call.seconds
        yield call, ended


def _own_tokens(line: _TimelineRecord) -> int:
    """Without what the line carries from records that it replaced."""
    tokens = _token_count(line.usage)
    return tokens - sum(_token_count(earlier.usage) for earlier in line.before) if line.before else tokens


def _token_count(usage: dict[str, int]) -> int:
    return usage.get("input", 0) + usage.get("output", 0)


def _last_failure(line: _TimelineRecord, error: EntryError, at: float) -> LastFailure:
    message, prompt = error.message[:_SHOWN], _prompt_beginning(line.request)
    return LastFailure(line.row, line.custom_id, error.kind, error.code, message, prompt, at)


def _prompt_beginning(request: Raw) -> str:
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
        self.timeline = Timeline(self._bill_maker())
        self._files = [_Followed(self._directory / FAILURES), _Followed(self._directory / RESULTS)]

    def _bill_maker(self) -> Callable[[], Bill]:
        """Makes bills of the run's prices, which are read once."""
        info = self._directory.read_info()
        first = bill_of(info)
        return lambda: Bill(first.pricer, str(info.job.get("model", "")))

    def read_on(self, size: int | None = None) -> bool:
        """Read what was added, at most `size` bytes of it or all; whether everything has been read.

        A file that was replaced is read from its beginning, and then so is the other: sums cannot forget.
        """
        if any(file.is_replaced() for file in self._files):
            self._start_over()
        whole = all(file.read_on(self.timeline, size) for file in self._files)
        self.timeline.settle_costs()
        return whole


class _Followed:
    """One file and how far it was read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._inode = self._inode_and_size()[0]

    def is_replaced(self) -> bool:
        inode, size = self._inode_and_size()
        if not self._inode:
            self._inode = inode
        return inode != self._inode or size < self._offset

    def read_on(self, timeline: Timeline, size: int | None) -> bool:
        end = None if size is None else self._offset + size
        for offset, line in read_lines(self._path, self._offset, end):
            try:
                timeline.count_line(line)
            except RunDamaged as error:
                raise RunDamaged(
                    f"{self._path} holds a line at byte {offset} that arkbatch did not write ({error.__cause__}). "
                    "Take it out, delete ledger.bin beside it, and try again."
                ) from error
            self._offset = offset + len(line)
        return end is None or self._offset < end

    def _inode_and_size(self) -> tuple[int, int]:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            return 0, 0
        return stat.st_ino, stat.st_size
