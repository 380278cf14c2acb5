"""The files of a run that several workers share.

    RUN/shards.json                   the plan; a shard is a range of one input file
    RUN/shards/000003.2/              an ordinary run directory: the second attempt at shard 3
    RUN/shards/000003.2.taken.json    what it took over from the attempts before it
    RUN/shards/000003.done.json       the shard is finished, and by which attempt
    RUN/shards/000003.seed/           records of an earlier session without shards, at their places in this shard

An attempt begins with the records of all attempts before it, so the newest one holds a record for each row that is
done, except for what a worker wrote that was given up for dead and still lives. Such lines stand in its own directory,
behind what was taken over.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from arkbatch.core.disk_errors import explain_disk_errors
from arkbatch.core.errors import RunDamaged, RunDirectoryError, RunLocked
from arkbatch.journal.atomic_files import replace_file
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.journal.shard_plan import PLAN_FORMAT, Shard, ShardPlan

SHARDS_PLAN, SHARDS = "shards.json", "shards"
T = TypeVar("T")


class Finished(Struct, frozen=True):
    """A shard is finished. lines: numbers that its rows take; rows: that there are."""

    attempt: int
    lines: int
    rows: int
    done: int
    failed: int


class CountedRows(Struct, frozen=True):
    """How many rows a shard has that nobody has begun. of: the shard, since another plan cuts otherwise."""

    of: tuple[str, str, int, int]
    lines: int
    rows: int


def _place_of(shard: Shard) -> tuple[str, str, int, int]:
    return shard.part.path, shard.part.tag, shard.begin, shard.end


class TakenOver(Struct, frozen=True):
    """What an attempt began with. results: bytes, by attempt; failures: digests of the lines."""

    results: dict[int, int] = {}
    failures: list[str] = []


class ShardDirectory:
    """The files of one run's shards, in a directory that all machines share.

    A subclass keeps them in a bucket; there this directory holds what one process reads and writes.
    """

    is_shared = True

    def __init__(self, run: Path) -> None:
        self.run = run
        self.path = run / SHARDS

    @property
    def shown(self) -> str:
        """The run as the user names it in commands."""
        return str(self.run)

    @property
    def is_planned(self) -> bool:
        return (self.run / SHARDS_PLAN).exists()

    def read_plan(self) -> ShardPlan:
        path = self.run / SHARDS_PLAN
        if not path.exists():
            raise RunDirectoryError(
                f"{self.run} has no {SHARDS_PLAN}. Make it with: arkbatch shard plan INPUT -o {self.run}"
            )
        plan = _read_struct(path, ShardPlan)
        if plan.format != PLAN_FORMAT:
            raise RunDirectoryError(f"{path} was written in format {plan.format}. Update arkbatch on this machine.")
        return plan

    @contextmanager
    def hold_lock(self, wall: Callable[[], float]) -> Iterator[None]:
        """Keep a second coordinator away, and sessions without shards. RunLocked: another process leads the run."""
        self._make_directory()
        lock = RunDirectory(self.path)
        if writer := lock.who_writes():
            raise RunLocked(
                f"{self.run} is led by {writer}. Wait for it to end, or end it with: arkbatch ctl {self.run} drain"
            )
        with lock.hold_lock(wall):
            yield

    def refuse_workers(self) -> None:
        """Raise RunLocked if a worker is at work on a shard, with a coordinator or without."""
        for shard, numbers in self.all_attempts().items():
            if writer := RunDirectory(self.attempt_path(shard, numbers[-1])).who_writes():
                raise RunLocked(f"Shard {shard} of {self.run} is being worked on by {writer}. Wait for it to end.")

    def read_file(self, name: str) -> bytes | None:
        """Return a file that stands beside the attempts, None if there is none."""
        path = self.path / name
        return path.read_bytes() if path.exists() else None

    def write_file(self, name: str, data: bytes) -> None:
        """Replace a file that stands beside the attempts."""
        self._make_directory()
        replace_file(self.path / name, data)

    def bring_up_to_date(self, shard: int) -> None:
        """Fetch what others have recorded of a shard; in a shared directory it is there already."""

    def bring_all_up_to_date(self, *, with_records: bool) -> None:
        """Fetch which shards are finished, and what others have recorded if that is asked for."""

    def publish(self, shard: int, number: int, *, is_over: bool = False) -> None:
        """Make what an attempt has recorded known to others; in a shared directory it is known already."""

    def forget(self, shard: int) -> None:
        """Delete what was fetched of a shard; a shared directory holds nothing that was fetched."""

    def write_plan(self, plan: ShardPlan) -> None:
        self._make_directory()
        replace_file(self.run / SHARDS_PLAN, msgspec.json.format(msgspec.json.encode(plan), indent=1) + b"\n")

    def _make_directory(self) -> None:
        with explain_disk_errors(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def attempt_path(self, shard: int, number: int) -> Path:
        """Return the run directory of an attempt."""
        return self.path / f"{shard:06}.{number}"

    def copy_path(self, shard: Shard, number: int) -> Path:
        """Return where an attempt keeps its copy of the input."""
        return self.path / f"{shard.index:06}.{number}.input{Path(shard.part.path).suffix}"

    def seed_path(self, shard: int) -> Path:
        return self.path / f"{shard:06}.seed"

    def attempts_of(self, shard: int) -> list[int]:
        """The numbers of the attempts that were begun."""
        return self.all_attempts().get(shard, [])

    def all_attempts(self) -> dict[int, list[int]]:
        """The numbers of the attempts that were begun, by shard: one look at the directory."""
        found: dict[int, list[int]] = {}
        if not self.path.is_dir():
            return found
        for entry in os.scandir(self.path):
            shard, _, number = entry.name.partition(".")
            if number.isdecimal() and shard.isdecimal() and entry.is_dir():
                found.setdefault(int(shard), []).append(int(number))
        return {shard: sorted(numbers) for shard, numbers in found.items()}

    def claim_number(self, shard: int, number: int) -> int:
        """Return a number for a new attempt, this one or a later one, which no other process gets."""
        self._make_directory()
        with explain_disk_errors(self.path):
            while not _create_new(self.path / f"{shard:06}.{number}.claim"):
                number += 1
        return number

    def how_finished(self, shard: int) -> Finished | None:
        path = self.path / f"{shard:06}.done.json"
        return _read_struct(path, Finished) if path.exists() else None

    def mark_finished(self, shard: int, ended: Finished) -> bool:
        """Mark a shard as finished, unless another attempt has done so."""
        path = self.path / f"{shard:06}.done.json"
        own = path.with_name(f"{shard:06}.{ended.attempt}.done.new")
        replace_file(own, msgspec.json.encode(ended) + b"\n")
        try:
            os.link(own, path)
        except FileExistsError:
            return False
        finally:
            own.unlink(missing_ok=True)
        return True

    def counted(self, shard: Shard) -> tuple[int, int] | None:
        """What was counted of a shard that nobody has begun: the numbers that its rows take, and the rows."""
        path = self.path / f"{shard.index:06}.rows.json"
        found = _read_struct(path, CountedRows) if path.exists() else None
        return (found.lines, found.rows) if found is not None and found.of == _place_of(shard) else None

    def write_counted(self, shard: Shard, lines: int, rows: int) -> None:
        self._make_directory()
        counted = CountedRows(_place_of(shard), lines, rows)
        replace_file(self.path / f"{shard.index:06}.rows.json", msgspec.json.encode(counted) + b"\n")

    def taken_over(self, shard: int, number: int) -> TakenOver:
        path = self.path / f"{shard:06}.{number}.taken.json"
        return _read_struct(path, TakenOver) if path.exists() else TakenOver()

    def write_taken(self, shard: int, number: int, taken: TakenOver) -> None:
        replace_file(self.path / f"{shard:06}.{number}.taken.json", msgspec.json.encode(taken) + b"\n")


def _create_new(path: Path) -> bool:
    """Make an empty file; return False if it exists already."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    return True


def _read_struct(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RunDamaged(f"{path} cannot be read ({error}). Restore it from a backup.") from error
