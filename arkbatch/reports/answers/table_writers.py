"""Writes a table in the format that the ending of its file names.

CSV begins with a byte order mark, since sheets take Chinese for something else without it. A sheet runs a cell that
begins with `=` or `@`: in a workbook text is written as text, in CSV such answers are counted and, if that is wished,
begin with an apostrophe. Parquet needs the type of each column before the first row.
"""

import csv
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from arkbatch.core.errors import UsageError
from arkbatch.core.json_numbers import WrittenNumber, dumps_as_written
from arkbatch.reports.answers.answer_table import Column

ENDINGS = (".jsonl", ".csv", ".tsv", ".parquet", ".xlsx")
_FORMULA = re.compile(r"[=+\-@\t\r]")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_SHEET_ROWS = 1_048_575  # without the header
_CELL_CHARACTERS = 32_767
_GROUP_BYTES = 16 << 20  # of Parquet: groups by rows would take more memory the longer the answers are
_GROUP_ROWS = 65_536


class TableWriter(Protocol):
    """Writes the rows of a table in order."""

    def write_row(self, values: list[Any]) -> None: ...

    def finish_file(self) -> list[str]:
        """Finish the file, and return notes for the user."""
        ...


def writer_for(ending: str, file: Path, columns: Sequence[Column], *, defuse: bool) -> TableWriter:
    """A writer for the ending of a file's name. `file` is where it writes, under whatever name."""
    names = [column.name for column in columns]
    match ending:
        case ".csv" | ".tsv":
            answers = [place for place, column in enumerate(columns) if column.place != "input"]
            return CsvWriter(file, names, "\t" if ending == ".tsv" else ",", answers, defuse=defuse)
        case ".parquet":
            return ParquetWriter(file, columns)
        case ".xlsx":
            return SheetWriter(file, names)
    raise unknown_ending(str(file))


def unknown_ending(file: str) -> UsageError:
    return UsageError(f"{file} ends in none of {', '.join(ENDINGS)}: the ending says how the answers are written")


class CsvWriter:
    """Records separated by commas or tabs.

    answers: the places of the columns that are not the input's; defuse: texts that a sheet would run get an apostrophe
    """

    def __init__(self, file: Path, names: Sequence[str], delimiter: str, answers: list[int], *, defuse: bool) -> None:
        self._file = file.open("w", encoding="utf-8-sig", errors="replace", newline="")
        self._table = csv.writer(self._file, delimiter=delimiter, lineterminator="\r\n" if delimiter == "," else "\n")
        self._table.writerow(names)
        self._answers, self._defuse, self._formulas = answers, defuse, 0

    def write_row(self, values: list[Any]) -> None:
        cells = [_cell_text(value) for value in values]
        for place in self._answers:
            self._formulas += cells[place][:1] in {"=", "@"} and cells[place] != ""
        if self._defuse:
            cells = [_defuse_cell(cell) for cell in cells]
        self._table.writerow(cells)

    def finish_file(self) -> list[str]:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        if not self._formulas or self._defuse:
            return []
        which = f"{self._formulas:,} answers begin with = or @, which a sheet takes for a formula"
        return [f"{which}: for a sheet write .xlsx, or say --defuse"]


def _cell_text(value: Any) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case WrittenNumber():
            return value.text
        case int() | float():
            return repr(value)
    return dumps_as_written(value).decode()


def _defuse_cell(cell: str) -> str:
    return f"'{cell}" if _FORMULA.match(cell) and not _NUMBER.fullmatch(cell) else cell


class ParquetWriter:
    """Parquet with zstd, in groups of some 16 MB."""

    def __init__(self, file: Path, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._rows: list[list[Any]] = []
        self._bytes = 0
        pa, pq = _import_pyarrow(file)
        self._pa = pa
        self._schema = pa.schema([(column.name, _arrow_type(pa, column.kind)) for column in columns])
        self._writer = pq.ParquetWriter(file, self._schema, compression="zstd")

    def write_row(self, values: list[Any]) -> None:
        self._rows.append([_without_surrogates(value) for value in values])
        self._bytes += sum(len(value) if isinstance(value, str | list) else 8 for value in values)
        if self._bytes > _GROUP_BYTES or len(self._rows) >= _GROUP_ROWS:
            self._write_group()

    def _write_group(self) -> None:
        if not self._rows:
            return
        columns = zip(*self._rows, strict=True)
        arrays = [self._pa.array(each, field.type) for each, field in zip(columns, self._schema, strict=True)]
        self._writer.write_batch(self._pa.record_batch(arrays, schema=self._schema))
        self._rows, self._bytes = [], 0

    def finish_file(self) -> list[str]:
        self._write_group()
        self._writer.close()
        return []


def _import_pyarrow(file: Path) -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UsageError(f"{file.name.removesuffix('.new')} needs: pip install 'arkbatch[parquet]'") from None
    return pa, pq


def arrow_field(pa: Any, column: Column) -> Any:
    """The field of a column in an Arrow schema."""
    return pa.field(column.name, _arrow_type(pa, column.kind))


def _arrow_type(pa: Any, kind: str) -> Any:
    return {
        "text": pa.string(),
        "json": pa.string(),
        "whole": pa.int64(),
        "fraction": pa.float64(),
        "boolean": pa.bool_(),
        "vector": pa.list_(pa.float32()),
    }[kind]


def _without_surrogates(value: Any) -> Any:
    """Half a character, as some models write one, is no text for Arrow."""
    if not isinstance(value, str) or value.isascii():
        return value
    return value.encode("utf-8", "replace").decode()


class SheetWriter:
    """One sheet of a workbook. Text is text there: neither formulas nor links are made of it."""

    def __init__(self, file: Path, names: Sequence[str]) -> None:
        try:
            import xlsxwriter
        except ImportError:
            raise UsageError(f"{file.name.removesuffix('.new')} needs: pip install 'arkbatch[excel]'") from None
        self._book = xlsxwriter.Workbook(str(file), {"constant_memory": True, "nan_inf_to_errors": True})
        self._sheet = self._book.add_worksheet("answers")
        self._row = self._cut = 0
        self._names = names
        for place, name in enumerate(names):
            self._sheet.write_string(0, place, name)

    def write_row(self, values: list[Any]) -> None:
        self._row += 1
        if self._row > _SHEET_ROWS:
            raise UsageError(f"A sheet holds at most {_SHEET_ROWS:,} rows below its header: write .csv or .parquet")
        for place, value in enumerate(values):
            self._write_cell(place, value)

    def _write_cell(self, place: int, value: Any) -> None:
        match value:
            case None:
                return
            case bool():
                self._sheet.write_boolean(self._row, place, value)
            case int() | float() if abs(value) < 10**15:
                self._sheet.write_number(self._row, place, value)
            case _:
                text = _cell_text(value)
                self._cut += len(text) > _CELL_CHARACTERS
                self._sheet.write_string(self._row, place, text[:_CELL_CHARACTERS])

    def finish_file(self) -> list[str]:
        self._book.close()
        if not self._cut:
            return []
        return [f"{self._cut:,} cells were cut at {_CELL_CHARACTERS:,} characters, more than a sheet holds: write .csv"]
