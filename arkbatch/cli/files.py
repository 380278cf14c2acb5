"""The process's limit of open files, raised as far as a run needs: each call in flight is an open file."""

from arkbatch.core.errors import UsageError

OTHERS = 200  # journal, libraries, the loop's own


def allow_files(calls: int) -> None:
    """The usual limit is far below what the batch lane takes at once."""
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
