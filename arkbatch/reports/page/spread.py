"""How durations are spread, in the form that a chart draws."""

from msgspec import Struct

from arkbatch.core.histogram import Histogram

_TOGETHER = 4  # of the histogram's buckets, so that a bar is a fifth wider than the one before


class Spread(Struct, frozen=True):
    """Seconds, and how many durations lie between each edge and the next; there is one edge more than counts."""

    count: int
    p50: float
    p95: float
    p99: float
    edges: list[float]
    counts: list[int]


def spread_of(durations: Histogram) -> Spread | None:
    """None when there are none."""
    if not durations.count:
        return None
    edges, counts = durations.chart_bars(_TOGETHER)
    return Spread(
        count=durations.count,
        p50=round(durations.quantile(0.5), 3),
        p95=round(durations.quantile(0.95), 3),
        p99=round(durations.quantile(0.99), 3),
        edges=[float(f"{edge:.4g}") for edge in edges],
        counts=counts,
    )
