"""What is served beside a session of `run` and `retry`: the report page, and metrics for Prometheus.

What serves is imported only when it is asked for: it would make every start slower, and metrics need an extra.
"""

import time
from contextlib import AsyncExitStack

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

    def check(self) -> None:
        """UsageError: what is asked for needs an extra that is not installed."""
        if self.metrics is not None:
            import arkbatch.reports.serve.metrics  # noqa: F401


async def session_of(run: OpenRun, progress: Observer, serving: Serving, served: AsyncExitStack) -> Session:
    """A session with what is served of it, until `served` is closed. UsageError: a port is taken."""
    observers = [progress]
    if serving.metrics is not None:
        observers.append(await _counted(run, serving.metrics, served))
    if serving.live is None:
        return Session(run, observers)
    from arkbatch.reports.serve.live import Look, Moment, serve_page

    moment = Moment()
    session = Session(run, [*observers, moment])
    look = Look(run.found.run_dir, time.time, moment.now)
    url = await served.enter_async_context(serve_page(look, port=serving.live, stop=session.stop))
    click.echo(f"Live page:  {url}", err=True)
    return session


async def _counted(run: OpenRun, port: int, served: AsyncExitStack) -> Observer:
    from arkbatch.reports.serve.metrics import Described, Metrics, serve_metrics

    job, bill = run.job, run.bill
    described = Described(run.info.run_id, job.model, job.endpoint, job.lane, "yes" if job.simulated else "no")
    metrics = Metrics(described, bill.cost)
    url = await served.enter_async_context(serve_metrics(metrics, port))
    click.echo(f"Metrics:  {url}", err=True)
    return metrics
