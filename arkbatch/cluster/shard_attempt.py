"""One attempt at one shard, by the same session as a local run.

The range is copied into a file of its own, so that the session reads an ordinary input and any format works; a shard
that is a whole local file is read where it is. The run directory belongs to this attempt alone. It begins with what
earlier attempts have recorded, so nothing that was recorded is sent again.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from arkbatch.cluster.plan import open_parquet, real_range
from arkbatch.cluster.publishing import publish_whole, published_at_intervals
from arkbatch.core.disk_errors import explain_disk_errors
from arkbatch.core.errors import RunChanged
from arkbatch.core.job import Job
from arkbatch.core.job_sections import Notify
from arkbatch.core.template_syntax import Reading
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.session import Session
from arkbatch.engine.session_summary import summary_of
from arkbatch.journal.atomic_files import open_private
from arkbatch.journal.attempt_lines import AttemptLines, digest_of_record, lines_of_attempts
from arkbatch.journal.run_directory import FAILURES, RESULTS
from arkbatch.journal.run_view import lines_of_shard
from arkbatch.journal.shard_files import Finished, ShardDirectory, TakenOver
from arkbatch.journal.shard_plan import Shard, ShardPlan
from arkbatch.journal.shard_records import ShardRecords
from arkbatch.limits.leased_rates import LeasedRates
from arkbatch.monitor.observer import Observer
from arkbatch.pricing.summary import Summary
from arkbatch.rows.object_storage import Identity, copy_ranges, is_remote, open_bytes
from arkbatch.rows.source import open_source
from arkbatch.transport.transport import Transport

QUICK_BYTES = 32 << 20  # of input; reading it takes about a second


class ShardAttempt(Struct, frozen=True):
    """A claimed attempt. input: the file that its session reads; is_copy: it goes away at the end."""

    shard: Shard
    number: int
    directory: Path
    input: Path
    is_copy: bool


class ShardResult(Struct, frozen=True):
    """How an attempt ended. `is_finished`: every row of the shard has its record."""

    shard: int
    attempt: int
    is_finished: bool
    summary: Summary


def begin_attempt(shards: ShardDirectory, shard: Shard) -> ShardAttempt:
    """Claim an attempt, take over what is recorded, and provide its input. RunChanged: the input is another one."""
    source = open_bytes(shard.part.path, tag=shard.part.tag if is_remote(shard.part.path) else "")
    if source.identity() != Identity(shard.part.size, shard.part.tag):
        raise RunChanged(
            f"{shard.part.path} changed since the run was planned. Put the old file back, "
            f"or begin a run in another directory."
        )
    shards.bring_up_to_date(shard.index)
    number = _claim(shards, shard)
    shards.publish(shard.index, number)
    directory = shards.attempt_path(shard.index, number)
    if shard.is_whole and not is_remote(shard.part.path):
        return ShardAttempt(shard, number, directory, Path(shard.part.path), is_copy=False)
    target = shards.copy_path(shard, number)
    copy_shard(shard, target)
    return ShardAttempt(shard, number, directory, target, is_copy=True)


def _delete_copies(shards: ShardDirectory, attempt: ShardAttempt) -> None:
    """Delete the copies of a shard that workers have left which were killed."""
    if attempt.is_copy and shards.is_shared:
        for number in range(1, attempt.number):
            shards.copy_path(attempt.shard, number).unlink(missing_ok=True)


def _claim(shards: ShardDirectory, shard: Shard) -> int:
    """A directory that holds what earlier attempts have recorded, from the moment at which it exists."""
    earlier = shards.attempts_of(shard.index)
    number = shards.claim_number(shard.index, max(earlier, default=0) + 1)
    fresh = shards.path / f"{shard.index:06}.{number}.new"
    with explain_disk_errors(fresh):
        fresh.mkdir(mode=0o700, exist_ok=True)
        attempts = lines_of_attempts(shards, shard.index, earlier)
        taken = _take_over(shards, shard, earlier, attempts, fresh) if attempts else TakenOver()
        if attempts or not shards.is_shared:
            shards.write_taken(shard.index, number, taken)
        fresh.rename(shards.attempt_path(shard.index, number))
    return number


def _take_over(
    shards: ShardDirectory, shard: Shard, earlier: list[int], attempts: list[AttemptLines], fresh: Path
) -> TakenOver:
    """Copy the records of earlier attempts, as they are at this moment."""
    ends = dict(zip(reversed(earlier), (attempt.results_end for attempt in attempts), strict=False))
    failures = [digest_of_record(line) for attempt in attempts for line in attempt.failures]
    records = ShardRecords(attempts)
    with (
        open(fresh / RESULTS, "wb", opener=open_private) as results,
        open(fresh / FAILURES, "wb", opener=open_private) as failed,
    ):
        for succeeded, line in records.rows_in_order():
            (results if succeeded else failed).write(line)
        for file in (results, failed):
            file.flush()
            os.fsync(file.fileno())
    known = shards.taken_over(shard.index, earlier[-1]).failures if earlier else []
    return TakenOver(results=ends, failures=sorted({*known, *failures}))


def copy_shard(shard: Shard, target: Path) -> None:
    """The rows of a shard as a file of their own."""
    part = shard.part
    source = open_bytes(part.path, tag=part.tag if is_remote(part.path) else "")
    if part.kind == "parquet":
        _copy_row_groups(shard, target)
        return
    begin, end = real_range(shard, source)
    with explain_disk_errors(target), open(target, "wb", opener=open_private) as file:
        if begin:
            file.write(source.read_range(0, part.header))
        file.writelines(copy_ranges(source, begin, end))


def _copy_row_groups(shard: Shard, target: Path) -> None:
    from pyarrow.parquet import ParquetWriter

    file = open_parquet(open_bytes(shard.part.path))
    with explain_disk_errors(target), ParquetWriter(target, file.schema_arrow) as writer:
        for group in range(shard.begin, shard.end):
            writer.write_table(file.read_row_group(group))


def reading_of(plan: ShardPlan) -> Reading:
    """Return how the input is read, as it was settled for all shards."""
    return msgspec.convert(plan.job.get("reading", {}), Reading)


def counted_rows(shards: ShardDirectory, shard: Shard, reading: Reading) -> tuple[int, int]:
    """Return what `count_rows` finds, which is kept for the next time."""
    known = shards.counted(shard)
    if known is None:
        known = count_rows(shards, shard, reading)
        shards.write_counted(shard, *known)
    return known


def count_quickly(shards: ShardDirectory) -> None:
    """Count the rows of shards that nobody has begun: of the first few, and of at least one where no rows are known."""
    plan, attempts, left = shards.read_plan(), shards.all_attempts(), QUICK_BYTES
    is_known = any(shards.how_finished(shard) for shard in attempts)
    for shard in plan.all_shards():
        part = shard.part
        length = part.size * (shard.end - shard.begin) // max(part.groups if part.kind == "parquet" else part.size, 1)
        if lines_of_shard(shards, shard, attempts.get(shard.index, [])) is None:
            left -= length
            if is_known and (left < 0 or is_remote(part.path)):
                return
            counted_rows(shards, shard, reading_of(plan))
        is_known = True


def count_rows(shards: ShardDirectory, shard: Shard, reading: Reading) -> tuple[int, int]:
    """Count the numbers that the rows of a shard take, and the rows. The shard is read for it."""
    if shard.is_whole and not is_remote(shard.part.path):
        info = open_source(Path(shard.part.path), reading).survey_input()
        return info.lines, info.rows
    copy = shards.path / f"{shard.index:06}.count{Path(shard.part.path).suffix}"
    try:
        copy_shard(shard, copy)
        info = open_source(copy, reading).survey_input()
    finally:
        copy.unlink(missing_ok=True)
    return info.lines, info.rows


def job_of_shard(job: Job, attempt: ShardAttempt) -> Job:
    """Return the job of one attempt. People are told about the whole run, and not about each shard."""
    return replace(job, input=str(attempt.input), run_dir=str(attempt.directory), row_limit=None, notify=Notify())


async def _tell_nobody() -> None:
    """Nothing to do for a worker without a coordinator."""


async def run_attempt(
    job: Job,
    shards: ShardDirectory,
    attempt: ShardAttempt,
    *,
    wall: Callable[[], float],
    observers: Sequence[Observer] = (),
    rates: LeasedRates | None = None,
    transport: Transport | None = None,
    started: Callable[[Session], None] = lambda _: None,
    rows_used_up: Callable[[], None] = lambda: None,
    tell_alive: Callable[[], Awaitable[None]] = _tell_nobody,
) -> ShardResult:
    """Work off the rows of an attempt that have no record.

    rates: leases on limits that all workers share, None where this worker has limits of its own
    transport: connections that are kept from shard to shard, None to open new ones
    started: is given the session, to stop it
    rows_used_up: called when only calls in flight and rows that wait for a retry are left
    tell_alive: called every two seconds while the last records are uploaded
    """
    shard, number = attempt.shard.index, attempt.number

    def note(text: str) -> None:
        for observer in observers:
            observer.noted(text)

    async with AsyncExitStack() as stack:
        if attempt.is_copy:
            stack.callback(attempt.input.unlink, missing_ok=True)
        opened = OpenRun(job_of_shard(job, attempt), wall=wall, command="shard", checks_input=False)
        run = await asyncio.to_thread(stack.enter_context, opened)  # it waits for the disk
        await stack.enter_async_context(published_at_intervals(shards, shard, number, note))
        if run.found.to_send:
            session = Session(run, observers, rates=rates, transport=transport, rows_used_up=rows_used_up)
            started(session)
            summary = await session.work()
        else:
            summary = summary_of(run, "nothing left", 0.0)
            run.journal.close()
        ledger, lines, rows = run.journal.ledger, run.info.input.lines, run.info.input.rows
        is_finished = not summary.left and ledger.count_ended() >= rows
        ended = Finished(number, lines, rows, ledger.done.count, ledger.failed.count)
    await publish_whole(shards, shard, number, tell_alive)
    if is_finished:
        shards.mark_finished(shard, ended)
        _delete_copies(shards, attempt)
    shards.forget(shard)
    return ShardResult(shard, number, is_finished, summary)
