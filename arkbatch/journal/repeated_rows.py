"""Finds rows that repeat an earlier request, and copies its record for them.

Two requests are equal when endpoint and body are, whatever the order of the keys. Ids and columns that are not sent do
not count. Rows are compared by 64 bits of a digest: in ten million rows two that differ agree once in some 300,000
inputs.
"""

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
from msgspec import Raw, Struct

from arkbatch.core.calls import Cause, Kind, Reply
from arkbatch.core.json_numbers import raw_number
from arkbatch.core.outcomes import Failure, Outcome, Success
from arkbatch.core.row import BadRow, Row
from arkbatch.core.usage import NO_USAGE
from arkbatch.journal.group_on_disk import Partitions
from arkbatch.journal.numbers_on_disk import NumbersOnDisk
from arkbatch.journal.record_format import ErrorPart, record_decoder

_encode = msgspec.json.Encoder(enc_hook=raw_number, order="deterministic").encode


def request_key(row: Row) -> int:
    """Return 64 bits of a digest of a row's request."""
    said = _encode((row.endpoint, row.body))
    return int.from_bytes(blake2b(said, digest_size=8).digest(), "big")


class RepeatedRows:
    """For each row that repeats an earlier one, the number of the first such row.

    A context manager; found in one pass over the rows. count: how many rows repeat one
    """

    def __init__(self, rows: Iterable[Row | BadRow], folder: Path | None = None) -> None:
        self._rows, self._folder = rows, folder
        self._first = NumbersOnDisk()
        self.count = 0

    def __enter__(self) -> Self:
        try:
            self._find_rows()
        except BaseException:
            self._first.close()
            raise
        return self

    def _find_rows(self) -> None:
        with Partitions(2, self._folder) as by_request:
            for row in self._rows:
                if isinstance(row, Row):
                    by_request.add(request_key(row), row.number)
            for group in by_request.groups_by_key():
                for number, first in repeats_in(group):
                    self._first.put(number, first)
                    self.count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._first.close()

    def first_of(self, number: int) -> int:
        """Return the first row with the same request; 0 if that is the row itself."""
        return self._first.get(number)


def repeats_in(group: Iterable[tuple[int, ...]]) -> Iterator[tuple[int, int]]:
    """Yield each number of a group that is not the first with its key, and that first number."""
    first_by_key: dict[int, int] = {}
    for key, number in group:
        first = first_by_key.setdefault(key, number)
        if first != number:
            yield number, first


class _RepeatedRecord(Struct):
    """The part of a record that is the same for every row with the same request."""

    model: str
    service_tier: str
    response: "_RepeatedResponse | None" = None
    error: ErrorPart | None = None
    finish_reason: str = ""
    oddity: str = ""
    messages: list[Any] | None = None


class _RepeatedResponse(Struct):
    status_code: int
    request_id: str
    body: Raw


_decode = record_decoder(_RepeatedRecord)


def copied_outcome(row: Row, line: bytes, first: int) -> Outcome:
    """Return the outcome of a row that repeats row `first`, whose record is `line`. It has billed nothing."""
    record = _decode(line)
    reply = None
    if record.response is not None:
        headers = {"x-request-id": record.response.request_id}
        reply = Reply(record.response.status_code, bytes(record.response.body), headers, 0.0)
    if record.error is None and reply is not None:
        return Success(
            row=row,
            reply=reply,
            model=record.model,
            service_tier=record.service_tier,
            attempts=0,
            calls=[],
            usage=NO_USAGE,
            discarded=NO_USAGE,
            seconds=0.0,
            messages=record.messages,
            finish_reason=record.finish_reason,
            oddity=record.oddity,
            copy_of=first,
        )
    error = record.error or ErrorPart("", "")
    cause = Cause(Kind(error.kind), error.code, error.message, error.advice)
    return Failure(row, cause, reply, record.model, record.service_tier, copy_of=first)
