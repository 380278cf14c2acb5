"""The rows of a parcel in the input, and failed rows given back."""

from collections.abc import Iterator

from arkbatch.batch_jobs.parcel_records import Step
from arkbatch.core.calls import Cause, Kind
from arkbatch.core.input_info import Position
from arkbatch.core.outcomes import Failure
from arkbatch.core.row import SENT_AGAIN, BadRow, Row
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.retry_run import RetryRun
from arkbatch.rows.source import reader_of


def rows_of(run: OpenRun, cut: Step) -> Iterator[Row | BadRow]:
    """The rows of a parcel that have no record, in order, with what they spent before."""
    reader, ledger = reader_of(run.job, run.source), run.journal.ledger
    last = cut.ranges[-1][1] if cut.ranges else 0
    numbers = {number for first, end in cut.ranges for number in range(first, end + 1)}
    for number, offset, line in run.source.read_records(Position(cut.line, cut.offset)):
        if number > last:
            return
        if number in numbers and number not in ledger:
            yield run.with_past(reader.read_row(number, offset, line))


def give_back_failed_rows(run: RetryRun) -> frozenset[int]:
    """Give the chosen failed rows back to the run, as rows that were interrupted; their numbers.

    What they have spent stays with them, and so does the request that the retry wants. From here on they are rows that
    are left, and any later session sends them so, on any lane. UsageError: they cannot be sent so.
    """
    cause = Cause(Kind.UNFINISHED, SENT_AGAIN, "the row failed, and is sent again in a batch file")
    numbers = frozenset(row.number for row in run.rows())  # a refusal comes here, before anything is written
    for row in run.rows():
        run.journal.record(Failure(row, cause, interrupted=True))
    run.journal.sync()
    return numbers
