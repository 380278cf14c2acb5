"""Merges the result files of batches that somebody else ran into a run.

Lines are trusted and counts are not. A row without a line is left; lines that belong to no row are told. Files may be
compressed, in UTF-16, or one JSON list, as they come out of consoles and shells.
"""

import shutil
import tempfile
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson
from msgspec import Struct

from arkbatch.batch_jobs.line_records import spent_in
from arkbatch.batch_jobs.open_session import check_of, refuse_lost_parcels
from arkbatch.batch_jobs.output_files import OutputFiles
from arkbatch.batch_jobs.output_merging import MergedLines, Merger
from arkbatch.batch_jobs.parcel import Parcels
from arkbatch.batch_jobs.parcel_journal import ParcelJournal
from arkbatch.batch_jobs.parcel_records import Stage
from arkbatch.batch_jobs.parcel_rows import rows_of
from arkbatch.batch_jobs.wire_lines import WireId, is_request_line, read_wire_id
from arkbatch.core.errors import UsageError
from arkbatch.core.json_numbers import dumps_as_written, loads_as_written
from arkbatch.core.outcomes import Outcome
from arkbatch.core.row import BadRow, Row
from arkbatch.core.usage import add_usage
from arkbatch.engine.open_run import OpenRun
from arkbatch.journal.run_directory import FAILURES
from arkbatch.rows.input_file import compression_of, open_input

_BEGINNING = 1 << 16
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class Collected(Struct):
    """What collecting came to.

    parcels: those that are closed now
    recorded: lines of rows that had a record before
    refused: lines of batches that are still ordered
    ambiguous: lines whose `custom_id` several rows have
    """

    merged: MergedLines
    parcels: list[int] = []
    recorded: int = 0
    refused: int = 0
    ambiguous: int = 0


def collect_files(run: OpenRun, files: Sequence[Path], told: Callable[[Outcome], None] = lambda _: None) -> Collected:
    """Merge the lines of these files into the run. UsageError: a file cannot be read, or holds requests."""
    for path in files:
        if not path.is_file():
            raise UsageError(f"{path} does not exist or is not a file")
    refuse_lost_parcels(run.directory)
    with _as_json_lines(files, run.directory.path) as readable:
        for path, given in zip(readable, files, strict=True):
            _refuse_requests(path, given)
        journal = ParcelJournal(run.directory, run.wall)
        try:
            return _collect_lines(run, journal, readable, told)
        finally:
            journal.close()


@contextmanager
def _as_json_lines(files: Sequence[Path], place: Path) -> Iterator[list[Path]]:
    """The same files with one JSON value on a line; those that are written otherwise as copies beside the run."""
    with tempfile.TemporaryDirectory(dir=place, prefix="collected-") as folder:
        yield [_readable_file(path, Path(folder) / str(number)) for number, path in enumerate(files)]


def _readable_file(path: Path, copy: Path) -> Path:
    if compression_of(path) is not None:
        with open_input(path) as source, copy.open("wb") as target:
            shutil.copyfileobj(source, target)
        path = copy
    with path.open("rb") as file:
        begin = file.read(_BEGINNING)
    if begin.startswith(_UTF_16):
        path = _rewritten_file(copy, path.read_bytes().decode("utf-16", "replace").encode())
        begin = path.read_bytes()[:_BEGINNING]
    if begin.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        listed = _list_in(path)
        if listed is not None:
            path = _rewritten_file(copy, b"".join(dumps_as_written(each) + b"\n" for each in listed))
    return path


def _list_in(path: Path) -> list[object] | None:
    """A file that is one JSON list, None when it is none."""
    try:
        parsed = loads_as_written(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError:
        return None
    return parsed if isinstance(parsed, list) else None


def _rewritten_file(copy: Path, data: bytes) -> Path:
    fresh = copy.with_suffix(".new")
    fresh.write_bytes(data)
    return fresh.replace(copy)


def _refuse_requests(path: Path, given: Path) -> None:
    """UsageError: the file is one that was exported, and not what came of it."""
    with path.open("rb") as file:
        if is_request_line(file.readline()):
            raise UsageError(
                f"{given} holds requests, as arkbatch export writes them, and no answers. Name the output and error "
                "files that came of it"
            )


def _collect_lines(
    run: OpenRun, journal: ParcelJournal, files: Sequence[Path], told: Callable[[Outcome], None]
) -> Collected:
    collected = Collected(MergedLines())
    reader = _LineIds(run, journal.parcels, collected)
    found = OutputFiles(files, reader.row_of)
    merger = Merger(run.job, run.journal, wall=run.wall, check=check_of(run.job), told=told)
    collected.recorded = sum(row in run.journal.ledger for row in found.rows)
    ours = sorted(reader.parcels - reader.foreign_parcels)
    for number in ours or [0]:
        batch = f"collected-{number}"
        known = spent_in(run.directory / FAILURES, batch)
        rows = (row for row in _rows_of(run, journal.parcels, number) if reader.parcel_of.get(row.number, -1) == number)
        collected.merged = _sum_of(collected.merged, merger.merge_lines(rows, found, batch, known))
    foreign = sum(reader.lines[number] for number in reader.foreign_parcels)
    collected.merged.unknown = found.unknown - collected.refused - collected.ambiguous + foreign
    run.journal.sync()
    for number in ours:
        _close_parcel(run, journal, number, found, collected)
    collected.merged.left = 0
    return collected


def _close_parcel(run: OpenRun, journal: ParcelJournal, number: int, found: OutputFiles, collected: Collected) -> None:
    """Free the rows of an exported parcel that have no record now."""
    parcel = journal.parcels.by_number.get(number)
    if parcel is None or parcel.stage != Stage.EXPORTED:
        return
    left = [row for row in parcel.row_numbers if row not in run.journal.ledger]
    collected.merged.missing += sum(not found.lines_of(row) for row in left)
    journal.write_step(number, Stage.MERGED, left=len(left), code="spent")
    journal.write_step(number, Stage.CLOSED)
    collected.parcels.append(number)


def _rows_of(run: OpenRun, parcels: Parcels, number: int) -> Iterator[Row | BadRow]:
    """The rows of a parcel that have no record; of one that is not known, all such rows of the run."""
    parcel = parcels.by_number.get(number)
    return run.rows() if parcel is None else rows_of(run, parcel.cut)


def _sum_of(one: MergedLines, other: MergedLines) -> MergedLines:
    return MergedLines(
        done=one.done + other.done,
        failed=one.failed + other.failed,
        doubled=one.doubled + other.doubled,
        spent=one.spent + other.spent,
        usage=add_usage(one.usage, other.usage),
        halt=one.halt or other.halt,
    )


class _LineIds:
    """Finds the row of a line: by arkbatch's own id, else by a `custom_id` that only one row has.

    parcels: whose lines were found, 0 for lines of no parcel; lines: how many each has
    parcel_of: by row, that of its first line
    """

    def __init__(self, run: OpenRun, parcels: Parcels, collected: Collected) -> None:
        self._run = run
        self._ordered = {each.number for each in parcels.holding_parcels if each.stage != Stage.EXPORTED}
        self._collected = collected
        self._by_custom_id: dict[str, WireId | None] | None = None
        self._digests = array("I")
        for row in run.rows():
            self._digests.extend([0] * (row.number + 1 - len(self._digests)))
            self._digests[row.number] = int(row.digest[:8], 16)
        self._of_this_run: set[int] = set()
        self._of_others: set[int] = set()
        self.lines: dict[int, int] = {}
        self.parcel_of: dict[int, int] = {}

    @property
    def parcels(self) -> set[int]:
        return set(self.lines)

    @property
    def foreign_parcels(self) -> set[int]:
        """Those of another run: the digests of their lines are those of no row here."""
        return self._of_others - self._of_this_run

    def row_of(self, custom_id: str) -> WireId | None:
        """The row that a line is about, None when it is none of this run."""
        found = read_wire_id(custom_id) or self._named_row(custom_id)
        if found is None:
            return None
        if found.parcel in self._ordered:
            self._collected.refused += 1
            return None
        (self._of_others if self._is_another_row(found) else self._of_this_run).add(found.parcel)
        self.lines[found.parcel] = self.lines.get(found.parcel, 0) + 1
        self.parcel_of.setdefault(found.row, found.parcel)
        return found

    def _is_another_row(self, found: WireId) -> bool:
        """Whether the row of this number that has no record is not the one that was sent."""
        known = self._digests[found.row] if found.row < len(self._digests) else 0
        return known != int(found.digest, 16) and (known != 0 or found.row not in self._run.journal.ledger)

    def _named_row(self, custom_id: str) -> WireId | None:
        if self._by_custom_id is None:
            self._by_custom_id = dict(self._named_rows())
        found = self._by_custom_id.get(custom_id)
        if found is None and custom_id in self._by_custom_id:
            self._collected.ambiguous += 1
        return found

    def _named_rows(self) -> Iterator[tuple[str, WireId | None]]:
        """Each custom_id with its row; None for one that several rows have."""
        seen: set[str] = set()
        for row in self._run.rows():
            is_doubled = row.custom_id in seen
            seen.add(row.custom_id)
            yield row.custom_id, None if is_doubled else WireId(row.number, row.digest[:8], 0)
