"""The price book: its rows, and which of them a model's name means.

A row is one family's list prices from one day on, as the price page shows them: tiers by length of input and output,
and in each tier the prices of a lane or service tier. Money is `Decimal`, per million tokens, in the currency it is
billed in; nothing here converts currencies. Books are layered: what a user says takes precedence over what the package
ships, and a run's snapshot over both. This module does no arithmetic (`pricing.tariff`) and reads no file
(`pricing.price_files`); it exports itself as plain data so that a run can keep the rows that it used.
"""

import re
from collections.abc import Iterator
from datetime import date, time
from decimal import Decimal
from itertools import pairwise
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, field, structs

HOSTS = {
    "volces.com": "ark",
    "volcengineapi.com": "ark",
    "bytepluses.com": "byteplus",
    "byteplusapi.com": "byteplus",
}
# The date of a version, as in doubao-seed-1-6-250615, gpt-4o-2024-08-06 and claude-sonnet-4-20250514.
_DATED = re.compile(r"-(?:\d{6}|\d{8}|20\d\d-\d\d-\d\d)$")
_CURRENCY = re.compile(r"[A-Z]{3}")


class Rates(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Price per million tokens of each meter; None means unknown, which is not 0."""

    input: Decimal
    output: Decimal
    cached: Decimal | None = None
    audio_input: Decimal | None = None
    audio_cached: Decimal | None = None
    image_input: Decimal | None = None
    cache_write: Decimal | None = None
    audio_output: Decimal | None = None


class Tier(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The prices of requests with at most these lengths, in k tokens; None is unlimited.

    price: by lane or service tier: `online`, `batch`, `fast`, `low`, or `off_peak` (of `online`)
    """

    price: dict[str, Rates]
    to_input: Decimal | None = None
    to_output: Decimal | None = None


class Peak(Struct, frozen=True, forbid_unknown_fields=True):
    """When the peak price holds: ISO weekdays (Monday is 1) and spans of Beijing time, ends excluded."""

    days: tuple[int, ...]
    hours: tuple[tuple[time, time], ...]


class PriceRow(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One family's prices, from one day on.

    tiers: the first that holds a request prices all of its tokens. None at all: the price is known to have
        changed, and the new one is not known
    match: further model ids of the family, without the date at their end
    provider: whose list it is; "" is a user's own row, valid for any
    k: how many tokens the tiers' "k" is
    effective_from: the first day (Beijing), None for every earlier day
    """

    family: str
    currency: str
    tiers: tuple[Tier, ...] = field(name="tier")
    match: tuple[str, ...] = ()
    provider: str = ""
    k: int = 1000
    peak: Peak | None = None
    effective_from: date | None = None
    checked_on: date | None = None
    source: str = ""
    confidence: str = ""
    note: str = ""

    @property
    def model_ids(self) -> frozenset[str]:
        return frozenset(map(normal_name, (self.family, *self.match)))


class PriceBook(Struct, frozen=True):
    """Rows, and the user's own names for models (`ep-...` -> family)."""

    rows: tuple[PriceRow, ...] = ()
    names: dict[str, str] = field(default_factory=dict)

    def rows_of(self, model: str) -> tuple[PriceRow, ...]:
        """Return the rows of a model's family, oldest first; empty for an unknown model.

        A complete id, with its date, takes precedence over the id without. A prefix never matches: `doubao-seed-1-6`
        and `doubao-seed-1-6-flash` are different models at different prices.
        """
        whole = normal_name(self.names.get(model, model))
        for name in (whole, without_date(whole)):
            for row in self.rows:
                if name in row.model_ids:
                    return self._versions_of(row)
        return ()

    def _versions_of(self, row: PriceRow) -> tuple[PriceRow, ...]:
        same = [one for one in self.rows if (one.provider, one.family) == (row.provider, row.family)]
        return tuple(sorted(same, key=lambda one: one.effective_from or date.min))

    def only_provider(self, provider: str) -> "PriceBook":
        """Return the rows that hold at this provider, since prices of one id differ by provider."""
        return PriceBook(tuple(row for row in self.rows if row.provider in {"", provider}), self.names)

    def laid_over(self, base: "PriceBook") -> "PriceBook":
        """Return this book laid over another; where both know a model, this one counts.

        A row that names a family of the base replaces it whole and, when it lists no ids, takes over the base's.
        """
        rows = tuple(_with_ids_of(row, base) for row in self.rows)
        beneath = (_without_ids_of(rows, row) for row in base.rows)
        return PriceBook(rows + tuple(row for row in beneath if row is not None), {**base.names, **self.names})

    def to_builtins(self) -> dict[str, Any]:
        """Return JSON values, decimals as strings to keep every digit; `from_builtins` reverses it."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    @classmethod
    def from_builtins(cls, plain: Any) -> Self:
        """Return the book of such values; msgspec.ValidationError for others."""
        return msgspec.convert(plain, cls)


def normal_name(model: str) -> str:
    """Return one spelling for `doubao-seed-1.6`, `Doubao-Seed-1-6` and `doubao_seed-1.6`."""
    return model.strip().lower().replace(".", "-").replace("_", "-")


def without_date(name: str) -> str:
    return _DATED.sub("", name)


def provider_of(base_url: str, *, at_ark: bool = False) -> str:
    """Return whose price list holds at this address; "" when that is not known.

    at_ark: the address was named as Ark's, so that a gateway before Ark has Ark's prices
    """
    return _provider_by_host(base_url) or ("ark" if at_ark else "")


def _provider_by_host(base_url: str) -> str:
    host = urlsplit(base_url).hostname or ""
    return next((name for end, name in HOSTS.items() if host == end or host.endswith("." + end)), "")


def find_faults(row: PriceRow) -> Iterator[str]:
    """Return what is wrong with a row beyond its types, for the person who wrote it."""
    if not _CURRENCY.fullmatch(row.currency):
        yield f"currency {row.currency!r} is not a code such as CNY"
    if row.k < 1:
        yield f"k is {row.k}"
    for name, price in _named_numbers(row):
        if not price.is_finite() or price < 0:
            yield f"{name} is {price}"
    for earlier, later in pairwise(row.tiers):
        if not _goes_longer(earlier, later):
            yield "the tiers do not go from short to long: a later one would never be used"


def _named_numbers(row: PriceRow) -> Iterator[tuple[str, Decimal]]:
    for tier in row.tiers:
        for edge in ("to_input", "to_output"):
            if (length := getattr(tier, edge)) is not None:
                yield edge, length
        for column, rates in tier.price.items():
            for meter, price in structs.asdict(rates).items():
                if price is not None:
                    yield f"price.{column}.{meter}", price


def _goes_longer(earlier: Tier, later: Tier) -> bool:
    if earlier.to_input == later.to_input:
        return earlier.to_output is not None and (later.to_output is None or earlier.to_output < later.to_output)
    return earlier.to_input is not None and (later.to_input is None or earlier.to_input < later.to_input)


def _with_ids_of(row: PriceRow, base: PriceBook) -> PriceRow:
    if row.match:
        return row
    same = (one.match for one in base.rows if normal_name(one.family) == normal_name(row.family))
    return structs.replace(row, match=tuple(dict.fromkeys(model for ids in same for model in ids)))


def _without_ids_of(top: tuple[PriceRow, ...], row: PriceRow) -> PriceRow | None:
    """Return the base's row without the ids that the book on top replaces.

    Rows on top are found first, so only ids with a date have to be removed: they would be found before the top's id
    without a date.
    """
    covering = [one for one in top if one.provider in {"", row.provider}]
    if any(normal_name(one.family) == normal_name(row.family) for one in covering):
        return None
    taken = frozenset[str]().union(*(one.model_ids for one in covering))
    return structs.replace(row, match=tuple(one for one in row.match if without_date(normal_name(one)) not in taken))
