"""Hands the records of sessions without shards to the shards of their rows.

So a run that one machine began goes on with many, and nothing that was recorded is sent again.
"""

import os
import shutil
from bisect import bisect_right
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from arkbatch.cluster.plan import added_offset
from arkbatch.cluster.shard_attempt import counted_rows, reading_of
from arkbatch.core.errors import RunChanged
from arkbatch.core.input_info import InputInfo
from arkbatch.journal.atomic_files import open_private
from arkbatch.journal.record_format import record_decoder
from arkbatch.journal.record_reader import read_lines
from arkbatch.journal.run_directory import FAILURES, RESULTS, RunDirectory
from arkbatch.journal.shard_files import ShardDirectory
from arkbatch.journal.shard_plan import Shard, ShardPlan
from arkbatch.journal.shard_records import ShardPlace, placed_line

OPEN_FILES = 100  # at once; records come nearly in input order


class _Numbered(Struct, gc=False):
    row: int


_decode = record_decoder(_Numbered)


def hand_over_records(shards: ShardDirectory, plan: ShardPlan, known: InputInfo) -> int:
    """Write the records of a local run into its shards. Returns how many there were.

    known: the input as the local run read it last
    RunChanged: the records are of another input
    """
    directory = RunDirectory(shards.run)
    if not any((directory / name).exists() and (directory / name).stat().st_size for name in (RESULTS, FAILURES)):
        return 0
    _check_input(shards.run, plan, known)
    _remove_unfinished(shards)
    cut = list(plan.all_shards())
    added, firsts = [added_offset(shard) for shard in cut], _first_rows(shards, plan, cut)
    count = 0
    for name in (RESULTS, FAILURES):
        files: dict[int, BinaryIO] = {}
        for _, line in read_lines(directory / name):
            index = bisect_right(firsts, _decode(line).row - 1) - 1
            place = ShardPlace(-firsts[index], -added[index])
            _file(files, shards, index, name).write(placed_line(line, place, []))
            count += 1
        _close(files)
    return count


def _check_input(run: Path, plan: ShardPlan, known: InputInfo) -> None:
    """RunChanged: rows have moved since the local run read them. The last file may have grown."""
    sizes, planned = [each.size for each in known.files or [known]], [part.size for part in plan.parts]
    is_same = len(sizes) <= len(planned) and sizes[:-1] == planned[: len(sizes) - 1]
    if not is_same or planned[len(sizes) - 1] < sizes[-1]:
        raise RunChanged(
            f"The input changed since one machine worked on it. Bring the records up to date first: "
            f"give `arkbatch run` the same input, with -o {run} --rebase."
        )


def _remove_unfinished(shards: ShardDirectory) -> None:
    """Remove what a process has handed over that was killed before the plan was written."""
    for place in shards.path.glob("*.seed") if shards.path.is_dir() else ():
        shutil.rmtree(place)


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
