"""What a run has cost: folds what each record billed into amounts by endpoint, model and service tier.

A price tier is chosen by each call's own lengths, so costs are added up and never worked out from summed usage. Within
one tier a cost is linear in the tokens, so plain calls are kept as sums of tokens by tier until somebody asks for the
amount: that costs a microsecond a row, where exact decimals cost several, and the digits are the same.

Which records count is the ledger's to say; what a call costs is `tariff`'s. The price of a whole record is that of
the day on which it was written.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct, field

from arkbatch.core.ledger import Ledger
from arkbatch.core.lines import Entry
from arkbatch.core.money import Cost, Money, Unknown
from arkbatch.core.pricing import Pricer
from arkbatch.core.records import Before, Outcome, Success, Usage
from arkbatch.core.tariff import Tariff

PLAIN = {"input", "output", "reasoning", "cached"}
BATCH, ONLINE = "batch", "online"


class BilledCall(Struct, gc=False):
    """What is needed of a call in a record."""

    verdict: str
    tokens: dict[str, int] = {}


class BilledEntry(Entry):
    """A line as it is read for its cost."""

    finished_at: datetime = datetime.fromtimestamp(0, UTC)
    calls: list[BilledCall] = field(default_factory=list)


decode_billed = msgspec.json.Decoder(BilledEntry).decode


class Spent(Struct, frozen=True, gc=False):
    """What one session billed for one row.

    kept: of the answering call, None when there is none; thrown: of each call whose answer was thrown away
    at: unix time of the record
    """

    endpoint: str
    model: str
    service_tier: str
    at: float
    kept: Usage | None
    thrown: Sequence[Usage] = ()


def spent_by(outcome: Outcome, at: float) -> Spent | None:
    """The part of a fresh outcome that is its own; None when nothing was billed."""
    if isinstance(outcome, Success):
        usage, discarded = outcome.usage, outcome.discarded
        thrown = _thrown(outcome.calls, discarded) if discarded else ()
        kept = _less(usage, discarded) if discarded else usage
        return Spent(outcome.row.endpoint, outcome.model, outcome.service_tier, at, kept, thrown)
    if not outcome.usage:
        return None
    endpoint = getattr(outcome.row, "endpoint", "")
    return Spent(endpoint, outcome.model, outcome.service_tier, at, None, _thrown(outcome.calls, outcome.usage))


def spent_of(entry: BilledEntry) -> Spent | None:
    """The same from a line read back."""
    own = _less(entry.usage, *(earlier.usage for earlier in entry.before)) if entry.before else entry.usage
    at = entry.finished_at.timestamp()
    if entry.error is None:
        thrown = _thrown(entry.calls, entry.discarded) if entry.discarded else ()
        kept = _less(own, entry.discarded) if entry.discarded else own
        return Spent(entry.endpoint, entry.model, entry.service_tier, at, kept, thrown)
    if not any(own.values()):
        return None
    return Spent(entry.endpoint, entry.model, entry.service_tier, at, None, _thrown(entry.calls, own))


def spent_before(earlier: Before) -> Spent | None:
    """What an earlier record of the row billed, when that record is not in the files any more."""
    if not any(earlier.usage.values()):
        return None
    at = earlier.at.timestamp() if earlier.at else 0.0
    thrown = earlier.calls or (earlier.usage,)
    return Spent(earlier.endpoint, earlier.model, earlier.service_tier, at, None, thrown)


def _thrown(calls: Iterable[Any], together: Usage) -> Sequence[Usage]:
    """The usages of the calls that were billed for nothing."""
    each = [call.tokens for call in calls if call.tokens and call.verdict != "done"]
    return each or (together,)


def _less(usage: Usage, *parts: Usage) -> dict[str, int]:
    left = dict(usage)
    for part in parts:
        for meter, count in part.items():
            left[meter] = left.get(meter, 0) - count
    return left


class Charge(Struct):
    """What one endpoint, model and service tier cost.

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

    def add(self, spent: Spent) -> None:
        kept = spent.kept
        if kept is None or spent.thrown or not self.add_plain(kept):
            self._add_each(spent)

    def add_plain(self, usage: Usage) -> bool:
        """Count a call whose price hangs on its lengths alone; False, and nothing counted, when it does not."""
        if not self._plain or not usage.keys() <= PLAIN:
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

    def _add_each(self, spent: Spent) -> None:
        at = datetime.fromtimestamp(spent.at, UTC)
        thrown = self._price(spent.thrown, at) if spent.thrown else None
        cost = thrown if spent.kept is None else self._price((*spent.thrown, spent.kept), at)
        if thrown is not None:
            self.charge.thrown.add(thrown)
        if cost is not None:
            self.charge.cost.add(cost)
        if isinstance(cost, Unknown):
            self.charge.reason = self.charge.reason or cost.reason

    def _price(self, calls: Iterable[Usage], at: datetime) -> Cost | Unknown:
        total = Money()
        last: Cost | Unknown = Unknown("nothing was billed")
        for usage in calls:
            last = self.tariff if isinstance(self.tariff, Unknown) else self.tariff.cost(usage, at)
            if isinstance(last, Unknown):
                return last
            total.add(last)
        if isinstance(last, Unknown):
            return last
        return Cost(total.amounts[last.currency], last.currency, last.row, total.at_most > 0)

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


def _timeless(bracket: Any) -> bool:
    return bracket.rates is not None and bracket.rates.cached is not None and bracket.off_peak is None


class Bill:
    """Adds up what is spent.

    asked: the job's model, which prices a reply whose own model is unknown when the user's [map] names it
    opened: called when a model or tier is met for the first time, since it may have used new prices
    """

    def __init__(self, pricer: Pricer, asked: str = "", opened: Callable[[], None] = lambda: None) -> None:
        self.pricer = pricer
        self._asked = asked
        self._opened = opened
        self._tills: dict[tuple[str, str, str], _Till] = {}

    def record(self, outcome: Outcome, at: float) -> None:
        """Count a fresh outcome, recorded at this unix time."""
        if isinstance(outcome, Success) and not outcome.discarded:
            till = self._tills.get((outcome.row.endpoint, outcome.model, outcome.service_tier))
            if till is not None and till.add_plain(outcome.usage):
                return
        if (spent := spent_by(outcome, at)) is not None:
            self.add(spent)

    def add(self, spent: Spent) -> None:
        key = (spent.endpoint, spent.model, spent.service_tier)
        till = self._tills.get(key)
        if till is None:
            till = self._tills[key] = self._open(Charge(spent.endpoint, lane_of(spent.endpoint), *key[1:]))
            self._opened()
        till.add(spent)

    def fold(self, entry: BilledEntry, ledger: Ledger) -> None:
        """Count one line that the ledger is about to fold."""
        for spent in new_in(entry, ledger):
            self.add(spent)

    def _open(self, charge: Charge) -> _Till:
        return _Till(charge, self.tariff(charge.model, charge.lane, charge.service_tier))

    def tariff(self, model: str, lane: str, service_tier: str) -> Tariff | Unknown:
        tariff = self.pricer.tariff(model, lane, service_tier)
        if isinstance(tariff, Unknown) and self._asked in self.pricer.book.names and not self.pricer.book.find(model):
            return self.pricer.tariff(self._asked, lane, service_tier)
        return tariff

    @property
    def charges(self) -> list[Charge]:
        charges = (till.settle() for till in list(self._tills.values()))
        return sorted(charges, key=lambda charge: (charge.endpoint, charge.model, charge.service_tier))

    def cost(self) -> Money:
        return total(charge.cost for charge in self.charges)

    def thrown(self) -> Money:
        return total(charge.thrown for charge in self.charges)

    @property
    def reason(self) -> str:
        """Why some row has no price, "" when all have one."""
        return next((charge.reason for charge in self.charges if charge.reason), "")

    def to_bytes(self, prices: str) -> bytes:
        """`prices` names the book, so that `restore` can tell whether the amounts still hold."""
        return msgspec.msgpack.encode((prices, self.charges))

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
        self._tills = {(each.endpoint, each.model, each.service_tier): self._open(each) for each in charges}
        return True


def new_in(entry: BilledEntry, ledger: Ledger) -> Iterator[Spent]:
    """What a line adds that the lines which the ledger has folded did not have, by the ledger's own rules."""
    if entry.row in ledger.done:
        return
    for earlier in () if entry.row in ledger.failed else entry.before:
        if (spent := spent_before(earlier)) is not None:
            yield spent
    if (spent := spent_of(entry)) is not None:
        yield spent


def lane_of(endpoint: str) -> str:
    return BATCH if endpoint.startswith(BATCH) else ONLINE


def total(amounts: Iterable[Money]) -> Money:
    whole = Money()
    for amount in amounts:
        whole.merge(amount)
    return whole
