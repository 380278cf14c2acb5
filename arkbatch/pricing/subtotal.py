"""The cost of one endpoint, model and service tier, with the sum of its calls.

Within one price tier a cost is linear in the tokens, so plain calls are kept as sums of tokens by tier until the amount
is asked for: that takes a microsecond a row, where exact decimals take several, and the digits are the same.
`pricing.run_cost` decides which rows are added here, and at which tariff.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct, field

from arkbatch.core.usage import ASSUMED, CONTRADICTORY, REPORTED_TICKS, Usage
from arkbatch.pricing.amounts import Cost, Money, Unknown
from arkbatch.pricing.tariff import Tariff

PLAIN = {"input", "output", "reasoning", "cached", ASSUMED, CONTRADICTORY, REPORTED_TICKS}


class Charge(Struct):
    """The cost of one endpoint, model and service tier, of the rows that asked for `asked_model`.

    discarded: the part of `cost` that bought discarded answers
    reason: why a row has no price
    """

    endpoint: str
    lane: str
    model: str
    service_tier: str
    cost: Money = field(default_factory=Money)
    discarded: Money = field(default_factory=Money, name="thrown")  # as `ledger.bin` has had it since it was kept
    reason: str = ""
    asked_model: str = ""

    def add_charge(self, other: "Charge") -> None:
        self.cost.add_total(other.cost)
        self.discarded.add_total(other.discarded)
        self.reason = self.reason or other.reason


class PendingCharge:
    """A charge with its tariff at hand, and the tokens that are not yet turned into money, by price tier."""

    __slots__ = ("_pending", "_plain", "charge", "tariff")

    def __init__(self, charge: Charge, tariff: Tariff | Unknown) -> None:
        self.charge = charge
        self.tariff = tariff
        self._pending: dict[int, list[int]] = {}
        only = tariff.versions[0] if isinstance(tariff, Tariff) and len(tariff.versions) == 1 else None
        # Prices that depend on the day, the hour or a missing cached price are looked up for each call.
        self._plain = only and only.brackets if only and all(_is_timeless(one) for one in only.brackets) else ()

    def add_plain(self, usage: Usage) -> bool:
        """Count a call whose price depends on its lengths alone; False if it does not."""
        if not self._plain:
            return REPORTED_TICKS not in usage and self._no_price(self.tariff)
        if not usage.keys() <= PLAIN:
            return False
        given, answered, cached = usage.get("input", 0), usage.get("output", 0), usage.get("cached", 0)
        if not given + answered or cached > given:
            return False
        for number, bracket in enumerate(self._plain):
            if given <= bracket.to_input and answered <= bracket.to_output:
                sums = self._pending.get(number)
                if sums is None:
                    sums = self._pending[number] = [0, 0, 0]
                sums[0] += given
                sums[1] += answered
                sums[2] += cached
                return True
        return False

    def add_row(self, discarded: Sequence[Cost | Unknown], kept: Sequence[Cost | Unknown]) -> None:
        """Count a row by what each of its calls cost."""
        whole = (*discarded, *kept)
        if discarded:
            self.charge.discarded.add_total(_of_row(discarded))
        self.charge.cost.add_total(_of_row(whole))
        if not self.charge.reason:
            self.charge.reason = next((cost.reason for cost in whole if isinstance(cost, Unknown)), "")

    def _no_price(self, tariff: Tariff | Unknown) -> bool:
        """Count a call without a price; False when it has one."""
        if isinstance(tariff, Tariff):
            return False
        self.charge.cost.unpriced += 1
        self.charge.reason = self.charge.reason or tariff.reason
        return True

    def settled_charge(self) -> Charge:
        """Return the charge, including the tokens that were not priced yet."""
        for number, (given, answered, cached) in self._pending.items():
            assert isinstance(self.tariff, Tariff)
            bracket = self.tariff.versions[0].brackets[number]
            usage = {"input": given, "output": answered, "cached": cached}
            cost = self.tariff.cost_of_sum(usage, bracket)
            assert isinstance(cost, Cost)  # `_plain` holds no bracket that could say otherwise
            self.charge.cost.add_cost(cost)
        self._pending.clear()
        return self.charge


def _of_row(costs: Iterable[Cost | Unknown]) -> Money:
    """Return the sum of a row's calls, or a row without a price when a call has none."""
    total = Money()
    for cost in costs:
        if isinstance(cost, Unknown):
            return Money(unpriced=1)
        total.add_cost(cost)
    total.at_most = min(total.at_most, 1)
    return total


def _is_timeless(bracket: Any) -> bool:
    return bracket.rates is not None and bracket.rates.cached is not None and bracket.off_peak is None
