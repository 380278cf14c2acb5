"""arkbatch: bulk completions from a JSONL file, resumable.

One folder is one subject, and imports only go down this list:

    cli/        one module per command
    config/     job file, flags and environment become one `Job`
    estimate/   tokens, cost and time before a run
    reports/    what a run directory says
    engine/     the worker pool, one row's life, opening and resuming a run
    monitor/    progress bar, run log, notifications, control socket
    limits/     rates, the adaptive limit, the circuit breaker
    simulator/  an Ark look-alike server
    transport/  one HTTP exchange
    pricing/    price book, tariffs, cost
    journal/    the run directory and its records
    rows/       input lines become rows
    protocol/   what a service speaks: endpoints, usage, errors, streams
    core/       types that every package shares

The public names below are imported when they are first used, so that `arkbatch --help` is quick.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from arkbatch import errors
    from arkbatch.api.estimates import estimate_table
    from arkbatch.api.jobs import arun, load_job, run
    from arkbatch.api.tables import arun_table, embed_table, iter_answers, read_answers, run_table
    from arkbatch.core.job import Job
    from arkbatch.monitor.observer import Observer
    from arkbatch.pricing.summary import Summary
    from arkbatch.reports.answers.results import iter_results
    from arkbatch.reports.answers.vectors import iter_vectors

_PUBLIC = {
    "Job": "arkbatch.core.job",
    "Observer": "arkbatch.monitor.observer",
    "Summary": "arkbatch.pricing.summary",
    "arun": "arkbatch.api.jobs",
    "arun_table": "arkbatch.api.tables",
    "embed_table": "arkbatch.api.tables",
    "errors": "arkbatch",
    "estimate_table": "arkbatch.api.estimates",
    "iter_answers": "arkbatch.api.tables",
    "iter_results": "arkbatch.reports.answers.results",
    "iter_vectors": "arkbatch.reports.answers.vectors",
    "load_job": "arkbatch.api.jobs",
    "read_answers": "arkbatch.api.tables",
    "run": "arkbatch.api.jobs",
    "run_table": "arkbatch.api.tables",
}

__all__ = [
    "Job",
    "Observer",
    "Summary",
    "__version__",
    "arun",
    "arun_table",
    "embed_table",
    "errors",
    "estimate_table",
    "iter_answers",
    "iter_results",
    "iter_vectors",
    "load_job",
    "read_answers",
    "run",
    "run_table",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'arkbatch' has no attribute {name!r}")
    import importlib

    if name == "errors":
        return importlib.import_module("arkbatch.errors")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
