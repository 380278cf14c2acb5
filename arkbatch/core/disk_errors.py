"""Turns errors of the file system into errors that say what to do."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from arkbatch.core.errors import RunDirectoryError, StorageFull


@contextmanager
def explain_disk_errors(path: object) -> Iterator[None]:
    """Raise a `RunDirectoryError` that says what to do in place of an OSError."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise StorageFull(
                f"No space left to write {path}. What was recorded is safe: make space and run the same command again."
            ) from error
        reason = error.strerror or str(error)
        raise RunDirectoryError(f"Cannot write {path}: {reason}. Fix that and run the same command again.") from error
