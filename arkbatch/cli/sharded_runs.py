"""Runs with shards, for the commands of one machine: merges their shards first."""

import time
from pathlib import Path

import click


def merge_shards(run_dir: str) -> None:
    """Merge what the shards of a run hold by now; nothing to do for a run without shards.

    While another process merges, the run is read as the last merge left it.
    """
    if not _has_shards(run_dir):
        return
    from arkbatch.cluster.merge import merge
    from arkbatch.core.errors import RunLocked
    from arkbatch.journal.run_directory import RunDirectory

    try:
        merge(Path(run_dir), time.time)
    except RunLocked:
        if not RunDirectory(Path(run_dir)).exists:
            raise


def merged_run(run_dir: str) -> str:
    """Return the directory in which to read a run, with its shards merged as far as they are by now."""
    return readable_place(run_dir, is_merged=True)


def readable_place(run_dir: str, *, is_merged: bool) -> str:
    """Return the directory in which to read a run. is_merged: its shards are to be merged there.

    A run in a bucket is copied until the command ends, and merged in the copy: the bucket is only read.
    """
    from arkbatch.rows.object_storage import is_remote

    if is_remote(run_dir):
        from arkbatch.cli.remote import readable_run

        run_dir = click.get_current_context().with_resource(readable_run(run_dir, with_records=is_merged))
    if is_merged:
        merge_shards(run_dir)
    return run_dir


def count_shards(run_dir: str) -> None:
    """Count the rows of shards that nobody has begun, as far as that is quick, so that `status` need not guess."""
    if not _has_shards(run_dir):
        return
    from arkbatch.cluster.shard_attempt import count_quickly
    from arkbatch.journal.shard_files import ShardDirectory

    count_quickly(ShardDirectory(Path(run_dir)))


def leave_shards(run_dir: str) -> None:
    """Merge, and have the run go on without shards: its records are handed to shards again when it is planned anew.

    RunLocked: workers are at work on the shards.
    """
    if not _has_shards(run_dir):
        return
    from arkbatch.cluster.merge import set_shards_aside

    set_shards_aside(Path(run_dir), time.time)


def _has_shards(run_dir: str) -> bool:
    return (Path(run_dir) / "shards.json").is_file()
