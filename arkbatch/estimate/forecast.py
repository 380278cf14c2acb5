"""What a run will take in tokens, money and time, from the sizes of its rows and a measured few of them.

What is recorded counts as it is. The rows that are left are counted as if they answered like each measured row in
turn (`alike`); the mean of these totals is the expectation, and `bounds` says how far off it may be. A row that
failed counts as one that takes nothing. Of rows that the sample did not meet, the low bound takes them to cost nothing
and the high bound to be longer than the longest one met, by what the spread of the sample lets expect. Where each
row has a limit to its answer there is a second high bound, for which they are as long as they may be: it holds
whatever they are, unless the model passes its limits.

What tokens cost is passed in. A run's own overheads (calls that are repeated, waiting
out an overload) are not counted.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import ceil, hypot

from msgspec import Struct

from arkbatch.estimate.confidence import ENOUGH, SampleWeights
from arkbatch.estimate.extrapolate import Extrapolation, Measured, Price, Prices
from arkbatch.estimate.strata import SizeGroup, Sizes
from arkbatch.pricing.amounts import Cost, Unknown

Ceiling = Callable[[int, int], Cost | Unknown]  # of so much input and at most so much output

UNLIMITED = Unknown("a row sets no limit to its answer")
PASSED = Unknown("an answer was longer than its row's limit, which does not count the chain of thought")

GUESS_FACTOR = 1.6  # rules by characters were seen 56 % off, on text full of digits


class Range(Struct, frozen=True):
    """None: not known."""

    low: float | None
    expected: float | None
    high: float | None


class RunPace(Struct, frozen=True):
    """What holds the run back: calls at once; requests and tokens a minute, None for no limit."""

    concurrency: int
    rpm: float | None = None
    tpm: float | None = None
    input_tpm: float | None = None
    output_tpm: float | None = None


class Recorded(Struct, frozen=True):
    """Rows that have a record, and what they took."""

    rows: int = 0
    input: int = 0
    output: int = 0
    cost: float | Unknown = 0.0


class Estimate(Struct, frozen=True):
    """Tokens, seconds, and money in `currency`. Seconds are those still to come, all else is of the whole run.

    cost: the reason, when it cannot be known
    surely: passed in one case of twenty at most, however long the answers are that the sample did not meet
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
    """The estimate once the sample was answered, which is part of what is recorded. One row at least succeeded."""
    prices, spent = Prices(price), recorded.cost
    alike = Extrapolation(left, sample, prices)
    likely, longest = alike.totals_by_measured_row(), alike.totals_beyond_sample()
    most = _total_ceiling(left.size_groups(), ceiling, alike.most_given) if alike.limits_hold else PASSED
    shares, wider = SampleWeights(len(sample), chance) if len(sample) >= ENOUGH else None, alike.sum_widening()
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
    """The fewest input tokens of a request for which so many were guessed."""
    return max(guessed / GUESS_FACTOR, 1.0)


def _most_input_tokens(guessed: float) -> float:
    """The most of them."""
    return guessed * GUESS_FACTOR


def without_sample(sizes: Sizes, price: Price, ceiling: Ceiling, pace: RunPace) -> Estimate:
    """What can be said before anything is sent: input by the rule, and the ceiling. No answer's length is expected."""
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
    """Of what the rows that are left take together, from what they would take in the way of each sampled one."""
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
    if sampled < ENOUGH:
        bounds = f"bounds take a sample of {ENOUGH} or more"
    return f"{sampled} of {rows} rows were sent, and every row is priced as if it answered like each in turn; {bounds}"


def combined_cost(estimates: Sequence[Estimate]) -> Range | None:
    """The cost of several kinds of rows, None where one is unknown. Their errors are independent of each other."""
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
    """The tightest of the limits decides; with no sample the concurrency cannot be counted, and is not.

    tokens: of input, of output, and of both
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
