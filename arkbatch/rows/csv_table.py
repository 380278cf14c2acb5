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
from typing import IO, BinaryIO

import orjson
from msgspec import Struct

from arkbatch.core.errors import UsageError
from arkbatch.core.input_info import InputInfo, Position
from arkbatch.core.template_syntax import Reading
from arkbatch.rows.input_file import LONGEST_LINE, Change, Counted, compare, enter, open_input, survey, unreadable
from arkbatch.rows.text_encoding import LOOKED_AT, Encoding, encoding_of

DELIMITERS = ",\t;|"
RARE_DELIMITERS = "\x1f\x01^~"
_SNIFFED = 64 << 10  # characters
_MOST_LINES = 100_000  # of one record; more means that a quote was never closed
_NAMES = {",": "comma-separated", "\t": "tab-separated", ";": "semicolon-separated", "|": "pipe-separated"}


class Shape(Struct, frozen=True):
    """How a table is written, and where its records begin.

    header: bytes before the first record; header_lines: physical lines before it
    by_bytes: the file may be cut at each byte 0x0A
    skips_blanks: a blank stands between a delimiter and the quote that opens a cell
    """

    encoding: Encoding
    delimiter: str
    columns: tuple[str, ...]
    header: int
    header_lines: int
    by_bytes: bool
    skips_blanks: bool = False

    @property
    def description(self) -> str:
        """A description such as "tab-separated text in UTF-16"."""
        how = _NAMES.get(self.delimiter)
        said = f"{how} text" if how else f"text separated by {self.delimiter!r}"
        return f"{said} in {self.encoding.label}"


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

    def records(self, start: Position = Position()) -> Iterator[tuple[int, int, bytes]]:  # noqa: B008  it is frozen
        """Yield number, offset and JSON of each record from a position on."""
        offset = start.offset if start.line else self.shape.header
        with open_input(self.path) as file:
            enter(file, self.path, offset)
            yield from self._records(file, start.line, offset)

    def survey(self) -> InputInfo:
        return survey(self.path, self._count)

    def _count(self, stream: IO[bytes]) -> Counted:
        stream.read(self.shape.header)
        pieces = _Pieces(stream, self.shape)
        count = 0
        for cells in _cells(pieces, self.shape):
            count += len(cells) > 1 or pieces.is_record
            pieces.clear()
        return Counted(count, count, pieces.ends_open)

    def _records(self, file: BinaryIO, number: int, offset: int) -> Iterator[tuple[int, int, bytes]]:
        pieces, columns = _Pieces(file, self.shape), self.columns
        width, begin, line = len(columns), offset, 1
        base: int | None = self.shape.header_lines if offset == self.shape.header else None
        for cells in _cells(pieces, self.shape):
            size = pieces.size
            if len(cells) > 1 or pieces.is_record:
                number += 1
                problem = cells if isinstance(cells, str) else _misfit(cells, width) if len(cells) > width else None
                if pieces.ended and problem is None:
                    problem = _NEVER_CLOSED
                if problem is None:
                    try:
                        raw = orjson.dumps(dict(zip(columns, cells, strict=False)))
                    except TypeError:  # bytes that are no text came through as surrogates
                        problem = f"not valid {self.shape.encoding.label}"
                if problem is not None:
                    if base is None:
                        base = self.line_at(begin) - 1
                    raw = unreadable(pieces.raw, f"line {base + line} of {self.path.name}: {problem}")
                yield number, offset, raw
            offset += size
            line += pieces.lines
            pieces.clear()

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

    def compare(self, known: InputInfo) -> Change:
        return compare(self.path, known)

    def place(self, number: int, offset: int) -> str:
        """Return where a record stands, for a person."""
        return f"row {number} (line {self.line_at(offset)}) of {self.path}"


_NEVER_CLOSED = "a quote that opens here is never closed, so that the rest of the file is in one cell"


def _misfit(cells: list[str], width: int) -> str | None:
    """Return why a record does not fit the header; missing last cells are allowed."""
    if any(cells[width:]):
        return f"the record has {len(cells)} cells, and the header names {width}"
    return None


class _Pieces:
    """Passes physical lines to the parser, and keeps those of the record being parsed.

    ended: the file ended while the parser wanted another line for a record
    """

    def __init__(self, file: IO[bytes], shape: Shape) -> None:
        self._file, self._shape = file, shape
        self._used: list[bytes] = []
        self.ended = self.ends_open = False

    def __iter__(self) -> Iterator[str]:
        used, encoding, size = self._used, self._shape.encoding.name, 0
        last = b"\n"
        if self._shape.by_bytes:
            readline = self._file.readline
            while line := readline(LONGEST_LINE):
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
                        raise _TooLong
                else:
                    size = len(line)
                used.append(line)
                last = line
                yield line.decode(encoding, "surrogateescape")
        else:
            for text in _text_lines(self._file, encoding):
                last = text.encode(encoding, "surrogateescape" if encoding[:3] != "utf" else "surrogatepass")
                used.append(last)
                if len(used) > _MOST_LINES:
                    raise _TooLong
                yield text
        self.ends_open = last.rstrip(b"\0")[-1:] not in (b"\n", b"\r")
        self.ended = True

    def clear(self) -> None:
        self._used.clear()

    @property
    def raw(self) -> bytes:
        return b"".join(self._used)

    @property
    def size(self) -> int:
        return len(self._used[0]) if len(self._used) == 1 else sum(map(len, self._used))

    @property
    def lines(self) -> int:
        return len(self._used)

    @property
    def is_record(self) -> bool:
        """Whether the lines hold more than blanks; a TAB may separate two empty cells."""
        used = self._used
        return bool(used) and (len(used) > 1 or bool(used[0].strip(b" \r\n\0")))


class _TooLong(Exception):
    """A record is longer than any request can be."""


def _cut_at_returns(line: bytes) -> list[bytes]:
    """Cut a physical line behind each carriage return that ends a line by itself, as in files of mixed origin."""
    return [part for part in re.split(rb"(?<=\r)(?!\n)", line) if part]


def _cells(pieces: _Pieces, shape: Shape) -> Iterator[list[str] | str]:
    """Yield the cells of each record, or what is wrong with it; reading continues after a fault."""
    while True:
        reader = csv.reader(iter(pieces), delimiter=shape.delimiter, skipinitialspace=shape.skips_blanks)
        try:
            yield from reader
        except _TooLong:
            yield _NEVER_CLOSED
        except csv.Error as error:
            yield str(error)
        else:
            return


def _text_lines(file: IO[bytes], encoding: str) -> Iterator[str]:
    errors = "surrogatepass" if encoding.startswith("utf") else "surrogateescape"
    text = io.TextIOWrapper(file, encoding, errors=errors, newline="")
    try:
        yield from text
    finally:
        with suppress(ValueError):  # whoever stopped reading may have closed the file before
            text.detach()


def shape_of(path: Path, reading: Reading) -> Shape:
    """Return how a table is written.

    Raises UsageError when its encoding is not clear, or its first record cannot be a header.
    """
    with open_input(path) as file:
        begin = file.read(LOOKED_AT)
    encoding = encoding_of(begin, path.name, reading.encoding)
    text = begin[encoding.mark :].decode(encoding.name, "replace")
    by_bytes = encoding.cuts_at_newline and text.count("\r") - text.count("\r\n") <= text.count("\n")
    said, rest = _said_delimiter(text)
    delimiter = reading.separator or said or delimiter_of(rest)
    skips_blanks = f'{delimiter} "' in rest and _regularity(rest, delimiter, blanks=True) > _regularity(rest, delimiter)
    parsed = csv.reader(io.StringIO(rest, newline=""), delimiter=delimiter, skipinitialspace=skips_blanks)
    first = next((cells for cells in parsed if any(cells)), [])
    if delimiter == "|" and _is_markdown(rest):
        raise UsageError(f"{path.name} is a table of Markdown: take out its line of dashes, and save it as CSV")
    before, before_lines = text[: len(text) - len(rest)], 1 if said else 0
    if not reading.header:
        columns = tuple(map(str, range(1, _width(rest, delimiter, len(first)) + 1)))
        header, header_lines = before, before_lines
    else:
        columns = _named(first, path)
        lines = _header_lines(rest, delimiter)
        header, header_lines = before + "".join(lines), before_lines + len(lines)
    size = encoding.mark + len(header.encode(encoding.name, "replace"))
    return Shape(encoding, delimiter, columns, size, header_lines, by_bytes, skips_blanks)


def _is_markdown(text: str) -> bool:
    """Whether the second line is the one of dashes that Markdown has below the names of the columns."""
    lines = text.split("\n", 2)
    return len(lines) > 1 and "-" in lines[1] and not lines[1].strip().strip("|:- ")


def _said_delimiter(text: str) -> tuple[str, str]:
    """Return the delimiter of Excel's line before the header (`sep=;`), and the text after it."""
    first, newline, rest = text.partition("\n")
    word = first.strip().strip('"')
    if word[:4].lower() == "sep=" and len(word) <= 5 and newline:
        return word[4:] or "\t", rest
    return "", text


def _header_lines(text: str, delimiter: str) -> list[str]:
    """Return the physical lines of the first record that is not blank, and those before it."""
    used: list[str] = []

    def fed() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            used.append(line)
            yield line

    next((cells for cells in csv.reader(fed(), delimiter=delimiter) if any(cells)), None)
    return used


def delimiter_of(text: str) -> str:
    """Return the delimiter with which most records are as wide as the first.

    Of several, the one with the widest records is taken.
    """
    best, found = (0.0, 0), ","
    for candidate in DELIMITERS:
        score = _regularity(text, candidate)
        if score > best:
            best, found = score, candidate
    if best == (0.0, 0):  # a rare one must fit every record
        found = next((each for each in RARE_DELIMITERS if _regularity(text, each)[0] == 1.0), found)
    return found


def _regularity(text: str, delimiter: str, *, blanks: bool = False) -> tuple[float, int]:
    """Return the share of records as wide as the first, and that width; (0, 0) for a single column."""
    widths = _widths(text, delimiter, blanks=blanks)
    if not widths or widths[0] < 2:
        return 0.0, 0
    return sum(width == widths[0] for width in widths) / len(widths), widths[0]


def _widths(text: str, delimiter: str, *, blanks: bool = False) -> list[int]:
    """Return the widths of the first records, without a last one that is cut off."""
    part = text[:_SNIFFED]
    parsed = csv.reader(io.StringIO(part, newline=""), delimiter=delimiter, skipinitialspace=blanks)
    try:
        widths = [len(cells) for cells in parsed if cells]
    except csv.Error:
        return []
    return widths[:-1] if len(part) < len(text) and len(widths) > 1 else widths


def _width(text: str, delimiter: str, first: int) -> int:
    """Return the most frequent width of a table without a header."""
    widths = _widths(text, delimiter) or [first]
    return max(set(widths), key=widths.count)


def _named(cells: list[str], path: Path) -> tuple[str, ...]:
    """Return the columns of a header; UsageError when two have one name."""
    names = [cell.strip().strip("\ufeff") or f"column{place}" for place, cell in enumerate(cells, 1)]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise UsageError(
                f"{path.name}: columns {names.index(name) + 1} and {place + 1} are both called {name!r}: "
                "rename one of them, or say --no-header and call them 1, 2, 3 ..."
            )
    return tuple(names)


def header_is_data(columns: tuple[str, ...]) -> bool:
    """Whether the first record looks like a row: all numbers, or a cell too long for a name."""
    numbers = all(name.replace(".", "", 1).replace("-", "", 1).isdigit() for name in columns)
    return bool(columns) and (numbers or any(len(name) > 200 for name in columns))
