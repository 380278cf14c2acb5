"""Checks an input by reading every line and sending nothing.

It counts the rows that can be sent, by endpoint and model, those that cannot and why, and the `custom_id`s that stand
on several lines. Token counts are the rough estimate that a run starts with. Memory does not grow with the number of
rows: of each list only the first few entries are kept, and ids are compared through files.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from heapq import nsmallest
from operator import attrgetter
from pathlib import Path
from tempfile import gettempdir

from msgspec import Struct
from msgspec.structs import replace

from arkbatch.core.errors import ExitCode
from arkbatch.core.job import Job
from arkbatch.core.row import BadRow, Row
from arkbatch.journal.group_on_disk import Partitions, digest_key
from arkbatch.journal.repeated_rows import repeats_in, request_key
from arkbatch.limits.token_estimator import Estimator
from arkbatch.protocol.endpoints import ENDPOINTS
from arkbatch.rows.first_look import check_id_column, look_at, proposed_command, start_notes
from arkbatch.rows.media_files import Images
from arkbatch.rows.parse import RowReader
from arkbatch.rows.source import Source, reader_of, source_of

BAD_LINES_KEPT = 100
REASONS_KEPT = 1_000
DUPLICATES_KEPT = 20
PLACES_KEPT = 10  # lines named of one duplicate

NO_MODEL = "(no model named)"
OTHER_REASONS = "(other reasons)"
_TOLD_EVERY = 2_000  # rows

# What differs between two lines with the same mistake: where it is, and the value that is wrong.
_PLACE = re.compile(r" at (?:column|byte) \d+(?: of the line)?|(?<=\[)\d+(?=\])")
_VALUE = re.compile(r"^(\S+) is .*; (?=allowed is )", re.DOTALL)
_FILE = re.compile(r'(?<=^(?:image|video) )"(?:[^"\\]|\\.)*"')


class RowGroup(Struct):
    """The valid rows of one endpoint and model; `limited`: with an output limit."""

    endpoint: str
    model: str
    rows: int = 0
    limited: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class BadLine(Struct, frozen=True):
    line: int
    custom_id: str
    reason: str


class DuplicateId(Struct, frozen=True):
    """One `custom_id` on `count` lines, the first of which are `lines`."""

    custom_id: str
    count: int
    lines: tuple[int, ...]


class LargestRow(Struct, frozen=True):
    line: int
    custom_id: str
    bytes: int
    input_tokens: int


class Inspection(Struct, frozen=True):
    """The result of `check`; tokens are estimates.

    unit: what rows are called, "line" or "row"; kept: columns that are not sent; notes: other remarks
    rows: lines that are not blank; bad: those of them that cannot be sent; unnamed: rows that lack only a model
    reasons: bad lines by what is wrong, the most frequent first; bad_lines: the first hundred
    duplicate_ids, duplicate_lines: how many ids stand on several lines, and on how many; duplicates: the first of them
    repeated_rows: rows with the request of an earlier row
    """

    input: str
    lines: int
    rows: int
    blank: int
    bad: int
    unnamed: int
    groups: list[RowGroup]
    input_tokens: int
    output_tokens: int
    largest: LargestRow | None
    reasons: dict[str, int]
    bad_lines: list[BadLine]
    duplicate_ids: int
    duplicate_lines: int
    duplicates: list[DuplicateId]
    repeated_rows: int = 0
    unit: str = "line"
    format: str = ""
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        """Return 3 if rows cannot be sent. A model that no row names is missing in the command and not in the rows."""
        lacks_model = bool(self.unnamed) and self.unnamed < self.rows - self.bad
        return ExitCode.FAILED_ROWS if self.bad or lacks_model else ExitCode.OK


def inspect_input(job: Job, total: Callable[[int], None], read: Callable[[int], None]) -> Inspection:
    """Read the job's input twice: quickly for the number of rows, then row by row.

    total: called with that number; read: called now and then with how many more rows were read
    Raises UsageError when the file cannot be read.
    """
    source = source_of(job)
    look = look_at(source, replace(job, model=job.model or NO_MODEL))
    check_id_column(source, job)
    info = source.survey_input()
    total(info.rows)
    rows = _RowCounts()
    folder = Path(gettempdir())
    with Partitions(2, folder) as ids, Partitions(2, folder) as requests:
        _read_all(job, source, rows, ids, requests, read=read)
        repeats = _RepeatedKeys(ids)
        repeated_rows = sum(1 for group in requests.groups_by_key() for _ in repeats_in(group))
    groups = sorted(rows.groups.values(), key=lambda group: (-group.rows, group.endpoint, group.model))
    return Inspection(
        input=job.input,
        lines=info.lines,
        rows=rows.count,
        blank=info.lines - rows.count,
        bad=rows.bad,
        unnamed=sum(group.rows for group in groups if group.model == NO_MODEL),
        groups=groups,
        input_tokens=sum(group.input_tokens for group in groups),
        output_tokens=sum(group.output_tokens for group in groups),
        largest=rows.largest_row(),
        reasons=dict(sorted(rows.reasons.items(), key=lambda item: -item[1])),
        bad_lines=rows.bad_lines,
        duplicate_ids=repeats.ids,
        duplicate_lines=repeats.lines,
        duplicates=list(_name_duplicates(source, reader_of(job, source), repeats.first)),
        repeated_rows=repeated_rows,
        unit="row" if source.is_table else "line",
        format=source.description,
        columns=source.columns,
        notes=(*start_notes(look), *proposed_command(source, job, look)),
    )


def _read_all(
    job: Job,
    source: Source,
    rows: "_RowCounts",
    ids: Partitions,
    requests: Partitions,
    *,
    read: Callable[[int], None],
) -> None:
    reader = reader_of(replace(job, model=job.model or NO_MODEL), source)
    images = Images(job.images) if job.images else None
    for number, offset, line in source.read_records():
        row = reader.read_row(number, offset, line)
        if images is not None and isinstance(row, Row):
            row = _with_its_files(row, images)
        rows.count_row(row, len(line))
        ids.add(digest_key(row.custom_id), number)
        if isinstance(row, Row):
            requests.add(request_key(row), number)
        if rows.count % _TOLD_EVERY == 0:
            read(_TOLD_EVERY)
    read(rows.count % _TOLD_EVERY)


def _with_its_files(row: Row, images: Images) -> Row | BadRow:
    """Return the row, or a `BadRow` when a file that it names is missing."""
    reason = images.why_missing(row.body)
    return row if reason is None else BadRow(row.number, row.offset, row.digest, row.custom_id, reason, "")


class _RowCounts:
    """Adds up rows as they are read."""

    def __init__(self) -> None:
        self.count = self.bad = 0
        self.groups: dict[tuple[str, str], RowGroup] = {}
        self.reasons: dict[str, int] = {}
        self.bad_lines: list[BadLine] = []
        self._estimate = Estimator().estimate_tokens
        self._most_tokens = -1
        self._largest: tuple[Row, int] | None = None

    def count_row(self, row: Row | BadRow, length: int) -> None:
        self.count += 1
        if isinstance(row, BadRow):
            self._add_bad(row)
            return
        key = (row.endpoint, row.asked_model)
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = RowGroup(*key)
        size = ENDPOINTS[row.endpoint].size(row.body)
        estimate = self._estimate(size)
        group.rows += 1
        group.input_tokens += estimate.input
        group.output_tokens += estimate.output
        if size.ceiling is not None:
            group.limited += 1
        if estimate.input > self._most_tokens:
            self._most_tokens, self._largest = estimate.input, (row, length)

    def largest_row(self) -> LargestRow | None:
        """Return the row with the most input tokens."""
        if self._largest is None:
            return None
        row, length = self._largest
        return LargestRow(row.number, row.custom_id, length, self._most_tokens)

    def _add_bad(self, row: BadRow) -> None:
        self.bad += 1
        if len(self.bad_lines) < BAD_LINES_KEPT:
            self.bad_lines.append(BadLine(row.number, row.custom_id, row.reason))
        reason = sort_of(row.reason)
        if reason not in self.reasons and len(self.reasons) >= REASONS_KEPT:
            reason = OTHER_REASONS
        self.reasons[reason] = self.reasons.get(reason, 0) + 1


def sort_of(reason: str) -> str:
    """Return a reason without its values, so that equal mistakes count together."""
    return _VALUE.sub(r"\1: ", _PLACE.sub("", _FILE.sub("file", reason)))


class _RepeatedKey(Struct):
    count: int
    lines: list[int]


class _RepeatedKeys:
    """The keys that were added more than once, with their lines."""

    def __init__(self, keys: Partitions) -> None:
        self.ids = self.lines = 0
        self.first: list[_RepeatedKey] = []
        for group in keys.groups_by_key():
            found = _repeats_in(group)
            self.ids += len(found)
            self.lines += sum(repeat.count for repeat in found)
            self.first = nsmallest(DUPLICATES_KEPT, [*self.first, *found], key=attrgetter("lines"))


def _repeats_in(group: Iterable[tuple[int, ...]]) -> list[_RepeatedKey]:
    once: dict[int, int] = {}
    often: dict[int, _RepeatedKey] = {}
    for key, number in group:
        first = once.setdefault(key, number)
        if first == number:
            continue
        repeat = often.get(key)
        if repeat is None:
            repeat = often[key] = _RepeatedKey(1, [first])
        repeat.count += 1
        if len(repeat.lines) < PLACES_KEPT:
            repeat.lines.append(number)
    return list(often.values())


def _name_duplicates(source: Source, reader: RowReader, repeats: list[_RepeatedKey]) -> Iterator[DuplicateId]:
    """Yield the repeated ids; only their keys were kept, so the file is read again."""
    wanted = {repeat.lines[0]: repeat for repeat in repeats}
    for number, _, line in source.read_records() if wanted else ():
        if repeat := wanted.pop(number, None):
            yield DuplicateId(reader.identity_of(number, line)[1], repeat.count, tuple(repeat.lines))
        if not wanted:
            return
