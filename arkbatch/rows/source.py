"""The rows of an input in any format, with number, offset and bytes.

A source is one file or several. Each row is one JSON object: a line as it stands, an element of a list, or the columns
of a table. What is in a file is seen in its beginning, and the ending of its name counts where that is not clear.
"""

import json
import shlex
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Protocol

import orjson

from arkbatch.core.errors import UsageError
from arkbatch.core.input_info import InputInfo, Position
from arkbatch.core.job import Job
from arkbatch.core.template_syntax import Reading
from arkbatch.rows.columnar import ColumnarTable, is_data_set
from arkbatch.rows.csv_table import CsvTable
from arkbatch.rows.input_file import Change, compare_file, compression_of, open_input, read_lines, survey_file
from arkbatch.rows.json_documents import JsonDocuments, list_in_object
from arkbatch.rows.parse import RowReader
from arkbatch.rows.several_files import SeveralFiles, stands_for_several
from arkbatch.rows.text_encoding import LOOKED_AT, encoding_of
from arkbatch.rows.workbook import Workbook

Record = tuple[int, int, bytes]
JSON_LINES = (".jsonl", ".ndjson")
TABLES = (".csv", ".tsv", ".tab", ".psv")
STDIN_COPY = "input.jsonl"  # holds whatever was piped in


class Source(Protocol):
    """An input.

    columns: the names of a table's columns; empty where each row has its own
    is_table: rows are known by their cells and not by their bytes
    description: the format, for a person
    """

    path: Path
    is_table: bool
    columns: tuple[str, ...]

    @property
    def description(self) -> str: ...

    def read_records(self, start: Position = ...) -> Iterator[Record]:
        """Number, offset and bytes of each row from a position on."""
        ...

    def survey_input(self) -> InputInfo:
        """Read all: the fingerprint, and how many rows there are."""
        ...

    def compare_input(self, known: InputInfo) -> Change:
        """What happened to the input since it was surveyed, as far as its bytes tell."""
        ...

    def describe_place(self, number: int, offset: int) -> str:
        """Where a row stands, for a person."""
        ...


class JsonLines:
    """One object a line."""

    is_table = False
    columns: tuple[str, ...] = ()
    description = "JSON lines"

    def __init__(self, path: Path) -> None:
        self.path = path

    def read_records(self, start: Position = Position()) -> Iterator[Record]:  # noqa: B008  it is frozen
        return read_lines(self.path, start)

    def survey_input(self) -> InputInfo:
        return survey_file(self.path)

    def compare_input(self, known: InputInfo) -> Change:
        return compare_file(self.path, known)

    def describe_place(self, number: int, offset: int) -> str:
        """Where a line stands, for a person."""
        del offset
        return f"line {number} of {self.path}"


class WithoutEmpty:
    """An input without the rows whose prompt lacks a value. The numbers of the others stay what they are."""

    def __init__(self, source: Source, reader: RowReader) -> None:
        self._source, self._reader = source, reader
        self.path, self.is_table, self.columns = source.path, source.is_table, source.columns
        self.description = source.description
        self.compare_input, self.describe_place = source.compare_input, source.describe_place

    def read_records(self, start: Position = Position()) -> Iterator[Record]:  # noqa: B008  it is frozen
        return (record for record in self._source.read_records(start) if not self._reader.lacks_value(record[2]))

    def survey_input(self) -> InputInfo:
        info = self._source.survey_input()
        info.rows = sum(1 for _ in self.read_records())
        return info


def source_of(job: Job, path: Path | None = None) -> Source:
    """The input of a job, or another file in its place."""
    source = open_source(path or Path(job.input), job.reading)
    if job.reading.empty != "skip":
        return source
    return WithoutEmpty(source, RowReader(job, by_cells=source.is_table))


def reader_of(job: Job, source: Source) -> RowReader:
    """Reads the rows of a source for a job."""
    return RowReader(job, by_cells=source.is_table)


def open_source(path: Path, reading: Reading = Reading()) -> Source:  # noqa: B008  it is frozen
    """The input at a path, or at a pattern of paths. UsageError: it cannot be read, or it is not clear how."""
    if stands_for_several(path):
        return SeveralFiles(path, lambda each: open_source(each, reading))
    match _format_of(path, reading):
        case "lines":
            return JsonLines(path)
        case "documents":
            return JsonDocuments(path, reading)
        case "columnar":
            return ColumnarTable(path, reading)
        case "workbook":
            return Workbook(path, reading)
    return CsvTable(path, reading)


def _format_of(path: Path, reading: Reading) -> str:
    """How a file is read: "lines", "documents", "table", "columnar" or "workbook"."""
    if is_data_set(path):
        return "columnar"
    with open_input(path) as file:
        begin = file.read(LOOKED_AT)
    if begin[:4] == b"PAR1" or begin[:6] == b"ARROW1" or begin[:4] == b"\xff\xff\xff\xff":
        return "columnar"
    if begin[:4] in {b"PK\x03\x04", b"\xd0\xcf\x11\xe0"}:
        if begin[:2] == b"PK" and not _is_workbook(path):
            command = f"unzip {shlex.quote(str(path))}"
            raise UsageError(f"{path} is a ZIP archive and no workbook. Unpack it first:  {command}")
        return "workbook"
    for beginning, kind in _NO_INPUTS.items():
        if begin.lstrip()[: len(beginning)].lower() == beginning:
            raise UsageError(f"{path} is {kind} and no table. Save its rows as CSV, Excel, Parquet or JSON lines.")
    if (named := ending_of(path)) in _NO_TABLES:
        raise UsageError(
            f"{path} is {_NO_TABLES[named]} and no table. Save its rows as CSV, Excel, Parquet or JSON lines."
        )
    return _format_of_text(path, begin, reading)


def _format_of_text(path: Path, begin: bytes, reading: Reading) -> str:
    ending = ending_of(path)
    if not begin.removeprefix(b"\xef\xbb\xbf").strip():
        return "table" if ending in TABLES else "lines"
    lines = [line.strip() for line in begin.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip()]
    first = lines[0] if lines else b""
    if first[:1] == b"{" and _is_object(first):
        if len(lines) > 1 or ending in JSON_LINES:
            return "lines"
        _refuse_columns(path, first)
        return "lines" if list_in_object(first.decode("utf-8", "replace")) is None else "documents"
    if ending in JSON_LINES and path.name != STDIN_COPY and first[:1] not in b"[{" and begin[:2] not in _UTF16:
        return "lines"  # its first line is bad, and others may be good
    encoding = encoding_of(begin, path.name, reading.encoding)
    text = begin[encoding.mark :].decode(encoding.name, "replace").lstrip()
    if text[:1] == "[":
        return "lines" if ending in JSON_LINES and _is_line_of_its_own(first, begin) else "documents"
    if text[:1] == "{":
        if ending not in JSON_LINES and list_in_object(text) is not None:
            return "documents"
        return "documents" if _begins_with_object(text, whole=len(begin) < LOOKED_AT) else "lines"
    return "lines" if ending == ".json" else "table"


# How files begin that people take for tables by mistake, in small letters.
_NO_INPUTS = {
    b"%pdf-": "a PDF document",
    b"<html": "a web page",
    b"<!doctype": "a web page",
    b"<table": "a web page",
    b"<?xml": "an XML document",
    b"{\\rtf": "a text document (RTF)",
    b"sqlite format 3": "an SQLite database",
    b"obj\x01": "an Avro file",
    b"\x93numpy": "an array of NumPy",
    b"\x89png": "an image",
    b"\xff\xd8\xff": "an image",
}


_NO_TABLES = {".yaml": "a YAML document", ".yml": "a YAML document", ".sql": "a script of SQL"}


def _is_workbook(path: Path) -> bool:
    """Whether a ZIP archive holds what a workbook holds."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.startswith("xl/") or name == "content.xml" for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return True  # the reader of workbooks tells what is wrong


def _refuse_columns(path: Path, line: bytes) -> None:
    """UsageError: the only object of a file holds columns, as pandas writes them by default."""
    columns = orjson.loads(line)
    names, values = set(columns), list(columns.values())
    if len(values) < 2 or not all(type(value) is type(values[0]) for value in values):
        return
    lists = [value for value in values if isinstance(value, list)]
    tables = [value for value in values if isinstance(value, dict)]
    has_equal_lists = len(lists) == len(values) and len(lists[0]) > 1 and len({len(each) for each in lists}) == 1
    is_flat = not any(isinstance(cell, list | dict) for each in lists for cell in each)
    has_equal_tables = len(tables) == len(values) and bool(tables[0]) and len({tuple(each) for each in tables}) == 1
    is_split = {"columns", "data"} <= names and len(lists) == len(values)
    if (has_equal_lists and is_flat) or has_equal_tables or is_split:
        command = "df.to_json(FILE, orient='records', lines=True)"
        raise UsageError(f"{path} holds columns and not rows. In pandas, write it with {command}.")


_UTF16 = {b"\xff\xfe", b"\xfe\xff"}


def ending_of(path: Path) -> str:
    """The ending that says what is in a file, in small letters: `.csv` of `a.CSV.gz`."""
    return (path.with_suffix("") if compression_of(path) else path).suffix.lower()


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False


def _is_line_of_its_own(first: bytes, begin: bytes) -> bool:
    """Whether a list is a bad line of its own, among lines of objects or of lists."""
    try:
        orjson.loads(first)
    except orjson.JSONDecodeError:
        return False
    following = [line for line in begin.split(b"\n") if line.strip()][1:2]
    return bool(following) and following[0].lstrip()[:1] in {b"{", b"["}


def _begins_with_object(text: str, *, whole: bool) -> bool:
    """Whether a text begins with an object that is not alone on its line; a broken line is none.

    whole: the text is all there is of the file
    """
    try:
        json.JSONDecoder().raw_decode(text)
    except (json.JSONDecodeError, RecursionError) as error:
        # An object of several lines that is larger than what was looked at.
        at_end = isinstance(error, json.JSONDecodeError) and error.pos >= len(text) - 1
        return not whole and at_end and text[1:].lstrip(" \t")[:1] in "\r\n"
    return True


def first_records(source: Source, count: int) -> list[Record]:
    """The first rows."""
    return list(islice(source.read_records(), count))


def missing_input(name: str, path: Path) -> UsageError:
    """The error of an input that is not there."""
    looked = "" if name == str(path) else f" (looked at {path})"
    if path.is_dir():
        endings = sorted({each.suffix for each in path.iterdir() if each.suffix and each.is_file()})
        pattern = shlex.quote(f"{path}/*{endings[0] if endings else ''}")
        return UsageError(f"{name} is a directory. Name its files, such as {pattern}")
    return UsageError(f"{name} {'is not a file' if path.exists() else 'does not exist'}{looked}")
