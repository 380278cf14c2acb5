"""Estimates a whole job from row sizes and a sample that was sent."""

from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from functools import partial

from msgspec.structs import replace

from arkbatch.core.errors import UsageError
from arkbatch.core.job import Job
from arkbatch.core.row import Row
from arkbatch.engine.open_run import OpenRun
from arkbatch.estimate.build_estimate import Forecast, Question, bills_of, make_forecasts
from arkbatch.estimate.input_sizes import RowKinds, readable_rows, sample_of
from arkbatch.estimate.measured_rows import read_records
from arkbatch.rows.first_look import check_first_rows
from arkbatch.rows.source import source_of


def estimate_job(job: Job, sample: Collection[int] = (), run_id: str = "") -> list[Forecast]:
    """Return a forecast for each kind of row.

    sample: the rows that were sent for it, in the run of that id
    UsageError: none of them succeeded, or none of the first rows can be sent.
    """
    check_first_rows(source_of(job), job)
    records = read_records(job.run_dir, job.model, sample, partial(bills_of, job)) if sample else None
    if records is not None and not any(row.answered for row in records.sampled.values()):
        raise UsageError(f"no row of the sample succeeded; `arkbatch status {job.run_dir}` tells why")
    kinds = RowKinds(sample, records.ledger if records else ())
    for row in kinds.rows_to_size(readable_rows(job)):
        kinds.add(row)
    return make_forecasts(Question(job, datetime.now(UTC), records, seed=run_id), kinds.found)


def numbers_of_sample(job: Job, run_id: str, count: int) -> set[int]:
    """Return the rows that a sample of a run consists of."""
    return {row.number for row in sample_of(job, run_id, count)}


def rows_to_sample(run: OpenRun, job: Job, count: int) -> Iterator[Row]:
    """Return the rows of a sample that have no record yet; the run's progress counts up to these."""
    sample = sample_of(job, run.info.run_id, count)
    rows = [run.with_past(row) for row in sample if row.number not in run.journal.ledger]
    run.found = replace(run.found, to_send=len(rows), total=len(rows))
    return iter(rows)
