"""arkbatch: bulk completions from a JSONL file, resumable.

Where things are:

    core/       decides: verdicts, retries, budgets, the ledger; no I/O, no clock, no chance
    adapters/   touches one outside thing each: job file, input, journal, network, progress
    engines/    runs: opens a run directory and works its rows off
    reports/    reads what a run left behind
    simulator/  an Ark look-alike to try things on
    cli/        the commands

The public names below are imported when they are first used, so that `arkbatch --help` is quick.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from arkbatch.adapters.observer import Observer
    from arkbatch.api import arun, load_job, run
    from arkbatch.core.job import Job
    from arkbatch.core.summary import Summary
    from arkbatch.reports.results import iter_results
    from arkbatch.reports.vectors import iter_vectors

_PUBLIC = {
    "Job": "arkbatch.core.job",
    "Observer": "arkbatch.adapters.observer",
    "Summary": "arkbatch.core.summary",
    "arun": "arkbatch.api",
    "iter_results": "arkbatch.reports.results",
    "iter_vectors": "arkbatch.reports.vectors",
    "load_job": "arkbatch.api",
    "run": "arkbatch.api",
}

__all__ = ["Job", "Observer", "Summary", "__version__", "arun", "iter_results", "iter_vectors", "load_job", "run"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'arkbatch' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_PUBLIC[name]), name)
