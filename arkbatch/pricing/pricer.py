"""Prices usage: the exact cost, or the reason why it is unknown.

A `Pricer` finds the tariff for a reply's model, lane and service tier and remembers it, because ten million rows are
priced by a few tariffs. It also remembers which rows of the book it used, so that a run can keep them. The rules of
charging are in `pricing.tariff`; `pricing.price_book` knows what a name means.

A TPM pack (service tier `scale`) is paid by the hour: its requests have no price by token, so their cost is
unknown. A row with `price.scale = 0` counts them as 0.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache

from arkbatch.core.usage import Usage
from arkbatch.pricing.amounts import Cost, Unknown
from arkbatch.pricing.price_book import PriceBook, PriceRow
from arkbatch.pricing.tariff import Tariff, Version, cost_of

ORDINARY = {"", "auto", "default", "standard"}
ALSO_CALLED = {"flex": "low", "low-priority": "low", "low_priority": "low"}
TARIFFS = 512  # limited, since a server that invents a model name for each reply must not fill the memory


class Pricer:
    def __init__(self, book: PriceBook) -> None:
        self.book = book
        self.tariff = lru_cache(TARIFFS)(self._find_tariff)
        self._families: set[str] = set()
        self._names: set[str] = set()

    def cost_of_call(self, usage: Usage, *, model: str, lane: str, service_tier: str, at: datetime) -> Cost | Unknown:
        """Return what one request cost, by the model and the tier that its reply names."""
        return cost_of(self.tariff(model, lane, service_tier), usage, at)

    def highest_cost(
        self, *, model: str, lane: str, service_tier: str, at: datetime, given: int, answered: int
    ) -> Cost | Unknown:
        """Return the most that `given` input tokens, answered with up to `answered`, can cost."""
        tariff = self.tariff(model, lane, service_tier)
        return tariff if isinstance(tariff, Unknown) else tariff.highest_cost(given, answered, at)

    def used_prices(self) -> PriceBook:
        """Return the rows and names used so far, which a run keeps against later price changes."""
        rows = tuple(row for row in self.book.rows if row.family in self._families)
        return PriceBook(rows, {name: self.book.names[name] for name in sorted(self._names)})

    def _find_tariff(self, model: str, lane: str, service_tier: str = "") -> Tariff | Unknown:
        rows = self.book.rows_of(model)
        if not rows:
            return Unknown(f"{model or 'a reply without a model'} is not in the price book for this server")
        self._families.add(rows[0].family)
        self._names |= {model} & self.book.names.keys()
        column = _own_column(rows, service_tier) if lane == "online" else ""
        column = column or column_of(lane, service_tier)
        named = f"{model} ({column})"
        if not any(column in tier.price for row in rows for tier in row.tiers):
            return Unknown(f"{named} is prepaid" if column == "scale" else f"{named} has no price")
        return Tariff(named, tuple(Version.from_row(row, column) for row in rows), prepaid=column == "scale")


def _own_column(rows: Iterable[PriceRow], service_tier: str) -> str:
    """Return the tier's own name if a row has a price under it, such as a user's `price.flex`; else ""."""
    tier = service_tier.strip().lower()
    has_price = tier in ALSO_CALLED and any(tier in each.price for row in rows for each in row.tiers)
    return tier if has_price else ""


def column_of(lane: str, service_tier: str) -> str:
    """Return the price column of a lane and service tier; low priority is no discount on batch."""
    tier = ALSO_CALLED.get(service_tier.strip().lower(), service_tier.strip().lower())
    if tier in ORDINARY or tier == lane:
        return lane
    if lane == "batch":
        return lane if tier == "low" else f"batch, {tier}"
    return tier
