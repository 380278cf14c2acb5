"""Adapts the records of a run to an edited input.

A row is the same when its digest is, wherever it stands now; of several equal rows the first record goes with the
first. Records without a row in the new input move to `superseded.jsonl`: they were paid for, so they are
kept. It costs 16 bytes of memory for each recorded row.

Killed at any moment it can be done again: both new files are whole before the first is put into place, whoever next
locks the run puts the second one beside it, `run.json` names the old input until then, and matching goes by digest and
never by the numbers that it changes.
"""

import os
from array import array
from collections import defaultdict, deque
from collections.abc import Callable, Iterator

import msgspec
import orjson
from msgspec import Raw, Struct

from arkbatch.core.disk_errors import explain_disk_errors
from arkbatch.core.text import count_text
from arkbatch.journal.group_on_disk import Partitions, digest_key
from arkbatch.journal.journal import read_ledger
from arkbatch.journal.record_format import decode_located
from arkbatch.journal.record_reader import read_lines
from arkbatch.journal.run_directory import FAILURES, LEDGER, PENDING, RESULTS, SUPERSEDED, RunDirectory
from arkbatch.rows.parse import RowReader
from arkbatch.rows.source import Source

_FILES = (RESULTS, FAILURES)
_NEW = len(_FILES)  # stands where a record's file would, for a line of the new input


class Edit(Struct):
    """The difference between an input and the records.

    new: rows without a record, also those that never ran

    line: where the first of the changed rows stands now, 0 for none
    """

    unchanged: int = 0
    changed: int = 0
    new: int = 0
    removed: int = 0
    line: int = 0

    def __str__(self) -> str:
        first = f" (the first on line {self.line})" if self.line else ""
        return (
            f"{count_text(self.unchanged, 'recorded row')} unchanged, {self.changed} changed{first}, "
            f"{self.new} new or not yet run, {self.removed} removed"
        )


class _Moves:
    """Where the rows of one file's records stand now: 16 bytes a row, 0 for rows that are gone."""

    def __init__(self) -> None:
        self._numbers, self._offsets = array("Q"), array("Q")

    def put(self, old: int, number: int, offset: int) -> None:
        if old >= len(self._numbers):
            empty = bytes(8 * (old + 1 - len(self._numbers) + (old >> 3)))
            self._numbers.frombytes(empty)
            self._offsets.frombytes(empty)
        self._numbers[old], self._offsets[old] = number, offset

    def get(self, old: int) -> tuple[int, int] | None:
        if old >= len(self._numbers) or not self._numbers[old]:
            return None
        return self._numbers[old], self._offsets[old]


def survey_edit(directory: RunDirectory, source: Source, reader: RowReader) -> Edit:
    """Compare without changing anything. Failure lines that no longer count are left out."""
    ledger, _ = read_ledger(directory)
    return _match_records(directory, source, reader, ledger.keeps_failure_of)[0]


def rebase_records(directory: RunDirectory, source: Source, reader: RowReader) -> Edit:
    """Rewrite the records for the new input. Hold the lock, and have closed a journal, so that each line counts."""
    edit, moves = _match_records(directory, source, reader, lambda _: True)
    with explain_disk_errors(directory.path):
        for name, moved in zip(_FILES, moves, strict=True):
            _rewrite_file(directory, name, moved)
        (directory / LEDGER).unlink(missing_ok=True)
        directory.replace_both()
    return edit


def _match_records(
    directory: RunDirectory, source: Source, reader: RowReader, counts: Callable[[int], bool]
) -> tuple[Edit, list[_Moves]]:
    """Pair the records with the rows of the input. counts: whether the failure line of a row is a record."""
    edit, moves = Edit(), [_Moves() for _ in _FILES]
    with Partitions(5, directory.path) as by_digest, Partitions(3, directory.path) as by_id:
        for which, name in enumerate(_FILES):
            for _, line in read_lines(directory / name):
                record = decode_located(line)
                if name == FAILURES and not counts(record.row):
                    continue
                by_digest.add(int(record.digest, 16), which, digest_key(record.custom_id), record.row, 0)
        for number, offset, line in source.read_records():
            identity, id_of_row = reader.identity_of(number, line)
            by_digest.add(int(identity, 16), _NEW, digest_key(id_of_row), number, offset)
        for group in by_digest.groups_by_key():
            for which, custom_id, number in _pair_records(group, moves, edit):
                by_id.add(custom_id, which, number)
        for group in by_id.groups_by_key():
            _count_rest(group, edit)
    return edit, moves


def _pair_records(group: Iterator[tuple[int, ...]], moves: list[_Moves], edit: Edit) -> Iterator[tuple[int, int, int]]:
    """Give records their rows of the same digest; what finds no partner comes out as (file or new, custom_id, row)."""
    waiting: defaultdict[int, deque[tuple[int, int, int]]] = defaultdict(deque)
    for digest, which, custom_id, number, offset in group:
        if which != _NEW:
            waiting[digest].append((which, number, custom_id))
        elif waiting[digest]:
            old_file, old_number, _ = waiting[digest].popleft()
            moves[old_file].put(old_number, number, offset)
            edit.unchanged += 1
        else:
            yield _NEW, custom_id, number
    for records in waiting.values():
        for which, old_number, custom_id in records:
            yield which, custom_id, old_number


def _count_rest(group: Iterator[tuple[int, ...]], edit: Edit) -> None:
    """Count the records and rows without a partner; those with the same custom_id are one changed row."""
    old: defaultdict[int, int] = defaultdict(int)
    new: defaultdict[int, list[int]] = defaultdict(list)
    for custom_id, which, number in group:
        if which == _NEW:
            new[custom_id].append(number)
        else:
            old[custom_id] += 1
    for custom_id in {*old, *new}:
        both = min(old[custom_id], len(new[custom_id]))
        edit.changed += both
        if both:
            edit.line = min(edit.line or new[custom_id][0], *new[custom_id])
        edit.removed += old[custom_id] - both
        edit.new += len(new[custom_id]) - both


def _rewrite_file(directory: RunDirectory, name: str, moves: _Moves) -> None:
    descriptor = os.open(directory / f"{name}{PENDING}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    aside = os.open(directory / SUPERSEDED, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "wb") as kept, os.fdopen(aside, "ab") as superseded:
        for _, line in read_lines(directory / name):
            record = decode_located(line)
            place = moves.get(record.row)
            if place is None:
                superseded.write(line)
            elif place == (record.row, record.offset):
                kept.write(line)
            else:
                kept.write(_moved_line(line, record.row, *place, moves))
        for file in (kept, superseded):
            file.flush()
            os.fsync(file.fileno())


def _moved_line(line: bytes, old: int, number: int, offset: int, moves: _Moves) -> bytes:
    """Return the line at its new place.

    Its parts keep their bytes; an id that was made from the row's number is made from the new one.
    """
    parts = msgspec.json.decode(line, type=dict[str, Raw])
    if "copy_of" in parts:
        first = moves.get(int(bytes(parts["copy_of"])))
        parts["copy_of"] = Raw(b"%d" % first[0]) if first else parts["copy_of"]
    parts["row"], parts["offset"] = Raw(b"%d" % number), Raw(b"%d" % offset)
    if bytes(parts["custom_id"]) == b'"row-%d"' % old:
        parts["custom_id"] = Raw(b'"row-%d"' % number)
    identity: str = orjson.loads(bytes(parts["id"]))
    parts["id"] = Raw(orjson.dumps(f"{identity.rpartition('_')[0]}_{number}"))
    return msgspec.json.encode(parts) + b"\n"
