"""Finds the files of a run, and explains why one cannot be read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arkbatch.core.errors import RunDirectoryError, UsageError
from arkbatch.journal.run_directory import SPOOL, RunDirectory
from arkbatch.journal.run_info import RunInfo
from arkbatch.rows.columnar import is_data_set
from arkbatch.rows.several_files import matching_files, stands_for_several, with_each_part

_TAIL = 1 << 20


@contextmanager
def explain_unreadable(path: Path) -> Iterator[None]:
    """Raise a readable error in place of an OSError while reading."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunDirectoryError(f"Cannot read {error.filename or path}: {reason}. Check its permissions.") from error


def input_file(directory: RunDirectory, info: RunInfo) -> Path | None:
    """Return the path of the input, also when it was moved together with the run.

    The name may also be relative to another working directory.
    """
    named = Path(info.input.path)
    if stands_for_several(named):
        moved = with_each_part(named, lambda part: directory.path.parent / Path(part).name)
        return next((path for path in (named, Path(moved)) if _matches_files(path)), None)
    beside = directory / SPOOL if named.name == SPOOL else directory.path.parent / named.name
    return next((path for path in (named, beside) if path.is_file() or is_data_set(path)), None)


def _matches_files(path: Path) -> bool:
    try:
        return bool(matching_files(path))
    except UsageError:
        return False


def last_lines(path: Path, size: int = _TAIL) -> tuple[list[bytes], bool]:
    """Return the whole lines in a file's last bytes, and whether lines precede them."""
    if not path.exists():
        return [], False
    with path.open("rb") as file:
        begin = max(0, file.seek(0, 2) - size)
        file.seek(begin)
        text = file.read(size)
    lines = text.split(b"\n")[:-1]  # what follows the last newline is not there yet
    return (lines[1:], True) if begin else (lines, False)
