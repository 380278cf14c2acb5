"""Amounts of money: a cost, or why there is none, and totals.

Arithmetic is exact: a context that would have to round raises, whatever precision the program has set. Currencies are
kept apart and never converted. `pricing.tariff` knows what a token costs.
"""

from decimal import ROUND_HALF_UP, Context, Decimal, Inexact, InvalidOperation
from typing import Any, Self

import msgspec
from msgspec import Struct, field

from arkbatch.core.usage import REPORTED_TICKS, Usage
from arkbatch.pricing.price_book import PriceRow

EXACT = Context(prec=200, traps=[Inexact, InvalidOperation])
ROUNDED = Context(prec=200, rounding=ROUND_HALF_UP, traps=[InvalidOperation])  # for display only
ZERO = Decimal(0)
_REPORTED = PriceRow("reported by the provider", "USD", ())


class Cost(Struct, frozen=True, gc=False):
    """What one request cost, and the row of the price book that was used.

    at_most: an upper bound; is_reported: no price is known, and the provider's reply states the cost
    """

    amount: Decimal
    currency: str
    row: PriceRow
    at_most: bool = False
    is_reported: bool = False


class Unknown(Struct, frozen=True, gc=False):
    """The reason why no cost can be given."""

    reason: str


class Money(Struct):
    """A total of costs; adding is exact, so that any order gives the same digits.

    amounts: by currency
    unpriced: how many rows had no price
    at_most: how many of the priced ones are upper bounds
    reported: how many have no price but a cost that the provider reported
    """

    amounts: dict[str, Decimal] = field(default_factory=dict)
    unpriced: int = 0
    at_most: int = 0
    reported: int = 0

    def add_cost(self, cost: Cost | Unknown) -> None:
        if isinstance(cost, Unknown):
            self.unpriced += 1
            return
        self.amounts[cost.currency] = EXACT.add(self.amounts.get(cost.currency, ZERO), cost.amount)
        self.at_most += cost.at_most
        self.reported += cost.is_reported

    def add_total(self, other: "Money") -> None:
        for currency, amount in other.amounts.items():
            self.amounts[currency] = EXACT.add(self.amounts.get(currency, ZERO), amount)
        self.unpriced += other.unpriced
        self.at_most += other.at_most
        self.reported += other.reported

    def to_builtins(self) -> dict[str, Any]:
        """Return JSON values with amounts as exact decimal strings; `from_builtins` reverses it."""
        amounts = {currency: f"{amount:f}" for currency, amount in sorted(self.amounts.items())}
        return {"amounts": amounts, "unpriced": self.unpriced, "at_most": self.at_most} | (
            {"reported": self.reported} if self.reported else {}
        )

    @classmethod
    def from_builtins(cls, plain: Any) -> Self:
        return msgspec.convert(plain, cls)

    def __str__(self) -> str:
        """Return the total for people: `12.40 CNY + 310 rows without a price`."""
        parts = [f"{amount_text(amount)} {currency}" for currency, amount in sorted(self.amounts.items())]
        if self.unpriced:
            parts.append(f"{self.unpriced:,} {'row' if self.unpriced == 1 else 'rows'} without a price")
        reported = " (as reported by the provider)" if self.reported else ""
        return ("at most " if self.at_most else "") + (" + ".join(parts) or "0.00") + reported


def reported_cost(usage: Usage) -> Cost | None:
    """Return the cost that the provider's reply states, None when it states none."""
    ticks = usage.get(REPORTED_TICKS)
    return None if ticks is None else Cost(Decimal(ticks).scaleb(-10), "USD", _REPORTED, is_reported=True)


def amount_text(amount: Decimal) -> str:
    """Return an amount with two decimals, or with more when it would look free."""
    digits = max(2, 1 - amount.adjusted()) if amount else 2
    return f"{amount.quantize(Decimal(1).scaleb(-digits), context=ROUNDED):f}"
