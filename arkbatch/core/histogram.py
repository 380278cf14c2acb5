"""Quantiles of durations in constant memory, from buckets that widen by five per cent each."""

import math
from collections.abc import Mapping

_SMALLEST = 0.0001  # seconds
_GROWTH = math.log(1.05)
_BUCKETS = 600  # up to some days


class Histogram:
    """Counts durations in seconds; a quantile is right to within five per cent."""

    __slots__ = ("_counts", "count")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self.count = 0

    def add(self, seconds: float) -> None:
        bucket = int(math.log(seconds / _SMALLEST) / _GROWTH) if seconds > _SMALLEST else 0
        self._counts[min(bucket, _BUCKETS - 1)] += 1
        self.count += 1

    def quantile(self, share: float) -> float:
        """Return the duration that this share of all stayed under; 0 when nothing was added."""
        left = share * self.count
        for bucket, count in enumerate(self._counts):
            left -= count
            if count and left <= 0:
                return float(_SMALLEST * math.exp((bucket + 0.5) * _GROWTH))
        return 0.0

    def to_counts(self) -> dict[int, int]:
        """Return the counts by bucket, for `add_counts` of another one."""
        return {bucket: count for bucket, count in enumerate(self._counts) if count}

    def add_counts(self, counts: Mapping[int, int]) -> None:
        """Add what another histogram has counted."""
        for bucket, count in counts.items():
            self._counts[bucket] += count
            self.count += count

    def chart_bars(self, together: int) -> tuple[list[float], list[int]]:
        """Return edges and counts for a chart whose bars join `together` buckets each."""
        used = [bucket for bucket, count in enumerate(self._counts) if count]
        if not used:
            return [], []
        bars = range(used[0] // together, used[-1] // together + 1)
        edges = [_SMALLEST * math.exp(bar * together * _GROWTH) for bar in range(bars.start, bars.stop + 1)]
        return edges, [sum(self._counts[bar * together : (bar + 1) * together]) for bar in bars]
