"""The sum of the journal's lines: which rows are done, which failed, and the totals.

It folds entries one at a time, fresh outcomes and lines that were read back alike; the state is the same either way. A
row has one record that counts. When a failed row is tried again, the new line replaces the old one and repeats in
`before` what was spent earlier, so that the sum is the same while the replaced line is still in the file and after it
was removed. Billed tokens stay billed: replacing a record moves its row, never its usage. A line that only keeps what
an interrupted row has billed so far counts its tokens, and no row.

The bytes form is a cache of the files up to the offsets in it. It knows nothing of files, time or prices.
"""

import zlib
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

from arkbatch.core.errors import RunDamaged
from arkbatch.core.input_info import Position
from arkbatch.core.row import Before
from arkbatch.journal.bitmap import Bitmap
from arkbatch.journal.record_format import Entry

FORMAT = 3
MAX_FINISH_REASONS, OTHER_FINISH_REASONS = 50, "other"
_SEAL = zlib.crc32  # a torn or foreign file is discarded, not trusted


class Marks(Struct, frozen=True, gc=False):
    """The ends of the two files that a ledger covers, and a place before which every row is recorded."""

    results_end: int = 0
    failures_end: int = 0
    input: Position = Position()


class Tally(Struct):
    """The sums of one endpoint, model and service tier. `usage` covers all billed attempts."""

    endpoint: str
    model: str
    service_tier: str
    succeeded: int = 0
    failed: int = 0
    attempts: int = 0
    usage: dict[str, int] = {}
    discarded: dict[str, int] = {}


class FailureTally(Struct):
    """How many rows failed with this kind and code, with one message as a sample."""

    kind: str
    code: str
    rows: int = 0
    sample: str = ""
    sample_row: int = 0


class _Saved(Struct):
    format: int
    marks: Marks
    done: bytes
    failed: bytes
    tallies: list[Tally]
    failures: list[FailureTally]
    replaced: int
    interrupted: list[int]
    bill: bytes = b""
    finish_reasons: dict[str, int] = {}


class Ledger:
    """Adds up entries.

    done, failed: the rows whose record that counts is a success, a failure
    interrupted: rows with a failure line that are still to be sent, at most as many as a session has calls in flight
    replaced: failure lines in the file that no longer count
    bill: what the same lines cost, as saved bytes that the ledger does not read
    finish_reasons: how many answers ended with each; their number is limited, since a server may invent words
    """

    def __init__(self) -> None:
        self.done = Bitmap()
        self.failed = Bitmap()
        self.interrupted: set[int] = set()
        self.replaced = 0
        self.bill = b""
        self.finish_reasons: dict[str, int] = {}
        self._tallies: dict[tuple[str, str, str], Tally] = {}
        self._failures: dict[tuple[str, str], FailureTally] = {}

    def __contains__(self, row: int) -> bool:
        """Whether the row has a final record."""
        return row in self.done or (self.failed.count > 0 and row in self.failed)

    def count_ended(self, last: int | None = None) -> int:
        """Return how many rows have a final record, of all or of those up to this one."""
        if last is None:
            return self.done.count + self.failed.count
        return self.done.count_until(last) + self.failed.count_until(last)

    def keeps_failure_of(self, row: int) -> bool:
        """Whether a failure line of the row counts."""
        return row in self.failed or row in self.interrupted

    @property
    def failure_lines(self) -> int:
        """The number of failure lines that count."""
        return self.failed.count + len(self.interrupted)

    @property
    def tallies(self) -> list[Tally]:
        return sorted(self._tallies.values(), key=lambda tally: (tally.endpoint, tally.model, tally.service_tier))

    @property
    def failures(self) -> list[FailureTally]:
        return sorted(self._failures.values(), key=lambda tally: (-tally.rows, tally.kind, tally.code))

    def fold(self, entry: Entry) -> None:
        """Count one line; a row's lines come in the order written, failures before successes."""
        if entry.row in self.done:
            # Only a failure can follow here: the line that a success replaced, read when its file is read again.
            self.replaced += entry.error is not None
            return
        if entry.error is not None and not entry.before and not entry.interrupted and entry.row in self.failed:
            self.replaced += 1  # the same line twice: each later failure of a row carries what came before it
            return
        if entry.before or entry.row in self.interrupted or (self.failed.count > 0 and entry.row in self.failed):
            self._replace_record(entry)
        tally = self._tally_of(entry.endpoint, entry.model, entry.service_tier)
        tally.attempts += entry.attempts
        _add_usage(tally.usage, entry.usage)
        if wasted := entry.usage if entry.error else entry.discarded:
            _add_usage(tally.discarded, wasted)
        if entry.before:
            self._take_back(tally, entry)
        if entry.error is None:
            tally.succeeded += 1
            self.done.add(entry.row)
            if entry.finish_reason in self.finish_reasons:
                self.finish_reasons[entry.finish_reason] += 1
            elif entry.finish_reason:
                self._begin_finish_reason(entry.finish_reason)
        elif entry.interrupted:
            self.interrupted.add(entry.row)
        else:
            tally.failed += 1
            self.failed.add(entry.row)
            self._count_failure(entry)

    def absorb(self, other: "Ledger", rows_before: int) -> None:
        """Add the sums of another ledger, whose row 1 is the row after `rows_before` here. No row is in both."""
        self.done.absorb(other.done, rows_before)
        self.failed.absorb(other.failed, rows_before)
        self.interrupted |= {row + rows_before for row in other.interrupted}
        self.replaced += other.replaced
        for reason, count in other.finish_reasons.items():
            known = reason in self.finish_reasons or len(self.finish_reasons) < MAX_FINISH_REASONS
            name = reason if known else OTHER_FINISH_REASONS
            self.finish_reasons[name] = self.finish_reasons.get(name, 0) + count
        for theirs in other.tallies:
            tally = self._tally_of(theirs.endpoint, theirs.model, theirs.service_tier)
            tally.succeeded += theirs.succeeded
            tally.failed += theirs.failed
            tally.attempts += theirs.attempts
            _add_usage(tally.usage, theirs.usage)
            _add_usage(tally.discarded, theirs.discarded)
        for failed in other.failures:
            known_failure = self._failures.get((failed.kind, failed.code))
            if known_failure is None:
                moved = msgspec.structs.replace(failed, sample_row=failed.sample_row + rows_before)
                self._failures[failed.kind, failed.code] = moved
            else:
                known_failure.rows += failed.rows

    def _replace_record(self, entry: Entry) -> None:
        if entry.row in self.failed:
            if not entry.before:
                raise RunDamaged(
                    f"Row {entry.row} has a record that failed, and another that knows nothing of it. "
                    "One of the files is from another time: restore both."
                )
            self.failed.discard(entry.row)
            self.replaced += 1
            self._uncount_failure(entry.before[-1])
        elif entry.row in self.interrupted:
            self.interrupted.discard(entry.row)
            self.replaced += 1
        else:
            for earlier in entry.before:
                tally = self._tally_of(earlier.endpoint, earlier.model, earlier.service_tier)
                tally.attempts += earlier.attempts
                _add_usage(tally.usage, earlier.usage)
                _add_usage(tally.discarded, earlier.usage)

    def _uncount_failure(self, earlier: Before) -> None:
        self._tally_of(earlier.endpoint, earlier.model, earlier.service_tier).failed -= 1
        key = (earlier.kind, earlier.code)
        self._failures[key].rows -= 1
        if not self._failures[key].rows:
            del self._failures[key]

    @staticmethod
    def _take_back(tally: Tally, entry: Entry) -> None:
        """Subtract what the entry repeats from earlier records; `_replace_record` counts it."""
        for earlier in entry.before:
            tally.attempts -= earlier.attempts
            _subtract_usage(tally.usage, earlier.usage)
            if entry.error:
                _subtract_usage(tally.discarded, earlier.usage)

    def _begin_finish_reason(self, reason: str) -> None:
        counts = self.finish_reasons
        if len(counts) >= MAX_FINISH_REASONS:
            reason = OTHER_FINISH_REASONS
        counts[reason] = counts.get(reason, 0) + 1

    def _count_failure(self, entry: Entry) -> None:
        assert entry.error is not None
        key = (entry.error.kind, entry.error.code)
        tally = self._failures.get(key)
        if tally is None:
            tally = FailureTally(*key, sample=entry.error.message[:300], sample_row=entry.row)
            self._failures[key] = tally
        tally.rows += 1

    def _tally_of(self, endpoint: str, model: str, service_tier: str) -> Tally:
        key = (endpoint, model, service_tier)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally(*key)
        return tally

    def to_bytes(self, marks: Marks) -> bytes:
        saved = _Saved(
            FORMAT,
            marks,
            bytes(self.done),
            bytes(self.failed),
            list(self._tallies.values()),
            list(self._failures.values()),
            self.replaced,
            sorted(self.interrupted),
            self.bill,
            self.finish_reasons,
        )
        packed = msgspec.msgpack.encode(saved)
        return _SEAL(packed).to_bytes(4, "big") + packed

    @classmethod
    def from_bytes(cls, data: bytes) -> "tuple[Ledger, Marks] | None":
        """Return the ledger and its marks; None when the bytes are damaged or of another format."""
        if len(data) < 4 or int.from_bytes(data[:4], "big") != _SEAL(data[4:]):
            return None
        try:
            saved = msgspec.msgpack.decode(memoryview(data)[4:], type=_Saved)
        except (msgspec.DecodeError, RecursionError):
            return None
        if saved.format != FORMAT:
            return None
        ledger = cls()
        ledger.done, ledger.failed = Bitmap(saved.done), Bitmap(saved.failed)
        ledger.replaced, ledger.interrupted, ledger.bill = saved.replaced, set(saved.interrupted), saved.bill
        ledger.finish_reasons = saved.finish_reasons
        ledger._tallies = {(t.endpoint, t.model, t.service_tier): t for t in saved.tallies}
        ledger._failures = {(t.kind, t.code): t for t in saved.failures}
        return ledger, saved.marks


def fold_lines(ledger: Ledger, failures: Iterable[Entry], results: Iterable[Entry]) -> None:
    """Fold two files: failures first, so that a success finds the failure that it replaced."""
    for entry in _both(failures, results):
        ledger.fold(entry)


def _both(failures: Iterable[Entry], results: Iterable[Entry]) -> Iterator[Entry]:
    yield from failures
    yield from results


def _add_usage(total: dict[str, int], usage: dict[str, int]) -> None:
    for meter, count in usage.items():
        total[meter] = total.get(meter, 0) + count


def _subtract_usage(total: dict[str, int], usage: dict[str, int]) -> None:
    for meter, count in usage.items():
        total[meter] = total.get(meter, 0) - count
