"""Adds up the cost of runs from their records, in groups.

Costs by model at the run's own prices come from its last snapshot, and only the records behind it are read. Every
other question reads all records once, in constant memory. Amounts of different currencies are never added.
"""

import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct, field

from arkbatch.core.usage import add_usage
from arkbatch.journal.ledger import Ledger
from arkbatch.journal.record_format import record_decoder
from arkbatch.journal.record_reader import read_entries
from arkbatch.journal.run_directory import FAILURES, RESULTS, RunDirectory
from arkbatch.journal.run_info import RunInfo
from arkbatch.journal.run_view import RunView
from arkbatch.pricing.amounts import Money
from arkbatch.pricing.billed_usage import BilledEntry, Spent, new_in
from arkbatch.pricing.price_book import PriceBook
from arkbatch.pricing.run_cost import Bill, sum_of
from arkbatch.pricing.run_price_file import bill_of, current_book
from arkbatch.pricing.subtotal import Charge
from arkbatch.pricing.tariff import BEIJING
from arkbatch.reports.status.find_run import explain_unreadable

By = Literal["model", "day", "hour", "prefix"]

_LAST_PART = re.compile(r"[-_/:.#][^-_/:.#]*$")


class CostLine(Struct):
    """The cost of one group.

    rows: those with an answer; discarded_cost: the part of `cost` that bought discarded answers
    """

    name: str
    rows: int = 0
    usage: dict[str, int] = field(default_factory=dict)
    discarded: dict[str, int] = field(default_factory=dict)
    cost: Money = field(default_factory=Money)
    discarded_cost: Money = field(default_factory=Money)


class Costs(Struct, frozen=True):
    """The cost of the runs; `reasons`: why some rows have no price."""

    runs: list[str]
    by: By
    repriced: bool
    lines: list[CostLine]
    cost: Money
    discarded_cost: Money
    reasons: list[str]

    def to_builtins(self) -> dict[str, Any]:
        """Return JSON values, with amounts as decimal strings."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        money = ("cost", "discarded_cost")
        plain |= {name: getattr(self, name).to_builtins() for name in money}
        plain["lines"] = [
            msgspec.to_builtins(line) | {name: getattr(line, name).to_builtins() for name in money}
            for line in self.lines
        ]
        return plain


class CostEntry(BilledEntry):
    custom_id: str = ""


_decode = record_decoder(CostEntry)
K = TypeVar("K", bound=Hashable)


def read_costs(
    run_dirs: Sequence[str], by: By = "model", *, reprice: bool = False, prices: Path | None = None
) -> Costs:
    """Add up the cost of runs; RunDirectoryError when one cannot be read.

    reprice: use today's prices, and those in the file `prices`, instead of the prices of each run
    """
    lines: dict[str, CostLine] = {}
    reasons: dict[str, None] = {}
    for run_dir in run_dirs:
        directory = RunDirectory(Path(run_dir))
        with explain_unreadable(directory.path):
            view = RunView(directory)
            info = view.read_info()
            book = current_book(info, prices) if reprice else None
            bills: list[Bill] = []
            for line in _of_run(view, info, by, book, bills):
                _merge_lines(lines.setdefault(line.name, CostLine(line.name)), line)
            reasons |= {charge.reason: None for bill in bills for charge in bill.charges if charge.reason}
    ordered = [lines[name] for name in sorted(lines)]
    return Costs(
        runs=list(run_dirs),
        by=by,
        repriced=reprice,
        lines=ordered,
        cost=sum_of(line.cost for line in ordered),
        discarded_cost=sum_of(line.discarded_cost for line in ordered),
        reasons=list(reasons),
    )


def _of_run(view: RunView, info: RunInfo, by: By, book: PriceBook | None, bills: list[Bill]) -> Iterator[CostLine]:
    """Yield the lines of one run; `bills` collects the bills behind them.

    book: None for the run's own prices
    """

    def new_bill() -> Bill:
        bills.append(bill_of(info, book))
        return bills[-1]

    if by == "model" and book is None:
        return _by_snapshot(view, new_bill())
    return (
        line for _, line in read_groups(view.directory, lambda spent, entry: _group_name(by, spent, entry), new_bill)
    )


def _by_snapshot(view: RunView, bill: Bill) -> Iterator[CostLine]:
    ledger = view.read_ledger(bill)
    charges = {(each.endpoint, each.model, each.service_tier): each for each in bill.charges}
    for tally in ledger.tallies:
        key = (tally.endpoint, tally.model, tally.service_tier)
        charge = charges.get(key) or Charge(tally.endpoint, "", tally.model, tally.service_tier)
        if tally.succeeded or any(tally.usage.values()):
            yield CostLine(
                _model_name(*key), tally.succeeded, tally.usage, tally.discarded, charge.cost, charge.discarded
            )


def read_groups(
    directory: RunDirectory, group_of: Callable[[Spent, CostEntry], K], new_bill: Callable[[], Bill]
) -> Iterator[tuple[K, CostLine]]:
    """Yield what all records of a run cost, in groups of any kind."""
    ledger, lines, bills = Ledger(), dict[K, CostLine](), dict[K, Bill]()
    for name in (FAILURES, RESULTS):
        for entry in read_entries(directory / name, 0, _decode):
            for spent in new_in(entry, ledger):
                group = group_of(spent, entry)
                if group not in bills:
                    bills[group], lines[group] = new_bill(), CostLine(str(group))
                bills[group].add_spent(spent)
                _count_record(lines[group], spent)
            ledger.fold(entry)
    for group, line in lines.items():
        line.cost, line.discarded_cost = bills[group].total_cost(), bills[group].discarded_cost()
        yield group, line


def _count_record(line: CostLine, spent: Spent) -> None:
    line.rows += spent.kept is not None
    line.discarded = add_usage(line.discarded, *(call.usage for call in spent.discarded))
    line.usage = add_usage(line.usage, *spent.all_usages)


def _group_name(by: By, spent: Spent, entry: CostEntry) -> str:
    match by:
        case "model":
            return _model_name(spent.endpoint, spent.model, spent.service_tier)
        case "day":
            return day_of(spent)
        case "hour":
            return f"{datetime.fromtimestamp(spent.at, BEIJING):%Y-%m-%d %H}:00"
        case "prefix":
            return _LAST_PART.sub("", entry.custom_id)


def day_of(spent: Spent) -> str:
    """Return the day in Beijing, as the bill has it."""
    return f"{datetime.fromtimestamp(spent.at, BEIJING):%Y-%m-%d}"


def _model_name(endpoint: str, model: str, service_tier: str) -> str:
    tier = f" ({service_tier})" if service_tier not in {"", "default"} else ""
    return f"{model or '(no answer)'}{tier}{' ' + endpoint if endpoint not in {'', 'chat'} else ''}"


def _merge_lines(line: CostLine, other: CostLine) -> None:
    line.rows += other.rows
    line.usage = add_usage(line.usage, other.usage)
    line.discarded = add_usage(line.discarded, other.discarded)
    line.cost.add_total(other.cost)
    line.discarded_cost.add_total(other.discarded_cost)
