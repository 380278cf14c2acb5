"""The journal: appends outcomes, makes them durable, and recovers after any end of the process.

`results.jsonl` and `failures.jsonl` are the only truth. A record exists when its newline does. `record` hands
the line to the operating system before it counts the row, so that a killed process loses none that was counted;
`sync` makes that hold for a power cut. `ledger.bin` is a cache, replaced only after the bytes it stands for are
on disk. All methods but the returned snapshots are synchronous and belong to one thread, so no lock is needed.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from arkbatch.core.disk_errors import explain_disk_errors
from arkbatch.core.input_info import Position
from arkbatch.core.outcomes import Outcome
from arkbatch.journal.atomic_files import open_private, replace_file, sync_directory, write_all
from arkbatch.journal.bitmap import Bitmap
from arkbatch.journal.cost_account import CostAccount
from arkbatch.journal.ledger import Ledger, Marks, fold_lines
from arkbatch.journal.record_format import Entry, decode_entry, encode, entry_of
from arkbatch.journal.record_reader import end_of_lines, read_entries, read_lines
from arkbatch.journal.run_directory import FAILURES, LEDGER, RESULTS, USAGE, RunDirectory
from arkbatch.journal.usage_report import usage_report

_BUFFER = 1 << 20
_Ended = tuple[Outcome, Entry, bytes]


class Journal:
    """A journal that is open for writing; the caller holds the directory's lock.

    url_of: returns the path of an endpoint by name, for the request that a failure keeps
    bill: adds up what the records cost; None when costs are not wanted
    prices: the name of the price book that the bill uses
    """

    def __init__(
        self,
        directory: RunDirectory,
        run_id: str,
        wall: Callable[[], float],
        url_of: Callable[[str], str],
        bill: CostAccount | None = None,
        *,
        prices: str = "",
    ) -> None:
        self._directory = directory
        self._run_id = run_id
        self._wall = wall
        self._url_of = url_of
        self.bill = bill
        self._prices = prices
        self._results = _LineFile(directory / RESULTS)
        self._failures = _LineFile(directory / FAILURES)
        self.ledger, self.resume_at = read_ledger(directory, bill, prices)
        if self.ledger.replaced:
            self._remove_replaced()

    def record(self, *outcomes: Outcome) -> None:
        """Append a line for each outcome, then count their rows; StorageFull ends the session.

        All lines are made before the first is written. An outcome that no line can hold raises here, whatever the
        error, and nothing was written then. The rows of a file are counted before the next file is written: a ledger
        that stands for lines which it does not count would have their rows sent and recorded again.
        """
        now = self._wall()
        finished_at = datetime.fromtimestamp(now, UTC)
        results: list[_Ended] = []
        failures: list[_Ended] = []
        for outcome in outcomes:
            entry = entry_of(outcome)
            is_failure = entry.error is not None
            url = self._url_of(entry.endpoint) if is_failure and entry.endpoint else ""
            line = encode(outcome, entry, run_id=self._run_id, finished_at=finished_at, url=url)
            (failures if is_failure else results).append((outcome, entry, line))
        if results:
            self._append_and_count(self._results, results, now)
        if failures:
            self._append_and_count(self._failures, failures, now)

    def _append_and_count(self, file: "_LineFile", ended: "Sequence[_Ended]", now: float) -> None:
        file.append(b"".join([line for _, _, line in ended]))
        for outcome, entry, _ in ended:
            self.ledger.fold(entry)
            if self.bill is not None:
                self.bill.record(outcome, now)

    def sync(self) -> None:
        """Wait until everything recorded is on disk; may run in a thread beside `record`."""
        self._results.sync()
        self._failures.sync()

    def take_snapshot(self, resume_at: Position) -> Callable[[], None]:
        """Take the present state; the returned function writes it, and may run in a thread.

        resume_at: every row before it is recorded
        """
        self.resume_at = resume_at
        marks = Marks(self._results.end, self._failures.end, resume_at)
        write_files = _snapshot(self._directory, self.ledger, marks, self.bill, self._prices)

        def write() -> None:
            self.sync()
            write_files()

        return write

    def close(self, resume_at: Position | None = None) -> None:
        """Make everything durable, and remove replaced lines from the failures."""
        try:
            if self.ledger.replaced:
                self._remove_replaced()
            self.take_snapshot(resume_at or self.resume_at)()
        finally:
            self.close_files()

    def close_files(self) -> None:
        """Close the files without writing, after the disk was full."""
        self._results.close()
        self._failures.close()

    def _remove_replaced(self) -> None:
        """Rewrite the failures without replaced lines.

        The cache is deleted first, since its offsets refer to the old file.
        """
        path = self._directory / FAILURES
        while self.ledger.replaced:
            fresh = path.with_name(path.name + ".new")
            with explain_disk_errors(path):
                kept = _write_live_lines(path, fresh, self.ledger)
                (self._directory / LEDGER).unlink(missing_ok=True)
                fresh.replace(path)
                sync_directory(path.parent)
            self.ledger.replaced = kept - self.ledger.failure_lines
            self._failures.close()
            self._failures = _LineFile(path)


class _LineFile:
    """A file of whole lines; a torn last line, left by a crash, is cut off on opening."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with explain_disk_errors(path):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            self.end = end_of_lines(path)
            os.ftruncate(self._descriptor, self.end)

    def append(self, line: bytes) -> None:
        """Append one line or more; after an error none of them is in the file."""
        written = 0
        try:
            written = os.write(self._descriptor, line)
            if written < len(line):
                write_all(self._descriptor, line[written:])
        except OSError:
            with explain_disk_errors(self.path):
                os.ftruncate(self._descriptor, self.end)
                raise
        self.end += len(line)

    def sync(self) -> None:
        with explain_disk_errors(self.path):
            os.fsync(self._descriptor)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def write_totals(directory: RunDirectory, ledger: Ledger, bill: CostAccount, prices: str) -> None:
    """Write `ledger.bin` and `usage.json` for two record files that are on disk and that the ledger stands for."""
    paths = (directory / RESULTS, directory / FAILURES)
    results_end, failures_end = (path.stat().st_size for path in paths)
    _snapshot(directory, ledger, Marks(results_end, failures_end), bill, prices)()


def _snapshot(
    directory: RunDirectory, ledger: Ledger, marks: Marks, bill: CostAccount | None, prices: str
) -> Callable[[], None]:
    """Take the present state; the returned function writes it."""
    if bill is not None:
        ledger.bill = bill.to_bytes(prices)
    data, usage = ledger.to_bytes(marks), usage_report(ledger, marks, bill)

    def write() -> None:
        replace_file(directory / LEDGER, data)
        replace_file(directory / USAGE, usage)

    return write


def stand_in_for_records(directory: Path) -> None:
    """Make empty record files as long as `ledger.bin` covers them, for a reader that needs no more than the sums.

    What was recorded since then can be appended to them. Nothing is made where the ledger cannot be used.
    """
    path = directory / LEDGER
    found = Ledger.from_bytes(path.read_bytes()) if path.exists() else None
    if found is None:
        return
    for name, end in ((RESULTS, found[1].results_end), (FAILURES, found[1].failures_end)):
        if end:
            with explain_disk_errors(directory / name), open(directory / name, "wb", opener=open_private) as file:
                file.seek(end - 1)  # what is passed over takes no space on the disk
                file.write(b"\n")


def read_ledger(
    directory: RunDirectory, bill: CostAccount | None = None, prices: str | None = None
) -> tuple[Ledger, Position]:
    """Return the sum of both files, and a place before which every row is recorded.

    It only reads, so that it also works while another process writes. Without a usable `ledger.bin` it reads every
    line.
    bill: filled with what the lines cost; prices: a saved bill of another price book is not used
    """
    ledger, marks = _cached_ledger(directory) or (Ledger(), Marks())
    if bill is not None and not bill.restore(ledger.bill, prices):
        ledger, marks = Ledger(), Marks(input=marks.input)
    failures, results = (directory.failures_path, marks.failures_end), (directory / RESULTS, marks.results_end)
    if bill is None:
        fold_lines(ledger, read_entries(*failures, decode_entry), read_entries(*results, decode_entry))
    else:
        fold_lines(ledger, _billed_entries(*failures, bill, ledger), _billed_entries(*results, bill, ledger))
    return ledger, marks.input


def _billed_entries(path: Path, start: int, bill: CostAccount, ledger: Ledger) -> Iterator[Entry]:
    """Yield entries after the bill has counted them, and before the ledger does."""
    for entry in read_entries(path, start, bill.decode):
        bill.fold(entry, ledger)
        yield entry


def _cached_ledger(directory: RunDirectory) -> tuple[Ledger, Marks] | None:
    """Return the ledger of `ledger.bin`, unless it is damaged or newer than the files."""
    try:
        data = (directory / LEDGER).read_bytes()
    except FileNotFoundError:
        return None
    found = Ledger.from_bytes(data)
    if found is None:
        return None
    marks = found[1]
    sound = _line_ends_at(directory / RESULTS, marks.results_end) and _line_ends_at(
        directory / FAILURES, marks.failures_end
    )
    return found if sound else None


def _line_ends_at(path: Path, offset: int) -> bool:
    if offset == 0:
        return True
    try:
        with path.open("rb") as file:
            file.seek(offset - 1)
            return file.read(1) == b"\n"
    except FileNotFoundError:
        return False


def _write_live_lines(path: Path, fresh: Path, ledger: Ledger) -> int:
    """Copy the failures that still count, and return how many lines were kept.

    If a row has two lines, the first one is dropped. Two bitmaps show that without remembering a line per row. A row
    with three lines, after two sessions were killed, needs a second call by the caller.
    """
    seen, twice = Bitmap(), Bitmap()
    for entry in read_entries(path, 0, decode_entry):
        (twice if entry.row in seen else seen).add(entry.row)
    kept = 0
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb", buffering=_BUFFER) as file:
        for _, line in read_lines(path):
            row = decode_entry(line).row
            if row in twice:
                twice.discard(row)
            elif ledger.keeps_failure_of(row):
                kept += file.write(line) > 0
        file.flush()
        os.fsync(file.fileno())
    return kept
