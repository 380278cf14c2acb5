"""What a run has cost: folds what each record billed into amounts by endpoint, model and service tier.

A price tier is chosen by each call's own lengths, so costs are added up and never worked out from summed usage. Within
one tier a cost is linear in the tokens, so plain calls are kept as sums of tokens by tier until somebody asks for the
amount: that costs a microsecond a row, where exact decimals cost several, and the digits are the same.

Each call is priced by the model and service tier that its own reply named, also one whose answer was thrown away; its
cost is counted with its row, under the model that the row ended with, as its tokens are. Only a model that is in no
price book goes by what the request named, where the user's [map] says what that stands for.

What a record billed is read by `spent`, which records count is the ledger's to say, what a call costs is `tariff`'s.
The price of a whole record is that of the day on which it was written.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct, field

from arkbatch.core.ledger import Ledger
from arkbatch.core.money import Cost, Money, Unknown
from arkbatch.core.pricing import Pricer
from arkbatch.core.records import Outcome, Success, Usage
from arkbatch.core.spent import BilledEntry, Spent, Thrown, new_in, spent_by
from arkbatch.core.tariff import Tariff

PLAIN = {"input", "output", "reasoning", "cached"}
BATCH, ONLINE = "batch", "online"


class Charge(Struct):
    """What one endpoint, model and service tier cost, of the rows that asked for `asked_model`.

    thrown: the part of `cost` that bought answers which were thrown away
    reason: why a row has no price
    """

    endpoint: str
    lane: str
    model: str
    service_tier: str
    cost: Money = field(default_factory=Money)
    thrown: Money = field(default_factory=Money)
    reason: str = ""
    asked_model: str = ""

    def merge(self, other: "Charge") -> None:
        self.cost.merge(other.cost)
        self.thrown.merge(other.thrown)
        self.reason = self.reason or other.reason


class _Till:
    """A charge with its tariff at hand, and the tokens that are not yet turned into money, by price tier."""

    __slots__ = ("_pending", "_plain", "charge", "tariff")

    def __init__(self, charge: Charge, tariff: Tariff | Unknown) -> None:
        self.charge = charge
        self.tariff = tariff
        self._pending: dict[int, list[int]] = {}
        only = tariff.versions[0] if isinstance(tariff, Tariff) and len(tariff.versions) == 1 else None
        # Prices that depend on the day, the hour or a missing cached price are looked up for each call.
        self._plain = only and only.brackets if only and all(_timeless(one) for one in only.brackets) else ()

    def add_plain(self, usage: Usage) -> bool:
        """Count a call whose price hangs on its lengths alone; False, and nothing counted, when it does not."""
        if not self._plain:
            return self._no_price(self.tariff)
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

    def add_row(self, thrown: Sequence[Cost | Unknown], kept: Cost | Unknown | None) -> None:
        """Count a row by what each of its calls cost."""
        whole = thrown if kept is None else (*thrown, kept)
        if thrown:
            self.charge.thrown.merge(_of_row(thrown))
        self.charge.cost.merge(_of_row(whole))
        if not self.charge.reason:
            self.charge.reason = next((cost.reason for cost in whole if isinstance(cost, Unknown)), "")

    def _no_price(self, tariff: Tariff | Unknown) -> bool:
        """Count a call whose price nobody knows; False when somebody does."""
        if isinstance(tariff, Tariff):
            return False
        self.charge.cost.unpriced += 1
        self.charge.reason = self.charge.reason or tariff.reason
        return True

    def settle(self) -> Charge:
        """The charge with all that is pending in it."""
        for number, (given, answered, cached) in self._pending.items():
            assert isinstance(self.tariff, Tariff)
            bracket = self.tariff.versions[0].brackets[number]
            usage = {"input": given, "output": answered, "cached": cached}
            cost = self.tariff.charge(usage, bracket)
            assert isinstance(cost, Cost)  # `_plain` holds no bracket that could say otherwise
            self.charge.cost.add(cost)
        self._pending.clear()
        return self.charge


def _of_row(costs: Iterable[Cost | Unknown]) -> Money:
    """A row's money: the sum of its calls, or a row without a price when one of them has none."""
    total = Money()
    for cost in costs:
        if isinstance(cost, Unknown):
            return Money(unpriced=1)
        total.add(cost)
    total.at_most = min(total.at_most, 1)
    return total


def _timeless(bracket: Any) -> bool:
    return bracket.rates is not None and bracket.rates.cached is not None and bracket.off_peak is None


Key = tuple[str, str, str, str]


class Bill:
    """Adds up what is spent.

    asked: the job's model, taken for that of a request whose record does not name it
    opened: called when a model or tier is met for the first time, since it may have used new prices
    """

    def __init__(self, pricer: Pricer, asked: str = "", opened: Callable[[], None] = lambda: None) -> None:
        self.pricer = pricer
        self._asked = asked
        self._opened = opened
        self._tills: dict[Key, _Till] = {}
        self._tariffs: dict[Key, Tariff | Unknown] = {}

    def record(self, outcome: Outcome, at: float) -> None:
        """Count a fresh outcome, recorded at this unix time."""
        if isinstance(outcome, Success) and not outcome.discarded:
            row = outcome.row
            till = self._tills.get((row.endpoint, outcome.model, outcome.service_tier, row.asked_model))
            if till is not None and till.add_plain(outcome.usage):
                return
        if (spent := spent_by(outcome, at)) is not None:
            self.add(spent)

    def add(self, spent: Spent) -> None:
        key = (spent.endpoint, spent.model, spent.service_tier, spent.asked_model)
        till = self._tills.get(key)
        if till is None:
            charge = Charge(spent.endpoint, lane_of(spent.endpoint), *key[1:3], asked_model=spent.asked_model)
            till = self._tills[key] = _Till(charge, self._tariff_of(key))
        kept = spent.kept
        if kept is None or spent.thrown or not till.add_plain(kept):
            at = datetime.fromtimestamp(spent.at, UTC)
            thrown = [_cost(self._tariff_of(_served(call, key)), call.usage, at) for call in spent.thrown]
            till.add_row(thrown, None if kept is None else _cost(till.tariff, kept, at))

    def fold(self, entry: BilledEntry, ledger: Ledger) -> None:
        """Count one line that the ledger is about to fold."""
        for spent in new_in(entry, ledger):
            self.add(spent)

    def _tariff_of(self, key: Key) -> Tariff | Unknown:
        tariff = self._tariffs.get(key)
        if tariff is None:
            endpoint, model, service_tier, asked_model = key
            tariff = self.tariff(model, lane_of(endpoint), service_tier, asked_model)
            self._tariffs[key] = tariff
            self._opened()
        return tariff

    def tariff(self, model: str, lane: str, service_tier: str, asked_model: str = "") -> Tariff | Unknown:
        tariff, asked_model = self.pricer.tariff(model, lane, service_tier), asked_model or self._asked
        if isinstance(tariff, Unknown) and asked_model in self.pricer.book.names and not self.pricer.book.find(model):
            return self.pricer.tariff(asked_model, lane, service_tier)
        return tariff

    @property
    def charges(self) -> list[Charge]:
        """By endpoint, model and service tier."""
        merged: dict[tuple[str, str, str], Charge] = {}
        for each in self._settled():
            key = (each.endpoint, each.model, each.service_tier)
            merged.setdefault(key, Charge(each.endpoint, each.lane, each.model, each.service_tier)).merge(each)
        return [merged[key] for key in sorted(merged)]

    def _settled(self) -> list[Charge]:
        return [till.settle() for till in list(self._tills.values())]

    def cost(self) -> Money:
        return total(charge.cost for charge in self._settled())

    def thrown(self) -> Money:
        return total(charge.thrown for charge in self._settled())

    @property
    def reason(self) -> str:
        """Why some row has no price, "" when all have one."""
        return next((charge.reason for charge in self._settled() if charge.reason), "")

    def to_bytes(self, prices: str) -> bytes:
        """`prices` names the book, so that `restore` can tell whether the amounts still hold."""
        return msgspec.msgpack.encode((prices, self._settled()))

    def forget(self) -> None:
        """Begin again."""
        self._tills.clear()

    def restore(self, data: bytes, prices: str | None = None) -> bool:
        """Begin from saved amounts; False when there are none, or when the prices were others."""
        if not data:
            return False
        known, charges = msgspec.msgpack.decode(data, type=tuple[str, list[Charge]])
        if prices is not None and prices != known:
            return False
        self._tills.clear()
        for each in charges:
            key = (each.endpoint, each.model, each.service_tier, each.asked_model)
            tariff = self.tariff(each.model, each.lane, each.service_tier, each.asked_model)
            self._tills[key] = _Till(each, tariff)
        return True


def _cost(tariff: Tariff | Unknown, usage: Usage, at: datetime) -> Cost | Unknown:
    return tariff if isinstance(tariff, Unknown) else tariff.cost(usage, at)


def _served(call: Thrown, key: Key) -> Key:
    """The key of a call whose reply may have named another model or tier than its row ended with."""
    endpoint, model, service_tier, asked_model = key
    return (
        endpoint,
        model if call.model is None else call.model,
        service_tier if call.service_tier is None else call.service_tier,
        asked_model,
    )


def lane_of(endpoint: str) -> str:
    return BATCH if endpoint.startswith(BATCH) else ONLINE


def total(amounts: Iterable[Money]) -> Money:
    whole = Money()
    for amount in amounts:
        whole.merge(amount)
    return whole
