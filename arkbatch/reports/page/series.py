"""The columns that the charts draw, made from a timeline.

Everything is a rate a minute or an average, so that stretches of any length can stand beside each other. Lists run
in parallel; None is a hole in a line.
"""

from datetime import UTC, datetime
from itertools import accumulate

from msgspec import Struct

from arkbatch.core.histogram import Histogram
from arkbatch.journal.run_info import SessionInfo
from arkbatch.monitor.commands import limits_after
from arkbatch.reports.page.buckets import Stretch
from arkbatch.reports.page.timeline import Timeline

_KINDS_DRAWN = 5
_BUCKETS_OF_A_BAR = 4  # of the histogram's buckets, so that a bar is a fifth wider than the one before
OTHERS = "others"

Column = list[float | None]


class Spread(Struct, frozen=True):
    """Seconds, and how many durations lie between each edge and the next; there is one edge more than counts."""

    count: int
    p50: float
    p95: float
    p99: float
    edges: list[float]
    counts: list[int]


class Series(Struct, frozen=True):
    """One value for each moment in `at` (unix seconds, the beginning of a stretch), by name.

    width: seconds that a stretch lasts
    cost: so far, by currency
    rows, requests, tokens: a minute; in_flight: on average; each *_limit is None where there was no limit
    retries: calls without a usable answer, a minute, by kind; the rarest are put together
    retried: the same over the whole run, as a count
    """

    width: int
    at: list[float]
    rows: Column
    requests: Column
    tokens: Column
    cost: dict[str, list[float]]
    in_flight: Column
    requests_limit: Column
    tokens_limit: Column
    in_flight_limit: Column
    retries: dict[str, Column]
    retried: dict[str, int]
    latency: Spread | None
    first_token: Spread | None


def series_of(timeline: Timeline, sessions: list[SessionInfo], running_at: float | None = None) -> Series:
    """`running_at`: the time now, when a session is running.

    Calls that are open have no record yet: the end of what they would have added to is left out, not drawn too low.
    """
    stretches = list(timeline.buckets.stretches())
    width = timeline.buckets.width
    ended = None if running_at is None else running_at - width
    settled = None if running_at is None else running_at - width - timeline.latency.quantile(0.95)
    names = _kinds_drawn(timeline.retried)
    limits = [_limits_at(sessions, each.begin, width) for each in stretches]
    return Series(
        width=width,
        at=[round(each.begin, 1) for each in stretches],
        rows=[_rate_per_minute(each, each.bucket.done + each.bucket.failed, width, ended) for each in stretches],
        requests=[_rate_per_minute(each, each.bucket.calls, width, ended) for each in stretches],
        tokens=[_rate_per_minute(each, each.bucket.tokens, width, ended) for each in stretches],
        cost={currency: _so_far(stretches, currency) for currency in _currencies_in(stretches)},
        in_flight=[
            None if settled is not None and each.begin > settled else round(each.in_flight, 1) for each in stretches
        ],
        requests_limit=[each.get("rpm") for each in limits],
        tokens_limit=[each.get("tpm") for each in limits],
        in_flight_limit=[each.get("concurrency") for each in limits],
        retries={
            name: [_rate_per_minute(each, _calls_caused(each, name, names), width, ended) for each in stretches]
            for name in names
        },
        retried=dict(sorted(timeline.retried.items(), key=lambda item: -item[1])),
        latency=spread_of(timeline.latency),
        first_token=spread_of(timeline.first_token),
    )


def _rate_per_minute(stretch: Stretch, count: int, width: int, ended: float | None) -> float | None:
    """A minute. A stretch cut short by the run's end counts as half at least: one call is no trend."""
    if ended is not None and stretch.begin > ended:
        return None
    return round(60 * count / max(stretch.end - stretch.begin, width / 2), 2)


def _currencies_in(stretches: list[Stretch]) -> list[str]:
    return sorted({currency for each in stretches for currency in each.bucket.cost})


def _so_far(stretches: list[Stretch], currency: str) -> list[float]:
    sums = accumulate(each.bucket.cost.get(currency, 0.0) for each in stretches)
    return [float(f"{amount:.6g}") for amount in sums]


def _kinds_drawn(retried: dict[str, int]) -> list[str]:
    kinds = sorted((kind for kind in retried if kind != OTHERS), key=lambda kind: -retried[kind])
    rest = len(kinds) > _KINDS_DRAWN or OTHERS in retried
    return kinds[:_KINDS_DRAWN] + [OTHERS] * rest


def _calls_caused(stretch: Stretch, name: str, names: list[str]) -> int:
    causes = stretch.bucket.causes
    if name != OTHERS:
        return causes.get(name, 0)
    return sum(count for kind, count in causes.items() if kind == OTHERS or kind not in names)


def _limits_at(sessions: list[SessionInfo], moment: float, width: int) -> dict[str, float | None]:
    """Those of the last session that had begun when the stretch ended, unless it was over before it began."""
    for session in reversed(sessions):
        if moment_of_text(session.began_at) < moment + width:
            over = session.ended_at and moment_of_text(session.ended_at) + width < moment
            return {} if over else limits_after(session.limits, session.steered, text_of_moment(moment + width))
    return {}


def text_of_moment(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def moment_of_text(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def spread_of(durations: Histogram) -> Spread | None:
    """How durations are spread, in the form that a chart draws; None when there are none."""
    if not durations.count:
        return None
    edges, counts = durations.chart_bars(_BUCKETS_OF_A_BAR)
    return Spread(
        count=durations.count,
        p50=round(durations.quantile(0.5), 3),
        p95=round(durations.quantile(0.95), 3),
        p99=round(durations.quantile(0.99), 3),
        edges=[float(f"{edge:.4g}") for edge in edges],
        counts=counts,
    )
