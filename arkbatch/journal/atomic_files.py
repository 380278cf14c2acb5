"""Replaces files whole, so that no reader, kill or power cut finds a part of one."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arkbatch.core.disk_errors import explain_disk_errors


def open_private(path: str, flags: int) -> int:
    """An opener for files that only their owner may read."""
    return os.open(path, flags, 0o600)


def replace_file(path: Path, data: bytes, *, is_durable: bool = True) -> None:
    """Write a file so that a reader, or a power cut, finds the old content or the new, never a part.

    is_durable: False for a file that may be lost in a power cut, which saves the wait for the disk
    """
    fresh = path.with_name(path.name + ".new")
    with explain_disk_errors(path):
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            write_all(descriptor, data)
            if is_durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        fresh.replace(path)
        if is_durable:
            sync_directory(path.parent)


def write_all(descriptor: int, data: bytes) -> None:
    """`os.write` until nothing is left; a disk that is nearly full takes a part first."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync_directory(path: Path) -> None:
    """Make a rename survive a power cut. Windows cannot open a directory, and needs no such call."""
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """Give a new file to write; at the end it replaces the old one, after an error it is deleted."""
    fresh = path.with_name(path.name + ".new")
    try:
        yield fresh
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
