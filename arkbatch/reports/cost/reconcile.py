"""Compares the records of runs with the provider's split bill."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec import Struct

from arkbatch.core.errors import UsageError
from arkbatch.core.usage import total_tokens
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.journal.run_info import RunInfo
from arkbatch.pricing.bill_csv import read_bill
from arkbatch.pricing.billed_usage import Spent
from arkbatch.pricing.price_book import PriceBook
from arkbatch.pricing.reconcile import KEY, Amounts, Billed, Ours, Pair, Reconciled, reconcile
from arkbatch.pricing.run_price_file import bill_of, current_book
from arkbatch.reports.cost.cost import day_of, read_groups
from arkbatch.reports.status.find_run import explain_unreadable


class Reconciliation(Struct, frozen=True):
    """Runs beside a bill.

    simulated: runs that no bill can contain; guessed: tokens of records without an endpoint
    """

    runs: list[str]
    bill: str
    sides: Reconciled
    simulated: list[str]
    guessed: int

    def to_builtins(self) -> dict[str, Any]:
        """Return JSON values, with amounts as decimal strings."""
        sides = self.sides
        return {
            "runs": self.runs,
            "bill": self.bill,
            "time_zone": "UTC+08:00",
            "key": sides.key,
            "keys": sides.keys,
            "bill_days": list(sides.days),
            "lines": [_pair_values(pair) for pair in sides.pairs],
            "items": [_pair_values(pair) for pair in sides.items],
            "other_items": _billed_values(sides.apart),
            "simulated": self.simulated,
            "tokens_without_an_endpoint": self.guessed,
        }


def read_reconciliation(
    run_dirs: Sequence[str], bill: Path, key: str = "", *, reprice: bool = False, prices: Path | None = None
) -> Reconciliation:
    """Read runs and a bill.

    key: the item on the bill of the API key that all calls used; reprice, prices: as for `read_costs`
    Raises RunDirectoryError when a run cannot be read, UsageError when the bill cannot.
    """
    if key and not key.startswith(KEY):
        raise UsageError("--key wants the key's item on the bill, which begins with apikey-; never the key itself.")
    infos: dict[str, RunInfo] = {}
    ours: list[tuple[str, str, Ours]] = []
    guessed = 0
    for run_dir in run_dirs:
        directory = RunDirectory(Path(run_dir))
        with explain_unreadable(directory.path):
            infos[run_dir] = info = directory.read_info()
            book = current_book(info, prices) if reprice else None
            for (asked, day), calls in _calls_by_item(directory, info, book):
                guessed += 0 if asked else calls.tokens
                ours.append((asked or str(info.job.get("model", "")), day, calls))
    sides = reconcile(ours, read_bill(bill), key)
    simulated = [run_dir for run_dir, info in infos.items() if info.simulated]
    return Reconciliation(list(run_dirs), str(bill), sides, simulated, guessed)


def _calls_by_item(
    directory: RunDirectory, info: RunInfo, book: PriceBook | None
) -> Iterator[tuple[tuple[str, str], Ours]]:
    """Add up calls by requested model ("" if unknown) and by day."""

    def place(spent: Spent, _: object) -> tuple[str, str]:
        return spent.asked_model, day_of(spent)

    for group, line in read_groups(directory, place, lambda: bill_of(info, book)):
        yield group, Ours(total_tokens((line.usage,)), line.cost)


def _pair_values(pair: Pair) -> dict[str, Any]:
    ours = None if pair.ours is None else {"tokens": pair.ours.tokens, "cost": pair.ours.cost.to_builtins()}
    return {
        "item": pair.item,
        "day": pair.day,
        "side": pair.side.value,
        "ours": ours,
        "billed": _billed_values(pair.billed),
        "difference": {"tokens": plain_tokens(pair.tokens_over), "cost": _amount_texts(pair.cost_over)},
    }


def _billed_values(billed: Billed | None) -> dict[str, Any] | None:
    if billed is None:
        return None
    amounts = {name: _amount_texts(getattr(billed, name)) for name in ("listed", "payable", "others")}
    return {"lines": billed.lines, "tokens": plain_tokens(billed.tokens)} | amounts


def _amount_texts(amounts: Amounts) -> dict[str, str]:
    return {name: f"{amount:f}" for name, amount in amounts.items()}


def plain_tokens(number: Decimal) -> str:
    """Return a number with all digits, without zeros at the end of its fraction."""
    return f"{number.normalize():f}"
