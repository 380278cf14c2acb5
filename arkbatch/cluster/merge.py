"""Merges the directories of all attempts into one run directory.

It may be done at any time, also while workers write: what is recorded by then is merged. Done again it writes the same
bytes. The shards stay until the run is complete and the user removes them.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from arkbatch.cluster.plan import added_offset
from arkbatch.cluster.shard_attempt import counted_rows, reading_of
from arkbatch.core.disk_errors import explain_disk_errors
from arkbatch.core.errors import RunDirectoryError
from arkbatch.core.input_info import InputInfo
from arkbatch.core.usage import add_usage
from arkbatch.journal.atomic_files import open_private
from arkbatch.journal.attempt_lines import lines_of_attempts
from arkbatch.journal.journal import write_totals
from arkbatch.journal.ledger import Ledger
from arkbatch.journal.merge_state import (
    MERGED,
    Merged,
    count_finished,
    read_merged,
    record_sizes,
    source_bytes,
    went_on_since,
    write_merged,
)
from arkbatch.journal.run_directory import FAILURES, LEDGER, PENDING, RESULTS, RunDirectory
from arkbatch.journal.run_info import FORMAT, RunInfo
from arkbatch.journal.run_view import ledger_of_records, ledger_of_shard, lines_of_shard
from arkbatch.journal.shard_files import SHARDS_PLAN, ShardDirectory
from arkbatch.journal.shard_plan import Shard, ShardPlan
from arkbatch.journal.shard_records import ShardPlace, ShardRecords
from arkbatch.journal.shard_sessions import attempt_infos, sessions_of
from arkbatch.pricing.run_price_file import bill_of, name_of
from arkbatch.rows.object_storage import Identity, is_remote, open_bytes
from arkbatch.rows.several_files import joined_paths, size_and_time
from arkbatch.rows.source import open_source

NO_INPUT = InputInfo(path="", size=0, mtime_ns=0, sha256="", lines=0, rows=0)


def merge(run: Path, wall: Callable[[], float], shards: ShardDirectory | None = None) -> Merged:
    """Bring the run directory up to date with its shards. RunLocked: somebody works on the run without shards.

    shards: those of the run, where they are in a bucket
    The rows of shards that nobody began are counted, so that row numbers behind them are right.
    """
    shards, directory = shards or ShardDirectory(run), RunDirectory(run)
    plan = shards.read_plan()
    with directory.hold_lock(wall):
        before = read_merged(shards)
        if before is not None and went_on_since(run, before):
            if before.is_complete:
                return before
            raise RunDirectoryError(
                f"{run} was worked on without its shards since the last merge, so neither holds all records. Copy "
                f"{run / RESULTS} if you need what was recorded since; then delete {shards.path / MERGED} and merge "
                f"again: the records are then those of the shards."
            )
        read_bytes = source_bytes(shards)
        if before is not None and (before.source_bytes, before.finished) == (read_bytes, count_finished(shards)):
            return before
        merged, info = Merged(plan.count, source_bytes=read_bytes), _run_info(directory, shards, plan)
        totals = _Totals(info)
        with explain_disk_errors(run):
            _write_records(directory, shards, plan, merged, totals)
            (directory / LEDGER).unlink(missing_ok=True)
            directory.replace_both()
        info.input = _input_info(plan, merged, info.input)
        directory.write_info(info)
        totals.write(directory, merged)
        merged.sizes = record_sizes(directory)
        write_merged(shards, merged)
    return merged


def set_shards_aside(run: Path, wall: Callable[[], float]) -> None:
    """Merge, and have the run go on without shards. RunLocked: workers are at work on them."""
    shards = ShardDirectory(run)
    with shards.hold_lock(wall):
        shards.refuse_workers()
        merge(run, wall)
        plan = run / SHARDS_PLAN
        plan.replace(plan.with_name("shards.merged.json"))
        number = 1
        while (aside := run / f"shards.merged.{number}").exists():
            number += 1
        shards.path.replace(aside)


class _Totals:
    """The sums of all records, of shard after shard."""

    def __init__(self, info: RunInfo) -> None:
        self._ledger, self._bill = Ledger(), bill_of(info)

    def add(self, shards: ShardDirectory, shard: int, attempts: list[int], records: ShardRecords, before: int) -> None:
        """Add a shard, whose rows follow so many others. Of a finished one, its ledger knows the sums."""
        bill = self._bill.new_account()
        is_finished = shards.how_finished(shard) is not None
        part = ledger_of_shard(shards, shard, attempts, bill) if is_finished else ledger_of_records(records, bill)
        self._ledger.absorb(part, before)
        self._bill.absorb(bill)

    def write(self, directory: RunDirectory, merged: Merged) -> None:
        """Write `usage.json` and `ledger.bin`, as a session writes them, and note the sums."""
        ledger = self._ledger
        write_totals(directory, ledger, self._bill, name_of(self._bill.pricer.book))
        merged.done, merged.failed = ledger.done.count, ledger.failed.count
        merged.left = max(0, merged.rows - ledger.count_ended())
        merged.billed = add_usage(*(tally.usage for tally in ledger.tallies))
        discarded = add_usage(*(tally.discarded for tally in ledger.tallies))
        merged.delivered = {meter: count - discarded.get(meter, 0) for meter, count in merged.billed.items()}


def _write_records(
    directory: RunDirectory, shards: ShardDirectory, plan: ShardPlan, merged: Merged, totals: _Totals
) -> None:
    pending = [open(directory / f"{name}{PENDING}", "wb", opener=open_private) for name in (RESULTS, FAILURES)]
    results, failures = pending
    try:
        for shard, place, attempts in _places(shards, plan, merged):
            records = ShardRecords(lines_of_attempts(shards, shard.index, attempts))
            for succeeded, line in records.rows_in_order(place):
                (results if succeeded else failures).write(line)
            totals.add(shards, shard.index, attempts, records, place.rows)
            merged.doubled_rows += records.doubled_rows
        for file in pending:
            file.flush()
            os.fsync(file.fileno())
    finally:
        for file in pending:
            file.close()


def _places(shards: ShardDirectory, plan: ShardPlan, merged: Merged) -> Iterator[tuple[Shard, ShardPlace, list[int]]]:
    """Each shard with where its rows stand in the whole input, and its attempts."""
    found, rows = shards.all_attempts(), 0
    names = len(plan.parts) > 1
    for shard in plan.all_shards():
        attempts = found.get(shard.index, [])
        merged.finished += shards.how_finished(shard.index) is not None
        place = ShardPlace(rows, added_offset(shard), shard.part.path if names else "")
        yield shard, place, attempts
        counted = lines_of_shard(shards, shard, attempts)
        if counted is None:
            counted = counted_rows(shards, shard, reading_of(plan))
        rows += counted[0]
        merged.rows += counted[1]


def _run_info(directory: RunDirectory, shards: ShardDirectory, plan: ShardPlan) -> RunInfo:
    """`run.json` of the whole, with the input as the merge before found it."""
    known = directory.read_info() if directory.exists else None
    attempts = list(attempt_infos(shards))
    return RunInfo(
        run_id=plan.run_id,
        format=FORMAT,
        created_at=plan.created_at,
        simulated=plan.simulated,
        input=known.input if known is not None else NO_INPUT,
        asked=plan.asked,
        asked_digest=plan.asked_digest,
        job=plan.job,
        prices=next((info.prices for info in attempts if info.prices), known.prices if known else None),
        sessions=sessions_of(shards, plan, attempts),
        price_list=next((info.price_list for info in attempts if info.price_list), known.price_list if known else ""),
    )


def _input_info(plan: ShardPlan, merged: Merged, known: InputInfo) -> InputInfo:
    """The input as a local session sees it, so that it can go on where the shards stand."""
    path = joined_paths([part.path for part in plan.parts])
    if not any(is_remote(part.path) for part in plan.parts) and all(Path(part.path).exists() for part in plan.parts):
        size, time = size_and_time(Path(path))
        if (known.path, known.size, known.mtime_ns) == (path, size, time):
            return known
        if all(open_bytes(part.path).identity() == Identity(part.size, part.tag) for part in plan.parts):
            return open_source(Path(path), reading_of(plan)).survey_input()
    size = sum(part.size for part in plan.parts)
    return InputInfo(path=path, size=size, mtime_ns=0, sha256="", lines=merged.rows, rows=merged.rows)
