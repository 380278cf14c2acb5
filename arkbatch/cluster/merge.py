"""The directories of all attempts become one run directory: input order, each row once, everything billed counted.

It may be done at any time, also while workers write: what is recorded by then is merged. Done again it writes the same
bytes. The shards stay until the run is complete and the user removes them.
"""

import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from arkbatch.cluster.plan import added_offset
from arkbatch.cluster.shard import count_rows, lines_of_shard, reading_of
from arkbatch.core.disk_errors import explain_disk_errors
from arkbatch.core.errors import RunDirectoryError
from arkbatch.core.input_info import InputInfo
from arkbatch.core.limit_changes import LimitChange
from arkbatch.core.types import add_usage
from arkbatch.journal.journal import Journal, read_ledger
from arkbatch.journal.run_directory import (
    FAILURES,
    FORMAT,
    LEDGER,
    PENDING,
    RESULTS,
    RunDirectory,
    RunInfo,
    SessionInfo,
    open_private,
    replace_file,
)
from arkbatch.journal.shard_files import Shard, ShardDirectory, ShardPlan, lines_of_attempts
from arkbatch.journal.shard_records import ShardPlace, ShardRecords
from arkbatch.rows.source import open_source
from arkbatch.rows.storage import is_remote

MERGED = "merged.json"  # beside the shards
CHANGES_FILE = "changes.json"  # the same
COMMAND_FILE = "command.txt"  # the same


class Merged(Struct):
    """What a merge did.

    rows: of the input; left: rows without a record; shards, finished: how many there are and are done
    delivered, billed: tokens of the records that stay, and of all that was sent; doubled_rows: billed more than once
    sizes: bytes of the two files that were written, by which a session that worked on since then is noticed
    source_bytes: of all records in the shards, by which it is seen that nothing is new
    """

    shards: int
    finished: int = 0
    rows: int = 0
    done: int = 0
    failed: int = 0
    left: int = 0
    doubled_rows: int = 0
    delivered: dict[str, int] = {}
    billed: dict[str, int] = {}
    sizes: tuple[int, int] = (0, 0)
    source_bytes: int = 0

    @property
    def is_complete(self) -> bool:
        return self.finished == self.shards and not self.left


def last_merge(shards: ShardDirectory) -> Merged | None:
    """What the last merge did, None when there was none."""
    path = shards.path / MERGED
    return msgspec.json.decode(path.read_bytes(), type=Merged) if path.exists() else None


def merge(run: Path, wall: Callable[[], float], *, count_missing: bool = True) -> Merged:
    """Bring the run directory up to date with its shards. RunLocked: somebody works on the run without shards.

    count_missing: count the rows of shards that nobody began, so that row numbers behind them are right
    """
    shards, directory = ShardDirectory(run), RunDirectory(run)
    plan = shards.read_plan()
    with directory.hold_lock(wall):
        before = last_merge(shards)
        if before is not None and _went_on_since(directory, before):
            if before.is_complete:
                return before
            raise RunDirectoryError(
                f"{run} was worked on without shards since the last merge, so the shards are out of date. "
                f"Go on with: arkbatch run"
            )
        source_bytes = _source_bytes(shards)
        if before is not None and (before.source_bytes, before.finished) == (source_bytes, _finished(shards)):
            return before
        merged = Merged(plan.count, source_bytes=source_bytes)
        with explain_disk_errors(run):
            _write_records(directory, shards, plan, merged, count_missing=count_missing)
            (directory / LEDGER).unlink(missing_ok=True)
            directory.replace_both()
        info = _run_info(directory, shards, plan, merged)
        directory.write_info(info)
        _write_totals(directory, info, merged, wall)
        merged.sizes = _sizes(directory)
        replace_file(shards.path / MERGED, msgspec.json.encode(merged) + b"\n")
    return merged


def _source_bytes(shards: ShardDirectory) -> int:
    """The size of all records of all attempts, and of what was there before."""
    found = 0
    for entry in os.scandir(shards.path) if shards.path.is_dir() else ():
        if entry.is_dir() and not entry.name.endswith(".new"):
            paths = (Path(entry.path) / name for name in (RESULTS, FAILURES))
            found += sum(path.stat().st_size for path in paths if path.exists())
    return found


def _finished(shards: ShardDirectory) -> int:
    return sum(entry.name.endswith(".done.json") for entry in os.scandir(shards.path))


def _went_on_since(directory: RunDirectory, before: Merged) -> bool:
    return _sizes(directory) != before.sizes


def _sizes(directory: RunDirectory) -> tuple[int, int]:
    paths = (directory / RESULTS, directory / FAILURES)
    results, failures = (path.stat().st_size if path.exists() else 0 for path in paths)
    return results, failures


def _write_records(
    directory: RunDirectory, shards: ShardDirectory, plan: ShardPlan, merged: Merged, *, count_missing: bool
) -> None:
    pending = [open(directory / f"{name}{PENDING}", "wb", opener=open_private) for name in (RESULTS, FAILURES)]
    results, failures = pending
    try:
        for shard, place, attempts in _places(shards, plan, merged, count_missing=count_missing):
            records = ShardRecords(lines_of_attempts(shards, shard.index, attempts))
            for succeeded, line in records.rows_in_order(place):
                (results if succeeded else failures).write(line)
            merged.doubled_rows += records.doubled_rows
        for file in pending:
            file.flush()
            os.fsync(file.fileno())
    finally:
        for file in pending:
            file.close()


def _places(
    shards: ShardDirectory, plan: ShardPlan, merged: Merged, *, count_missing: bool
) -> Iterator[tuple[Shard, ShardPlace, list[int]]]:
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
            counted = count_rows(shards, shard, reading_of(plan)) if count_missing else (0, 0)
        rows += counted[0]
        merged.rows += counted[1]


def _run_info(directory: RunDirectory, shards: ShardDirectory, plan: ShardPlan, merged: Merged) -> RunInfo:
    """`run.json` of the whole: one session, from the first beginning of a shard to the last end."""
    known = directory.read_info() if directory.exists else None
    sessions, prices, price_list = _sessions_of(shards)
    info = RunInfo(
        run_id=plan.run_id,
        format=FORMAT,
        created_at=plan.created_at,
        simulated=plan.simulated,
        input=_input_info(plan, merged, known),
        asked=plan.asked,
        asked_digest=plan.asked_digest,
        job=plan.job,
        prices=prices or (known.prices if known else None),
        price_list=price_list or (known.price_list if known else ""),
    )
    if sessions:
        ended = max((each.ended_at for each in sessions), default="")
        whole = merged.finished == merged.shards
        first = min(sessions, key=lambda each: each.began_at)
        info.sessions = [
            SessionInfo(
                number=1,
                command=read_command(shards),
                began_at=first.began_at,
                version=first.version,
                ended_at=ended if whole else "",
                ending="finished" if whole else "",
                seconds=round(sum(each.seconds for each in sessions), 3),
                limits=plan.job.get("limits", {}),
                steered=read_changes(shards.path),
            )
        ]
    return info


def read_changes(shards: Path) -> list[LimitChange]:
    """Return the changes that people made with `arkbatch ctl`, oldest first."""
    path = shards / CHANGES_FILE
    return msgspec.json.decode(path.read_bytes(), type=list[LimitChange]) if path.exists() else []


def read_command(shards: ShardDirectory) -> str:
    """Return the command line that goes on with the run."""
    path = shards.path / COMMAND_FILE
    return path.read_text("utf-8") if path.exists() else f"arkbatch shard serve {shlex.quote(str(shards.run))}"


def _sessions_of(shards: ShardDirectory) -> tuple[list[SessionInfo], dict[str, object] | None, str]:
    """The sessions of all attempts, and the prices that they went by."""
    sessions: list[SessionInfo] = []
    prices: dict[str, object] | None = None
    price_list = ""
    for shard, numbers in sorted(shards.all_attempts().items()):
        for number in numbers:
            directory = RunDirectory(shards.attempt_path(shard, number))
            if directory.exists:
                info = directory.read_info()
                sessions += info.sessions
                prices, price_list = prices or info.prices, price_list or info.price_list
    return sessions, prices, price_list


def _input_info(plan: ShardPlan, merged: Merged, known: RunInfo | None) -> InputInfo:
    """The input as a local session sees it, so that it can go on where the shards stand."""
    part = plan.parts[0]
    if len(plan.parts) == 1 and not is_remote(part.path):
        path = Path(part.path)
        stat = path.stat() if path.exists() else None
        if known is not None and stat and (known.input.size, known.input.mtime_ns) == (stat.st_size, stat.st_mtime_ns):
            return known.input
        if stat is not None and (stat.st_size, str(stat.st_mtime_ns)) == (part.size, part.tag):
            return open_source(path, reading_of(plan)).survey()
    size = sum(each.size for each in plan.parts)
    return InputInfo(path=part.path, size=size, mtime_ns=0, sha256="", lines=merged.rows, rows=merged.rows)


def _write_totals(directory: RunDirectory, info: RunInfo, merged: Merged, wall: Callable[[], float]) -> None:
    """`usage.json` and `ledger.bin`, as a session writes them."""
    journal = Journal(directory, info.run_id, wall, lambda _: "")
    journal.close()
    ledger, _ = read_ledger(directory)
    merged.done, merged.failed = ledger.done.count, ledger.failed.count
    merged.left = max(0, merged.rows - ledger.count_ended())
    merged.billed = add_usage(*(tally.usage for tally in ledger.tallies))
    discarded = add_usage(*(tally.discarded for tally in ledger.tallies))
    merged.delivered = {meter: count - discarded.get(meter, 0) for meter, count in merged.billed.items()}
