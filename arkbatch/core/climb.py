"""A number that looks for a ceiling nobody told it, and a count of what the last seconds held.

Both know nothing of calls, refusals or rates: `pace` says what the number means, when it met the ceiling and
when it may rise. The number follows the cubic curve by which TCP CUBIC (RFC 9438) looks for bandwidth: quickly
back to near the last known ceiling, long and flat around it, then ever faster into the unknown. A sawtooth
that halves at every refusal gives away a quarter of the ceiling for ever; this one gives away about a hundredth.
"""

import math

EAGERNESS = 180.0  # seconds from the ceiling to twice the ceiling, were it not there any more
UNHURRIED = 1e9  # a growth limit that limits nothing


class Climb:
    """`value` rises while `endure` is told that it was the bottleneck; `meet` says where the ceiling was.

    ceiling: the last one known, math.inf when none is
    most: what the value may never exceed
    growth: the largest relative rise in a second

    The state is the place `x` on the curve value = ceiling * (1 + x**3): below the ceiling x is negative, at the
    ceiling it is 0 and the curve is flat. Time only moves x, so a limit on growth cannot make it jump later.
    """

    __slots__ = ("_x", "ceiling", "growth", "most", "value")

    def __init__(self, value: float, *, ceiling: float, most: float, growth: float = UNHURRIED) -> None:
        self.most = most
        self.growth = growth
        self.ceiling = ceiling
        self._x = 0.0
        self.value = value
        self.restart(value)

    @property
    def beyond(self) -> bool:
        """The last ceiling was not only reached but left behind: whatever stops us now is above it."""
        return self.ceiling < math.inf and self.value > self.ceiling * 1.005

    def endure(self, seconds: float) -> None:
        """The value was the bottleneck for so long and nobody complained."""
        if self.value >= self.most:
            return
        allowed = self.value * (1.0 + self.growth * seconds)
        if self.ceiling == math.inf:
            self.value = min(allowed, self.most)
            return
        self._x += seconds / EAGERNESS
        self.value = self.ceiling * (1.0 + self._x * self._x * self._x)
        if self.value > allowed or self.value > self.most:
            self.restart(min(allowed, self.most))

    def meet(self, ceiling: float, *, begin: float) -> None:
        """The ceiling is here; go on from the share `begin` of it."""
        self.ceiling = min(ceiling, self.most)
        self.restart(self.ceiling * begin)

    def restart(self, value: float) -> None:
        """Go on from `value`, with the ceiling where it was."""
        self.value = min(value, self.most)
        if self.ceiling < math.inf:
            self._x = math.cbrt(self.value / self.ceiling - 1.0)


class Recent:
    """How many calls began in the last two minutes, second by second: a ring, so memory is constant."""

    SPAN = 120

    __slots__ = ("_counts", "_second")

    def __init__(self, now: float) -> None:
        self._counts = [0] * self.SPAN
        self._second = int(now)

    def add(self, now: float, amount: int = 1) -> None:
        """`amount` is negative to take back what was added; what is older than the ring is forgotten."""
        second = int(now)
        if second > self._second:
            self._turn_to(second)
        if second > self._second - self.SPAN:
            self._counts[second % self.SPAN] += amount

    def between(self, begin: float, end: float) -> float:
        """The count from `begin` to `end`, the first and last second by their share."""
        first, last = math.floor(begin), math.floor(end)
        total = 0.0
        for second in range(max(first, self._second - self.SPAN + 1), min(last, self._second) + 1):
            inside = min(second + 1.0, end) - max(float(second), begin)
            total += self._counts[second % self.SPAN] * inside
        return total

    def _turn_to(self, second: int) -> None:
        for passed in range(max(self._second + 1, second - self.SPAN + 1), second + 1):
            self._counts[passed % self.SPAN] = 0
        self._second = second
