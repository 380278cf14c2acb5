"""`parcels.jsonl` and the files of parcels in a run directory: what was ordered elsewhere, on disk before it is done.

A step is on disk (fsync) when `write` returns. A torn last line, which a crash leaves, is cut off. The file is not
needed to know about rows: without it, batches are found again at the provider by the name of their files.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from arkbatch.batch_jobs.parcel import Parcel, Parcels, Step
from arkbatch.core.disk_errors import disk
from arkbatch.core.errors import RunDamaged
from arkbatch.journal.run_directory import RunDirectory, private, sync_directory, write_all

PARCELS = "parcels.jsonl"
FOLDER = "parcels"

_decode = msgspec.json.Decoder(Step).decode
_encode = msgspec.json.Encoder().encode


def read_parcels(directory: RunDirectory) -> Parcels:
    """The parcels of a run, also while a session writes to them. RunDamaged: a line is not ours."""
    path = directory / PARCELS
    return Parcels(_steps(path)) if path.exists() else Parcels()


def _steps(path: Path) -> Iterator[Step]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield _decode(line)
            except msgspec.DecodeError as error:
                raise RunDamaged(
                    f"{path} holds a line {number} that arkbatch did not write ({error}). Take it out, and run the "
                    "same command again."
                ) from error


class ParcelJournal:
    """Open for writing; hold the run directory's lock around it. `parcels`: as the steps so far say."""

    def __init__(self, directory: RunDirectory, wall: Callable[[], float]) -> None:
        self._path = directory / PARCELS
        self.folder = directory / FOLDER
        self._wall = wall
        self.parcels = read_parcels(directory)
        with disk(self._path):
            self.folder.mkdir(mode=0o700, exist_ok=True)
            self._cut_torn_line()
            self._file = open(self._path, "ab", buffering=0, opener=private)
            sync_directory(self._path.parent)
        self._remove_strays()

    def _cut_torn_line(self) -> None:
        if not self._path.exists():
            return
        data = self._path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(self._path, whole)

    def _remove_strays(self) -> None:
        """Files of parcels that were never cut, or that are closed: a crash left them."""
        known = {parcel.number for parcel in self.parcels.open}
        for path in self.folder.iterdir():
            stem = path.name.partition(".")[0]
            if not stem.isdecimal() or int(stem) not in known or path.name.endswith(".new"):
                path.unlink()

    def write(self, parcel: int, step: str, *, is_durable: bool = True, **said: Any) -> Step:
        """Write one step down and take it in. What the provider would say again need not be durable."""
        entry = Step(parcel=parcel, step=step, at=self._wall(), **said)
        with disk(self._path):
            write_all(self._file.fileno(), _encode(entry) + b"\n")
            if is_durable:
                os.fsync(self._file.fileno())
        self.parcels.fold(entry)
        return entry

    def close(self) -> None:
        self._file.close()

    # ---- the files of a parcel

    def requests(self, number: int) -> Path:
        """The file that is sent."""
        return self.folder / f"{number:04d}.jsonl"

    def output(self, number: int, kind: str) -> Path:
        """What came back: `output` or `error`."""
        return self.folder / f"{number:04d}.{kind}.jsonl"

    def remove_files(self, parcel: Parcel) -> None:
        for path in (self.requests(parcel.number), *(self.output(parcel.number, k) for k in ("output", "error"))):
            path.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
