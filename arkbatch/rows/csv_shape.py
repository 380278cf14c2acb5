"""Finds out how a text table is written: encoding, delimiter, header.

The delimiter is the one with which most records are as wide as the first. Excel's line `sep=;` before the header says
it. The standard library's `csv.Sniffer` is not used: it finds delimiters in files of one column.
"""

import csv
import io
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from arkbatch.core.errors import UsageError
from arkbatch.core.template_syntax import Reading
from arkbatch.rows.input_file import open_input
from arkbatch.rows.text_encoding import LOOKED_AT, Encoding, encoding_of

DELIMITERS = ",\t;|"
RARE_DELIMITERS = "\x1f\x01^~"
_SNIFFED = 64 << 10  # characters
_NAMES = {",": "comma-separated", "\t": "tab-separated", ";": "semicolon-separated", "|": "pipe-separated"}


class Shape(Struct, frozen=True):
    """How a table is written, and where its records begin.

    header: bytes before the first record; header_lines: physical lines before it
    by_bytes: the file may be cut at each byte 0x0A
    skips_blanks: a blank stands between a delimiter and the quote that opens a cell
    quote, escape: what encloses a cell, and what stands before a quote inside it where quotes are not doubled
    """

    encoding: Encoding
    delimiter: str
    columns: tuple[str, ...]
    header: int
    header_lines: int
    by_bytes: bool
    skips_blanks: bool = False
    quote: str = '"'
    escape: str | None = None

    @property
    def description(self) -> str:
        """A description such as "tab-separated text in UTF-16"."""
        how = _NAMES.get(self.delimiter)
        said = f"{how} text" if how else f"text separated by {self.delimiter!r}"
        return f"{said} in {self.encoding.label}"


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
    how = _quoting_of(rest, delimiter)
    titles = _count_titles(_sample_records(rest, delimiter, **how))
    lines, first = _header_record(rest, delimiter, titles if reading.header else 0, **how)
    if delimiter == "|" and _is_markdown(rest):
        raise UsageError(f"{path.name} is a table of Markdown: take out its line of dashes, and save it as CSV")
    before, before_lines = text[: len(text) - len(rest)], 1 if said else 0
    if not reading.header:
        columns = tuple(map(str, range(1, _most_frequent_width(rest, delimiter, len(first)) + 1)))
        header, header_lines = before, before_lines
    else:
        columns = _header_names(first, path)
        header, header_lines = before + "".join(lines), before_lines + len(lines)
    size = encoding.mark + len(header.encode(encoding.name, "replace"))
    shape = Shape(encoding, delimiter, columns, size, header_lines, by_bytes)
    return replace(
        shape,
        skips_blanks=how.get("skipinitialspace", False),
        quote=how.get("quotechar", '"'),
        escape=how.get("escapechar"),
    )


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


def _header_record(text: str, delimiter: str, titles: int, **how: Any) -> tuple[list[str], list[str]]:
    """Return the physical lines up to the header's last one, and its cells. titles: records before it."""
    used: list[str] = []

    def fed() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            used.append(line)
            yield line

    filled = (cells for cells in csv.reader(fed(), delimiter=delimiter, **how) if any(cells))
    return used, next(islice(filled, titles, None), [])


def _count_titles(records: list[list[str]]) -> int:
    """Return how many records before the header are titles or comments, as reports and exports have them.

    All records behind them are equally wide. A comment begins with `#` and is not as wide; a title fills one cell, and
    counts only above three columns, since a table of one column may begin like that.
    """
    count = 0
    while count < len(records) and (sum(map(bool, records[count])) <= 1 or _is_comment(records[count])):
        count += 1
    before, following = records[:count], records[count:]
    if not before or len(following) < 2 or not all(following[0]):
        return 0
    width = len(following[0])
    are_comments = all(_is_comment(record) and len(record) != width for record in before)
    is_table = width >= (2 if are_comments else 3) and all(len(record) == width for record in following)
    has_header = any(_is_comment(record) and len(record) == width for record in before)
    return count if is_table and not has_header else 0


def _is_comment(record: list[str]) -> bool:
    return bool(record) and record[0].lstrip().startswith("#")


def _quoting_of(text: str, delimiter: str) -> dict[str, Any]:
    """Return how cells are quoted where it is not the usual way: what `csv.reader` is told.

    Another way is taken only where its signs are there, and all records fit with it.
    """
    usual = _regularity_of(text, delimiter)
    if usual[0] == 1.0:
        return {}
    ways: list[tuple[str, dict[str, Any]]] = [
        (f'{delimiter} "', {"skipinitialspace": True}),
        ('\\"', {"escapechar": "\\"}),
        (f"{delimiter}'", {"quotechar": "'"}),
    ]
    for sign, how in ways:
        score = _regularity_of(text, delimiter, **how) if sign in text else (0.0, 0)
        if score[0] == 1.0 or ("skipinitialspace" in how and score > usual):
            return how
    return {}


def delimiter_of(text: str) -> str:
    """Return the delimiter with which most records are as wide as the first.

    Of several, the one with the widest records is taken.
    """
    best, found = (0.0, 0), ","
    for candidate in DELIMITERS:
        score = _regularity_of(text, candidate)
        if score > best:
            best, found = score, candidate
    if best == (0.0, 0):  # a rare one must fit every record
        found = next((each for each in RARE_DELIMITERS if _regularity_of(text, each)[0] == 1.0), found)
    return found


def _regularity_of(text: str, delimiter: str, **how: Any) -> tuple[float, int]:
    """Return the share of records as wide as the first, and that width; (0, 0) for a single column."""
    records = _sample_records(text, delimiter, **how)
    widths = [len(cells) for cells in records[_count_titles(records) :]]
    if not widths or widths[0] < 2:
        return 0.0, 0
    return sum(width == widths[0] for width in widths) / len(widths), widths[0]


def _sample_records(text: str, delimiter: str, **how: Any) -> list[list[str]]:
    """Return the first records, without a last one that is cut off. how: as `csv.reader` is told."""
    part = text[:_SNIFFED]
    try:
        records = [cells for cells in csv.reader(io.StringIO(part, newline=""), delimiter=delimiter, **how) if cells]
    except csv.Error:
        return []
    return records[:-1] if len(part) < len(text) and len(records) > 1 else records


def _most_frequent_width(text: str, delimiter: str, first: int) -> int:
    """Return the most frequent width of a table without a header."""
    widths = [len(cells) for cells in _sample_records(text, delimiter)] or [first]
    return max(set(widths), key=widths.count)


def _one_line(name: str) -> str:
    """Return the name of a column without the line breaks that a spreadsheet shows it with."""
    return re.sub(r"\s*[\r\n]+\s*", " ", name)


def _header_names(cells: list[str], path: Path) -> tuple[str, ...]:
    """Return the columns of a header; UsageError when two have one name."""
    names = [_one_line(cell.strip().strip("\ufeff")) or f"column{place}" for place, cell in enumerate(cells, 1)]
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
