"""Reads workbooks (.xlsx, .xls, .xlsb, .ods) through a process that writes JSON lines.

The library holds a whole sheet in memory, and that memory is freed with the process. Numbers come as fractions: whole
ones are written without `.0`. Dates become ISO text, and midnight of a date cell is the date. A formula that was never
calculated and an error cell are both empty. The lines are kept while this process lives, in a temporary directory.
"""

import datetime as dt
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from arkbatch.core.errors import UsageError
from arkbatch.core.input_info import InputInfo, Position
from arkbatch.core.template_syntax import Reading
from arkbatch.rows.input_file import Change, Counted, compare_file, missing_extra, read_lines, survey_file

WORKBOOKS = (".xlsx", ".xlsm", ".xls", ".xlsb", ".ods")
_EXACT = 1 << 53  # larger whole numbers were rounded when the workbook was saved


class Workbook:
    """One sheet of a workbook."""

    is_table = True

    def __init__(self, path: Path, reading: Reading) -> None:
        self.path = path
        stat = path.stat()
        said = (reading.sheet, reading.header, stat.st_size, stat.st_mtime_ns)
        self._folder = _convert_once(str(path.absolute()), *said)
        self._lines = self._folder.path / "rows.jsonl"
        head = orjson.loads((self._folder.path / "head.json").read_bytes())
        self.columns = tuple(head["columns"])
        self._sheet, self._rows, self._first = head["sheet"], head["rows"], head["first"]
        self.other_sheets: list[str] = head["others"]

    @property
    def description(self) -> str:
        return f"sheet {self._sheet!r}"

    def read_records(self, start: Position = Position()) -> Iterator[tuple[int, int, bytes]]:  # noqa: B008  it is frozen
        """Yield number, offset and JSON of each row from a position on.

        The offset is that of the JSON line.
        """
        return read_lines(self._lines, start)

    def survey_input(self) -> InputInfo:
        return survey_file(self.path, lambda _: Counted(self._rows, self._rows))

    def compare_input(self, known: InputInfo) -> Change:
        return compare_file(self.path, known)

    def describe_place(self, number: int, offset: int) -> str:
        """Return where a row stands, for a person."""
        del offset
        return f"row {number} (row {self._first + number} of sheet {self._sheet!r}) of {self.path}"


class _Folder:
    """A temporary directory, deleted with its object or at the end of the process."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="arkbatch-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@lru_cache(maxsize=8)
def _convert_once(path: str, sheet: str, header: bool, size: int, mtime_ns: int) -> "_Folder":  # noqa: ARG001  size and time say whether it is still the same file
    """Return a directory with the rows of a sheet as lines, deleted when nothing uses it."""
    folder = _Folder()
    words = [sys.executable, "-m", "arkbatch.rows.workbook", path, str(folder.path), sheet, "1" if header else ""]
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603  our own module
    if done.returncode == _NO_LIBRARY:
        raise missing_extra(Path(path), "excel")
    if done.returncode:
        said = done.stderr.strip().splitlines()
        reason = _why_unreadable(said[-1] if said else "the reader ended")
        raise UsageError(f"Cannot read the workbook {path}: {reason}")
    return folder


def _why_unreadable(said: str) -> str:
    """Return why a workbook cannot be read, without the words of a library."""
    if "ZipError" in said or "CfbError" in said:
        return "it is damaged or cut off. Save it again"
    if "Password" in said:
        return "it has a password. Save it without one"
    return said.rpartition("python_calamine.")[2]


_NO_LIBRARY = 86


def _convert_sheet(path: str, folder: Path, sheet: str, *, header: bool) -> None:
    """Write the rows of a sheet as JSON lines, and its columns; runs in a process of its own."""
    try:
        from python_calamine import CalamineWorkbook
    except ImportError:
        sys.exit(_NO_LIBRARY)
    book = CalamineWorkbook.from_path(path)
    visible = [each.name for each in book.sheets_metadata if str(each.visible).endswith("Visible")]
    if sheet and sheet not in book.sheet_names:
        sys.exit(f"there is no sheet {sheet!r}; its sheets are {', '.join(book.sheet_names)}")
    name = sheet or _first_with_cells(book, visible or book.sheet_names)
    rows = iter(book.get_sheet_by_name(name).iter_rows())
    columns, count, first = None, 0, 0
    with (folder / "rows.jsonl").open("wb") as out:
        for place, cells in enumerate(rows, 1):
            values = [_plain_cell(cell) for cell in cells]
            filled = sum(value is not None for value in values)
            if columns is None and (filled > 1 or (filled == 1 and len(values) == 1) or not header) and filled:
                columns, first = _header_names(values) if header else [str(n + 1) for n in range(len(values))], place
                if header:
                    continue
                first -= 1
            if columns is not None and filled:
                out.write(orjson.dumps(dict(zip(columns, values, strict=False))) + b"\n")
                count += 1
    others = [each for each in visible if each != name]
    head = {"columns": columns or [], "sheet": name, "rows": count, "first": first, "others": others}
    (folder / "head.json").write_bytes(orjson.dumps(head))


def _first_with_cells(book: Any, names: list[str]) -> str:
    """The first sheet that is not empty, else the first."""
    return next((name for name in names if book.get_sheet_by_name(name).height), names[0])


def _header_names(values: list[Any]) -> list[str]:
    names = [
        f"column{place}" if value is None else " ".join(str(value).split("\n")).strip()
        for place, value in enumerate(values, 1)
    ]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        sys.exit(f"two columns are called {twice!r}: rename one of them, or say --no-header")
    return names


def _plain_cell(cell: Any) -> Any:
    """Return a cell as JSON holds it; None for an empty one."""
    match cell:
        case "" | None:
            return None
        case bool() | int() | str():
            return cell
        case float():
            return int(cell) if cell.is_integer() and abs(cell) < _EXACT else cell
        case dt.datetime():
            return (cell.date() if cell.time() == dt.time() else cell).isoformat()
        case dt.date() | dt.time():
            return cell.isoformat()
    return str(cell)


if __name__ == "__main__":
    _convert_sheet(sys.argv[1], Path(sys.argv[2]), sys.argv[3], header=bool(sys.argv[4]))
