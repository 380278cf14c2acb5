"""Reads tables as text (CSV, TSV): each record becomes the JSON object of its columns.

All cells are text: no type is guessed, and no word means missing. Records are numbered from 1; the header and blank
records have no number. The file is cut into physical lines as bytes, so that a record's offset is exact and reading
can begin at any record. UTF-16, and files whose lines end with CR alone, are cut as text.
"""

import csv
import io
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

from arkbatch.core.input_info import InputInfo, Position
from arkbatch.core.template_syntax import Reading
from arkbatch.rows.csv_shape import Shape, shape_of
from arkbatch.rows.input_file import (
    LONGEST_LINE,
    Change,
    Counted,
    compare_file,
    go_to_offset,
    open_input,
    skip_rest_of_line,
    survey_file,
    text_cells,
    unreadable_record,
)
from arkbatch.rows.text_encoding import LOOKED_AT

_BLANKS = b" \r\n\0\x1a"  # the last one ends a file of DOS
_MOST_LINES = 100_000  # of one record; more means that a quote was never closed


class CsvTable:
    """One file of records; `columns` are the names in its header."""

    is_table = True

    def __init__(self, path: Path, reading: Reading) -> None:
        # The limit of the standard library, 131,072 characters of a cell, is for the whole process.
        csv.field_size_limit(LONGEST_LINE)
        self.path = path
        self.shape = shape_of(path, reading)
        self.columns = self.shape.columns

    @property
    def description(self) -> str:
        return self.shape.description

    def read_records(self, start: Position = Position()) -> Iterator[tuple[int, int, bytes]]:  # noqa: B008  it is frozen
        """Yield number, offset and JSON of each record from a position on."""
        offset = start.offset if start.line else self.shape.header
        with open_input(self.path) as file:
            go_to_offset(file, self.path, offset)
            yield from self._records_of_file(file, start.line, offset)

    def survey_input(self) -> InputInfo:
        return survey_file(self.path, self._count_records)

    def _count_records(self, stream: IO[bytes]) -> Counted:
        stream.read(self.shape.header)
        pieces = _Pieces(stream, self.shape, passes_over_plain=True)
        count = 0
        for cells in _cells_of_records(pieces, self.shape):
            count += len(cells) > 1 or pieces.is_record
            pieces.clear_pieces()
        count += pieces.passed_over
        return Counted(count, count, pieces.ends_open)

    def _records_of_file(self, file: BinaryIO, number: int, offset: int) -> Iterator[tuple[int, int, bytes]]:
        pieces, columns = _Pieces(file, self.shape), self.columns
        width, begin, line = len(columns), offset, 1
        base: int | None = self.shape.header_lines if offset == self.shape.header else None
        for cells in _cells_of_records(pieces, self.shape):
            size = pieces.size_in_bytes
            if len(cells) > 1 or pieces.is_record:
                number += 1
                fits = type(cells) is list and len(cells) <= width and not pieces.ended
                problem = None if fits else self._problem_with_width(cells, ended=pieces.ended)
                if problem is None:
                    by_name = dict(zip(columns, cells, strict=False))
                    try:
                        record: bytes = text_cells(by_name)
                    except TypeError:  # bytes that are no text came through as surrogates
                        problem = f"not valid {self.shape.encoding.label}"
                if problem is not None:
                    if base is None:
                        base = self.line_at(begin) - 1
                    record = unreadable_record(pieces.raw_bytes, f"line {base + line} of {self.path.name}: {problem}")
                yield number, offset, record
            offset += size
            line += pieces.line_count
            pieces.clear_pieces()

    def _problem_with_width(self, cells: list[str] | str, *, ended: bool) -> str | None:
        """Return why a record does not fit the header; missing last cells are allowed."""
        if isinstance(cells, str):
            return cells
        if any(cells[len(self.columns) :]):
            return f"the record has {len(cells)} cells, and the header names {len(self.columns)}"
        return _NEVER_CLOSED if ended else None

    def line_at(self, offset: int) -> int:
        """Return the number of the physical line at an offset, by reading up to there."""
        with open_input(self.path) as file:
            text = io.BytesIO(file.read(offset)) if not self.shape.by_bytes else None
            if text is not None:
                return sum(1 for _ in _text_lines(text, self.shape.encoding.name)) + 1
            count = 1
            while offset > 0 and (part := file.read(min(offset, LOOKED_AT))):
                count += part.count(b"\n")
                offset -= len(part)
            return count

    def compare_input(self, known: InputInfo) -> Change:
        return compare_file(self.path, known)

    def describe_place(self, number: int, offset: int) -> str:
        """Return where a record stands, for a person."""
        return f"row {number} (line {self.line_at(offset)}) of {self.path}"


_LONG_LINE = f"the line is longer than {LONGEST_LINE >> 20} MB, more than a request may have: split the row"
_NEVER_CLOSED = "a quote that opens here is never closed, so that the rest of the file is in one cell"


class _Pieces:
    """Passes physical lines to the parser, and keeps those of the record being parsed.

    ended: the file ended while the parser wanted another line for a record
    passed_over: records on a line without quotes, which are counted here where `passes_over_plain` asks for it
    skipped: bytes of the record that were read past and not kept, since its line is too long
    """

    def __init__(self, file: IO[bytes], shape: Shape, *, passes_over_plain: bool = False) -> None:
        self._file, self._shape = file, shape
        self._passes_over_plain = passes_over_plain
        self.passed_over = 0
        self._used: list[bytes] = []
        self.skipped = 0
        self._texts: Iterator[str] | None = None
        self._last = b"\n"
        self.ended = self.ends_open = False

    def __iter__(self) -> Iterator[str]:
        used, encoding, size = self._used, self._shape.encoding.name, 0
        last, delimiter, quote = b"\n", *(each.encode(encoding) for each in (self._shape.delimiter, self._shape.quote))
        passes_over = self._passes_over_plain and self._shape.escape is None
        if self._shape.by_bytes:
            readline = self._file.readline
            while line := readline(LONGEST_LINE):
                if len(line) == LONGEST_LINE and line[-1:] != b"\n":
                    used.append(line)
                    self.skipped = skip_rest_of_line(self._file)
                    raise _TooLong(_LONG_LINE)
                if passes_over and not used and quote not in line and line[-1:] == b"\n" and b"\r" not in line[:-2]:
                    self.passed_over += bool(line.strip(_BLANKS)) or delimiter in line
                    continue
                if line.find(b"\r", 0, -2) >= 0:
                    for part in _cut_at_returns(line):
                        used.append(part)
                        yield part.decode(encoding, "surrogateescape")
                    size = sum(map(len, used))
                    last = line
                    continue
                if used:
                    size += len(line)
                    if size > LONGEST_LINE or len(used) > _MOST_LINES:
                        used.append(line)
                        raise _TooLong(_NEVER_CLOSED)
                else:
                    size = len(line)
                used.append(line)
                last = line
                yield line.decode(encoding, "surrogateescape")
        else:
            yield from self._text_pieces(encoding)
            last = self._last
        self.ends_open = last.rstrip(b"\0")[-1:] not in (b"\n", b"\r")
        self.ended = True

    def _text_pieces(self, encoding: str) -> Iterator[str]:
        """Pass lines that can be told apart only as text."""
        errors = "surrogateescape" if encoding[:3] != "utf" else "surrogatepass"
        self._texts = self._texts or _text_lines(self._file, encoding)
        for text in self._texts:
            self._last = text.encode(encoding, errors)
            self._used.append(self._last)
            if len(text) == LONGEST_LINE and text[-1:] not in "\r\n":
                self.skipped = self._skip_rest_of_text(encoding)
                raise _TooLong(_LONG_LINE)
            if len(self._used) > _MOST_LINES:
                raise _TooLong(_NEVER_CLOSED)
            yield text

    def _skip_rest_of_text(self, encoding: str) -> int:
        skipped = 0
        for text in self._texts or ():
            skipped += len(text.encode(encoding, "surrogatepass"))
            if text[-1:] in "\r\n":
                break
        return skipped

    def clear_pieces(self) -> None:
        self._used.clear()
        self.skipped = 0

    @property
    def raw_bytes(self) -> bytes:
        return b"".join(self._used)

    @property
    def size_in_bytes(self) -> int:
        read = len(self._used[0]) if len(self._used) == 1 else sum(map(len, self._used))
        return read + self.skipped

    @property
    def line_count(self) -> int:
        return len(self._used)

    @property
    def is_record(self) -> bool:
        """Whether the lines hold more than blanks; a TAB may separate two empty cells."""
        used = self._used
        return bool(used) and (len(used) > 1 or bool(used[0].strip(_BLANKS)))


class _TooLong(Exception):
    """A record is longer than any request can be; the text says why."""


def _cut_at_returns(line: bytes) -> list[bytes]:
    """Cut a physical line behind each carriage return that ends a line by itself, as in files of mixed origin."""
    return [part for part in re.split(rb"(?<=\r)(?!\n)", line) if part]


def _cells_of_records(pieces: _Pieces, shape: Shape) -> Iterator[list[str] | str]:
    """Yield the cells of each record, or what is wrong with it; reading continues after a fault."""
    how: dict[str, Any] = {
        "skipinitialspace": shape.skips_blanks,
        "quotechar": shape.quote,
        "escapechar": shape.escape,
    }
    while True:
        reader = csv.reader(iter(pieces), delimiter=shape.delimiter, **how)
        try:
            yield from reader
        except _TooLong as error:
            yield str(error)
        except csv.Error as error:
            yield str(error)
        else:
            return


def _text_lines(file: IO[bytes], encoding: str) -> Iterator[str]:
    errors = "surrogatepass" if encoding.startswith("utf") else "surrogateescape"
    text = io.TextIOWrapper(file, encoding, errors=errors, newline="")
    try:
        while line := text.readline(LONGEST_LINE):
            yield line
    finally:
        with suppress(ValueError):  # whoever stopped reading may have closed the file before
            text.detach()
