"""What a small sample says about a mean and about a growth: arithmetic on floats, far from rows and money."""

from collections.abc import Sequence
from math import copysign, log, sqrt

ENOUGH = 5  # below that, no bound is worth its name
Z = 1.959964  # of the normal distribution, 95 % in the middle


def bounds_of_mean(values: Sequence[float], left: float) -> tuple[float, float] | None:
    """95 % bounds of the mean that the values were drawn from, none of them negative; None for too few.

    left: the share of the population that is not in the sample: with nothing left the mean is known.
    Lengths of answers are skewed: the symmetric interval misses a true mean above it in every seventh sample of
    20 (lognormal, sigma 1). Hall's cubic transformation (Ann. Statist. 20, 1992) moves both bounds by the sample's
    skewness; of his variants it is the one that stays monotone.
    """
    n = len(values)
    if n < ENOUGH:
        return None
    mean = sum(values) / n
    spread = sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    if spread <= max(abs(mean) * 1e-12, 1e-90):  # its cube must not vanish either
        return mean, mean
    skew = sum((value - mean) ** 3 for value in values) / n / spread**3
    reach = student(n - 1) / sqrt(n)
    share = sqrt(max(left, 0.0))
    low = mean - spread * _unskewed(reach, skew, n) * share
    high = mean - spread * _unskewed(-reach, skew, n) * share
    return max(low, 0.0), high


def _unskewed(reach: float, skew: float, n: int) -> float:
    if abs(skew) < 1e-6:
        return reach
    cubed = 1 + skew * (reach - skew / (6 * n))
    return 3 / skew * (copysign(abs(cubed) ** (1 / 3), cubed) - 1)


def student(freedom: int) -> float:
    """The 97.5 % point of Student's t, by its expansion in 1/freedom; right to 1 % from 4 on."""
    first = (Z**3 + Z) / 4
    second = (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96
    third = (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / 384
    return Z + first / freedom + second / freedom**2 + third / freedom**3


def growth(pairs: Sequence[tuple[float, float]]) -> float:
    """The power g, 0 to 1, by which y grows as x ** g; 0 unless the pairs show more than chance would.

    0 is a label, whose length does not depend on the text, 1 a translation.
    """
    logs = [(log(x), log(y)) for x, y in pairs if x > 0 and y > 0]
    n = len(logs)
    if n < ENOUGH:
        return 0.0
    x_mean, y_mean = sum(x for x, _ in logs) / n, sum(y for _, y in logs) / n
    x_square = sum((x - x_mean) ** 2 for x, _ in logs)
    if x_square < 1e-9:
        return 0.0
    slope = sum((x - x_mean) * (y - y_mean) for x, y in logs) / x_square
    error = sum((y - y_mean - slope * (x - x_mean)) ** 2 for x, y in logs) / (n - 2)
    return min(max(slope, 0.0), 1.0) if slope > student(n - 2) * sqrt(error / x_square) else 0.0
