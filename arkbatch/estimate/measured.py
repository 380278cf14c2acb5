"""What the records of a run tell an estimate: what each kind of row has taken so far, and how its sampled rows went.

All records are read once, in constant memory but for one bit a row and the sample. Kinds of rows are told apart by
what was asked (endpoint and model), since that is all that is known of the rows which have no record yet.
"""

from collections.abc import Callable, Collection
from pathlib import Path

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from arkbatch.core.types import Usage, add_usage
from arkbatch.estimate.forecast import Recorded
from arkbatch.journal.journal import read_entries
from arkbatch.journal.ledger import Ledger
from arkbatch.journal.run_directory import FAILURES, RESULTS, RunDirectory
from arkbatch.pricing.amounts import Unknown
from arkbatch.pricing.billed_usage import BilledEntry, Spent, new_in
from arkbatch.pricing.run_cost import Bill

Kind = tuple[str, str]  # endpoint and model, as asked


class SampledOutcome(Struct, frozen=True):
    """How one row went. `usage`: of its answer, or of the calls that were billed in vain; `seconds`: of one call."""

    usage: Usage
    seconds: float
    answered: bool


class Sums(Struct):
    """What the rows of one kind have taken. `bills`: by endpoint, on which lane they are to be priced."""

    bills: dict[str, Bill]
    rows: int = 0
    usage: dict[str, int] = field(default_factory=dict)

    def add(self, spent: Spent) -> None:
        self.usage = add_usage(self.usage, *spent.usages)
        for endpoint, bill in self.bills.items():
            bill.add(replace(spent, endpoint=endpoint))

    def recorded_on(self, endpoint: str) -> Recorded:
        """As if they had been sent to this endpoint, which is the own one or that of another lane."""
        bill = self.bills[endpoint]
        money = bill.cost()
        cost: float | Unknown = float(sum(money.amounts.values()))
        if money.unpriced or len(money.amounts) > 1:
            cost = Unknown(bill.reason or "the records are in several currencies")
        return Recorded(self.rows, self.usage.get("input", 0), self.usage.get("output", 0), cost)


class MeasuredRecords(Struct):
    """ledger: knows which rows have a record; sampled: how the rows of the sample went, by number."""

    ledger: Ledger = field(default_factory=Ledger)
    kinds: dict[Kind, Sums] = field(default_factory=dict)
    sampled: dict[int, SampledOutcome] = field(default_factory=dict)


class _Entry(BilledEntry):
    seconds: float = 0.0


_decode = msgspec.json.Decoder(_Entry).decode


def read_records(
    run_dir: str, model: str, sample: Collection[int], bills_of: Callable[[Kind], dict[str, Bill]]
) -> MeasuredRecords:
    """model: the job's own, which rows asked for whose record does not say."""
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
    """A row's whole bill where it failed, the answering call's where it did not: other calls are no matter of size."""
    answered, usage = entry.error is None, entry.usage
    if answered and entry.discarded:
        usage = {meter: count - entry.discarded.get(meter, 0) for meter, count in usage.items()}
    return SampledOutcome(usage, entry.seconds / max(len(entry.calls), 1), answered)
