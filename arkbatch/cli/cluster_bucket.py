"""Commands on runs in a bucket: each works on a copy of what it needs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from arkbatch.journal.merge_state import MERGED, Merged, count_finished
from arkbatch.journal.shard_files import ShardDirectory
from arkbatch.rows.object_storage import is_remote

if TYPE_CHECKING:
    from arkbatch.cluster.bucket_shards import BucketShards

LEADER = "lead"  # the scratch directory of the process that leads a run, one on each machine


@contextmanager
def shards_at(run_dir: str, name: str = "") -> Iterator[ShardDirectory]:
    """Give the shards of a planned run by its directory or its address in a bucket.

    name: of the scratch directory, "" for one of its own
    """
    if not is_remote(run_dir):
        yield ShardDirectory(Path(run_dir))
        return
    with bucket_shards_at(run_dir, name) as shards:
        shards.fetch_plan()
        yield shards


def place_of_leader(run_dir: str) -> Path:
    """Return the directory in which the process works that leads a run on this machine.

    RunDirectoryError: the run is in a bucket, and no process on this machine leads it.
    """
    if not is_remote(run_dir):
        return Path(run_dir)
    from arkbatch.cluster.scratch_directory import scratch_root
    from arkbatch.core.errors import RunDirectoryError

    place = scratch_root(run_dir) / LEADER / run_dir.rstrip("/").rpartition("/")[2]
    if not place.exists():
        raise RunDirectoryError(
            f"No coordinator of {run_dir} works on this machine. Give the order on the machine where it was started, "
            f"or start it here with: arkbatch shard serve {run_dir}"
        )
    return place


@contextmanager
def bucket_shards_at(address: str, name: str = "") -> Iterator["BucketShards"]:
    """Give the shards of a run in a bucket, which need not be planned yet."""
    from arkbatch.cluster.scratch_directory import scratch_directory
    from arkbatch.rows.object_folder import ObjectFolder

    with scratch_directory(ObjectFolder(address), time.time, name) as shards:
        yield shards


def merge_run(run_dir: str) -> Merged:
    """Merge the shards of a run by its directory or its address in a bucket."""
    from arkbatch.cluster.merge import merge

    if not is_remote(run_dir):
        return merge(Path(run_dir), time.time)
    with bucket_shards_at(run_dir) as shards:
        shards.fetch_plan()
        return merge_in_bucket(shards)


def leave_shards_in_bucket(address: str) -> None:
    """Merge a run in a bucket, and have it go on without shards; nothing to do for a run without shards.

    RunLocked: a coordinator leads it. RunDirectoryError: not all shards are finished, so a worker may be at work
    """
    import asyncio

    from arkbatch.cluster.coordinator_address import known_address
    from arkbatch.cluster.service import refuse_second_coordinator
    from arkbatch.core.errors import RunDirectoryError

    with bucket_shards_at(address) as shards:
        if not shards.is_planned_in_bucket:
            return
        shards.fetch_plan()
        asyncio.run(refuse_second_coordinator(known_address(shards)))
        shards.bring_all_up_to_date(with_records=False)
        finished, planned = count_finished(shards), shards.read_plan().count
        if finished < planned:
            raise RunDirectoryError(
                f"{finished:,} of {planned:,} shards of {address} are finished. Finish the others first, with: "
                f"arkbatch shard serve {address}, and on each machine arkbatch shard run {address}"
            )
        merge_in_bucket(shards)
        shards.put_aside()


def merge_in_bucket(shards: "BucketShards") -> Merged:
    """Merge the shards of a run in a bucket, and put the merged files there."""
    from arkbatch.cli.remote import upload_run
    from arkbatch.cluster.merge import merge

    if (before := shards.read_merged()) is not None:
        return before
    shards.fetch_all()
    merged = merge(shards.run, time.time, shards)
    upload_run(str(shards.run), shards.folder.address)
    shards.write_file(MERGED, msgspec.json.encode(merged) + b"\n")  # last, since it tells of the files before
    return merged
