"""Serves what a running session counts to Prometheus, on this machine only.

Counters and histograms begin at nothing with the session, as they do with every process; what the records of the run
add up to, earlier sessions included, are gauges whose names begin with `arkbatch_run`. Labels are words that we chose
ourselves (kinds, meters, currencies) and never a text of the service, so that the series stay few. No prompt, answer
or key is among them.

The names are promised in the README. Needs `prometheus-client`, which the extra `arkbatch[metrics]` installs.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import assert_never

from aiohttp import web
from msgspec import Struct
from msgspec.structs import asdict

from arkbatch.core.calls import Again, Cause, Done, Halt, Kind, Refused, Reply, Response, Verdict
from arkbatch.core.errors import UsageError
from arkbatch.core.job import BATCH_FILE_LANES
from arkbatch.core.outcomes import OUTRUN, Failure, Outcome
from arkbatch.core.row import Row
from arkbatch.core.usage import Usage
from arkbatch.monitor.observer import Observer
from arkbatch.monitor.progress import FoundRows, Progress, seconds_left
from arkbatch.pricing.amounts import Money
from arkbatch.reports.serve.loopback import HOST, NAMES, listen_on_loopback

try:
    from prometheus_client import CollectorRegistry, Counter, Histogram
    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.registry import Collector
except ModuleNotFoundError as error:
    raise UsageError("--metrics needs one more library; install it with: pip install 'arkbatch[metrics]'") from error

PATH = "/metrics"
_CALL_SECONDS = (0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300, 600, 1800, 7200, 86_400)
_FIRST_TOKEN_SECONDS = (0.1, 0.2, 0.4, 0.8, 1.5, 3, 6, 12, 30, 60, 120)
_DONE = "done"


class Described(Struct, frozen=True):
    """What a run is called. Constant over the session."""

    run_id: str
    model: str
    endpoint: str
    lane: str
    simulated: str


class Metrics(Observer):
    """Counts what it hears.

    cost: what the records of the run have cost so far; asked whenever somebody scrapes
    """

    def __init__(self, described: Described, cost: Callable[[], Money]) -> None:
        self.registry = registry = CollectorRegistry()
        self._now = _Now(described, cost)
        registry.register(self._now)
        self._rows = Counter("arkbatch_rows", "Rows recorded, by how they ended", ["outcome"], registry=registry)
        self._failures = Counter("arkbatch_failures", "Rows given up, by kind", ["kind"], registry=registry)
        self._calls = Counter("arkbatch_calls", "Calls ended: done, or the kind of failure", ["end"], registry=registry)
        self._retries = Counter("arkbatch_retries", "Calls to be made again, by kind", ["kind"], registry=registry)
        self._tokens = Counter("arkbatch_tokens", "Tokens billed, by meter", ["meter"], registry=registry)
        self._discarded = Counter(
            "arkbatch_discarded_tokens", "Tokens billed for discarded answers", ["meter"], registry=registry
        )
        self._halts = Counter("arkbatch_halts", "No row can work until someone acts", ["kind"], registry=registry)
        self._seconds = Histogram(
            "arkbatch_call_seconds", "Calls that gave an answer", buckets=_CALL_SECONDS, registry=registry
        )
        self._first_token = Histogram(
            "arkbatch_first_token_seconds",
            "Until streamed answers began",
            buckets=_FIRST_TOKEN_SECONDS,
            registry=registry,
        )
        self._begin_at_nothing()

    def _begin_at_nothing(self) -> None:
        """A series that appears with its first event has no rate for that event."""
        for outcome in ("succeeded", "failed"):
            self._rows.labels(outcome)
        for kind in Kind:
            self._failures.labels(kind.value)
            self._calls.labels(kind.value)
            self._retries.labels(kind.value)
        self._calls.labels(_DONE)
        self._calls.labels(OUTRUN)
        for meter in ("input", "cached", "output", "reasoning"):
            self._tokens.labels(meter)
            self._discarded.labels(meter)

    def opened(self, found: FoundRows) -> None:
        self._now.found = found

    def answered(self, row: Row, client_id: str, response: Response, verdict: Verdict) -> None:
        del row, client_id
        match verdict:
            case Done(usage=usage):
                self._calls.labels(_DONE).inc()
                self._seconds.observe(response.seconds)
                if isinstance(response, Reply) and response.first_token is not None:
                    self._first_token.observe(response.first_token)
                _count_usage(self._tokens, usage)
            case Again(cause=cause, usage=usage) | Refused(cause=cause, usage=usage):
                self._calls.labels(cause.kind.value).inc()
                _count_usage(self._tokens, usage)
                _count_usage(self._discarded, usage)
            case Halt(cause=cause):
                self._calls.labels(cause.kind.value).inc()
            case _:
                assert_never(verdict)

    def hedge_lost(self, row: Row, client_id: str, usage: Usage) -> None:
        del row, client_id
        self._calls.labels(OUTRUN).inc()
        _count_usage(self._tokens, usage)
        _count_usage(self._discarded, usage)

    def retrying(self, row: Row, client_id: str, verdict: Again, seconds: float) -> None:
        del row, client_id, seconds
        self._retries.labels(verdict.cause.kind.value).inc()

    def recorded(self, outcome: Outcome) -> None:
        if not isinstance(outcome, Failure):
            self._rows.labels("succeeded").inc()
        elif not outcome.interrupted:
            self._rows.labels("failed").inc()
            self._failures.labels(outcome.cause.kind.value).inc()

    def halted(self, cause: Cause) -> None:
        self._halts.labels(cause.kind.value).inc()

    def progressed(self, standing: Progress) -> None:
        self._now.standing = standing

    def count_elsewhere(
        self, *, calls: Usage, retries: Usage, failures: Usage, tokens: Usage, discarded: Usage, succeeded: int
    ) -> None:
        """Add what workers in other processes counted since the last time, by name."""
        self._rows.labels("succeeded").inc(succeeded)
        self._rows.labels("failed").inc(sum(failures.values()))
        for counter, counts in (
            (self._calls, calls),
            (self._retries, retries),
            (self._failures, failures),
            (self._tokens, tokens),
            (self._discarded, discarded),
        ):
            _count_usage(counter, counts)


def _count_usage(counter: Counter, usage: Usage) -> None:
    for meter, count in usage.items():
        counter.labels(meter).inc(max(0, count))  # a counter refuses to fall, whatever a server says


class _Now(Collector):
    """The gauges, as they are when somebody asks. What is not known has no sample, and never 0 in its place."""

    def __init__(self, described: Described, cost: Callable[[], Money]) -> None:
        self._described = described
        self._cost = cost
        self.found: FoundRows | None = None
        self.standing: Progress | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        labels = asdict(self._described)
        info = GaugeMetricFamily("arkbatch_run_info", "What runs here; always 1", labels=list(labels))
        info.add_metric(list(labels.values()), 1)
        yield info
        yield from self._run_metrics()
        for name, told, value in _GAUGES:
            known = None if self.standing is None else value(self.standing)
            if known is not None:
                yield GaugeMetricFamily(f"arkbatch_{name}", told, known)
        yield from self._parcel_metrics()

    def _parcel_metrics(self) -> Iterator[GaugeMetricFamily]:
        """The batch files of a run that has any."""
        if self.standing is not None and self._described.lane in BATCH_FILE_LANES:
            family = GaugeMetricFamily("arkbatch_parcels", "Batch files that are open, by state", labels=["state"])
            for state, count in self.standing.parcels.items():
                family.add_metric([state], count)
            yield family

    def _run_metrics(self) -> Iterator[GaugeMetricFamily]:
        cost = self._cost()
        family = GaugeMetricFamily("arkbatch_run_cost", "Cost of the run's records so far", labels=["currency"])
        for currency, amount in cost.amounts.items():
            family.add_metric([currency], float(amount))
        yield family
        yield GaugeMetricFamily("arkbatch_run_unpriced_rows", "Rows of the run without a price", cost.unpriced)
        if self.found is not None:
            # On several workers rows are known as their shards are opened.
            rows = max(self.found.total, self.standing.total if self.standing is not None else 0)
            yield GaugeMetricFamily("arkbatch_run_rows", "Rows that this session counts up to", rows)


_GAUGES: tuple[tuple[str, str, Callable[[Progress], float | None]], ...] = (
    ("run_failed_rows", "Rows of the run that stand failed", lambda now: now.failed),
    ("rows_left", "Rows that this session has still to send", lambda now: now.left),
    ("calls_in_flight", "Calls that wait for their answer", lambda now: now.in_flight),
    ("requests_per_minute", "Requests of the last minute", lambda now: now.rpm),
    (
        "refused_calls_since_answer",
        "Calls refused since the last answer",
        lambda now: now.refused_calls,
    ),
    ("tokens_per_minute", "Tokens of the last minute", lambda now: now.tpm),
    ("requests_per_minute_limit", "The limit that you gave", lambda now: now.rpm_limit),
    ("tokens_per_minute_limit", "The limit that you gave", lambda now: now.tpm_limit),
    ("requests_per_minute_found", "The pace that was found", lambda now: now.rpm_found),
    ("concurrency_found", "The concurrency that was found", lambda now: now.concurrency_found),
    ("seconds_left", "How long the rest will take at this pace", seconds_left),
)


@asynccontextmanager
async def serve_metrics(metrics: Metrics, port: int = 0) -> AsyncIterator[str]:
    """Serve while the body runs; the address is given to it. Port 0 is any free one. UsageError: the port is taken."""
    app = web.Application(middlewares=[_only_here])
    app[_REGISTRY] = metrics.registry
    app.add_routes([web.get(PATH, _answer_scrape)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        yield f"http://{HOST}:{await listen_on_loopback(runner, port)}{PATH}"
    finally:
        await runner.cleanup()


_REGISTRY = web.AppKey("registry", CollectorRegistry)


async def _answer_scrape(request: web.Request) -> web.Response:
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(request.app[_REGISTRY]), headers={"Content-Type": content_type})


@web.middleware
async def _only_here(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    if request.host.partition(":")[0] not in NAMES:
        raise web.HTTPForbidden(text="Scrape 127.0.0.1 or localhost.\n")
    return await handler(request)
