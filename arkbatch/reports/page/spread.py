"""How durations are spread: the bars of a chart and the quantiles, in constant memory."""

import math

from msgspec import Struct

from arkbatch.core.histogram import Histogram

_GROWTH = 1.25  # of the bars; the quantiles are finer
_LOG = math.log(_GROWTH)
_SMALLEST = 0.001  # seconds


class Spread(Struct, frozen=True):
    """Seconds, and how many durations lie between each edge and the next; there is one edge more than counts."""

    count: int
    p50: float
    p95: float
    p99: float
    edges: list[float]
    counts: list[int]


class Durations:
    """Counts durations in seconds."""

    def __init__(self) -> None:
        self._fine = Histogram()
        self._bars: dict[int, int] = {}

    def add(self, seconds: float) -> None:
        self._fine.add(seconds)
        bar = int(math.log(seconds / _SMALLEST) / _LOG) if seconds > _SMALLEST else 0
        self._bars[bar] = self._bars.get(bar, 0) + 1

    def quantile(self, share: float) -> float:
        return self._fine.quantile(share)

    def spread(self) -> Spread | None:
        """None when nothing was added."""
        if not self._bars:
            return None
        bars = range(min(self._bars), max(self._bars) + 1)
        return Spread(
            count=self._fine.count,
            p50=round(self.quantile(0.5), 3),
            p95=round(self.quantile(0.95), 3),
            p99=round(self.quantile(0.99), 3),
            edges=[float(f"{_SMALLEST * _GROWTH**bar:.4g}") for bar in range(bars.start, bars.stop + 1)],
            counts=[self._bars.get(bar, 0) for bar in bars],
        )
