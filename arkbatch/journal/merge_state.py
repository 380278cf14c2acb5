"""What the last merge of shards did, and whether they hold more now."""

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from arkbatch.core.errors import RunDamaged
from arkbatch.journal.atomic_files import replace_file
from arkbatch.journal.run_directory import FAILURES, RESULTS, RunDirectory
from arkbatch.journal.shard_files import ShardDirectory

MERGED = "merged.json"  # beside the shards


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


def read_merged(shards: ShardDirectory) -> Merged | None:
    """Return what the last merge did, None when there was none."""
    path = shards.path / MERGED
    try:
        return msgspec.json.decode(path.read_bytes(), type=Merged) if path.exists() else None
    except (msgspec.DecodeError, RecursionError) as error:
        raise RunDamaged(f"{path} cannot be read ({error}). Delete it and merge again.") from error


def write_merged(shards: ShardDirectory, merged: Merged) -> None:
    """Keep what a merge did."""
    replace_file(shards.path / MERGED, msgspec.json.encode(merged) + b"\n")


def went_on_since(run: Path, merged: Merged) -> bool:
    """Whether a session without shards has written records since the merge."""
    return record_sizes(RunDirectory(run)) != merged.sizes


def shards_are_newer(shards: ShardDirectory) -> bool:
    """Whether the shards hold records that the run directory has not."""
    if not shards.is_planned:
        return False
    merged = read_merged(shards)
    if merged is None:
        return True
    if went_on_since(shards.run, merged):
        return False
    return (merged.source_bytes, merged.finished) != (source_bytes(shards), count_finished(shards))


def source_bytes(shards: ShardDirectory) -> int:
    """Return the size of all records of all attempts, and of those that were there before the shards."""
    found = 0
    for entry in os.scandir(shards.path) if shards.path.is_dir() else ():
        if entry.is_dir() and not entry.name.endswith(".new"):
            paths = (Path(entry.path) / name for name in (RESULTS, FAILURES))
            found += sum(path.stat().st_size for path in paths if path.exists())
    return found


def count_finished(shards: ShardDirectory) -> int:
    """Count the shards that are finished."""
    if not shards.path.is_dir():
        return 0
    return sum(entry.name.endswith(".done.json") for entry in os.scandir(shards.path))


def record_sizes(directory: RunDirectory) -> tuple[int, int]:
    """Return the bytes of the results and of the failures."""
    paths = (directory / RESULTS, directory / FAILURES)
    results, failures = (path.stat().st_size if path.exists() else 0 for path in paths)
    return results, failures
