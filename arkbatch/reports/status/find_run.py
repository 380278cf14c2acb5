"""Finds the files of a run, and explains why one cannot be read."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from arkbatch.core.errors import RunDirectoryError
from arkbatch.journal.run_directory import SPOOL, RunDirectory, RunInfo
from arkbatch.rows.columnar import is_data_set
from arkbatch.rows.several_files import is_pattern

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
    beside = directory / SPOOL if named.name == SPOOL else directory.path.parent / named.name
    return next((path for path in (named, beside) if path.is_file() or is_data_set(path) or _is_same_input(path)), None)


def _is_same_input(path: Path) -> bool:
    return is_pattern(path) and any(path.parent.glob(path.name))


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
