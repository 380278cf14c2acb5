"""Writes the rows of a run as batch files that others can run.

The rows that have no record are cut into files within the limits of a form, and it is noted which rows are in which
file. `collect_files` merges what came of them.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson
from msgspec import Struct

from arkbatch.batch_jobs.open_session import refuse_lost_parcels
from arkbatch.batch_jobs.parcel import Parcel
from arkbatch.batch_jobs.parcel_cutter import ParcelCutter
from arkbatch.batch_jobs.parcel_journal import ParcelJournal
from arkbatch.batch_jobs.parcel_limits import caps_of
from arkbatch.batch_jobs.parcel_records import Stage
from arkbatch.batch_jobs.provider_forms import Form
from arkbatch.core.disk_errors import explain_disk_errors
from arkbatch.core.outcomes import Failure
from arkbatch.engine.open_run import OpenRun
from arkbatch.journal.run_directory import RunDirectory


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
            parcel = cutter.cut_parcel(lambda _: caps, None)
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
        shutil.copyfile(journal.requests_path(parcel.number), fresh)
        fresh.replace(target)
    journal.write_step(parcel.number, Stage.EXPORTED, name=target.name)
    journal.requests_path(parcel.number).unlink()
    cut = parcel.cut
    return ExportedFile(str(target), cut.endpoint, cut.model, cut.rows, cut.bytes, cut.tokens)


def take_back(directory: RunDirectory, parcels: Sequence[Parcel], wall: Callable[[], float]) -> int:
    """Free the rows of exported parcels that nobody will collect; how many there are."""
    if not parcels:
        return 0
    with directory.hold_lock(wall):
        journal = ParcelJournal(directory, wall)
        for parcel in parcels:
            journal.write_step(parcel.number, Stage.MERGED, left=parcel.cut.rows, code="spent")
            journal.write_step(parcel.number, Stage.CLOSED)
        journal.close()
    return sum(parcel.cut.rows for parcel in parcels)


def as_json(exported: Exported) -> bytes:
    """One line for a program."""
    return orjson.dumps(
        {
            "files": [{name: getattr(file, name) for name in file.__struct_fields__} for file in exported.files],
            "left_out": [{"row": row, "reason": reason} for row, reason in exported.left_out],
        }
    )
