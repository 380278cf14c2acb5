"""A local directory for one process that works on a run in a bucket.

It is below the system's directory for temporary files (`TMPDIR`). A process that ends in order removes it. One that was
killed leaves it behind, with the records that were not in the bucket yet: the next worker on the machine puts them
there.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

from arkbatch.cluster.bucket_shards import BucketShards
from arkbatch.core.disk_errors import explain_disk_errors
from arkbatch.core.errors import RunDirectoryError, RunLocked
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.rows.object_folder import ObjectFolder


def scratch_root(address: str) -> Path:
    """Return where the scratch directories of a run are. RunDirectoryError: the place is another user's."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    top = Path(tempfile.gettempdir()) / f"arkbatch-{user}"
    with explain_disk_errors(top):
        top.mkdir(mode=0o700, exist_ok=True)
        if hasattr(os, "getuid") and top.stat().st_uid != user:
            raise RunDirectoryError(f"{top} belongs to another user. Set TMPDIR to a directory of your own.")
    return top / blake2b(address.rstrip("/").encode(), digest_size=8).hexdigest()


@contextmanager
def scratch_directory(folder: ObjectFolder, wall: Callable[[], float], name: str = "") -> Iterator[BucketShards]:
    """Give the run as this process sees it, in a directory of its own.

    name: of the directory, where a second process is to be refused; else it is made up
    """
    root = scratch_root(folder.address)
    place = root / (name or f"{os.getpid()}-{os.urandom(4).hex()}")
    with explain_disk_errors(place):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    with RunDirectory(place).hold_lock(wall):
        shards = BucketShards(folder, place / folder.address.rpartition("/")[2])
        yield shards
        if not shards.unpublished:
            shutil.rmtree(place, ignore_errors=True)
    with contextlib.suppress(OSError):
        root.rmdir()  # if it is empty


def publish_leftovers(folder: ObjectFolder, wall: Callable[[], float]) -> int:
    """Put into the bucket what killed processes have left on this machine. Returns how many attempts there were.

    What belongs to shards that were cut otherwise stays where it is.
    """
    root, count = scratch_root(folder.address), 0
    for place in sorted(root.iterdir()) if root.is_dir() else ():
        with contextlib.suppress(RunLocked), RunDirectory(place).hold_lock(wall):
            shards = BucketShards(folder, place / folder.address.rpartition("/")[2])
            if not shards.is_of_present_plan():
                continue
            for shard, number in shards.left_attempts():
                shards.publish_left(shard, number)
                count += 1
            shutil.rmtree(place, ignore_errors=True)
    return count
