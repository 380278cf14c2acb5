"""Compares a split bill with the sum of the records.

A split bill states the same spending twice: by endpoint, and by API key. So nothing is added up over both. Calls that
named an endpoint id are compared with that endpoint. Calls that named a model can be compared with a key only, and no
record knows which key it was: the user names it, and then *all* calls are compared with it. An item on one side alone
stays in the list.

A bill contains other programs' calls too, so a difference is shown and never judged. `reports.cost` reads the files.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct, field

from arkbatch.pricing.amounts import EXACT, ZERO, Money

ENDPOINT, KEY = "ep-", "apikey-"  # how those items of the bill begin that calls can be matched with

Amounts = dict[str, Decimal]
"""By currency."""


class BillLine(Struct, frozen=True, gc=False):
    """One line of a bill.

    day: as 2026-09-21, "" for a line of a whole month
    tokens: 0 when the line counts something else; then `unit` says what, and `count` how many
    listed: before discounts; payable: what is left to pay
    """

    item: str
    day: str
    currency: str
    listed: Decimal
    payable: Decimal
    tokens: Decimal = ZERO
    unit: str = ""
    count: Decimal = ZERO


class Ours(Struct):
    """The sums of the records: input and output tokens of every billed attempt, at list prices."""

    tokens: int = 0
    cost: Money = field(default_factory=Money)

    def add_records(self, other: "Ours") -> None:
        self.tokens += other.tokens
        self.cost.add_total(other.cost)


class Billed(Struct):
    """The sums of the bill; `others`: uses that are not tokens, by unit."""

    tokens: Decimal = ZERO
    listed: Amounts = field(default_factory=dict)
    payable: Amounts = field(default_factory=dict)
    others: Amounts = field(default_factory=dict)
    lines: int = 0

    def add_line(self, line: BillLine) -> None:
        self.lines += 1
        self.tokens = EXACT.add(self.tokens, line.tokens)
        _add_amount(self.listed, line.currency, line.listed)
        _add_amount(self.payable, line.currency, line.payable)
        if line.unit:
            _add_amount(self.others, line.unit, line.count)

    def add_sums(self, other: "Billed") -> None:
        self.lines += other.lines
        self.tokens = EXACT.add(self.tokens, other.tokens)
        for mine, its in ((self.listed, other.listed), (self.payable, other.payable), (self.others, other.others)):
            for name, amount in its.items():
                _add_amount(mine, name, amount)


class Side(StrEnum):
    BOTH = "both"
    OURS = "only ours"
    BILLED = "only billed"


class Pair(Struct):
    """What one item cost on one day, on both sides.

    The item is an endpoint, a key, or a model that was asked for.
    """

    item: str
    day: str
    ours: Ours | None = None
    billed: Billed | None = None

    @property
    def side(self) -> Side:
        if self.ours is None:
            return Side.BILLED
        return Side.OURS if self.billed is None else Side.BOTH

    @property
    def tokens_over(self) -> Decimal:
        """How many tokens more the bill has than the records."""
        billed = self.billed.tokens if self.billed else ZERO
        return EXACT.subtract(billed, Decimal(self.ours.tokens if self.ours else 0))

    @property
    def cost_over(self) -> Amounts:
        """How much more the bill's list prices come to than the records', by currency."""
        listed = self.billed.listed if self.billed else {}
        cost = self.ours.cost.amounts if self.ours else {}
        return {
            currency: EXACT.subtract(listed.get(currency, ZERO), cost.get(currency, ZERO))
            for currency in sorted(listed.keys() | cost.keys())
        }

    def add_pair(self, other: "Pair") -> None:
        if other.ours is not None:
            self.ours = self.ours or Ours()
            self.ours.add_records(other.ours)
        if other.billed is not None:
            self.billed = self.billed or Billed()
            self.billed.add_sums(other.billed)


class Reconciled(Struct, frozen=True):
    """The comparison.

    pairs: by item and day, endpoints first, then keys, then requested models that no item stands for
    keys: those in the bill
    apart: items of the bill that are neither endpoint nor key, added up; None when there are none
    """

    pairs: list[Pair]
    key: str
    keys: list[str]
    apart: Billed | None

    @property
    def items(self) -> list[Pair]:
        """Return the same over all days."""
        whole: dict[str, Pair] = {}
        for pair in self.pairs:
            whole.setdefault(pair.item, Pair(pair.item, "")).add_pair(pair)
        return list(whole.values())

    @property
    def days(self) -> tuple[str, str]:
        """Return the first and the last day of the bill, "" when it names none."""
        days = sorted(pair.day for pair in self.pairs if pair.billed and pair.day)
        return (days[0], days[-1]) if days else ("", "")


def reconcile(ours: Iterable[tuple[str, str, Ours]], bill: Iterable[BillLine], key: str = "") -> Reconciled:
    """Compare both sides; `ours` is by the model that a request named, and by day.

    key: the item of the API key that all calls used, "" when the user did not name it
    """
    pairs: dict[tuple[str, str], Pair] = {}
    apart = Billed()
    for line in bill:
        if line.item.startswith((ENDPOINT, KEY)):
            pair = pairs.setdefault((line.item, line.day), Pair(line.item, line.day))
            pair.billed = pair.billed or Billed()
            pair.billed.add_line(line)
        else:
            apart.add_line(line)
    items = {item for item, _ in pairs}
    by_endpoint = not key or any(item.startswith(ENDPOINT) for item in items)
    for model, day, calls in ours:
        for item in _items_of(model, key, by_endpoint=by_endpoint):
            pairs.setdefault((item, day), Pair(item, day)).add_pair(Pair(item, day, calls))
    keys = sorted(item for item in items if item.startswith(KEY))
    return Reconciled(
        [pairs[place] for place in sorted(pairs, key=_sort_key)], key, keys, apart if apart.lines else None
    )


def _items_of(model: str, key: str, *, by_endpoint: bool) -> Iterator[str]:
    """Return the items that a call belongs to.

    A bill that is split by key alone has no item for its endpoint.
    """
    if by_endpoint and model.startswith(ENDPOINT):
        yield model
    if key:
        yield key
    elif not model.startswith(ENDPOINT):
        yield model


def _sort_key(place: tuple[str, str]) -> tuple[int, str, str]:
    item, day = place
    return (0 if item.startswith(ENDPOINT) else 1 if item.startswith(KEY) else 2, item, day)


def _add_amount(amounts: Amounts, name: str, amount: Decimal) -> None:
    amounts[name] = EXACT.add(amounts.get(name, ZERO), amount)
