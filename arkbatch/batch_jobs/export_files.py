"""Batch files without a network: rows of a run written for a provider's console, and the results merged again.

`export` cuts the rows that have no record into files within the limits of a form, and notes which rows are in which
file. `collect` merges what came of them, wherever it was run. Lines are trusted and counts are not: a row without a
line is left, and lines that belong to no row are told.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import orjson
from msgspec import Struct

from arkbatch.batch_jobs.cutting import caps_of
from arkbatch.batch_jobs.merging import MergedLines, Merger, spent_in
from arkbatch.batch_jobs.open_session import check_of, refuse_lost_parcels
from arkbatch.batch_jobs.output_files import OutputFiles
from arkbatch.batch_jobs.parcel import Parcel, Parcels, Stage
from arkbatch.batch_jobs.parcel_journal import ParcelJournal
from arkbatch.batch_jobs.parcel_rows import ParcelCutter
from arkbatch.batch_jobs.provider_forms import Form
from arkbatch.batch_jobs.wire_lines import WireId, read_wire_id
from arkbatch.core.disk_errors import explain_disk_errors
from arkbatch.core.errors import UsageError
from arkbatch.core.types import BadRow, Failure, Outcome, Row, add_usage
from arkbatch.engine.open_run import OpenRun
from arkbatch.journal.run_directory import FAILURES, RunDirectory


class ExportedFile(Struct, frozen=True):
    """One file that was written."""

    path: str
    endpoint: str
    model: str
    rows: int
    bytes: int
    tokens: int


class Exported(Struct):
    """What an export wrote, and the rows that it left out, with the reason."""

    files: list[ExportedFile] = []
    left_out: list[tuple[int, str]] = []


def export_run(run: OpenRun, form: Form, folder: Path) -> Exported:
    """Write the rows that have no record and are in no open parcel."""
    exported = Exported()

    def leave_out(failure: Failure) -> None:
        exported.left_out.append((failure.row.number, failure.cause.message))

    refuse_lost_parcels(run.directory)
    journal = ParcelJournal(run.directory, run.wall)
    try:
        cutter = ParcelCutter(run, journal, form, leave_out)
        cutter.begin_pass()
        caps = caps_of(form, run.job.files)
        with explain_disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        while not cutter.is_exhausted or cutter.has_drafts:
            parcel = cutter.cut(lambda _: caps, None)
            if isinstance(parcel, Parcel):
                exported.files.append(_hand_over(run, journal, parcel, folder))
    finally:
        journal.close()
    return exported


def _hand_over(run: OpenRun, journal: ParcelJournal, parcel: Parcel, folder: Path) -> ExportedFile:
    """Copy a parcel's file to where it was asked for, and note that it is on its way."""
    target = folder / f"{Path(run.job.run_dir).stem}-{run.info.run_id}-p{parcel.number:04d}.jsonl"
    with explain_disk_errors(target):
        fresh = target.with_suffix(".new")
        shutil.copyfile(journal.requests(parcel.number), fresh)
        fresh.replace(target)
    journal.write(parcel.number, Stage.EXPORTED, name=target.name)
    journal.requests(parcel.number).unlink()
    cut = parcel.cut
    return ExportedFile(str(target), cut.endpoint, cut.model, cut.rows, cut.bytes, cut.tokens)


def take_back(directory: RunDirectory, parcels: Sequence[Parcel], wall: Callable[[], float]) -> int:
    """Free the rows of exported parcels that nobody will collect; how many there are."""
    if not parcels:
        return 0
    with directory.hold_lock(wall):
        journal = ParcelJournal(directory, wall)
        for parcel in parcels:
            journal.write(parcel.number, Stage.MERGED, left=parcel.cut.rows, code="spent")
            journal.write(parcel.number, Stage.CLOSED)
        journal.close()
    return sum(parcel.cut.rows for parcel in parcels)


class Collected(Struct):
    """What collecting came to. `parcels`: those that are closed now; `refused`: lines of batches still ordered."""

    merged: MergedLines
    parcels: list[int] = []
    refused: int = 0
    ambiguous: int = 0


def collect_files(run: OpenRun, files: Sequence[Path], told: Callable[[Outcome], None] = lambda _: None) -> Collected:
    """Merge the lines of these files into the run. UsageError: a file cannot be read."""
    for path in files:
        if not path.is_file():
            raise UsageError(f"{path} does not exist or is not a file")
    refuse_lost_parcels(run.directory)
    journal = ParcelJournal(run.directory, run.wall)
    try:
        return _collect(run, journal, files, told)
    finally:
        journal.close()


def _collect(run: OpenRun, journal: ParcelJournal, files: Sequence[Path], told: Callable[[Outcome], None]) -> Collected:
    collected = Collected(MergedLines())
    reader = _LineIds(run, journal.parcels, collected)
    found = OutputFiles(files, reader.row_of)
    merger = Merger(run.job, run.journal, wall=run.wall, check=check_of(run.job), told=told)
    for number in sorted(reader.parcels) or [0]:
        batch = f"collected-{number}"
        known = spent_in(run.directory / FAILURES, batch)
        rows = (row for row in run.rows() if _parcel_of(found, row) == number)
        collected.merged = _sum(collected.merged, merger.merge(rows, found, batch, known))
    collected.merged.unknown = found.unknown - collected.refused
    run.journal.sync()
    for number in sorted(reader.parcels):
        parcel = journal.parcels.by_number.get(number)
        if parcel is not None and parcel.stage == Stage.EXPORTED:
            missing = sum(row not in run.journal.ledger for row in parcel.numbers)
            collected.merged.missing += sum(
                row not in run.journal.ledger and not found.of(row) for row in parcel.numbers
            )
            journal.write(number, Stage.MERGED, left=missing, code="spent")
            journal.write(number, Stage.CLOSED)
            collected.parcels.append(number)
    collected.merged.left = 0
    return collected


def _parcel_of(found: OutputFiles, row: Row | BadRow) -> int:
    """The parcel that the first line of a row belongs to; -1 when it has no line."""
    lines = found.of(row.number)
    return lines[0][0].parcel if lines else -1


def _sum(one: MergedLines, other: MergedLines) -> MergedLines:
    return MergedLines(
        done=one.done + other.done,
        failed=one.failed + other.failed,
        doubled=one.doubled + other.doubled,
        spent=one.spent + other.spent,
        usage=add_usage(one.usage, other.usage),
        halt=one.halt or other.halt,
    )


class _LineIds:
    """Finds the row of a line: by arkbatch's own id, else by a `custom_id` that only one row has."""

    def __init__(self, run: OpenRun, parcels: Parcels, collected: Collected) -> None:
        self._run = run
        self._ordered = {each.number for each in parcels.holding if each.stage != Stage.EXPORTED}
        self._collected = collected
        self._by_custom_id: dict[str, WireId | None] | None = None
        self.parcels: set[int] = set()

    def row_of(self, custom_id: str) -> WireId | None:
        """The row that a line is about, None when it is none of this run."""
        found = read_wire_id(custom_id) or self._named(custom_id)
        if found is None:
            return None
        if found.parcel in self._ordered:
            self._collected.refused += 1
            return None
        self.parcels.add(found.parcel)
        return found

    def _named(self, custom_id: str) -> WireId | None:
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


def as_json(exported: Exported) -> bytes:
    """One line for a program."""
    return orjson.dumps(
        {
            "files": [{name: getattr(file, name) for name in file.__struct_fields__} for file in exported.files],
            "left_out": [{"row": row, "reason": reason} for row, reason in exported.left_out],
        }
    )
