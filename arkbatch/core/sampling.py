"""What a run will take in tokens, money and time, from the sizes of its rows and a measured few of them.

Every row is counted as if it answered like each measured row in turn: its input by its own size, its answer as long
as theirs (longer for a larger row where the sample shows that), through the price tiers by its own lengths. The mean
over the measured rows is the expectation; no average is ever pushed through a tier's edge, where it is wrong. Low and
high are 95 % bounds of that mean. A kind of row that the sample did not meet is in no bound: that is what the ceiling
is for, every row at its longest allowed answer.

How a size becomes tokens, and tokens money, is passed in. A run's own overheads (calls that are repeated, waiting
out an overload) are not counted.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import ceil
from typing import NamedTuple

from msgspec import Struct

from arkbatch.core.bounds import bounds_of_mean, growth
from arkbatch.core.money import Cost, Unknown
from arkbatch.core.records import Size, Usage
from arkbatch.core.sizes import Group, Sizes

Price = Callable[[Usage], Cost | Unknown]  # of one request
Ceiling = Callable[[int, int], Cost | Unknown]  # of so much input and at most so much output

RULE_ERROR = 1.6  # rules by characters were seen 56 % off, on text full of digits
OUTPUT_SIDE = {"output", "reasoning", "audio_output", "provisioned_output"}


class Measured(Struct, frozen=True):
    """One row that was sent: what its answering call used and how long that took."""

    size: Size
    usage: Usage
    seconds: float


class Range(Struct, frozen=True):
    """None: not known."""

    low: float | None
    expected: float | None
    high: float | None


class Pace(Struct, frozen=True):
    """What holds the run back: calls at once; requests and tokens a minute, None for no limit."""

    concurrency: int
    rpm: float | None = None
    tpm: float | None = None


class Estimate(Struct, frozen=True):
    """Tokens, seconds, and money in `currency`.

    cost: the reason, when it cannot be known
    ceiling: the most it can cost when each row answers as long as it may
    at_most: the prices themselves are upper bounds
    """

    rows: int
    sampled: int
    input: Range
    output: Range
    seconds: Range
    cost: Range | Unknown
    ceiling: float | Unknown
    currency: str
    at_most: bool
    method: str


class Totals(NamedTuple):
    """What rows take when they behave like one measured row. `slot_seconds`: of all calls, added."""

    input: float
    output: float
    tokens: float
    slot_seconds: float
    cost: float


def from_sample(sizes: Sizes, sample: Sequence[Measured], price: Price, ceiling: Ceiling, pace: Pace) -> Estimate:
    """The estimate once the sample was answered. Leave out rows that failed; at least one is needed."""
    prices, left = _Prices(price), max(0.0, 1 - len(sample) / sizes.rows)
    totals = _totals(sizes, sample, prices)
    given, answered, tokens, slots, cost = (_range(column, left) for column in zip(*totals, strict=True))
    most_given = max(one.usage.get("input", 0) / max(sizes.predict(one.size), 1.0) for one in sample)
    return Estimate(
        rows=sizes.rows,
        sampled=len(sample),
        input=given,
        output=answered,
        seconds=_time(sizes.rows, tokens, slots, pace),
        cost=prices.unknown or cost,
        ceiling=_ceiling(sizes.groups(), ceiling, most_given),
        currency=prices.currency,
        at_most=prices.at_most,
        method=(
            f"{len(sample)} of {sizes.rows} rows were sent; every row is priced as if it answered like each of them in "
            "turn; low and high are 95 % bounds of the mean, corrected for skew"
        ),
    )


def without_sample(sizes: Sizes, price: Price, ceiling: Ceiling, pace: Pace) -> Estimate:
    """What can be said before anything is sent: input by the rule, and the ceiling. No answer's length is expected."""
    groups, prices = list(sizes.groups()), _Prices(price)
    tokens = sum(group.rows * group.tokens for group in groups)
    least = sum(group.rows * prices.of({"input": ceil(group.tokens / RULE_ERROR), "output": 1}) for group in groups)
    lengths = [group.rows * group.ceiling for group in groups if group.ceiling is not None]
    longest = float(sum(lengths)) if len(lengths) == len(groups) else None
    most = _ceiling(groups, ceiling, RULE_ERROR)
    everything = Range(tokens / RULE_ERROR, None, None if longest is None else tokens * RULE_ERROR + longest)
    return Estimate(
        rows=sizes.rows,
        sampled=0,
        input=Range(tokens / RULE_ERROR, tokens, tokens * RULE_ERROR),
        output=Range(None, None, longest),
        seconds=_time(sizes.rows, everything, Range(None, None, None), pace),
        cost=prices.unknown or Range(least, None, None if isinstance(most, Unknown) else most),
        ceiling=most,
        currency=prices.currency,
        at_most=prices.at_most,
        method="nothing was sent: input from characters, within a factor of 1.6; output only by the rows' own limits",
    )


class _Prices:
    """Prices many imagined requests, and remembers the first that has none."""

    def __init__(self, price: Price) -> None:
        self._price = price
        self.unknown: Unknown | None = None
        self.currency = ""
        self.at_most = False

    def of(self, usage: Usage) -> float:
        if self.unknown is not None:
            return 0.0
        cost = self._price(usage)
        if isinstance(cost, Unknown):
            self.unknown = cost
            return 0.0
        self.currency = cost.currency
        self.at_most = self.at_most or cost.at_most
        return float(cost.amount)


def _totals(sizes: Sizes, sample: Sequence[Measured], prices: _Prices) -> list[Totals]:
    """For each measured row, what all rows take that behave like it.

    The sample is estimated in the same way and compared with what it really took; that factor is applied to all.
    It removes what a size does not tell (short rows that answer less for their size than long ones would otherwise
    count too much), and where everything was measured it makes the estimate the sum.
    """
    measured = Sizes(sizes.predict)
    for one in sample:
        measured.add(one.size)
    exponent = growth([(sizes.predict(one.size), one.usage.get("output", 0)) for one in sample])
    alike = [_as_if_all(measured, one, exponent, prices) for one in sample]
    truth = [_taken(one.usage, one.seconds, prices) for one in sample]
    factors = [_factor(real, imagined) for real, imagined in zip(_columns(truth), _columns(alike), strict=True)]
    totals = [_as_if_all(sizes, one, exponent, prices) for one in sample]
    return [Totals(*(value * factor for value, factor in zip(each, factors, strict=True))) for each in totals]


def _columns(totals: Sequence[Totals]) -> Iterator[tuple[float, ...]]:
    return zip(*totals, strict=True)


def _factor(real: Sequence[float], imagined: Sequence[float]) -> float:
    """The sample's sum, over the mean of its imagined sums."""
    return sum(real) * len(imagined) / sum(imagined) if sum(imagined) > 0 else 1.0


def _as_if_all(sizes: Sizes, one: Measured, exponent: float, prices: _Prices) -> Totals:
    total, own, output = [0.0] * len(Totals._fields), max(sizes.predict(one.size), 1.0), one.usage.get("output", 0)
    for group in sizes.groups():
        larger = group.tokens / own
        longer = larger**exponent
        if group.ceiling is not None and output:
            longer = min(longer, group.ceiling / output)
        taken = _taken(_scaled(one.usage, larger, longer), one.seconds * longer, prices)
        total = [before + group.rows * more for before, more in zip(total, taken, strict=True)]
    return Totals(*total)


def _taken(usage: Usage, seconds: float, prices: _Prices) -> Totals:
    given, answered = usage.get("input", 0), usage.get("output", 0)
    return Totals(given, answered, given + answered, seconds, prices.of(usage))


def _scaled(usage: Usage, larger: float, longer: float) -> dict[str, int]:
    """The usage of a row so many times larger, with an answer so many times longer. No part outgrows its whole."""
    scaled = {meter: int(count * (longer if meter in OUTPUT_SIDE else larger)) for meter, count in usage.items()}
    scaled["input"] = round(usage.get("input", 0) * larger)
    scaled["output"] = round(usage.get("output", 0) * longer)
    if audio_cached := usage.get("audio_cached", 0):
        # Rounded up: it is taken off the sum of cached and audio, which must stay within the input.
        scaled["audio_cached"] = min(ceil(audio_cached * larger), scaled["cached"], scaled["audio_input"])
    return scaled


def _range(values: Sequence[float], left: float) -> Range:
    mean = sum(values) / len(values)
    if not left:
        return Range(mean, mean, mean)  # nothing is left to guess
    low, high = bounds_of_mean(values, left) or (None, None)
    return Range(low, mean, high)


def _ceiling(groups: Iterable[Group], ceiling: Ceiling, larger: float) -> float | Unknown:
    total = 0.0
    for group in groups:
        if group.ceiling is None:
            return Unknown("a row sets no limit to its answer")
        cost = ceiling(ceil(group.tokens * larger), group.ceiling)
        if isinstance(cost, Unknown):
            return cost
        total += group.rows * float(cost.amount)
    return total


def _time(rows: int, tokens: Range, slots: Range, pace: Pace) -> Range:
    """The tightest of the limits decides; with no sample the concurrency cannot be counted, and is not."""

    def seconds(token_count: float | None, slot_seconds: float | None) -> float | None:
        by_requests = rows / pace.rpm * 60 if pace.rpm else None
        by_tokens = token_count / pace.tpm * 60 if pace.tpm and token_count is not None else None
        by_slots = None if slot_seconds is None else slot_seconds / pace.concurrency
        return max((limit for limit in (by_requests, by_tokens, by_slots) if limit is not None), default=None)

    expected = None if slots.expected is None else seconds(tokens.expected, slots.expected)
    high = None if slots.high is None else seconds(tokens.high, slots.high)
    return Range(seconds(tokens.low, slots.low), expected, high)
