"""Records of sessions without shards are handed to the shards in which their rows lie, before the first worker starts.

So a run that one machine began goes on with many, and nothing that was recorded is sent again.
"""

import os
from bisect import bisect_right
from typing import BinaryIO

import msgspec
from msgspec import Struct

from arkbatch.cluster.plan import added_offset, first_offset
from arkbatch.cluster.shard import counted_rows, reading_of
from arkbatch.core.errors import RunChanged
from arkbatch.journal.record_files import read_lines
from arkbatch.journal.run_directory import FAILURES, RESULTS, RunDirectory, open_private
from arkbatch.journal.shard_files import Shard, ShardDirectory, ShardPlan
from arkbatch.journal.shard_records import ShardPlace, placed_line

OPEN_FILES = 100  # at once; records come nearly in input order


class _Located(Struct, gc=False):
    row: int
    offset: int


_decode = msgspec.json.Decoder(_Located).decode


def seed_shards(shards: ShardDirectory, plan: ShardPlan) -> int:
    """Write the records of a local run into its shards. Returns how many there were.

    RunChanged: the records are of another input, or of a kind whose rows cannot be found by their offset.
    """
    directory = RunDirectory(shards.run)
    if not any((directory / name).exists() and (directory / name).stat().st_size for name in (RESULTS, FAILURES)):
        return 0
    cut = list(plan.all_shards())
    if len(plan.parts) > 1:
        raise RunChanged(
            f"{shards.run} holds records of several files read as one, which cannot be handed to shards. "
            f"Give another directory with -o."
        )
    begins, added = [first_offset(shard) for shard in cut], [added_offset(shard) for shard in cut]
    firsts = _first_rows(shards, plan, cut)
    count = 0
    for name in (RESULTS, FAILURES):
        files: dict[int, BinaryIO] = {}
        for _, line in read_lines(directory / name):
            located = _decode(line)
            index = bisect_right(begins, located.offset) - 1
            place = ShardPlace(-firsts[index], -added[index])
            _file(files, shards, index, name).write(placed_line(line, place, []))
            count += 1
        _close(files)
    return count


def _first_rows(shards: ShardDirectory, plan: ShardPlan, cut: list[Shard]) -> list[int]:
    """How many numbers stand before each shard. Every shard but the last is read for it."""
    before, firsts = 0, []
    for shard in cut:
        firsts.append(before)
        if shard is not cut[-1]:
            shards.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            before += counted_rows(shards, shard, reading_of(plan))[0]
    return firsts


def _file(files: dict[int, BinaryIO], shards: ShardDirectory, index: int, name: str) -> BinaryIO:
    if index not in files:
        if len(files) >= OPEN_FILES:
            _close(files)
        seed = shards.seed_path(index)
        seed.mkdir(mode=0o700, parents=True, exist_ok=True)
        files[index] = open(seed / name, "ab", opener=open_private)
    return files[index]


def _close(files: dict[int, BinaryIO]) -> None:
    for file in files.values():
        file.flush()
        os.fsync(file.fileno())
        file.close()
    files.clear()
