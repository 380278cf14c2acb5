"""Statistics of a small sample: bounds of a mean, growth and a fitted line.

Whatever the distribution, the n values of a sample cut it into n + 1 parts whose shares are spread like those of a
stick broken at n random places (Wilks, Ann. Math. Stat. 12, 1941). So shares are drawn, each part is taken at its
upper end for the high bound and at its lower end for the low one, and the bounds are quantiles of the means that
result (Learned-Miller and Thomas, arXiv:1905.06208). Nothing is assumed of the distribution but its two ends.
"""

from collections.abc import Callable, Sequence
from math import log, sqrt
from typing import NamedTuple

MIN_SAMPLE = 5  # with fewer values no bound is reliable
DRAWS = 1000
MISSED = 0.05  # on each side
Z = 1.959964  # of the normal distribution, 95 % in the middle


class Bounds(NamedTuple):
    """Bounds of a mean; the truth is outside of each with 5 % probability."""

    low: float
    high: float


class SampleWeights:
    """Random weights for a sample of n values, used for each measured quantity."""

    def __init__(self, n: int, chance: Callable[[], float], draws: int = DRAWS) -> None:
        """Draw the weights; `chance` returns numbers evenly from [0, 1)."""
        self._draws = [_broken_stick(n + 1, chance) for _ in range(draws)]

    def mean_bounds(self, values: Sequence[float], least: float, most: float) -> Bounds:
        """Return bounds of the mean behind the values.

        least, most: the limits of what a value outside of the sample can be
        """
        ordered = sorted(values)
        below, above = [min(least, ordered[0]), *ordered], [*ordered, max(most, ordered[-1])]
        return Bounds(self._weighted_quantile(below, MISSED), self._weighted_quantile(above, 1 - MISSED))

    def _weighted_quantile(self, ends: Sequence[float], share: float) -> float:
        means = sorted(sum(map(float.__mul__, draw, ends)) for draw in self._draws)
        return means[min(int(share * len(means)), len(means) - 1)]


def _broken_stick(parts: int, chance: Callable[[], float]) -> list[float]:
    lengths = [-log(1.0 - chance()) for _ in range(parts)]
    whole = sum(lengths) or 1.0
    return [length / whole for length in lengths]


def student_t_limit(freedom: int) -> float:
    """Return the 97.5 % point of Student's t.

    It is computed by its expansion in 1/freedom, which is right to 1 % from 4 on.
    """
    first = (Z**3 + Z) / 4
    second = (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96
    third = (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384
    return Z + first / freedom + second / freedom**2 + third / freedom**3


def growth_power(pairs: Sequence[tuple[float, float]]) -> float:
    """Return the power g, 0 to 1, by which y grows as x ** g.

    0 fits a label, whose length does not depend on the text, 1 a translation. It is 0 unless the pairs show more growth
    than chance would.
    """
    logs = [(log(x), log(y)) for x, y in pairs if x > 0 and y > 0]
    n = len(logs)
    if n < MIN_SAMPLE:
        return 0.0
    x_mean, y_mean = sum(x for x, _ in logs) / n, sum(y for _, y in logs) / n
    x_square = sum((x - x_mean) ** 2 for x, _ in logs)
    if x_square < 1e-9:
        return 0.0
    slope = sum((x - x_mean) * (y - y_mean) for x, y in logs) / x_square
    error = sum((y - y_mean - slope * (x - x_mean)) ** 2 for x, y in logs) / (n - 2)
    return min(max(slope, 0.0), 1.0) if slope > student_t_limit(n - 2) * sqrt(error / x_square) else 0.0


def fit_line(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return start and slope, neither negative, of the line by which y follows x.

    It minimises the squares of the relative errors: a long text may be off by more tokens than a short one. Every x
    must be above 0.
    """
    weights = [1 / (x + y) ** 2 for x, y in pairs]
    whole = sum(weights)
    x_mean = sum(w * x for w, (x, _) in zip(weights, pairs, strict=True)) / whole
    y_mean = sum(w * y for w, (_, y) in zip(weights, pairs, strict=True)) / whole
    square = sum(w * (x - x_mean) ** 2 for w, (x, _) in zip(weights, pairs, strict=True))
    product = sum(w * (x - x_mean) * (y - y_mean) for w, (x, y) in zip(weights, pairs, strict=True))
    slope = product / square if square > whole * (x_mean / 20) ** 2 else -1.0
    start = y_mean - slope * x_mean
    if slope < 0 or start < 0:
        return 0.0, y_mean / x_mean  # sizes too alike to tell the two apart, or chance
    return start, slope
