"""Reads from a run's records what rows took, and how its sample went.

All records are read once, in constant memory but for one bit a row and the sample. A kind is the endpoint and model
that were asked for, since nothing else is known of rows without a record.
"""

from collections.abc import Callable, Collection
from pathlib import Path

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from arkbatch.core.usage import Usage, add_usage
from arkbatch.estimate.forecast import Recorded
from arkbatch.journal.ledger import Ledger
from arkbatch.journal.record_reader import read_entries
from arkbatch.journal.run_directory import FAILURES, RESULTS, RunDirectory
from arkbatch.pricing.amounts import Unknown
from arkbatch.pricing.billed_usage import BilledEntry, Spent, new_in
from arkbatch.pricing.run_cost import Bill

Kind = tuple[str, str]  # endpoint and model, as asked


class SampledOutcome(Struct, frozen=True):
    """How one row of the sample went.

    usage: of its answer, or of the calls that were billed without one; seconds: of one call
    """

    usage: Usage
    seconds: float
    answered: bool


class Sums(Struct):
    """What the rows of one kind have taken; `bills`: by endpoint and lane."""

    bills: dict[str, Bill]
    rows: int = 0
    usage: dict[str, int] = field(default_factory=dict)

    def add(self, spent: Spent) -> None:
        self.usage = add_usage(self.usage, *spent.all_usages)
        for endpoint, bill in self.bills.items():
            bill.add_spent(replace(spent, endpoint=endpoint))

    def recorded_on(self, endpoint: str) -> Recorded:
        """Return these rows as if they had been sent to this endpoint."""
        bill = self.bills[endpoint]
        money = bill.total_cost()
        cost: float | Unknown = float(sum(money.amounts.values()))
        if money.unpriced or len(money.amounts) > 1:
            cost = Unknown(bill.no_price_reason or "the records are in several currencies")
        return Recorded(self.rows, self.usage.get("input", 0), self.usage.get("output", 0), cost)


class MeasuredRecords(Struct):
    """The records of a run, as an estimate needs them.

    ledger: knows which rows have a record; sampled: how the rows of the sample went, by number
    """

    ledger: Ledger = field(default_factory=Ledger)
    kinds: dict[Kind, Sums] = field(default_factory=dict)
    sampled: dict[int, SampledOutcome] = field(default_factory=dict)


class _Entry(BilledEntry):
    seconds: float = 0.0


_decode = msgspec.json.Decoder(_Entry).decode


def read_records(
    run_dir: str, model: str, sample: Collection[int], bills_of: Callable[[Kind], dict[str, Bill]]
) -> MeasuredRecords:
    """Read the records of a run.

    model: the job's own, for records that do not say which model was asked for
    """
    found, directory = MeasuredRecords(), RunDirectory(Path(run_dir))
    for name in (FAILURES, RESULTS):
        for entry in read_entries(directory / name, 0, _decode):
            _add_entry(found, entry, (entry.endpoint, entry.asked_model or model), bills_of)
            if entry.row in sample:
                found.sampled[entry.row] = _sampled_outcome(entry)
            found.ledger.fold(entry)
    return found


def _add_entry(found: MeasuredRecords, entry: _Entry, kind: Kind, bills_of: Callable[[Kind], dict[str, Bill]]) -> None:
    sums = found.kinds.get(kind)
    if sums is None:
        sums = found.kinds[kind] = Sums(bills_of(kind))
    sums.rows += entry.row not in found.ledger and not entry.interrupted
    for spent in new_in(entry, found.ledger):
        sums.add(spent)


def _sampled_outcome(entry: _Entry) -> SampledOutcome:
    """Return a failed row's whole bill, or that of the answering call.

    Calls that were repeated do not depend on the row's size.
    """
    answered, usage = entry.error is None, entry.usage
    if answered and entry.discarded:
        usage = {meter: count - entry.discarded.get(meter, 0) for meter, count in usage.items()}
    return SampledOutcome(usage, entry.seconds / max(len(entry.calls), 1), answered)
