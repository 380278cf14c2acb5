"""Computes what rows take if all of them answer like one measured row.

Each row's input is counted by its own size. Its answer is as long as the measured one, or longer for a larger row
where the sample shows growth. It is priced by its own lengths: an average could cross the edge of a price tier, where
it would be wrong. `estimate.forecast` decides which of these totals to believe.
"""

from collections.abc import Callable, Iterator, Sequence
from math import ceil, exp, inf, log, sqrt
from typing import NamedTuple

from msgspec import Struct

from arkbatch.core.usage import Usage
from arkbatch.estimate.confidence import MIN_SAMPLE, growth_power, student_t_limit
from arkbatch.estimate.strata import Sizes
from arkbatch.pricing.amounts import Cost, Unknown

Price = Callable[[Usage], Cost | Unknown]  # of one request

OUTPUT_SIDE = {"output", "reasoning", "audio_output", "provisioned_output"}

# Beyond the longest answer of a sample lie answers that are longer by a factor; its logarithm falls off evenly
# (a Pareto tail). These are the middles of eight equally likely parts of such a tail, in units of its mean.
TAIL = tuple(-log(1 - (part + 0.5) / 8) for part in range(8))
# Of a normal distribution (of lengths on a log scale, as answers are spread) the mean way beyond its last
# twentieth, in standard deviations. Some answers are longer by a third at least, however even those met are.
BEYOND = 0.42
LEAST_BEYOND = 0.45


class Measured(Struct, frozen=True):
    """One row that was sent: what its answering call used, and how long that took.

    tokens: the input tokens expected from its size
    ceiling: the most output that it allowed, None for no limit
    usage: empty for a row that failed without a bill
    """

    tokens: float
    ceiling: int | None
    usage: Usage
    seconds: float


class Totals(NamedTuple):
    """What rows take together, or the squares of what each takes.

    slot_seconds: the durations of all calls, added
    """

    input: float
    output: float
    tokens: float
    slot_seconds: float
    cost: float


NOTHING = Totals(0.0, 0.0, 0.0, 0.0, 0.0)


class Prices:
    """Prices many imagined requests, and remembers the first that has no price."""

    def __init__(self, price: Price) -> None:
        self._price = price
        self.unknown: Unknown | None = None
        self.currency = ""
        self.at_most = False

    def price_of(self, usage: Usage) -> float:
        if self.unknown is not None:
            return 0.0
        cost = self._price(usage)
        if isinstance(cost, Unknown):
            self.unknown = cost
            return 0.0
        self.currency = cost.currency
        self.at_most = self.at_most or cost.at_most
        return float(cost.amount)


class Extrapolation:
    """Rows, and the sample of measured rows that they are compared with.

    The sample is estimated in the same way and compared with what it really took. Where the two differ by more than
    chance would explain, that factor is applied to all rows. This corrects what a size does not show: short rows that
    answer less for their size than long ones would count too much.
    """

    def __init__(self, sizes: Sizes, sample: Sequence[Measured], prices: Prices) -> None:
        self._sizes, self._sample, self._prices = sizes, sample, prices
        self.exponent = growth_power([(one.tokens, one.usage.get("output", 0)) for one in sample])
        # Ark's max_tokens does not count the chain of thought: a longer answer shows that limits do not hold.
        self.limits_hold = all(one.usage.get("output", 0) <= _output_limit(one) for one in sample)
        self._factors = [1.0] * len(Totals._fields)
        truth = [_measured_totals(one.usage, one.seconds, self._prices) for one in sample]
        # Rows of about one size are imagined once: each to each would take minutes for a sample of thousands.
        by_size = {_size_class(one): one for one in sample}
        of_size = {size: self._predicted_totals(one) for size, one in by_size.items()}
        imagined = [of_size[_size_class(one)] for one in sample]
        self._factors = [*map(_correction_factor, _by_column(truth), _by_column(imagined))]
        self._each = [self._raw_sums(sizes, one) for one in sample]

    def totals_by_measured_row(self) -> list[Totals]:
        """Return for each measured row what all rows take that behave like it."""
        return [self._correct_totals(sums) for sums, _ in self._each]

    def sum_widening(self) -> Totals:
        """Return how much wider the bounds of a sum are than those of a mean.

        Which rows are left is random as well, and a few large rows weigh more in a sum than many small ones.
        """
        answered = [both for both, one in zip(self._each, self._sample, strict=True) if one.usage]
        both = _mean_totals([sums for sums, _ in answered]), _mean_totals([squares for _, squares in answered])
        n = len(self._sample)
        return Totals(*(sqrt(1 + n * square / whole**2) if whole else 1.0 for whole, square in zip(*both, strict=True)))

    def totals_beyond_sample(self) -> Totals:
        """Return what all rows take if their answers are longer than any in the sample.

        The spread of the sample decides how much longer.
        """
        longest = max((one for one in self._sample if one.usage), key=self._length_excess)
        spread = max(BEYOND * self._length_spread(), LEAST_BEYOND)
        return _mean_totals([self._totals_like(self._sizes, longest, exp(spread * way)) for way in TAIL])

    def most_given(self, predicted: float) -> float:
        """Return the most input tokens that a row of this expected size may have."""
        return predicted * max(one.usage.get("input", 0) / max(one.tokens, 1.0) for one in self._sample)

    def _length_excess(self, one: Measured) -> float:
        """Return how long an answer is for its row's size, on a log scale."""
        return log(max(one.usage.get("output", 0), 0.5)) - self.exponent * log(max(one.tokens, 1.0))

    def _length_spread(self) -> float:
        found = [self._length_excess(one) for one in self._sample if one.usage.get("output", 0)]
        if len(found) < 2:
            return 0.0
        mean = sum(found) / len(found)
        return sqrt(sum((each - mean) ** 2 for each in found) / (len(found) - 1))

    def _predicted_totals(self, row: Measured) -> Totals:
        """Return the totals that this row would get if only its size were known."""
        alone = Sizes()
        alone.add(row.tokens, row.ceiling)
        return _mean_totals([self._totals_like(alone, one) for one in self._sample])

    def _totals_like(self, sizes: Sizes, one: Measured, stretched: float = 1.0) -> Totals:
        """Return what these rows take with answers like this one, stretched by a factor."""
        return self._correct_totals(self._raw_sums(sizes, one, stretched)[0])

    def _correct_totals(self, sums: Totals) -> Totals:
        return Totals(*map(float.__mul__, sums, self._factors))

    def _raw_sums(self, sizes: Sizes, one: Measured, stretched: float = 1.0) -> tuple[Totals, Totals]:
        """Return the uncorrected sums, and the sums of squares."""
        sums, squares = [0.0] * len(Totals._fields), [0.0] * len(Totals._fields)
        own, output = max(one.tokens, 1.0), one.usage.get("output", 0)
        for group in sizes.size_groups() if one.usage else ():
            larger = group.tokens / own
            longer = stretched * larger**self.exponent
            if group.ceiling is not None and output and self.limits_hold:
                longer = min(longer, group.ceiling / output)
            taken = _measured_totals(_scale_usage(one.usage, larger, longer), one.seconds * longer, self._prices)
            for column, value in enumerate(taken):
                sums[column] += group.rows * value
                squares[column] += group.rows * value * value
        return Totals(*sums), Totals(*squares)


def _size_class(one: Measured) -> tuple[int, int | None]:
    """Return the class of a row; sizes within 2 % share one."""
    return round(log(max(one.tokens, 1.0)) * 50), one.ceiling


def _output_limit(one: Measured) -> float:
    return inf if one.ceiling is None else one.ceiling


def _by_column(totals: Sequence[Totals]) -> Iterator[tuple[float, ...]]:
    return zip(*totals, strict=True)


def _mean_totals(totals: Sequence[Totals]) -> Totals:
    return Totals(*(sum(column) / len(totals) for column in _by_column(totals)))


def _correction_factor(real: Sequence[float], imagined: Sequence[float]) -> float:
    """Return by what factor the sample took more than predicted; 1 if chance explains it."""
    n, more = len(real), [one - other for one, other in zip(real, imagined, strict=True)]
    if n < MIN_SAMPLE or not sum(imagined):
        return 1.0
    mean = sum(more) / n
    error = sqrt(sum((one - mean) ** 2 for one in more) / (n - 1) / n)
    return sum(real) / sum(imagined) if abs(mean) > student_t_limit(n - 1) * error else 1.0


def _measured_totals(usage: Usage, seconds: float, prices: Prices) -> Totals:
    if not usage:
        return NOTHING
    given, answered = usage.get("input", 0), usage.get("output", 0)
    return Totals(given, answered, given + answered, seconds, prices.price_of(usage))


def _scale_usage(usage: Usage, larger: float, longer: float) -> dict[str, int]:
    """Return the usage of a larger row with a longer answer.

    No part outgrows its whole.
    """
    scaled = {meter: int(count * (longer if meter in OUTPUT_SIDE else larger)) for meter, count in usage.items()}
    scaled["input"] = round(usage.get("input", 0) * larger)
    scaled["output"] = round(usage.get("output", 0) * longer)
    if audio_cached := usage.get("audio_cached", 0):
        # Rounded up: it is taken off the sum of cached and audio, which must stay within the input.
        scaled["audio_cached"] = min(ceil(audio_cached * larger), scaled["cached"], scaled["audio_input"])
    return scaled
