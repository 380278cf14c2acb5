"""What a run has cost: folds what each record billed into amounts by endpoint, model and service tier.

A price tier is chosen by each call's own lengths, so costs are added up and never worked out from summed usage.

Each call is priced by the model and service tier that its own reply named, also one whose answer was discarded; its
cost is counted with its row, under the model that the row ended with, as its tokens are. Only a model that is in no
price book goes by what the request named, where the user's [map] says what that stands for.

What a record billed is read by `spent`, which records count is the ledger's to say, what a call costs is `tariff`'s,
and adding it up is left to `till`. The price of a whole record is that of the day on which it was written.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from arkbatch.core.types import Before, Outcome, Success
from arkbatch.journal.ledger import Ledger, Tally
from arkbatch.pricing.amounts import Money, Unknown
from arkbatch.pricing.billed_usage import BilledEntry, Spent, Thrown, decode_billed, new_in, spent_before, spent_by
from arkbatch.pricing.pricing import Pricer
from arkbatch.pricing.subtotal import Charge, Till
from arkbatch.pricing.tariff import Tariff, cost_of

BATCH, ONLINE = "batch", "online"

Key = tuple[str, str, str, str]
"""Endpoint, model and service tier of the reply, and the model that was asked for."""


class Bill:
    """Adds up what is spent.

    asked: the job's model, taken for that of a request whose record does not name it
    opened: called when a model or tier is met for the first time, since it may have used new prices
    """

    def __init__(self, pricer: Pricer, asked: str = "", opened: Callable[[], None] = lambda: None) -> None:
        self.pricer = pricer
        self._asked = asked
        self._opened = opened
        self._tills: dict[Key, Till] = {}
        self._tariffs: dict[Key, Tariff | Unknown] = {}

    def record(self, outcome: Outcome, at: float) -> None:
        """Count a fresh outcome, recorded at this unix time."""
        row = outcome.row
        if isinstance(outcome, Success) and not (
            outcome.discarded or outcome.messages or row.before or outcome.copy_of
        ):
            till = self._tills.get((outcome.row.endpoint, outcome.model, outcome.service_tier, row.asked_model))
            if till is not None and till.add_plain(outcome.usage):
                return
        if (spent := spent_by(outcome, at)) is not None:
            self.add(spent)

    def add(self, spent: Spent) -> None:
        key = (spent.endpoint, spent.model, spent.service_tier, spent.asked_model)
        till = self._tills.get(key)
        if till is None:
            charge = Charge(spent.endpoint, lane_of(spent.endpoint), *key[1:3], asked_model=spent.asked_model)
            till = self._tills[key] = Till(charge, self._tariff_of(key))
        unpriced = till.charge.cost.unpriced, till.charge.thrown.unpriced
        self._add_calls(till, spent, key)
        if spent.earlier and any(self._has_no_price(each) for each in spent.earlier):
            # The row is counted as one without a price already, whatever else it billed then.
            till.charge.cost.unpriced, till.charge.thrown.unpriced = unpriced

    def _add_calls(self, till: Till, spent: Spent, key: Key) -> None:
        kept = spent.kept
        if kept is None or spent.thrown or spent.rounds or not till.add_plain(kept):
            at = datetime.fromtimestamp(spent.at, UTC)
            thrown, rounds = (
                [cost_of(self._tariff_of(_served(call, key)), call.usage, at) for call in calls]
                for calls in (spent.thrown, spent.rounds)
            )
            till.add_row(thrown, rounds if kept is None else [*rounds, cost_of(till.tariff, kept, at)])

    def _has_no_price(self, earlier: Before) -> bool:
        """Whether an earlier record of a row billed something whose price is not known."""
        spent = spent_before(earlier)
        if spent is None:
            return False
        key = (spent.endpoint, spent.model, spent.service_tier, spent.asked_model)
        at = datetime.fromtimestamp(spent.at, UTC)
        return any(
            isinstance(cost_of(self._tariff_of(_served(call, key)), call.usage, at), Unknown) for call in spent.thrown
        )

    def decode(self, line: bytes) -> BilledEntry:
        """Read one line of a journal file for its cost. msgspec.DecodeError: it is not a record."""
        return decode_billed(line)

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
        asked_model = asked_model or self._asked
        if not model:  # a reply without a model was made by the one that was asked for
            return self.pricer.tariff(asked_model, lane, service_tier)
        tariff = self.pricer.tariff(model, lane, service_tier)
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

    def usage_of(self, tally: Tally) -> dict[str, Any]:
        """Return the fields of `usage.json` for one endpoint, model and service tier; amounts are decimal texts."""
        key = (tally.endpoint, tally.model, tally.service_tier)
        charge = next((each for each in self.charges if (each.endpoint, each.model, each.service_tier) == key), None)
        if charge is None:
            return {}
        said = {"lane": charge.lane, "cost": charge.cost.plain(), "discarded_cost": charge.thrown.plain()}
        return said | ({"no_price_because": charge.reason} if charge.reason else {})

    def usage_of_all(self) -> dict[str, Any]:
        """Return the fields of `usage.json` for the run, with the rows of the price book that were used."""
        return {
            "cost": self.cost().plain(),
            "discarded_cost": self.thrown().plain(),
            "prices": self.pricer.used().plain(),
        }

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
            self._tills[key] = Till(each, tariff)
        return True


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
