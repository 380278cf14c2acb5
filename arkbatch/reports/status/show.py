"""Collects everything about one row: its input, its request, each call, and its outcome.

A row is found by its number, its `custom_id`, or the client's or the server's id of one of its calls. A row without a
record is found in the input. The input is trusted only where its digest is the recorded one.
"""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec
import orjson
from msgspec import Raw, Struct

from arkbatch.core.errors import UsageError
from arkbatch.core.input_info import Position
from arkbatch.core.json_numbers import raw_number
from arkbatch.core.row import Row
from arkbatch.journal.record_format import Located, RequestPart, decode_located, record_decoder
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.journal.run_info import RunInfo
from arkbatch.protocol.endpoints import ENDPOINTS
from arkbatch.reports.run_input import job_of_run
from arkbatch.reports.status.find_record import MOST, Name, find_records, read_name
from arkbatch.reports.status.find_run import explain_unreadable, input_file
from arkbatch.rows.object_storage import is_remote
from arkbatch.rows.parse import RowReader
from arkbatch.rows.source import reader_of, source_of

SUCCEEDED, FAILED, INTERRUPTED, UNDONE = "succeeded", "failed", "interrupted", "undone"


class InputLine(Struct, frozen=True):
    """A row's line of the input.

    text: None when it cannot be shown; note: why it cannot, or where the line stands
    """

    text: bytes | None
    note: str


class Shown(Struct, frozen=True):
    """One row; `record` is its journal line, None for a row without a record."""

    row: int
    custom_id: str
    state: str
    input: InputLine
    request: RequestPart | None
    record: bytes | None

    def to_json(self) -> bytes:
        """Return the record and the input on one line; their bytes are unchanged."""
        parts = msgspec.json.decode(self.record, type=dict[str, Raw]) if self.record else {}
        if not parts:
            parts = {"custom_id": Raw(orjson.dumps(self.custom_id)), "row": Raw(b"%d" % self.row)}
        parts.setdefault("request", Raw(msgspec.json.encode(self.request, enc_hook=raw_number)))
        parts |= {
            "state": Raw(orjson.dumps(self.state)),
            "input": Raw(_as_json(self.input.text)),
            "input_note": Raw(orjson.dumps(self.input.note)),
        }
        return msgspec.json.encode(parts)


class ShownRows(Struct, frozen=True):
    """The rows of a name; `more`: there are others that are not listed."""

    rows: list[Shown]
    more: bool


def find_rows(run_dir: str, text: str) -> ShownRows:
    """Return the rows of this name.

    Raises UsageError when there is none, RunDirectoryError when the run cannot be read.
    """
    directory = RunDirectory(Path(run_dir))
    with explain_unreadable(directory.path):
        info = directory.read_info()
        name = read_name(text, info.run_id)
        records, more = find_records(directory, name)
        found = _Input(directory, info)
        rows = [found.recorded_row(record.line, succeeded=record.succeeded) for record in records]
        if not rows:
            rows = list(islice(found.undone_rows(name), MOST + 1))
            more = len(rows) > MOST
    if not rows:
        raise UsageError(
            f"{run_dir} has no row {text}: give the number of a line (1 to {info.input.lines}), a custom_id, "
            "or the id of a request"
        )
    return ShownRows(rows[:MOST], more)


class _Input:
    """The input of a run, as far as it can be found."""

    def __init__(self, directory: RunDirectory, info: RunInfo) -> None:
        self._path = input_file(directory, info)
        self._named = info.input.path
        job = job_of_run(info)
        self._source = source_of(job, self._path) if self._path else None
        self._reader = reader_of(job, self._source) if self._source else RowReader(job)

    def recorded_row(self, record: bytes, *, succeeded: bool) -> Shown:
        place = decode_located(record)
        line = self._line_at(place)
        kept = _kept(record)
        request, state = kept.request, SUCCEEDED if succeeded else INTERRUPTED if kept.interrupted else FAILED
        if request is None and line.text is not None:
            request = self._request_at(place.row, place.offset, line.text)
        return Shown(place.row, place.custom_id, state, line, request, record)

    def undone_rows(self, name: Name) -> Iterator[Shown]:
        """Yield rows of this name without a record, by reading the input from its start."""
        for number, offset, line in self._candidate_lines(name):
            custom_id = self._reader.identity_of(number, line)[1]
            if name.text == custom_id or number == name.number:
                there = InputLine(line.strip(), self._place_text(number, offset))
                yield Shown(number, custom_id, UNDONE, there, self._request_at(number, offset, line), None)

    def _candidate_lines(self, name: Name) -> Iterator[tuple[int, int, bytes]]:
        """Yield the lines worth parsing.

        A line with a backslash is one, since it may write any character of an id in another way.
        """
        needle, given = msgspec.json.encode(name.text), re.fullmatch(r"row-(\d{1,18})", name.text)
        numbers = {name.number, int(given[1]) if given else None}
        for number, offset, line in self._source.read_records() if self._source else ():
            if number in numbers or needle in line or b"\\" in line:
                yield number, offset, line

    def _line_at(self, place: Located) -> InputLine:
        if self._source is None:
            why = "is in object storage, which show does not read" if is_remote(self._named) else "is no longer there"
            return InputLine(None, f"the input {self._named} {why}")
        start = Position(place.row - 1, place.offset)
        _, _, line = next(self._source.read_records(start), (0, 0, b""))
        if self._reader.identity_of(place.row, line)[0] != place.digest:
            what = "row" if self._source.is_table else "line"
            return InputLine(None, f"the input {self._path} has changed: {what} {place.row} is no longer what was sent")
        return InputLine(line.strip(), self._place_text(place.row, place.offset))

    def _place_text(self, number: int, offset: int) -> str:
        return self._source.describe_place(number, offset) if self._source else f"row {number}"

    def _request_at(self, number: int, offset: int, line: bytes) -> RequestPart | None:
        row = self._reader.read_row(number, offset, line)
        return RequestPart("POST", ENDPOINTS[row.endpoint].path, row.body) if isinstance(row, Row) else None


class _KeptRequest(Struct):
    """What a failure keeps of its request, to be sent again without the input."""

    request: RequestPart | None = None
    interrupted: bool = False


_kept = record_decoder(_KeptRequest)


def _as_json(text: bytes | None) -> bytes:
    """Return a line as JSON; one that is not JSON becomes a string."""
    if text is None:
        return b"null"
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return orjson.dumps(text.decode("utf-8", "replace"))
    return text
