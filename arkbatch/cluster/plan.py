"""Plans which part of which input file is a shard.

* **Lines** are cut by length alone: a line belongs to the shard in whose range its first byte lies. So a plan of a
  thousand files takes a look at each file's size, and no reading.
* **Tables as text** may hold newlines in quoted cells. Where the file holds a quote, one pass finds where records
  begin.
* **Parquet** is cut at row groups, which its footer lists.
* **Compressed files, and formats without a place to cut**, are one shard each.

Which row is which does not depend on the plan: a row is known by its file and its offset.
"""

import csv
import glob
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from arkbatch.core.errors import UsageError
from arkbatch.journal.shard_plan import InputPart, Kind, Shard
from arkbatch.rows.input_file import LONGEST_LINE
from arkbatch.rows.object_storage import RANGE_BYTES, ByteSource, copy_ranges, is_remote, list_objects, open_bytes

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

SMALLEST_SHARD, LARGEST_SHARD = 16 << 10, 64 << 20  # bytes
SHARDS_A_WORKER = 8  # so that the last ones end nearly together
LINES, TABLES, PARQUET = (".jsonl", ".ndjson"), (".csv", ".tsv", ".tab", ".psv"), (".parquet",)
_UNCUT_MARKS = (b"\xff\xfe", b"\xfe\xff")  # UTF-16: lines of bytes are not lines of text
_LOOKED_AT = 64 << 10
_TAIL_BYTES = 1 << 20


def find_inputs(patterns: Sequence[str]) -> list[str]:
    """The files and objects that patterns name, each once; those of one pattern in natural order."""
    found: dict[str, None] = {}
    for pattern in patterns:
        names = _matching(pattern)
        if not names:
            raise UsageError(f"No file matches {pattern}. Check the path.")
        found.update(dict.fromkeys(names))
    return list(found)


def _matching(pattern: str) -> list[str]:
    if not any(mark in pattern for mark in "*?["):
        return [pattern]
    names = list_objects(pattern) if is_remote(pattern) else glob.glob(pattern)  # noqa: PTH207 - a pattern may begin anywhere
    return sorted(names, key=_natural)


def _natural(name: str) -> list[tuple[int, int, str]]:
    """`part-2` comes before `part-10`."""
    import re

    return [(int(piece), 0, "") if piece.isdecimal() else (-1, 0, piece) for piece in re.split(r"(\d+)", name)]


def shard_bytes_for(total: int, workers: int, shards: int | None = None) -> int:
    """How long shards are: as many as are asked for, or several for each worker."""
    count = shards or SHARDS_A_WORKER * max(workers, 1)
    size = -(-total // max(count, 1))
    return size if shards and size > 0 else min(max(size, SMALLEST_SHARD), LARGEST_SHARD)


def plan_parts(
    names: Sequence[str], shard_bytes_of: Callable[[int], int], *, has_header: bool = True
) -> tuple[list[InputPart], int]:
    """Each input file with the places where it is cut, and the length of shards of lines.

    shard_bytes_of: the length of a shard, from the length of all inputs together
    has_header: the first record of a table names its columns
    """
    sources = [(name, open_bytes(name)) for name in names]
    identities = [source.identity() for _, source in sources]
    shard_bytes = shard_bytes_of(sum(identity.size for identity in identities))
    parts = []
    for (name, source), identity in zip(sources, identities, strict=True):
        kind = _kind_of(name, source, identity.size, shard_bytes)
        cuts, header, groups = _cuts_of(kind, source, identity.size, shard_bytes)
        if not has_header:
            header = 0
        path = name if is_remote(name) else str(Path(name).absolute())
        parts.append(InputPart(path, identity.size, identity.tag, kind, cuts, header, groups))
    return parts, shard_bytes


def _kind_of(name: str, source: ByteSource, size: int, shard_bytes: int) -> Kind:
    ending = Path(name).suffix.lower()
    if ending in PARQUET:
        return "parquet"
    if size <= shard_bytes:
        return "whole"
    if ending in LINES:
        return "lines"
    if ending in TABLES and source.read_range(0, 2) not in _UNCUT_MARKS:
        return "csv"
    return "whole"


def _cuts_of(kind: Kind, source: ByteSource, size: int, shard_bytes: int) -> tuple[list[int], int, int]:
    """Cuts, the length of the header, the number of row groups."""
    if kind == "csv":
        cuts, header = cut_table(source, size, shard_bytes)
        return cuts, header, 0
    if kind == "parquet":
        sizes = _row_groups(source)
        return _cut_groups(sizes, shard_bytes), 0, len(sizes)
    return [], 0, 0


# ---- lines


def line_start(source: ByteSource, offset: int, size: int) -> int:
    """Where the first line begins whose first byte is not before this offset."""
    if offset <= 0:
        return 0
    place = offset - 1
    while place < size:
        piece = source.read_range(place, min(place + _LOOKED_AT, size))
        if not piece:
            return size
        end = piece.find(b"\n")
        if end >= 0:
            return place + end + 1
        place += len(piece)
    return size


def real_range(shard: Shard, source: ByteSource) -> tuple[int, int]:
    """The bytes of a shard: from its first row to the first row of the next shard."""
    part = shard.part
    if part.kind != "lines":
        return shard.begin, shard.end
    return line_start(source, shard.begin, part.size), line_start(source, shard.end, part.size)


# ---- tables as text


def cut_table(source: ByteSource, size: int, shard_bytes: int) -> tuple[list[int], int]:
    """Offsets of records at which a table may be cut, and the bytes of its header."""
    first = source.read_range(0, min(size, _LOOKED_AT))
    delimiter = _delimiter_of(first)
    header = _header_bytes(first, delimiter)
    cuts: list[int] = []
    wanted = shard_bytes
    for offset in _record_offsets(source, size, header, delimiter):
        if offset >= wanted:
            cuts.append(offset)
            wanted = offset + shard_bytes
    return cuts, header


def _record_offsets(source: ByteSource, size: int, begin: int, delimiter: str) -> Iterator[int]:
    """Where each record begins, from one that is known on."""
    used: list[bytes] = []
    offset = begin

    def lines() -> Iterator[str]:
        for line in _lines_of(source, begin, size):
            used.append(line)
            yield line.decode("latin-1")  # quotes and delimiters are the same in every encoding that is cut

    csv.field_size_limit(LONGEST_LINE)
    try:
        for _ in csv.reader(lines(), delimiter=delimiter):
            yield offset
            offset += sum(map(len, used))
            used.clear()
    except csv.Error as error:  # a cell over many lines is larger than the limit
        raise _too_long(source) from error


def _too_long(source: ByteSource) -> UsageError:
    return UsageError(
        f"{source.name}: a line is longer than {LONGEST_LINE >> 20} MB, more than a request may have: split the row"
    )


def _lines_of(source: ByteSource, begin: int, end: int) -> Iterator[bytes]:
    """Yield the lines. UsageError: one is longer than a request may be, and would be collected in memory."""
    parts: list[bytes] = []  # of a line that has not ended; to join them with each piece would be quadratic
    for piece in copy_ranges(source, begin, end):
        first, newline, others = piece.partition(b"\n")
        parts.append(first)
        if sum(map(len, parts)) > LONGEST_LINE:
            raise _too_long(source)
        if newline:
            lines = others.split(b"\n")
            yield b"".join(parts) + newline
            parts = [lines.pop()]
            yield from (line + newline for line in lines)
    if any(parts):
        yield b"".join(parts)


def _delimiter_of(first: bytes) -> str:
    line = first.partition(b"\n")[0]
    return max(",\t;|", key=lambda mark: line.count(mark.encode()))


def _header_bytes(first: bytes, delimiter: str) -> int:
    """The bytes of the header, with a line `sep=` before it and a byte order mark."""
    used: list[bytes] = []

    def lines() -> Iterator[str]:
        for line in io.BytesIO(first):
            used.append(line)
            yield line.decode("latin-1")

    for cells in csv.reader(lines(), delimiter=delimiter):
        is_declaration = len(used) == 1 and used[0].removeprefix(b"\xef\xbb\xbf").startswith(b"sep=")
        if cells and not is_declaration:
            break
    return sum(map(len, used))


# ---- Parquet


class _SourceFile(io.RawIOBase):
    """A byte source as a file that can be entered anywhere, for libraries that want one."""

    def __init__(self, source: ByteSource) -> None:
        self._source, self._size, self._place = source, source.identity().size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = offset + (0, self._place, self._size)[whence]
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._source.read_range(self._place, min(self._place + min(len(buffer), RANGE_BYTES), self._size))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


def open_parquet(source: ByteSource) -> "ParquetFile":
    """The Parquet file of a byte source. UsageError: the extra is missing."""
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise UsageError(f"{source.name} needs: pip install 'arkbatch[parquet]'") from None
    return ParquetFile(io.BufferedReader(_SourceFile(source), _TAIL_BYTES), pre_buffer=False)


def first_offset(shard: Shard) -> int:
    """Return where the first row of a shard stands in its file: a byte, or in Parquet the rows before it."""
    if shard.part.kind == "lines" and shard.begin:
        return real_range(shard, open_bytes(shard.part.path))[0]
    if shard.part.kind == "parquet" and shard.begin:
        metadata = open_parquet(open_bytes(shard.part.path)).metadata
        return sum(metadata.row_group(index).num_rows for index in range(shard.begin))
    return shard.begin


def added_offset(shard: Shard) -> int:
    """Return what is added to an offset in the copy of a shard; the copy of a table begins with the header."""
    first = first_offset(shard)
    return first - shard.part.header if shard.part.kind == "csv" and first else first


def _row_groups(source: ByteSource) -> list[int]:
    """The bytes of each row group."""
    metadata = open_parquet(source).metadata
    return [metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups)]


def _cut_groups(sizes: list[int], shard_bytes: int) -> list[int]:
    cuts, filled = [], 0
    for index, size in enumerate(sizes):
        if filled and filled + size > shard_bytes:
            cuts.append(index)
            filled = 0
        filled += size
    return cuts
