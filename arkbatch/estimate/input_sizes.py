"""Counts the rows of a job by kind and size, with tokens guessed from characters.

The rows of the sample are kept apart.
"""

from collections.abc import Iterator
from itertools import islice
from random import Random
from typing import Protocol

from msgspec import Struct, field

from arkbatch.core.job import Job
from arkbatch.core.row import Row
from arkbatch.estimate.measured_rows import Kind
from arkbatch.estimate.strata import Sizes, Strata
from arkbatch.journal.repeated_rows import RepeatedRows
from arkbatch.limits.token_estimator import by_characters
from arkbatch.protocol.endpoints import ENDPOINTS
from arkbatch.rows.source import reader_of, source_of


def readable_rows(job: Job, first: int | None = None) -> Iterator[Row]:
    """Yield the rows that are sent, in order; without those that repeat a request where the job says so."""
    if not job.reading.dedupe:
        yield from _good_rows(job, first)
        return
    with RepeatedRows(_good_rows(job, first)) as repeats:
        yield from (row for row in _good_rows(job, first) if not repeats.first_of(row.number))


def _good_rows(job: Job, first: int | None) -> Iterator[Row]:
    source = source_of(job)
    reader = reader_of(job, source)
    found = (reader.read_row(*record) for record in islice(source.read_records(), first or job.row_limit))
    return (row for row in found if isinstance(row, Row))


def kind_of(row: Row) -> Kind:
    return row.endpoint, row.asked_model


def guess_input_tokens(row: Row) -> float:
    return by_characters(ENDPOINTS[row.endpoint].size(row.body))


def sample_of(job: Job, run_id: str, count: int) -> list[Row]:
    """Choose the rows to measure, spread over kinds, sizes and the file.

    The choice is the same each time for one run.
    """
    strata, again = Strata(), Strata()
    for row in readable_rows(job):
        strata.add(kind_of(row), guess_input_tokens(row))
    chosen = strata.choose_rows(count, Random(run_id).random)  # noqa: S311  nothing to guess
    return [row for row in readable_rows(job) if again.add(kind_of(row), guess_input_tokens(row)) in chosen]


class Numbers(Protocol):
    """A set of row numbers; a ledger is one."""

    def __contains__(self, row: int, /) -> bool: ...


class Sent(Struct, frozen=True):
    """A row of the sample: its guessed input tokens, and its output limit."""

    number: int
    tokens: float
    ceiling: int | None


class Inputs(Struct):
    """The rows of one kind.

    unrecorded: the sizes of the rows without a record; sample: the rows that were sent for the estimate
    """

    unrecorded: Sizes = field(default_factory=Sizes)
    sample: list[Sent] = field(default_factory=list)

    def add(self, row: Row, *, sent: bool, recorded: bool) -> None:
        """Count one row by its characters."""
        size = ENDPOINTS[row.endpoint].size(row.body)
        tokens = max(by_characters(size), 1.0)
        if sent:
            self.sample.append(Sent(row.number, tokens, size.ceiling))
        if not recorded:
            self.unrecorded.add(tokens, size.ceiling)

    def sizes_left(self, start: float, slope: float) -> Sizes:
        """Return the sizes of the rows without a record, by their expected input.

        start: tokens of each request; slope: tokens per guessed token
        """
        left = Sizes()
        left.add_all(self.unrecorded, start, slope)
        return left


class RowKinds:
    """The kinds of rows of a job.

    sample: those that were sent for the estimate; recorded: all that have a record
    """

    def __init__(self, sample: Numbers = (), recorded: Numbers = ()) -> None:
        self._sample, self._recorded = sample, recorded
        self.found: dict[Kind, Inputs] = {}

    def rows_to_size(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Yield the rows whose tokens are needed, and note each kind.

        For the other rows a record has the tokens.
        """
        for row in rows:
            self.found.setdefault(kind_of(row), Inputs())
            if row.number in self._sample or row.number not in self._recorded:
                yield row

    def add(self, row: Row) -> None:
        """Count one of the rows that `rows_to_size` yields."""
        self.found[kind_of(row)].add(row, sent=row.number in self._sample, recorded=row.number in self._recorded)


def by_kind(job: Job, sample: Numbers = (), recorded: Numbers = (), first: int | None = None) -> dict[Kind, Inputs]:
    """Count all rows of a job by kind, with guessed tokens.

    first: read no more rows than these
    """
    kinds = RowKinds(sample, recorded)
    for row in kinds.rows_to_size(readable_rows(job, first)):
        kinds.add(row)
    return kinds.found
