"""A number that looks for a limit nobody told: it holds what is known to be granted, then rises ever faster.

It knows nothing of calls or refusals: others say what was granted, and when the number was the bottleneck. The curve
is like that of TCP CUBIC (RFC 9438), flat for long around the known limit, then steep, at last exponential:

    value = base x (1 + x^5) up to twice the base, then base x 2^(3x - 2); x grows by 1 in `patience` seconds

Each meeting with a real limit costs some refused calls, so a limit that was confirmed is tried less often: `patience`
doubles with each meeting at the same place. One that turned out elsewhere is looked for quickly.
"""

import math

POWER = 5  # odd, so that the curve comes from below the base and leaves above it
DOUBLINGS = 3.0  # in each `patience`, once the value is twice the base
BEGIN = 0.99  # of a rate that was granted, to go on from; the curve is back at the base after 0.4 x patience
QUICKEST, SLOWEST = 5.0, 160.0  # s; bounds of the patience
CALLS_BETWEEN = 1400.0  # in the patience of a confirmed limit: each test of it costs two or three refused calls
CONFIRMED, LONGEST_CONFIRMED = 40.0, 240.0  # s; bounds of that patience
SAME = 0.1  # so near to the base, another meeting confirms it
TESTING = 1.01  # times the base; above it, a refusal only shows that the base stands


class SearchCurve:
    """A number that was granted up to `base`, and rises from there while it is the bottleneck.

    base: math.inf when nothing limits; most: never more than this
    step: 1.0 for a number of which only the whole part is used, 0.0 for a rate
    """

    __slots__ = ("_x", "base", "most", "patience", "step", "value")

    def __init__(self, value: float, *, base: float, most: float, step: float = 0.0, patience: float = SLOWEST) -> None:
        self.base, self.most, self.step, self.patience = base, most, step, patience
        self._x = 0.0
        self.value = value
        self.go_on_from(value)

    @property
    def is_testing(self) -> bool:
        """The value is clearly above what is known to be granted."""
        return self.value > self.base * TESTING and self.value >= self.base + self.step

    def rise_for(self, seconds: float, allowed: float = math.inf) -> None:
        """The value was the bottleneck for so long, and not refused. It may now be as high as `allowed`."""
        if self.value >= self.most:
            return
        most = min(allowed, self.most)
        self._x += seconds / self.patience
        if self.base == math.inf:
            self.value = most
        else:
            self.value = self.base * (
                1.0 + self._x**POWER if self._x < 1.0 else 2.0 ** (1.0 + DOUBLINGS * (self._x - 1.0))
            )
        if self.value > most:
            self.go_on_from(most)

    def meet_limit(self, base: float, calls_per_second: float, *, quick: float = QUICKEST) -> None:
        """So much is granted and no more. quick: s, the patience when that is news; a confirmed base doubles it."""
        known, begin = self.base, BEGIN
        if known < math.inf and (abs(base / known - 1.0) < SAME or abs(base - known) < self.step):
            longest = min(max(CONFIRMED, CALLS_BETWEEN / max(calls_per_second, 0.001)), LONGEST_CONFIRMED)
            self.patience = min(self.patience * 2.0, longest)
        else:
            self.patience = min(max(quick, QUICKEST), SLOWEST)
            begin = BEGIN if quick > QUICKEST else 1.0
        self.base = min(base, self.most)
        self.go_on_from(self.base if self.step else self.base * begin)

    def go_on_from(self, value: float) -> None:
        """Go on from this value, with the base where it was."""
        self.value = min(value, self.most)
        if self.base < math.inf:
            times = self.value / self.base
            away = abs(times - 1.0) ** (1.0 / POWER)
            self._x = math.copysign(away, times - 1.0) if times < 2.0 else 1.0 + (math.log2(times) - 1.0) / DOUBLINGS
