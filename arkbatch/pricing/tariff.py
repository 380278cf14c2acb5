"""The prices of one model on one lane, ready to price many requests.

The rules are Ark's: one tier, chosen by the request's whole input and output length, prices *all* its tokens; cached
tokens count towards the length and have a price of their own; `output` already contains the reasoning. So a cost
belongs to one request: add up costs, never usages. Where only an upper bound is known (unpublished peak hours) the
higher price is taken and the cost says `at_most`.

What a reply's usage does not show is in no cost: storage of explicit caches, free quota, an account's contract.
"""

from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Self

from msgspec import Struct, structs

from arkbatch.core.usage import ASSUMED, CONTRADICTORY, REPORTED_TICKS, UNCOUNTED, Usage
from arkbatch.pricing.amounts import EXACT, ZERO, Cost, Unknown, reported_cost
from arkbatch.pricing.price_book import Peak, PriceRow, Rates
from arkbatch.protocol.endpoints.usage import TOOL_CALL_METERS

BEIJING = timezone(timedelta(hours=8))  # in which both consoles bill
ENDLESS = 1 << 62
PRICED = {"input", "cached", "cache_write", "output", "audio_input", "audio_cached", "image_input", "audio_output"}
# These are priced with the whole they are part of, or count no tokens.
UNDERSTOOD = PRICED | TOOL_CALL_METERS | {"video_input", "reasoning", ASSUMED, CONTRADICTORY, REPORTED_TICKS}
PREPAID = {"provisioned_input", "provisioned_output"}


class Bracket(Struct, frozen=True):
    """A tier with its ends in tokens and its prices per token; None: no price in this column."""

    to_input: int
    to_output: int
    rates: Rates | None
    off_peak: Rates | None


class Version(Struct, frozen=True):
    """One row of the book in one column; `since` is the first day on which it holds."""

    row: PriceRow
    brackets: tuple[Bracket, ...]
    since: date

    @classmethod
    def from_row(cls, row: PriceRow, column: str) -> Self:
        brackets = tuple(
            Bracket(
                _end_in_tokens(tier.to_input, max(row.k, 1024) if index == len(row.tiers) else row.k),
                _end_in_tokens(tier.to_output, row.k),
                _per_token(tier.price.get(column)),
                _per_token(tier.price.get("off_peak")) if column == "online" else None,
            )
            for index, tier in enumerate(row.tiers, 1)
        )
        return cls(row, brackets, row.effective_from or date.min)

    def bracket_for(self, given: int, answered: int) -> Bracket | None:
        for bracket in self.brackets:
            if given <= bracket.to_input and answered <= bracket.to_output:
                return bracket
        return None


def _end_in_tokens(length: Decimal | None, k: int) -> int:
    """Return a tier's end in tokens.

    The last tier ends where the context window does, and windows are counted in 1024s. A request that was answered with
    256,001 tokens of input fitted a window of 262,144; it has no other tier.
    """
    return ENDLESS if length is None else int(EXACT.multiply(length, k))


def _per_token(rates: Rates | None) -> Rates | None:
    if rates is None:
        return None
    million: dict[str, Any] = structs.asdict(rates)
    return Rates(**{meter: price and price.scaleb(-6, EXACT) for meter, price in million.items()})


class Tariff(Struct, frozen=True):
    """The prices of one model in one column of the book, oldest version first."""

    named: str
    versions: tuple[Version, ...]
    prepaid: bool = False

    def cost_of_call(self, usage: Usage, at: datetime) -> Cost | Unknown:
        """Return the cost of one request; `at`, with a time zone, is when it was answered."""
        given, answered = usage.get("input", 0), usage.get("output", 0)
        if usage.get(UNCOUNTED) or not given + answered:
            return Unknown("the reply did not count its output" if given else "the reply did not count its tokens")
        version = self.version_on(at)
        bracket = version.bracket_for(given, answered)
        if bracket is None or bracket.rates is None:
            return self._no_price(version, given)
        peak, row = version.row.peak, version.row
        if bracket.off_peak is None:
            return self._cost_at(usage, bracket.rates, row, at_most=False)
        if peak is None:
            return self._cost_at(usage, bracket.rates, row, at_most=True)
        return self._cost_at(usage, bracket.rates if in_peak(peak, at) else bracket.off_peak, row, at_most=False)

    def highest_cost(self, given: int, answered: int, at: datetime) -> Cost | Unknown:
        """Return the most that so much input can cost with up to so much output.

        It assumes peak hours, no cached tokens, and all input as images where those cost more. It also tries the output
        edges in between, for a book in which the longer answer is cheaper.
        """
        version, dearest = self.version_on(at), None
        for length in (*(end for end in version_edges(version)[1] if end < answered), answered):
            bracket = version.bracket_for(given, length)
            if bracket is None or bracket.rates is None:
                return self._no_price(version, given)
            for rates in (bracket.rates, bracket.off_peak or bracket.rates):
                dear = max(rates.input, rates.image_input or ZERO, rates.cache_write or ZERO)
                amount = EXACT.add(EXACT.multiply(dear, given), EXACT.multiply(rates.output, length))
                if dearest is None or amount > dearest.amount:
                    dearest = Cost(amount, version.row.currency, version.row, at_most=True)
        return dearest or self._no_price(version, given)

    def version_on(self, at: datetime) -> Version:
        """Return the prices of that day; for a day before all of them, the oldest known."""
        if len(self.versions) == 1:
            return self.versions[0]
        today = in_beijing(at).date()
        return next((one for one in reversed(self.versions) if one.since <= today), self.versions[0])

    def cost_of_sum(self, usage: Usage, bracket: Bracket) -> Cost | Unknown:
        """Return the cost of summed usage in one bracket of the only version; not for peak prices."""
        assert bracket.rates is not None
        return self._cost_at(usage, bracket.rates, self.versions[0].row, at_most=False)

    def _cost_at(self, usage: Usage, rates: Rates, row: PriceRow, *, at_most: bool) -> Cost | Unknown:
        """Price each token once: tokens with their own price are taken out of the input.

        Images and writes to a cache without a price of their own are ordinary input. Calls of built-in tools are no
        tokens and in no price book: the tokens are priced all the same, and reports name the calls beside the cost.
        """
        cached, audio, audio_cached = usage.get("cached", 0), usage.get("audio_input", 0), usage.get("audio_cached", 0)
        image = usage.get("image_input", 0) if rates.image_input is not None else 0
        written = usage.get("cache_write", 0) if rates.cache_write is not None else 0
        spoken = usage.get("audio_output", 0)
        amount = ZERO
        for meter, count, rate in (
            ("input", usage.get("input", 0) - cached - audio + audio_cached - image - written, rates.input),
            ("output", usage.get("output", 0) - spoken, rates.output),
            ("audio_output", spoken, rates.audio_output),
            ("cached", cached - audio_cached, rates.cached),
            ("cache_write", written, rates.cache_write),
            ("audio_input", audio - audio_cached, rates.audio_input),
            ("audio_cached", audio_cached, rates.audio_cached),
            ("image_input", image, rates.image_input),
        ):
            if count > 0:
                if rate is None:
                    return Unknown(f"{self.named} has no price for the meter {meter}")
                amount = EXACT.add(amount, EXACT.multiply(rate, count))
            elif count < 0:
                return Unknown("the usage contradicts itself: a part of the input is larger than the whole")
        if not usage.keys() <= UNDERSTOOD and (meter := self._unpriced_meter(usage)):
            return Unknown(f"{self.named} has no price for the meter {meter}")
        return Cost(amount, row.currency, row, at_most)

    def _unpriced_meter(self, usage: Usage) -> str:
        unpriced = usage.keys() - UNDERSTOOD - (PREPAID if self.prepaid else set())
        return min((meter for meter in unpriced if usage[meter]), default="")

    def _no_price(self, version: Version, given: int) -> Unknown:
        if not version.brackets:
            return Unknown(f"{self.named}: {version.row.note or 'the price is not known'}")
        if version.brackets[-1].to_input < given:
            return Unknown(f"{self.named} has no price for {given} tokens of input")
        return Unknown(f"{self.named} has no price")


def cost_of(tariff: Tariff | Unknown, usage: Usage, at: datetime) -> Cost | Unknown:
    """Return what one request cost: by the price book, or else as the provider reports it."""
    cost = tariff if isinstance(tariff, Unknown) else tariff.cost_of_call(usage, at)
    return (reported_cost(usage) or cost) if isinstance(cost, Unknown) else cost


def version_edges(version: Version) -> tuple[tuple[int, ...], tuple[int, ...]]:
    given = {bracket.to_input for bracket in version.brackets[:-1]}
    answered = {bracket.to_output for bracket in version.brackets}
    return tuple(sorted(given - {ENDLESS})), tuple(sorted(answered - {ENDLESS}))


def in_beijing(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("a time without a zone cannot be priced")
    return at.astimezone(BEIJING)


def in_peak(peak: Peak, at: datetime) -> bool:
    local = in_beijing(at)
    hour = local.time()
    return local.isoweekday() in peak.days and any(start <= hour < end for start, end in peak.hours)
