"""The files of a run that several workers share: the plan of its shards, and one run directory for each attempt.

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
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from arkbatch.core.disk_errors import explain_disk_errors
from arkbatch.core.errors import RunDamaged, RunDirectoryError, RunLocked
from arkbatch.journal.record_files import end_of_lines, read_lines
from arkbatch.journal.run_directory import FAILURES, RESULTS, RunDirectory, replace_file

SHARDS_PLAN, SHARDS = "shards.json", "shards"
PLAN_FORMAT = 1
Kind = Literal["lines", "csv", "parquet", "whole"]
T = TypeVar("T")


class InputPart(Struct, frozen=True, omit_defaults=True):
    """One input file as it was when the run was planned.

    tag: changes when the file does; kind: how it is cut
    cuts: for `csv` the bytes, for `parquet` the row groups at which shards after the first begin
    header: bytes before the first record of a table
    """

    path: str
    size: int
    tag: str
    kind: Kind
    cuts: list[int] = []
    header: int = 0
    groups: int = 0


class ShardPlan(Struct):
    """What `shards.json` holds.

    shard_bytes: at which lengths files of lines are cut; job: as `run.json` keeps it
    insecure: http:// to another machine was allowed when the run was planned
    """

    format: int
    run_id: str
    created_at: str
    shard_bytes: int
    parts: list[InputPart]
    job: dict[str, Any]
    asked: dict[str, Any]
    asked_digest: str
    simulated: bool = False
    insecure: bool = False

    def all_shards(self) -> "Iterator[Shard]":
        """Yield all shards in input order."""
        index = 0
        for part in self.parts:
            for begin, end in _cut_ranges(part, self.shard_bytes):
                yield Shard(index, part, begin, end)
                index += 1

    @property
    def count(self) -> int:
        """How many shards there are."""
        return sum(len(_cut_ranges(part, self.shard_bytes)) for part in self.parts)


class Shard(Struct, frozen=True):
    """A part of one input file. begin, end: bytes, or row groups of Parquet.

    A line belongs to the shard in whose range its first byte lies, so plans of lines need no look at the file.
    """

    index: int
    part: InputPart
    begin: int
    end: int

    @property
    def is_whole(self) -> bool:
        """Whether the shard is its file."""
        last = self.part.groups if self.part.kind == "parquet" else self.part.size
        return self.part.kind == "whole" or (self.begin == 0 and self.end == last)


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


def _cut_ranges(part: InputPart, shard_bytes: int) -> list[tuple[int, int]]:
    if part.kind == "whole":
        return [(0, part.size)]
    last = part.groups if part.kind == "parquet" else part.size
    cuts = list(range(shard_bytes, part.size, shard_bytes)) if part.kind == "lines" else part.cuts
    return list(zip([0, *cuts], [*cuts, last], strict=True))


class ShardDirectory:
    """The files of one run's shards."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.path = run / SHARDS

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

    def write_plan(self, plan: ShardPlan) -> None:
        self._make_directory()
        replace_file(self.run / SHARDS_PLAN, msgspec.json.format(msgspec.json.encode(plan), indent=1) + b"\n")

    def _make_directory(self) -> None:
        with explain_disk_errors(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def attempt_path(self, shard: int, number: int) -> Path:
        """Return the run directory of an attempt."""
        return self.path / f"{shard:06}.{number}"

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


class AttemptLines:
    """What one attempt adds to its shard, as it is when this object is made: later lines are not seen.

    results_from: bytes of the results that a later attempt took over; known: digests of failures that it took over
    """

    def __init__(self, directory: Path, results_from: int = 0, known: frozenset[str] = frozenset()) -> None:
        self._results = directory / RESULTS
        self._begin = results_from
        self.results_end = end_of_lines(self._results) if self._results.exists() else 0
        lines = (line for _, line in read_lines(directory / FAILURES))
        self.failures = [line for line in lines if digest_of_record(line) not in known]

    def result_lines(self) -> Iterator[tuple[Path, int, bytes]]:
        """Yield the path, offset and bytes of each line."""
        for offset, line in read_lines(self._results, self._begin, self.results_end):
            yield self._results, offset, line


def lines_of_attempts(shards: ShardDirectory, shard: int, numbers: list[int]) -> list[AttemptLines]:
    """The attempts at a shard, the newest first; together they hold each line once."""
    if not numbers:
        seed = shards.seed_path(shard)
        return [AttemptLines(seed)] if seed.is_dir() else []
    newest = numbers[-1]
    taken = shards.taken_over(shard, newest)
    known = frozenset(taken.failures)
    earlier = [
        AttemptLines(shards.attempt_path(shard, number), taken.results.get(number, 0), known)
        for number in reversed(numbers[:-1])
    ]
    return [AttemptLines(shards.attempt_path(shard, newest)), *earlier]


def _create_new(path: Path) -> bool:
    """Make an empty file; return False if it exists already."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    return True


def digest_of_record(line: bytes) -> str:
    return blake2b(line, digest_size=8).hexdigest()


def _read_struct(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.DecodeError as error:
        raise RunDamaged(f"{path} cannot be read ({error}). Restore it from a backup.") from error
