"""Brings the run directory of a run with shards up to date before a command reads it, or goes on without shards."""

import time
from pathlib import Path


def merge_shards(run_dir: str) -> None:
    """Merge what the shards of a run hold by now; nothing to do for a run without shards."""
    if not _has_shards(run_dir):
        return
    from arkbatch.cluster.merge import merge

    merge(Path(run_dir), time.time)


def leave_shards(run_dir: str) -> None:
    """Merge, and have the run go on without shards: its records are handed to shards again when it is planned anew."""
    if not _has_shards(run_dir):
        return
    merge_shards(run_dir)
    plan = Path(run_dir) / "shards.json"
    plan.replace(plan.with_name("shards.merged.json"))
    shards = Path(run_dir) / "shards"
    number = 1
    while (aside := Path(run_dir) / f"shards.merged.{number}").exists():
        number += 1
    shards.replace(aside)


def _has_shards(run_dir: str) -> bool:
    return (Path(run_dir) / "shards.json").is_file()
