"""A run as its files stand now, with or without shards.

The counts and costs of shards come from their ledgers, so that a run of many shards is read without its records. Only
shards of which a worker wrote that was given up for dead are read line by line, since some of their rows stand in two
attempts.
"""

from functools import cached_property
from pathlib import Path

from msgspec import Struct

from arkbatch.core.input_info import InputInfo
from arkbatch.journal.attempt_lines import lines_of_attempts
from arkbatch.journal.cost_account import CostAccount
from arkbatch.journal.journal import read_ledger
from arkbatch.journal.ledger import Ledger
from arkbatch.journal.merge_state import shards_are_newer
from arkbatch.journal.run_directory import RESULTS, RunDirectory
from arkbatch.journal.run_info import FORMAT, RunInfo
from arkbatch.journal.shard_files import ShardDirectory
from arkbatch.journal.shard_plan import Shard
from arkbatch.journal.shard_records import ShardRecords
from arkbatch.journal.shard_sessions import attempt_infos, sessions_of
from arkbatch.rows.several_files import joined_paths

RECENT_SECONDS = 120.0  # a directory whose records are older says nothing about the speed now


class _RowNumbers(Struct, frozen=True):
    """How many numbers the rows of each shard take, and how many rows there are, by shard.

    are_estimated: not every shard was opened yet; there it is what a shard of this length holds elsewhere
    """

    lines: dict[int, int]
    rows: dict[int, int]
    are_estimated: bool


class RunView:
    """One look at a run."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        shards = ShardDirectory(directory.path)
        self._shards = shards if shards_are_newer(shards) else None
        self._attempts = shards.all_attempts() if self._shards is not None else {}

    @property
    def rows_are_estimated(self) -> bool:
        """Whether the number of rows is a guess, since not every shard was opened yet."""
        return self._shards is not None and self._numbers.are_estimated

    def read_info(self) -> RunInfo:
        """Return what was asked, and the sessions. RunDirectoryError: this is no run directory."""
        shards = self._shards
        if shards is None:
            return self.directory.read_info()
        plan, attempts = shards.read_plan(), list(attempt_infos(shards))
        return RunInfo(
            run_id=plan.run_id,
            format=FORMAT,
            created_at=plan.created_at,
            simulated=plan.simulated,
            input=self._input(shards),
            asked=plan.asked,
            asked_digest=plan.asked_digest,
            job=plan.job,
            prices=next((info.prices for info in attempts if info.prices), None),
            sessions=sessions_of(shards, plan, attempts),
            price_list=next((info.price_list for info in attempts if info.price_list), ""),
        )

    def _input(self, shards: ShardDirectory) -> InputInfo:
        parts = shards.read_plan().parts
        times = [int(part.tag) if part.tag.isdecimal() else 0 for part in parts]
        rows = sum(self._numbers.rows.values())
        path, size = joined_paths([part.path for part in parts]), sum(part.size for part in parts)
        return InputInfo(path=path, size=size, mtime_ns=max(times), sha256="", lines=rows, rows=rows)

    @cached_property
    def _numbers(self) -> _RowNumbers:
        shards = self._shards
        assert shards is not None
        lines, rows, unknown, known_length = dict[int, int](), dict[int, int](), list[Shard](), 0
        for shard in shards.read_plan().all_shards():
            counted = lines_of_shard(shards, shard, self._attempts.get(shard.index, []))
            if counted is None:
                unknown.append(shard)
                continue
            lines[shard.index], rows[shard.index] = counted
            known_length += shard.end - shard.begin
        rows_each = sum(rows.values()) / known_length if known_length else 0.0
        for shard in unknown:
            lines[shard.index] = rows[shard.index] = max(1, round(rows_each * (shard.end - shard.begin)))
        return _RowNumbers(lines, rows, are_estimated=bool(unknown))

    def read_ledger(self, bill: CostAccount) -> Ledger:
        """Return the sum of all records, and have the bill add up what they cost."""
        shards = self._shards
        if shards is None:
            return read_ledger(self.directory, bill)[0]
        whole, before, lines = Ledger(), 0, self._numbers.lines
        for shard in sorted(lines):
            part = bill.new_account()
            whole.absorb(ledger_of_shard(shards, shard, self._attempts.get(shard, []), part), before)
            bill.absorb(part)
            before += lines[shard]
        return whole

    def record_directories(self, now: float) -> list[RunDirectory]:
        """Return the directories to which records were written lately. now: unix time."""
        if self._shards is None:
            return [self.directory]
        newest = (self._shards.attempt_path(shard, numbers[-1]) for shard, numbers in self._attempts.items())
        return [RunDirectory(path) for path in newest if _is_recent(path / RESULTS, now)]

    def who_writes(self) -> str | None:
        """Return who works on the run now, None if nobody does."""
        writer = self.directory.who_writes()
        if writer is not None or self._shards is None:
            return writer
        places = (self._shards.attempt_path(shard, numbers[-1]) for shard, numbers in self._attempts.items())
        return next((found for place in places if (found := RunDirectory(place).who_writes()) is not None), None)


def lines_of_shard(shards: ShardDirectory, shard: Shard, attempts: list[int]) -> tuple[int, int] | None:
    """Return how many numbers the rows of a shard take, and how many rows there are; None while nobody has looked."""
    if (done := shards.how_finished(shard.index)) is not None:
        return done.lines, done.rows
    for number in reversed(attempts):
        directory = RunDirectory(shards.attempt_path(shard.index, number))
        if directory.exists:
            info = directory.read_info().input
            return info.lines, info.rows
    return shards.counted(shard)


def ledger_of_shard(shards: ShardDirectory, shard: int, attempts: list[int], bill: CostAccount) -> Ledger:
    """Return the ledger of a shard as its files stand now, and have the bill add up what its records cost."""
    if len(attempts) > 1:
        lines = lines_of_attempts(shards, shard, attempts)
        if any(each.failures or next(each.result_lines(), None) for each in lines[1:]):
            return ledger_of_records(ShardRecords(lines), bill)
    directory = shards.attempt_path(shard, attempts[-1]) if attempts else shards.seed_path(shard)
    return read_ledger(RunDirectory(directory), bill)[0]


def ledger_of_records(records: ShardRecords, bill: CostAccount) -> Ledger:
    """Return the ledger of the records of a shard from all attempts: each row counts once."""
    ledger = Ledger()
    for _, line in records.rows_in_order():
        entry = bill.decode(line)
        bill.fold(entry, ledger)
        ledger.fold(entry)
    return ledger


def _is_recent(path: Path, now: float) -> bool:
    try:
        return path.stat().st_mtime > now - RECENT_SECONDS
    except FileNotFoundError:
        return False
