"""A number that looks for a ceiling nobody told it.

It knows nothing of calls, refusals or rates: `pace` says what the number means, where it met the ceiling and
when it may rise. It follows a curve like the one by which TCP CUBIC (RFC 9438) looks for bandwidth: quickly back
to near the last known ceiling, flat for long around it, then ever faster into the unknown. A sawtooth that halves
at every refusal gives away a quarter of the ceiling for ever; this one gives away a hundredth.

The power is seven where CUBIC has three: it stays within 2 % of the ceiling for 140 seconds instead of 70, and is
nevertheless at three times the ceiling as soon. Each meeting with the ceiling costs some refused calls, so they
should be rare; but a limit that was raised should be found within five minutes. Both numbers were chosen by
`benchmarks/pace.py`, where 5 to 9 and 110 to 145 s give the same within half a percent.
"""

import math

EAGERNESS = 135.0  # seconds from the ceiling to twice the ceiling, were it not there any more
PASSED = 1.005  # times the ceiling; closer than that is not past it
POWER = 7  # odd, so that the curve comes from below and leaves above


class Climb:
    """`value` rises while `endure` is told that it was the bottleneck; `meet` says where the ceiling is.

    ceiling: the last one known, math.inf when none is
    most: what the value may never exceed
    step: 1.0 for a number of which only the whole part is used, 0.0 for a rate

    The state is the place `x` on the curve value = ceiling * (1 + x**7): below the ceiling x is negative, at the
    ceiling it is 0 and the curve is flat. Time only moves x, so a limit on growth cannot make it jump later.
    """

    __slots__ = ("_x", "ceiling", "most", "step", "value")

    def __init__(self, value: float, *, ceiling: float, most: float, step: float = 0.0) -> None:
        self.most = most
        self.step = step
        self.ceiling = ceiling
        self._x = 0.0
        self.value = value
        self.restart(value)

    @property
    def beyond(self) -> bool:
        """The last ceiling was not only reached but left behind: whatever stops us now is above it."""
        return self.value > self.ceiling * PASSED and self.value >= self.ceiling + self.step

    def endure(self, seconds: float, allowed: float = math.inf) -> None:
        """The value was the bottleneck for so long and nobody complained. It may now be as high as `allowed`."""
        if self.value >= self.most:
            return
        most = min(allowed, self.most)
        if self.ceiling == math.inf:
            self.value = most
            return
        self._x += seconds / EAGERNESS
        self.value = self.ceiling * (1.0 + self._x**POWER)
        if self.value > most:
            self.restart(most)

    def meet(self, ceiling: float, *, begin: float) -> None:
        """The ceiling is here; go on from the share `begin` of it."""
        self.ceiling = min(ceiling, self.most)
        self.restart(self.ceiling * begin)

    def restart(self, value: float) -> None:
        """Go on from `value`, with the ceiling where it was."""
        self.value = min(value, self.most)
        if self.ceiling < math.inf:
            away = self.value / self.ceiling - 1.0
            self._x = math.copysign(abs(away) ** (1.0 / POWER), away)
