"""The records of one shard from all attempts at it.

A success stands before a failure, and what the newest attempt wrote before what an earlier one wrote. A record that
gives way was billed all the same: the record that stays carries it in `before`, as it does for a row that was tried
again. So every sum over the records is what the provider bills, and `discarded` is what doubled attempts cost.

Memory: some 200 bytes for each row of the shard; the lines stay on disk until they are written.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
import orjson
from msgspec import Raw, Struct

from arkbatch.core.row import Before
from arkbatch.core.usage import add_usage
from arkbatch.journal.attempt_lines import AttemptLines
from arkbatch.journal.record_format import EntryError, Retryable, before_of, record_decoder

DOUBLED = "doubled"  # the kind under which a record carries what another attempt billed for its row


class _Brief(Struct, gc=False):
    row: int


class _Billed(Retryable, gc=False):
    """Any record line, as far as it tells what was billed."""

    error: EntryError | None = None  # type: ignore[assignment]


class _PlaceInLine(Struct, gc=False):
    """What of a line depends on its place, and what stands beside it."""

    id: str
    custom_id: str
    row: int
    offset: int
    digest: str = ""


class ShardPlace(Struct, frozen=True):
    """How the rows of a shard stand in the whole input.

    rows: added to row numbers; offset: added to offsets; file: named in records where there are several inputs
    """

    rows: int = 0
    offset: int = 0
    file: str = ""


class _Kept(Struct):
    """Where the line of a success stands, and what else was billed for its row."""

    path: Path
    offset: int
    size: int


_decode_row = record_decoder(_Brief)
_decode_place = record_decoder(_PlaceInLine)
_decode_billed = record_decoder(_Billed)


class ShardRecords:
    """Gathers the lines of all attempts; the newest attempt comes first."""

    def __init__(self, attempts: list[AttemptLines]) -> None:
        self._results: dict[int, _Kept] = {}
        self._failures: dict[int, bytes] = {}
        self._doubled: dict[int, list[Before]] = {}
        for number, attempt in enumerate(attempts):
            self._gather_failures(attempt, is_newest=number == 0)
            self._gather_results(attempt, is_newest=number == 0)

    @property
    def doubled_rows(self) -> int:
        """Rows for which more than one attempt has billed."""
        return len(self._doubled)

    @property
    def done(self) -> int:
        return len(self._results)

    @property
    def failed(self) -> int:
        """Rows that were given up; interrupted ones are still to be run."""
        return sum(not _decode_billed(line).interrupted for line in self._failures.values())

    def rows_in_order(self, place: ShardPlace = ShardPlace()) -> Iterator[tuple[bool, bytes]]:  # noqa: B008  it is frozen
        """Whether the row succeeded, and its line with its number and offset in the whole input, in input order."""
        files: dict[Path, BinaryIO] = {}
        try:
            for row in sorted(self._results.keys() | self._failures.keys()):
                kept = self._results.get(row)
                line = self._failures[row] if kept is None else _read_line(kept, files)
                yield kept is not None, placed_line(line, place, self._doubled.get(row, []))
        finally:
            for file in files.values():
                file.close()

    def _gather_failures(self, attempt: AttemptLines, *, is_newest: bool) -> None:
        for line in attempt.failures:
            row = _decode_row(line).row
            if not is_newest and (row in self._results or row in self._failures):
                self._note_double(row, line)
            else:
                self._failures[row] = line  # of several in one attempt, the last carries the ones before

    def _gather_results(self, attempt: AttemptLines, *, is_newest: bool) -> None:
        for path, offset, line in attempt.result_lines():
            row = _decode_row(line).row
            if row in self._results:
                self._note_double(row, line)
                continue
            failure = self._failures.pop(row, None)
            if failure is not None and not is_newest and not _counts_failure(line, failure):
                self._note_double(row, failure)
            self._results[row] = _Kept(path, offset, len(line))

    def _note_double(self, row: int, line: bytes) -> None:
        billed = _decode_billed(line)
        if any(billed.usage.values()):
            billed.error = EntryError("", "", DOUBLED)
            self._doubled.setdefault(row, []).append(before_of(billed)[-1])


def _counts_failure(line: bytes, failure: bytes) -> bool:
    """Whether a success stands for a failure of its own attempt, and so has counted it."""
    billed = _decode_billed(line)
    return bool(billed.before) and _run_of(line) == _run_of(failure)


def _run_of(line: bytes) -> str:
    identity: str = orjson.loads(bytes(msgspec.json.decode(line, type=dict[str, Raw])["id"]))
    return identity.rpartition("_")[0]


def _read_line(kept: _Kept, files: dict[Path, BinaryIO]) -> bytes:
    file = files.get(kept.path)
    if file is None:
        file = files[kept.path] = kept.path.open("rb")
    file.seek(kept.offset)
    return file.read(kept.size)


def placed_line(line: bytes, place: ShardPlace, doubled: list[Before]) -> bytes:
    """Return a line for its place in the whole input, with what other attempts billed for its row.

    Its parts stay the bytes they were; ids that were made from the row's number follow it.
    """
    if place == ShardPlace() and not doubled:
        return line
    if not (doubled or place.file) and (placed := _placed_quickly(line, place)):
        return placed
    parts = msgspec.json.decode(line, type=dict[str, Raw])
    old = int(bytes(parts["row"]))
    number = old + place.rows
    parts["row"], parts["offset"] = Raw(b"%d" % number), Raw(b"%d" % (int(bytes(parts["offset"])) + place.offset))
    if bytes(parts["custom_id"]) == b'"row-%d"' % old:
        parts["custom_id"] = Raw(b'"row-%d"' % number)
    identity: str = orjson.loads(bytes(parts["id"]))
    parts["id"] = Raw(orjson.dumps(f"{identity.rpartition('_')[0]}_{number}"))
    if place.file:
        parts["file"] = Raw(orjson.dumps(place.file))
    if doubled:
        _carry_doubled(parts, doubled)
    return msgspec.json.encode(parts) + b"\n"


def _placed_quickly(line: bytes, place: ShardPlace) -> bytes:
    """The same for a line as this version writes it, by its bytes; b"" for any other line."""
    known = _decode_place(line)
    run, _, old = known.id.rpartition("_")
    name = f"row-{known.row}"
    begin = f'{{"id":"{known.id}","custom_id":"{known.custom_id}",'.encode()
    numbers = f',"row":{known.row},"offset":{known.offset},"digest":"{known.digest}"'.encode()
    # Once in the line: an answer that quotes it would be there beside the record's own.
    if old != str(known.row) or not line.startswith(begin) or line.count(numbers) != 1:
        return b""
    row = known.row + place.rows
    custom_id = f"row-{row}" if known.custom_id == name else known.custom_id
    at = line.index(numbers)
    return b"".join(
        (
            f'{{"id":"{run}_{row}","custom_id":"{custom_id}",'.encode(),
            line[len(begin) : at],
            f',"row":{row},"offset":{known.offset + place.offset},"digest":"{known.digest}"'.encode(),
            line[at + len(numbers) :],
        )
    )


def _carry_doubled(parts: dict[str, Raw], doubled: list[Before]) -> None:
    before = msgspec.json.decode(parts.get("before", Raw(b"[]")), type=list[Before])
    usage = add_usage(msgspec.json.decode(parts["usage"], type=dict[str, int]), *(each.usage for each in doubled))
    attempts = int(bytes(parts["attempts"])) + sum(each.attempts for each in doubled)
    parts["before"] = Raw(msgspec.json.encode([*before, *doubled]))
    parts["usage"], parts["attempts"] = Raw(msgspec.json.encode(usage)), Raw(b"%d" % attempts)
