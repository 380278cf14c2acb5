"""Adds up the cost of a run by endpoint, model and service tier.

A price tier is chosen by each call's own lengths, so costs are added up and never worked out from summed usage.

Each call is priced by the model and service tier that its own reply named, also one whose answer was discarded; its
cost is counted with its row, under the model that the row ended with, as its tokens are. Only a model that is in no
price book goes by what the request named, where the user's [map] says what that stands for.

`pricing.billed_usage` reads what a record billed, the ledger decides which records count, `pricing.tariff` knows what
a call costs, and `pricing.subtotal` adds it up. All calls of a record have the prices of the day on which it was
written.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Self

import msgspec

from arkbatch.core.outcomes import Outcome, Success
from arkbatch.core.row import Before
from arkbatch.journal.ledger import Ledger, Tally
from arkbatch.pricing.amounts import Money, Unknown
from arkbatch.pricing.billed_usage import BilledEntry, BilledReply, Spent, decode_billed, new_in, spent_before, spent_by
from arkbatch.pricing.pricer import Pricer
from arkbatch.pricing.subtotal import Charge, PendingCharge
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
        self._pending: dict[Key, PendingCharge] = {}
        self._tariffs: dict[Key, Tariff | Unknown] = {}

    def record(self, outcome: Outcome, at: float) -> None:
        """Count a fresh outcome, recorded at this unix time."""
        row = outcome.row
        if isinstance(outcome, Success) and not (
            outcome.discarded or outcome.messages or row.before or outcome.copy_of
        ):
            pending = self._pending.get((outcome.row.endpoint, outcome.model, outcome.service_tier, row.asked_model))
            if pending is not None and pending.add_plain(outcome.usage):
                return
        if (spent := spent_by(outcome, at)) is not None:
            self.add_spent(spent)

    def add_spent(self, spent: Spent) -> None:
        key = (spent.endpoint, spent.model, spent.service_tier, spent.asked_model)
        pending = self._pending.get(key)
        if pending is None:
            charge = Charge(spent.endpoint, lane_of(spent.endpoint), *key[1:3], asked_model=spent.asked_model)
            pending = self._pending[key] = PendingCharge(charge, self._tariff_of(key))
        unpriced = pending.charge.cost.unpriced, pending.charge.discarded.unpriced
        self._add_calls(pending, spent, key)
        if spent.earlier and any(self._has_no_price(each) for each in spent.earlier):
            # The row is counted as one without a price already, whatever else it billed then.
            pending.charge.cost.unpriced, pending.charge.discarded.unpriced = unpriced

    def _add_calls(self, pending: PendingCharge, spent: Spent, key: Key) -> None:
        kept = spent.kept
        if kept is None or spent.discarded or spent.rounds or not pending.add_plain(kept):
            at = datetime.fromtimestamp(spent.at, UTC)
            discarded, rounds = (
                [cost_of(self._tariff_of(_key_of_reply(call, key)), call.usage, at) for call in calls]
                for calls in (spent.discarded, spent.rounds)
            )
            pending.add_row(discarded, rounds if kept is None else [*rounds, cost_of(pending.tariff, kept, at)])

    def _has_no_price(self, earlier: Before) -> bool:
        """Whether an earlier record of a row billed something whose price is not known."""
        spent = spent_before(earlier)
        if spent is None:
            return False
        key = (spent.endpoint, spent.model, spent.service_tier, spent.asked_model)
        at = datetime.fromtimestamp(spent.at, UTC)
        return any(
            isinstance(cost_of(self._tariff_of(_key_of_reply(call, key)), call.usage, at), Unknown)
            for call in spent.discarded
        )

    def decode(self, line: bytes) -> BilledEntry:
        """Read one line of a journal file for its cost. msgspec.DecodeError: it is not a record."""
        return decode_billed(line)

    def fold(self, entry: BilledEntry, ledger: Ledger) -> None:
        """Count one line that the ledger is about to fold."""
        for spent in new_in(entry, ledger):
            self.add_spent(spent)

    def _tariff_of(self, key: Key) -> Tariff | Unknown:
        tariff = self._tariffs.get(key)
        if tariff is None:
            endpoint, model, service_tier, asked_model = key
            tariff = self.tariff_of(model, lane_of(endpoint), service_tier, asked_model)
            self._tariffs[key] = tariff
            self._opened()
        return tariff

    def tariff_of(self, model: str, lane: str, service_tier: str, asked_model: str = "") -> Tariff | Unknown:
        asked_model = asked_model or self._asked
        if not model:  # a reply without a model was made by the one that was asked for
            return self.pricer.tariff(asked_model, lane, service_tier)
        tariff = self.pricer.tariff(model, lane, service_tier)
        if (
            isinstance(tariff, Unknown)
            and asked_model in self.pricer.book.names
            and not self.pricer.book.rows_of(model)
        ):
            return self.pricer.tariff(asked_model, lane, service_tier)
        return tariff

    @property
    def charges(self) -> list[Charge]:
        """The charges by endpoint, model and service tier."""
        merged: dict[tuple[str, str, str], Charge] = {}
        for each in self._settled_charges():
            key = (each.endpoint, each.model, each.service_tier)
            merged.setdefault(key, Charge(each.endpoint, each.lane, each.model, each.service_tier)).add_charge(each)
        return [merged[key] for key in sorted(merged)]

    def _settled_charges(self) -> list[Charge]:
        return [pending.settled_charge() for pending in list(self._pending.values())]

    def total_cost(self) -> Money:
        return sum_of(charge.cost for charge in self._settled_charges())

    def discarded_cost(self) -> Money:
        return sum_of(charge.discarded for charge in self._settled_charges())

    @property
    def no_price_reason(self) -> str:
        """Why some row has no price, "" when all have one."""
        return next((charge.reason for charge in self._settled_charges() if charge.reason), "")

    def usage_of(self, tally: Tally) -> dict[str, Any]:
        """Return the fields of `usage.json` for one endpoint, model and service tier; amounts are decimal texts."""
        key = (tally.endpoint, tally.model, tally.service_tier)
        charge = next((each for each in self.charges if (each.endpoint, each.model, each.service_tier) == key), None)
        if charge is None:
            return {}
        said = {
            "lane": charge.lane,
            "cost": charge.cost.to_builtins(),
            "discarded_cost": charge.discarded.to_builtins(),
        }
        return said | ({"no_price_because": charge.reason} if charge.reason else {})

    def usage_of_all(self) -> dict[str, Any]:
        """Return the fields of `usage.json` for the run, with the rows of the price book that were used."""
        return {
            "cost": self.total_cost().to_builtins(),
            "discarded_cost": self.discarded_cost().to_builtins(),
            "prices": self.pricer.used_prices().to_builtins(),
        }

    def to_bytes(self, prices: str) -> bytes:
        """`prices` names the book, so that `restore` can tell whether the amounts still hold."""
        return msgspec.msgpack.encode((prices, self._settled_charges()))

    def new_account(self) -> Self:
        """Return an empty bill at the same prices."""
        return type(self)(self.pricer, self._asked, self._opened)

    def absorb(self, other: Self) -> None:
        """Add what another bill at the same prices has added up."""
        for each in other._settled_charges():
            key = (each.endpoint, each.model, each.service_tier, each.asked_model)
            pending = self._pending.get(key)
            if pending is None:
                self._pending[key] = PendingCharge(each, self._tariff_of(key))
            else:
                pending.charge.add_charge(each)

    def clear_costs(self) -> None:
        """Discard all costs, to count anew."""
        self._pending.clear()

    def restore(self, data: bytes, prices: str | None = None) -> bool:
        """Begin from saved amounts; False when there are none, or when the prices were others."""
        if not data:
            return False
        known, charges = msgspec.msgpack.decode(data, type=tuple[str, list[Charge]])
        if prices is not None and prices != known:
            return False
        self._pending.clear()
        for each in charges:
            key = (each.endpoint, each.model, each.service_tier, each.asked_model)
            tariff = self.tariff_of(each.model, each.lane, each.service_tier, each.asked_model)
            self._pending[key] = PendingCharge(each, tariff)
        return True


def _key_of_reply(call: BilledReply, key: Key) -> Key:
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


def sum_of(amounts: Iterable[Money]) -> Money:
    whole = Money()
    for amount in amounts:
        whole.add_total(amount)
    return whole
