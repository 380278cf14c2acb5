"""Finds the records of a row in large files, by number or id.

The bytes are searched first, and only lines that hold the name are parsed, so a gigabyte takes about a second. The
values are compared then: a prompt that quotes an id does not match.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct

from arkbatch.core.errors import RunDamaged
from arkbatch.journal.record_format import record_decoder
from arkbatch.journal.run_directory import FAILURES, RESULTS, RunDirectory

MOST = 10  # rows that one name may find
_BLOCK = 64 << 10  # larger ones are mapped and unmapped each time, which takes longer than the search


class Name(Struct, frozen=True):
    """The user's name for a row: the text, and the row number in it."""

    text: str
    number: int | None


class Record(Struct, frozen=True):
    """A record that counts, as it stands in its file."""

    row: int
    succeeded: bool
    line: bytes


class _Ids(Struct, gc=False):
    id: str = ""
    request_id: str = ""


class _RecordNames(Struct, gc=False):
    row: int
    id: str
    custom_id: str
    calls: list[_Ids] = []
    response: _Ids | None = None

    def is_called(self, name: Name) -> bool:
        text = name.text
        if self.row == name.number or text in (self.custom_id, self.id):
            return True
        if self.response is not None and text == self.response.request_id:
            return True
        return any(text in (call.id, call.request_id) for call in self.calls)


_named = record_decoder(_RecordNames)


def read_name(text: str, run_id: str) -> Name:
    """Parse a name: a row number, or an id that contains one."""
    said = re.fullmatch(rf"(\d{{1,18}})|.*{re.escape(run_id)}-\d+-(\d{{1,18}})-\d+", text)
    return Name(text, int(said[1] or said[2]) if said else None)


def find_records(directory: RunDirectory, name: Name) -> tuple[list[Record], bool]:
    """Return the records of rows with this name, and whether more exist.

    At most `MOST` rows are returned. A success counts over a failure of the same row, and a later failure over an
    earlier one.
    """
    needles = [msgspec.json.encode(name.text)]
    if name.number is not None:
        needles.append(_row_needle(name.number))
    found: dict[int, Record] = {}
    more = _collect_records(directory / FAILURES, name, needles, found, succeeded=False)
    needles += [needle for row in found if (needle := _row_needle(row)) not in needles]
    more |= _collect_records(directory / RESULTS, name, needles, found, succeeded=True)
    return [found[row] for row in sorted(found)], more


def _collect_records(
    path: Path, name: Name, needles: list[bytes], found: dict[int, Record], *, succeeded: bool
) -> bool:
    more = False
    for line in lines_with(path, needles):
        try:
            named = _named(line)
        except RunDamaged as error:
            raise RunDamaged(
                f"{path} holds a line that arkbatch did not write ({error.__cause__}). Take it out, "
                "delete ledger.bin beside it, and run the same command again."
            ) from error
        if named.row not in found:
            if not named.is_called(name):
                continue
            if len(found) == MOST:
                more = True
                continue
        found[named.row] = Record(named.row, succeeded, line)
    return more


def _row_needle(row: int) -> bytes:
    return b'"row":%d,' % row


def lines_with(path: Path, needles: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the whole lines of a file that hold any of the needles.

    A needle must not contain a newline.
    """
    if not path.exists():
        return
    needles = list(needles)
    with path.open("rb", buffering=0) as file:
        begun: list[bytes] = []
        while block := file.read(_BLOCK):
            end = block.rfind(b"\n") + 1
            if end:
                yield from _lines_in(b"".join([*begun, block[:end]]), needles)
                begun = []
            begun.append(block[end:])


def _lines_in(block: bytes, needles: list[bytes]) -> Iterator[bytes]:
    begins = {begin for needle in needles for begin in _line_starts(block, needle)}
    for begin in sorted(begins):
        yield block[begin : block.index(b"\n", begin) + 1]


def _line_starts(block: bytes, needle: bytes) -> Iterator[int]:
    """Yield where the lines begin that hold the needle."""
    place = block.find(needle)
    while place >= 0:
        yield block.rfind(b"\n", 0, place) + 1
        place = block.find(needle, block.index(b"\n", place))
