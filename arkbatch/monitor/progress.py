"""The progress of a run at a moment, and how long the rest will take."""

from msgspec import Struct

from arkbatch.core.text import count_text


class FoundRows(Struct, frozen=True):
    """What a session found in the run directory, and what it will do.

    left: rows of the run without a record; to_send: rows that this session sends
    total: what the progress counts up to; unsent: chosen for a retry, but without a request
    changes: what differs from the last session
    """

    run_dir: str
    done: int
    failed: int
    left: int
    to_send: int
    total: int
    fresh: bool
    command: str = "run"
    unsent: int = 0
    changes: tuple[str, ...] = ()


class Progress(Struct, frozen=True, gc=False):
    """The progress of a running session; rates are over the last minute.

    seconds: since the start; left: rows that the session has still to send, of `total`
    rows_per_minute: rows recorded in the last minute, or since the start if that is shorter; 0 while no call succeeds
    bound_by: what limits the run, in words
    rpm_found, concurrency_found: the limits that the pace has found, None for none
    reason: why the pace last changed
    waiting: what a held run waits for: paused, or outside its hours
    stragglers: how many calls take far longer than usual, and the longest of them
    refused: how often and since when all calls are refused, while none is answered; refused_with: the service's words
    cost: of the run so far, in words
    parcels: how many batch files are open, by state; empty for a session of calls
    is_estimated: `total` is, and `left` with it, since no one has counted the rows so far
    """

    total: int
    left: int
    failed: int
    in_flight: int
    retried: int
    recorded: int
    seconds: float
    rows_per_minute: float
    rpm: float
    tpm: float
    rpm_limit: float | None = None
    tpm_limit: float | None = None
    bound_by: str = ""
    rpm_found: float | None = None
    concurrency_found: int | None = None
    reason: str = ""
    waiting: str = ""
    stragglers: str = ""
    refused: str = ""
    refused_with: str = ""
    refused_calls: int = 0
    cost: str = ""
    parcels: dict[str, int] = {}
    is_estimated: bool = False


def rows_text(standing: Progress) -> str:
    """Return how many rows have ended, and of how many."""
    ended = standing.total - standing.left
    if standing.is_estimated:
        return f"{ended:,} of about {count_text(standing.total, 'row')}"
    return f"{ended:,}/{standing.total:,} rows"


def seconds_left(standing: Progress) -> float | None:
    """Estimate the seconds left: the slower of the recent pace and the given limits.

    None when it is not known yet.
    """
    if not standing.left:
        return 0.0
    if standing.waiting:
        return None
    if not standing.recorded or not standing.rows_per_minute:
        return None
    minutes = [standing.left / standing.rows_per_minute]
    if standing.rpm_limit:
        minutes.append(standing.left / standing.rpm_limit)
    if standing.tpm_limit and standing.rpm:
        minutes.append(standing.left * (standing.tpm / standing.rpm) / standing.tpm_limit)
    return 60 * max(minutes)


class RowRate:
    """Rows per minute over the last minute, from a count."""

    def __init__(self, now: float) -> None:
        self._looks: list[tuple[float, int]] = [(now, 0)]

    def rows_per_minute(self, now: float, count: int) -> float:
        """Return rows per minute, given the count so far."""
        self._looks.append((now, count))
        while len(self._looks) > 2 and self._looks[1][0] <= now - 60:
            self._looks.pop(0)
        began, before = self._looks[0]
        return 60 * (count - before) / (now - began) if now > began else 0.0
