"""Errors of the file system become errors of ours that say what to do."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from arkbatch.core.errors import RunDirectoryError, StorageFull


@contextmanager
def explain_disk_errors(path: object) -> Iterator[None]:
    """Turn the operating system's refusals into ours, with what to do next."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise StorageFull(
                f"No space left to write {path}. What was recorded is safe: make space and run the same command again."
            ) from error
        reason = error.strerror or str(error)
        raise RunDirectoryError(f"Cannot write {path}: {reason}. Fix that and run the same command again.") from error
