"""The run directory: its file names, its lock, and `run.json`.

Readable by its owner only, since prompts and answers are in it. The lock is the operating system's (`flock`), so it
ends with the process that holds it, however that ends; the text inside only names the process that a second one
has to wait for. `journal` reads and writes the two files of records.
"""

import contextlib
import os
import platform
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from arkbatch.core.disk_errors import explain_disk_errors
from arkbatch.core.errors import RunDamaged, RunDirectoryError, RunLocked
from arkbatch.journal.atomic_files import open_private, replace_file, sync_directory
from arkbatch.journal.run_info import FORMAT, RunInfo, check_parts

RUN = "run.json"
RESULTS = "results.jsonl"
FAILURES = "failures.jsonl"
USAGE = "usage.json"
LEDGER = "ledger.bin"
LOG = "run.log"
LOCK = "lock"
LOCK_OF_SHARDS = "shards/lock"  # held by the process that leads a run on several workers
SPOOL = "input.jsonl"
COPIES = "input"  # copies of an input that lies in object storage
SOCKET = "ctl.sock"
SUPERSEDED = "superseded.jsonl"
_ADDRESS = re.compile(r"(s3|tos|oss|gs|az):/(.+)")  # of object storage, made a path
_PACE = "pace.json"  # of `limits.pace_file`
PENDING = ".rebased"  # a journal file that waits to be replaced together with the other one


class RunDirectory:
    """The files of a run by name, its lock, and the file `run.json`, which is replaced whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def exists(self) -> bool:
        return (self.path / RUN).exists()

    def create(self) -> None:
        """Make the directory, for its owner only; one that exists must be empty or a run's."""
        if self.path.is_file():
            raise RunDirectoryError(f"{self.path} is a file, not a run directory. Name another with -o RUN_DIR.")
        with explain_disk_errors(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A process killed at its start leaves these, or a file that was to become one of them.
        known = {RUN, RESULTS, FAILURES, USAGE, LEDGER, LOG, LOCK, SPOOL, SOCKET, SUPERSEDED, _PACE, COPIES}
        strange = sorted(entry.name for entry in self.path.iterdir() if entry.name.removesuffix(".new") not in known)
        if strange and not self.exists:
            raise RunDirectoryError(
                f"{self.path} is not a run directory: it holds {strange[0]}. Name another with -o RUN_DIR."
            )

    def read_info(self) -> RunInfo:
        try:
            data = (self.path / RUN).read_bytes()
        except FileNotFoundError:
            raise RunDirectoryError(_why_no_run(self.path)) from None
        except NotADirectoryError:
            raise RunDirectoryError(
                f"{self.path} is a file, not a run directory: name the one that `arkbatch run` wrote, such as "
                f"{self.path.with_suffix('.run')}."
            ) from None
        try:
            info = msgspec.json.decode(data, type=RunInfo)
            if info.format != FORMAT:
                raise RunDirectoryError(
                    f"{self.path} was written in format {info.format}, this arkbatch reads {FORMAT}. Update arkbatch."
                )
            check_parts(info)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise RunDamaged(
                f"{self.path / RUN} is damaged ({error}). Restore it from a backup, or delete it and run the same "
                f"command again: all answers are in {RESULTS} and are kept."
            ) from error
        return info

    def write_info(self, info: RunInfo) -> None:
        replace_file(self.path / RUN, msgspec.json.format(msgspec.json.encode(info), indent=2) + b"\n")

    @contextmanager
    def hold_lock(self, wall: Callable[[], float]) -> Iterator[None]:
        """Hold the run for writing. RunLocked: another process does."""
        with (
            explain_disk_errors(self.path / LOCK),
            open(self.path / LOCK, "a+", encoding="utf-8", opener=open_private) as file,
        ):
            if not _try_lock(file.fileno()):
                file.seek(0)
                raise self._refusal_of(file.read().strip())
            since = f"{datetime.fromtimestamp(wall(), UTC):%Y-%m-%d %H:%M:%S} UTC"
            file.seek(0)
            file.truncate()
            file.write(f"process {os.getpid()} on {platform.node()} since {since}\n")
            file.flush()
            self._finish_replacing()
            yield

    @property
    def failures_path(self) -> Path:
        """The file of failures that belongs to the present results; between two renames it still has its other name."""
        results, failures = (self.path / (name + PENDING) for name in (RESULTS, FAILURES))
        return failures if failures.exists() and not results.exists() else self.path / FAILURES

    def replace_both(self) -> None:
        """Put the pending journal files into place; `failures_path` and `hold_lock` deal with a kill in between."""
        for name in (RESULTS, FAILURES):
            (self.path / (name + PENDING)).replace(self.path / name)
        sync_directory(self.path)

    def _finish_replacing(self) -> None:
        """Finish or undo the replacement of both files that a killed process began: undo it if neither is in place."""
        results, failures = (self.path / (name + PENDING) for name in (RESULTS, FAILURES))
        if failures.exists() and not results.exists():
            failures.replace(self.path / FAILURES)
            sync_directory(self.path)
        results.unlink(missing_ok=True)
        failures.unlink(missing_ok=True)

    def refuse_if_locked(self) -> None:
        """Raise RunLocked if somebody writes to the run now."""
        if writer := self.who_writes():
            raise self._refusal_of(writer)

    def _refusal_of(self, writer: str) -> RunLocked:
        return RunLocked(
            f"{self.path} is being written by {writer or 'another process'}. "
            f"Wait for it to end, or end it with: arkbatch ctl {self.path} drain"
        )

    def who_writes(self) -> str | None:
        """Return who writes to the run now, or leads its workers; None if nobody does.

        A lock that is free is taken for some microseconds.
        """
        for place in (LOCK, LOCK_OF_SHARDS):
            with contextlib.suppress(FileNotFoundError), open(self.path / place, encoding="utf-8") as file:
                if not _try_lock(file.fileno()):
                    return file.read().strip() or "another process"
        return None


if sys.platform == "win32":

    def _try_lock(descriptor: int) -> bool:
        import msvcrt

        try:
            # Far behind the text, since Windows forbids others to read a locked range.
            os.lseek(descriptor, 1 << 20, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:

    def _try_lock(descriptor: int) -> bool:
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _why_no_run(path: Path) -> str:
    """Return what to do where a directory has no description of a run."""
    if address := _ADDRESS.fullmatch(str(path)):  # a path has no two slashes in a row
        return (
            f"{address[1]}://{address[2]} is in object storage, where this command does not work: copy the run to a "
            "disk and name the copy."
        )
    return f"{path} is not a run directory: it has no {RUN}."
