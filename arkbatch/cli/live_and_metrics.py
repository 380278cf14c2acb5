"""`--live` and `--metrics`: serves the report page and Prometheus metrics beside a session.

What serves is imported only when it is asked for: it would make every start slower, and metrics need an extra.
"""

import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

import click
from msgspec import Struct

from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.session import Session
from arkbatch.monitor.observer import Observer


class Serving(Struct, frozen=True):
    """Ports on this machine, 0 for any free one; None serves nothing.

    live: of the report page; metrics: of the metrics
    """

    live: int | None = None
    metrics: int | None = None

    def check_extras(self) -> None:
        """Raise UsageError if an extra that is needed is not installed."""
        if self.metrics is not None:
            import arkbatch.reports.serve.metrics  # noqa: F401


async def session_of(run: OpenRun, progress: Observer, serving: Serving, served: AsyncExitStack) -> Session:
    """Return a session whose page and metrics are served until `served` is closed. UsageError: a port is taken."""
    watchers = await Watchers.serve_run(run, progress, serving, served)
    session = Session(run, watchers.observers)
    await watchers.open_page(session.stop)
    return session


class Watchers(Struct):
    """The observers of a session, and the page that opens once there is a session to stop."""

    observers: list[Observer]
    open_page: Callable[[Callable[[], None]], Awaitable[None]]

    @staticmethod
    async def serve_run(run: OpenRun, progress: Observer, serving: Serving, served: AsyncExitStack) -> "Watchers":
        """Serve metrics at once, where they are asked for. UsageError: a port is taken."""
        observers = [progress]
        if serving.metrics is not None:
            observers.append(await _serve_metrics(run, serving.metrics, served))
        if serving.live is None:
            return Watchers(observers, _open_no_page)
        from arkbatch.batch_jobs.parcel_report import parcel_notes
        from arkbatch.reports.serve.live import Look, Moment, serve_page

        moment, port = Moment(), serving.live

        async def open_page(stop: Callable[[], None]) -> None:
            parcels = partial(parcel_notes, run.directory, time.time)
            look = Look(run.found.run_dir, time.time, moment.state_now, parcels)
            url = await served.enter_async_context(serve_page(look, port=port, stop=stop))
            click.echo(f"Live page:  {url}", err=True)

        return Watchers([*observers, moment], open_page)


async def _open_no_page(stop: Callable[[], None]) -> None:
    del stop


async def _serve_metrics(run: OpenRun, port: int, served: AsyncExitStack) -> Observer:
    from arkbatch.reports.serve.metrics import Described, Metrics, serve_metrics

    job, bill = run.job, run.bill
    described = Described(run.info.run_id, job.model, job.endpoint, job.lane, "yes" if job.simulated else "no")
    metrics = Metrics(described, bill.total_cost)
    url = await served.enter_async_context(serve_metrics(metrics, port))
    click.echo(f"Metrics:  {url}", err=True)
    return metrics
