"""Keeps standard input in the run directory, so that a run that read it can be resumed."""

from pathlib import Path
from typing import IO

from arkbatch.core.errors import RunChanged, UsageError
from arkbatch.core.input_info import InputInfo
from arkbatch.rows.input_file import Change, compare_file, copy_standard_input


def keep_piped_input(stream: IO[bytes], copy: Path, known: InputInfo | None, *, rebase: bool) -> None:
    """Copy the rows of standard input. A later start may leave it empty, or give the same rows again.

    copy: the file for it in the run directory; known: the input that the run began with, None for a new run
    rebase: another input is meant. UsageError: no rows came; RunChanged: others than before did.
    """
    fresh = copy.with_name(copy.name + ".new")
    if not (stream.isatty() and copy.exists()):
        copy_standard_input(stream, fresh)
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
