"""Keeps standard input in the run directory, so that a run that read it can be resumed."""

import os
import shutil
from pathlib import Path
from typing import IO

from arkbatch.core.disk_errors import explain_disk_errors
from arkbatch.core.errors import RunChanged, UsageError
from arkbatch.core.input_info import InputInfo
from arkbatch.rows.input_file import Change, compare_file

_BUFFER_BYTES = 1 << 20


def keep_piped_input(stream: IO[bytes], copy: Path, known: InputInfo | None, *, rebase: bool) -> None:
    """Copy the rows of standard input. A later start may leave it empty, or give the same rows again.

    copy: the file for it in the run directory; known: the input that the run began with, None for a new run
    rebase: another input is meant. UsageError: no rows came; RunChanged: others than before did.
    """
    fresh = copy.with_name(copy.name + ".new")
    if not (stream.isatty() and copy.exists()):
        _copy_stream(stream, fresh)
        if fresh.stat().st_size or not copy.exists():
            if known is not None and not rebase and compare_file(fresh, known) is Change.EDITED:
                raise RunChanged(
                    f"Standard input is not the one that {copy.parent} began with. "
                    "Say --rebase to keep the results of unchanged rows, or name another directory with -o."
                )
            fresh.replace(copy)
    fresh.unlink(missing_ok=True)
    if not copy.stat().st_size and known is None:
        raise UsageError("Standard input is empty: pipe rows into it, or name an input file.")


def _copy_stream(stream: IO[bytes], target: Path) -> None:
    with explain_disk_errors(target):
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            shutil.copyfileobj(stream, file, _BUFFER_BYTES)
            file.flush()
            os.fsync(file.fileno())
