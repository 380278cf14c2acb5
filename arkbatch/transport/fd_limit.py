"""Fits the number of connections into the process's limit of open files.

Each call in flight is one file, and the journal needs a few at any moment. The command line raises the limit as far as
a run needs. A program that uses the library keeps its own, and a run in it uses no more connections than that leaves.
"""

from pathlib import Path

from arkbatch.core.errors import UsageError

OTHERS = 200  # journal, libraries, the loop's own
KEPT_FREE = 10  # for the files that are replaced while a run writes, and the loop's own


def allow_files(calls: int) -> None:
    """Raise the limit of open files; the usual one is far below what the batch lane needs."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = calls + OTHERS
    if hard != resource.RLIM_INFINITY and wanted > hard:
        raise UsageError(
            f"{calls} calls at once take {wanted} open files, and this system allows {hard}: "
            "lower --concurrency, or raise the limit (ulimit -Hn)"
        )
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def allowed_connections(calls: int, *, have: int = 0) -> int:
    """Return how many connections so many calls may have, at least one.

    The files that the journal needs stay free.
    have: connections that are open already
    """
    try:
        import resource
    except ImportError:
        return calls
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return calls
    return max(1, min(calls, soft - _open_now() + have - KEPT_FREE))


def _open_now() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())
