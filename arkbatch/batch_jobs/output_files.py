"""Reads the files of a parcel as lines: which rows, where, and whether whole."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import orjson

from arkbatch.batch_jobs.wire_lines import OutputLine, WireId, read_line_id, read_output_line, read_wire_id
from arkbatch.journal.record_reader import end_of_lines, read_lines

_SHOWN_BYTES = 400
Place = tuple[int, int]
"""Which file, and the byte at which a line begins."""


class OutputFiles:
    """The lines of a parcel's files by row. Only their places are in memory."""

    def __init__(self, paths: Sequence[Path], row_of: Callable[[str], WireId | None] = read_wire_id) -> None:
        self._paths = [path for path in paths if path.exists()]
        self.unknown = 0
        self._row_of = row_of
        self._places: dict[int, list[Place]] = {}
        for number, path in enumerate(self._paths):
            for offset, text in _lines_in(path):
                self._add_line(read_line_id(text), (number, offset))

    def _add_line(self, custom_id: str | None, place: Place) -> None:
        found = self._row_of(custom_id) if custom_id is not None else None
        if found is None:
            self.unknown += 1
        else:
            self._places.setdefault(found.row, []).append(place)

    @property
    def rows(self) -> Iterable[int]:
        return self._places

    def lines_of(self, row: int) -> list[tuple[WireId, OutputLine]]:
        """All lines of a row, in the order of the files."""
        found = []
        for number, offset in self._places.get(row, ()):
            with self._paths[number].open("rb") as file:
                file.seek(offset)
                line = read_output_line(file.readline())
            id_ = self._row_of(line.custom_id) if line else None
            if line is not None and id_ is not None:
                found.append((id_, line))
        return found


def _lines_in(path: Path) -> Iterator[tuple[int, bytes]]:
    """Also a last line without a newline, which a torn download leaves or which is whole."""
    end = 0
    for offset, line in read_lines(path):
        end = offset + len(line)
        if not line.isspace():
            yield offset, line
    with path.open("rb") as file:
        file.seek(end)
        if rest := file.read():
            yield end, rest


def has_line_of(path: Path, rows: Collection[int]) -> bool:
    """Whether a file has a line of one of these rows, or nothing in it at all."""
    ids = (read_wire_id(read_line_id(text)) for _, text in _lines_in(path))
    first = next((id_ for id_ in ids if id_ is not None and id_.row in rows), None)
    return first is not None or not first_bytes(path).strip()


def first_bytes(path: Path) -> bytes:
    """The beginning of a file, as far as a person wants to see it."""
    with path.open("rb") as file:
        return file.read(_SHOWN_BYTES)


def is_cut_off(path: Path) -> bool:
    """Whether the last line of a file is no JSON, as after a download that ended early."""
    if not path.exists():
        return False
    with path.open("rb") as file:
        file.seek(end_of_lines(path))
        rest = file.read().strip()
    try:
        orjson.loads(rest or b"0")
    except orjson.JSONDecodeError:
        return True
    return False


def count_lines(path: Path) -> int:
    """How many lines a file has, 0 when there is none; also a last one without a newline."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        count, last = 0, b"\n"
        while piece := file.read(1 << 20):
            count, last = count + piece.count(b"\n"), piece[-1:]
    return count + (last != b"\n")


def rows_at_lines(path: Path, lines: Mapping[int, str]) -> dict[int, str]:
    """The rows whose requests are these lines of a file, from 1, with what is said of each."""
    rows: dict[int, str] = {}
    if not lines or not path.exists():
        return rows
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            if number in lines and (wire := read_wire_id(read_line_id(text))):
                rows[wire.row] = lines[number]
    return rows


def rows_in_files(paths: Iterable[Path]) -> set[int]:
    """The rows that the ids of these lines name."""
    rows = set()
    for path in paths:
        with path.open("rb") as file:
            for text in file:
                if wire := read_wire_id(read_line_id(text)):
                    rows.add(wire.row)
    return rows
