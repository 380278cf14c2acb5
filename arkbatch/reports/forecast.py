"""What a job will take: its rows are sized, a few of them may be sent, and `core.sampling` does the arithmetic.

Rows are grouped by endpoint and model, since each has prices of its own. The rows of a sample are chosen by the run's
id, so that asking again means the same rows, which then have their records already and are not sent twice.
"""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from random import Random

import msgspec
from msgspec import Struct

from arkbatch.adapters.journal import read_entries
from arkbatch.adapters.run_prices import book_of_job
from arkbatch.adapters.rundir import RESULTS, RunDirectory
from arkbatch.adapters.source import lines
from arkbatch.core.bill import BATCH, Bill, lane_of
from arkbatch.core.endpoints import ENDPOINTS
from arkbatch.core.estimate import Estimator
from arkbatch.core.job import Job
from arkbatch.core.money import Cost, Unknown
from arkbatch.core.pricing import Pricer
from arkbatch.core.records import Row, Size, Usage
from arkbatch.core.rows import RowReader
from arkbatch.core.sampling import Ceiling, Estimate, Measured, Pace, Price, from_sample, without_sample
from arkbatch.core.sizes import Sizes, choose
from arkbatch.core.spent import BilledEntry, spent_of
from arkbatch.core.tariff import Tariff

Key = tuple[str, str]  # endpoint and model


class Forecast(Struct, frozen=True):
    """The estimate of one endpoint's and model's rows; `batch`: the same on the batch lane, where it has a price."""

    endpoint: str
    model: str
    estimate: Estimate
    batch: Estimate | None


def forecasts(job: Job, now: datetime, sample: dict[Key, list[Measured]], first: int | None = None) -> list[Forecast]:
    """For each kind of row in the input. `first`: look at no more rows than these."""
    groups: dict[Key, Sizes] = {}
    for row in readable_rows(job, first):
        groups.setdefault(key_of(row), Sizes(_input_tokens)).add(ENDPOINTS[row.endpoint].size(row.body))
    return [_forecast(job, key, sizes, sample.get(key, []), now) for key, sizes in groups.items()]


def readable_rows(job: Job, first: int | None = None) -> Iterator[Row]:
    """The rows that can be sent, in order."""
    reader = RowReader(job)
    found = (reader.read(*line) for line in islice(lines(Path(job.input)), first or job.row_limit))
    return (row for row in found if isinstance(row, Row))


def key_of(row: Row) -> Key:
    return row.endpoint, row.body["model"]


def sample_of(job: Job, run_id: str, count: int) -> list[Row]:
    """The rows to measure: spread over the input, the same for each question about a run."""
    total = sum(1 for _ in readable_rows(job))
    chosen = set(choose(total, count, Random(run_id).random))  # noqa: S311  nothing to guess
    return [row for place, row in enumerate(readable_rows(job)) if place in chosen]


class _Answered(BilledEntry):
    seconds: float = 0.0


_decode = msgspec.json.Decoder(_Answered).decode


def measured(run_dir: str, rows: list[Row]) -> dict[Key, list[Measured]]:
    """What the records say of these rows. Rows that failed are left out."""
    by_number, found = {row.number: row for row in rows}, dict[Key, list[Measured]]()
    for entry in read_entries(RunDirectory(Path(run_dir)) / RESULTS, 0, _decode):
        row, spent = by_number.get(entry.row), spent_of(entry)
        if row is not None and spent is not None and spent.kept:
            seconds = entry.seconds / max(len(entry.calls), 1)
            size = ENDPOINTS[row.endpoint].size(row.body)
            found.setdefault(key_of(row), []).append(Measured(size, spent.kept, seconds))
    return found


def _input_tokens(size: Size) -> float:
    return Estimator().estimate(size)[0]


def _forecast(job: Job, key: Key, sizes: Sizes, sample: list[Measured], now: datetime) -> Forecast:
    endpoint, model = key
    asked = job.defaults.get("service_tier")
    bill, tier = Bill(Pricer(book_of_job(job)), job.model), asked if isinstance(asked, str) else ""
    limits = job.limits
    pace = Pace(limits.concurrency, limits.rpm, limits.tpm)

    def estimate(tariff: Tariff | Unknown) -> Estimate:
        price, ceiling = _prices(tariff, now)
        return (
            from_sample(sizes, sample, price, ceiling, pace) if sample else without_sample(sizes, price, ceiling, pace)
        )

    batch = bill.tariff(model, BATCH, "")
    own = estimate(bill.tariff(model, lane_of(endpoint), tier))
    return Forecast(endpoint, model, own, None if isinstance(batch, Unknown) else estimate(batch))


def _prices(tariff: Tariff | Unknown, now: datetime) -> tuple[Price, Ceiling]:
    def price(usage: Usage) -> Cost | Unknown:
        return tariff if isinstance(tariff, Unknown) else tariff.cost(usage, now)

    def ceiling(given: int, answered: int) -> Cost | Unknown:
        return tariff if isinstance(tariff, Unknown) else tariff.ceiling(given, answered, now)

    return price, ceiling
