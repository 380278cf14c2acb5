"""Forecasts tokens, money and time of a run from row sizes and a measured sample.

Recorded rows count as they are. The rows that are left are counted as if they answered like each measured row in turn
(`estimate.extrapolate`); the mean of these totals is the expectation, and `estimate.confidence` says how far off it
may be. A failed row counts as one that takes nothing. For rows unlike any in the sample, the low bound assumes no
cost, and the high bound assumes answers longer than the longest one measured, by the spread of the sample. Where each
row limits its answer there is a second high bound, for which answers are as long as allowed: it holds in any case,
unless the model exceeds its limits.

The prices of tokens are passed in. Overheads of a run (repeated calls, waiting out an overload) are not counted.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import ceil, hypot

from msgspec import Struct

from arkbatch.estimate.confidence import MIN_SAMPLE, SampleWeights
from arkbatch.estimate.extrapolate import Extrapolation, Measured, Price, Prices
from arkbatch.estimate.strata import SizeGroup, Sizes
from arkbatch.pricing.amounts import Cost, Unknown

Ceiling = Callable[[int, int], Cost | Unknown]  # of so much input and at most so much output

UNLIMITED = Unknown("a row sets no limit to its answer")
PASSED = Unknown("an answer was longer than its row's limit, which does not count the chain of thought")

GUESS_FACTOR = 1.6  # rules by characters were seen 56 % off, on text full of digits


class Range(Struct, frozen=True):
    """A likely value with its bounds; None: not known."""

    low: float | None
    expected: float | None
    high: float | None


class RunPace(Struct, frozen=True):
    """What limits the speed of the run; None: no limit."""

    concurrency: int
    rpm: float | None = None
    tpm: float | None = None
    input_tpm: float | None = None
    output_tpm: float | None = None


class Recorded(Struct, frozen=True):
    """The rows that have a record, and what they took."""

    rows: int = 0
    input: int = 0
    output: int = 0
    cost: float | Unknown = 0.0


class Estimate(Struct, frozen=True):
    """The estimated tokens and money of the whole run, and the seconds left.

    cost: the reason, when it cannot be known; it is in `currency`
    surely: exceeded with 5 % probability at most, however long answers outside of the sample are
    ceiling: the most it can cost when each row answers as long as it may
    at_most: the prices themselves are upper bounds
    """

    rows: int
    recorded: int
    sampled: int
    input: Range
    output: Range
    seconds: Range
    cost: Range | Unknown
    surely: float | Unknown
    ceiling: float | Unknown
    currency: str
    at_most: bool
    method: str


def from_sample(
    left: Sizes,
    recorded: Recorded,
    sample: Sequence[Measured],
    *,
    price: Price,
    ceiling: Ceiling,
    pace: RunPace,
    chance: Callable[[], float],
) -> Estimate:
    """Return the estimate after the sample was answered; at least one of its rows succeeded.

    The sample is part of what is recorded.
    """
    prices, spent = Prices(price), recorded.cost
    alike = Extrapolation(left, sample, prices)
    likely, longest = alike.totals_by_measured_row(), alike.totals_beyond_sample()
    most = _total_ceiling(left.size_groups(), ceiling, alike.most_given) if alike.limits_hold else PASSED
    shares, wider = SampleWeights(len(sample), chance) if len(sample) >= MIN_SAMPLE else None, alike.sum_widening()
    ranges = partial(_total_range, shares)
    given, answered, tokens, slots, cost = map(ranges, zip(*likely, strict=True), longest, wider)
    surely = most if isinstance(most, Unknown) else ranges([one.cost for one in likely], most, wider.cost).high
    return Estimate(
        rows=left.rows + recorded.rows,
        recorded=recorded.rows,
        sampled=len(sample),
        input=_shift_range(recorded.input, given),
        output=_shift_range(recorded.output, answered),
        seconds=_time_range(left.rows, (given, answered, tokens), slots, pace),
        cost=spent if isinstance(spent, Unknown) else prices.unknown or _shift_range(spent, cost),
        surely=_add_known(spent, Unknown("too few rows were sent") if surely is None else surely),
        ceiling=_add_known(spent, most),
        currency=prices.currency,
        at_most=prices.at_most,
        method=_method_text(len(sample), left.rows + recorded.rows),
    )


def _fewest_input_tokens(guessed: float) -> float:
    """Return the fewest input tokens of a request for which so many were guessed."""
    return max(guessed / GUESS_FACTOR, 1.0)


def _most_input_tokens(guessed: float) -> float:
    """Return the most input tokens of a request for which so many were guessed."""
    return guessed * GUESS_FACTOR


def without_sample(sizes: Sizes, price: Price, ceiling: Ceiling, pace: RunPace) -> Estimate:
    """Return the estimate before anything is sent: input by rule, and the ceiling.

    No length of answers is expected.
    """
    groups, prices = list(sizes.size_groups()), Prices(price)
    given = Range(
        sum(group.rows * _fewest_input_tokens(group.tokens) for group in groups),
        sum(group.rows * group.tokens for group in groups),
        sum(group.rows * _most_input_tokens(group.tokens) for group in groups),
    )
    least = sum(
        group.rows * prices.price_of({"input": ceil(_fewest_input_tokens(group.tokens)), "output": 1})
        for group in groups
    )
    lengths = [group.rows * group.ceiling for group in groups if group.ceiling is not None]
    longest = float(sum(lengths)) if len(lengths) == len(groups) else None
    most = _total_ceiling(groups, ceiling, _most_input_tokens)
    everything = Range(given.low, None, None if longest is None or given.high is None else given.high + longest)
    return Estimate(
        rows=sizes.rows,
        recorded=0,
        sampled=0,
        input=given,
        output=Range(None, None, longest),
        seconds=_time_range(sizes.rows, (given, Range(None, None, longest), everything), Range(None, None, None), pace),
        cost=prices.unknown or Range(least, None, None if isinstance(most, Unknown) else most),
        surely=most,
        ceiling=most,
        currency=prices.currency,
        at_most=prices.at_most,
        method=f"no answer was looked at: input from characters, within a factor of {GUESS_FACTOR}; "
        "output only by the rows' own limits",
    )


def _total_range(shares: SampleWeights | None, likely: Sequence[float], most: float, wider: float) -> Range:
    """Return the range of what the remaining rows take, from the totals by sampled row."""
    mean = sum(likely) / len(likely)
    if shares is None:
        return Range(None, mean, None)
    bounds = shares.mean_bounds(likely, 0.0, most)
    return Range(max(0.0, mean - (mean - bounds.low) * wider), mean, mean + (bounds.high - mean) * wider)


def _shift_range(known: float, found: Range) -> Range:
    low, expected, high = (None if end is None else end + known for end in (found.low, found.expected, found.high))
    return Range(low, expected, high)


def _add_known(spent: float | Unknown, more: float | Unknown) -> float | Unknown:
    if isinstance(spent, Unknown):
        return spent
    return more if isinstance(more, Unknown) else spent + more


def _method_text(sampled: int, rows: int) -> str:
    bounds = "low and high hold in 9 of 10 samples"
    if sampled < MIN_SAMPLE:
        bounds = f"bounds take a sample of {MIN_SAMPLE} or more"
    return f"{sampled} of {rows} rows were sent, and every row is priced as if it answered like each in turn; {bounds}"


def combined_cost(estimates: Sequence[Estimate]) -> Range | None:
    """Return the cost of several kinds of rows, None where one is unknown.

    Their errors are independent of each other.
    """
    ranges = [each.cost for each in estimates if isinstance(each.cost, Range)]
    if len(ranges) < len(estimates) or len({each.currency for each in estimates}) > 1:
        return None
    low, expected, high = (_combine_ends([getattr(one, end) for one in ranges]) for end in Range.__struct_fields__)
    if low is not None and expected is not None and high is not None:
        low = expected - hypot(*((one.expected or 0.0) - (one.low or 0.0) for one in ranges))
        high = expected + hypot(*((one.high or 0.0) - (one.expected or 0.0) for one in ranges))
    return Range(low, expected, high)


def _combine_ends(ends: Sequence[float | None]) -> float | None:
    total = 0.0
    for end in ends:
        if end is None:
            return None
        total += end
    return total


def _total_ceiling(groups: Iterable[SizeGroup], ceiling: Ceiling, larger: Callable[[float], float]) -> float | Unknown:
    total = 0.0
    for group in groups:
        if group.ceiling is None:
            return UNLIMITED
        cost = ceiling(ceil(larger(group.tokens)), group.ceiling)
        if isinstance(cost, Unknown):
            return cost
        total += group.rows * float(cost.amount)
    return total


def _time_range(rows: int, tokens: tuple[Range, Range, Range], slots: Range, pace: RunPace) -> Range:
    """Return the time, which the tightest limit decides.

    Without a sample the time that the concurrency needs is not known, and not counted. tokens: of input, of output, and
    of both
    """
    limits = (pace.input_tpm, pace.output_tpm, pace.tpm)

    def seconds(counts: Sequence[float | None], slot_seconds: float | None) -> float | None:
        found = [count / limit * 60 for count, limit in zip(counts, limits, strict=True) if limit and count is not None]
        if pace.rpm:
            found.append(rows / pace.rpm * 60)
        if slot_seconds is not None:
            found.append(slot_seconds / pace.concurrency)
        return max(found, default=None)

    expected = None if slots.expected is None else seconds([each.expected for each in tokens], slots.expected)
    high = None if slots.high is None else seconds([each.high for each in tokens], slots.high)
    return Range(seconds([each.low for each in tokens], slots.low), expected, high)
