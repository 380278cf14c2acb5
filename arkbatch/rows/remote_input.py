"""Copies an input from object storage to disk, once, before a run.

The copy is made by ranges, each of the version that was seen first, so that an object which changes meanwhile is
noticed. A file beside the copy says of which version it is. What began with one version is not continued with another.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from os import environ as process_environ
from pathlib import Path

import msgspec

from arkbatch.core.disk_errors import explain_disk_errors
from arkbatch.core.errors import RunChanged
from arkbatch.rows.object_storage import RANGE_BYTES, Identity, list_objects, open_bytes

COPIES = "input"  # the folder of the copies in the run directory
RANGES_AT_ONCE = 4
VERSION_SUFFIX = ".version.json"


def fetch_input(
    address: str, folder: Path, environ: Mapping[str, str] = process_environ, *, number: int | None = None
) -> str:
    """Copy an object, or all that match a pattern, into a folder. Returns the path, or the pattern, of the copies.

    number: which of several inputs it is, since objects of different inputs may have one name
    RunChanged: the folder has a copy of another version. UsageError: the object cannot be read.
    """
    inside = folder / COPIES if number is None else folder / COPIES / str(number)
    with explain_disk_errors(inside):
        inside.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in list_objects(address, environ) if "*" in address else [address]:
        _fetch_object(name, inside / name.rpartition("/")[2], environ)
    return str(inside / address.rpartition("/")[2])


def _fetch_object(address: str, target: Path, environ: Mapping[str, str]) -> None:
    seen = open_bytes(address, environ).identity()
    version = target.with_name(target.name + VERSION_SUFFIX)
    if version.exists():
        if msgspec.json.decode(version.read_bytes(), type=Identity) == seen:
            return
        raise RunChanged(
            f"{address} changed since it was copied to {target}. To go on with the copy, give {target} as the input; "
            f"for the new version, give another directory with -o."
        )
    source = open_bytes(address, environ, tag=seen.tag)
    ranges = [(begin, min(begin + RANGE_BYTES, seen.size)) for begin in range(0, seen.size, RANGE_BYTES)]
    pending = target.with_name(target.name + ".new")
    with explain_disk_errors(target), open(pending, "wb") as file, ThreadPoolExecutor(RANGES_AT_ONCE) as pool:
        for first in range(0, len(ranges), RANGES_AT_ONCE):  # so many pieces at once in memory
            file.writelines(pool.map(lambda cut: source.read_range(*cut), ranges[first : first + RANGES_AT_ONCE]))
    with explain_disk_errors(target):
        pending.replace(target)
        version.write_bytes(msgspec.json.encode(seen))
