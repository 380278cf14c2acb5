"""The files of parcels in a run directory, written before each step is done.

A step is on disk (fsync) when `write_step` returns. A torn last line, which a crash leaves, is cut off. The file is not
needed to know about rows. If it is lost or damaged, `journal_rebuilding` finds the batches again at the provider.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from arkbatch.batch_jobs.parcel import Parcel, Parcels
from arkbatch.batch_jobs.parcel_records import Stage, Step
from arkbatch.core.disk_errors import explain_disk_errors
from arkbatch.journal.atomic_files import open_private, replace_file, sync_directory, write_all
from arkbatch.journal.record_reader import end_of_lines, read_lines
from arkbatch.journal.run_directory import RunDirectory

PARCELS = "parcels.jsonl"
FOLDER = "parcels"
_LOSS = "incomplete"  # stands in the folder while it is not known which batches there are

_decode = msgspec.json.Decoder(Step).decode
_encode = msgspec.json.Encoder().encode


def read_parcels(directory: RunDirectory) -> Parcels:
    """The parcels of a run, also while a session writes to them. Damaged lines are passed over."""
    return Parcels(step for step in _steps_in(directory / PARCELS) if step is not None)


def has_lost_parcels(directory: RunDirectory) -> bool:
    """Whether batches may exist at the provider that `parcels.jsonl` does not tell, since it is gone or damaged."""
    if (directory / FOLDER / _LOSS).exists():
        return True
    if (directory / PARCELS).exists():
        return any(step is None for step in _steps_in(directory / PARCELS))
    return (directory / FOLDER).exists()


def _steps_in(path: Path) -> Iterator[Step | None]:
    """Each whole line; None for one that arkbatch did not write so."""
    for _, line in read_lines(path):
        try:
            yield _decode(line)
        except (msgspec.DecodeError, RecursionError):
            yield None


class ParcelJournal:
    """`parcels.jsonl` open for writing; hold the run directory's lock around it. `parcels`: as the steps so far say.

    is_incomplete: steps were lost, so that the provider has to be asked which batches there are
    """

    def __init__(self, directory: RunDirectory, wall: Callable[[], float]) -> None:
        self._path = directory / PARCELS
        self.folder = directory / FOLDER
        self._wall = wall
        self.is_incomplete = has_lost_parcels(directory)
        with explain_disk_errors(self._path):
            self.folder.mkdir(mode=0o700, exist_ok=True)
            if self.is_incomplete:
                (self.folder / _LOSS).touch()
                self._set_damaged_lines_aside()
            self._cut_torn_line()
            self._file = open(self._path, "ab", buffering=0, opener=open_private)
            sync_directory(self._path.parent)
        self.parcels = read_parcels(directory)
        if not self.is_incomplete:
            self._remove_strays()

    def _set_damaged_lines_aside(self) -> None:
        """Keep the file as it is under another name, and go on with what is certain without the lines that are lost."""
        steps = list(_steps_in(self._path))
        if None not in steps:
            return
        shutil.copyfile(self._path, self._path.with_name(PARCELS + ".damaged"))
        certain: list[Step] = []
        for parcel in Parcels(step for step in steps if step is not None).by_number.values():
            certain.append(replace(parcel.cut, is_rebuilt=True))
            if parcel.stage in {Stage.CLOSED, Stage.EXPORTED}:
                certain.append(Step(parcel=parcel.number, step=parcel.stage, at=parcel.stage_at))
        replace_file(self._path, b"".join(_encode(step) + b"\n" for step in certain))

    def note_completeness(self) -> None:
        """The provider was asked, and what was lost stands here again."""
        (self.folder / _LOSS).unlink(missing_ok=True)
        self.is_incomplete = False
        self._remove_strays()

    def _cut_torn_line(self) -> None:
        if self._path.exists():
            whole = end_of_lines(self._path)
            if whole < self._path.stat().st_size:
                os.truncate(self._path, whole)

    def _remove_strays(self) -> None:
        """Remove files of parcels that were never cut, or that are closed: a crash left them."""
        known = {parcel.number for parcel in self.parcels.open_parcels}
        for path in self.folder.iterdir():
            stem = path.name.partition(".")[0]
            if not stem.isdecimal() or int(stem) not in known or path.name.endswith(".jsonl.new"):
                path.unlink()

    def write_step(self, parcel: int, step: str, *, is_durable: bool = True, **said: Any) -> Step:
        """Write one step down and take it in. What the provider would say again need not be durable."""
        entry = Step(parcel=parcel, step=step, at=self._wall(), **said)
        with explain_disk_errors(self._path):
            write_all(self._file.fileno(), _encode(entry) + b"\n")
            if is_durable:
                os.fsync(self._file.fileno())
        self.parcels.take_step(entry)
        return entry

    def close(self) -> None:
        self._file.close()

    # ---- the files of a parcel

    def requests_path(self, number: int) -> Path:
        """The file that is sent."""
        return self.folder / f"{number:04d}.jsonl"

    def output_path(self, number: int, kind: str) -> Path:
        """What came back: `output_path` or `error`."""
        return self.folder / f"{number:04d}.{kind}.jsonl"

    def remove_files(self, parcel: Parcel) -> None:
        for path in (
            self.requests_path(parcel.number),
            *(self.output_path(parcel.number, k) for k in ("output", "error")),
        ):
            path.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
