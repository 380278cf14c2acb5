"""The words and figures in which a session answers commands."""

from collections.abc import Mapping
from datetime import UTC, datetime

from arkbatch.core.job_sections import Limits
from arkbatch.core.limit_changes import LimitChange
from arkbatch.core.text import count_text, short_number
from arkbatch.journal.run_info import SessionInfo
from arkbatch.monitor.commands import Command, SessionState, SetLimits, limits_after
from arkbatch.monitor.progress import Progress

PAUSED = "paused"  # the word for a pause that somebody asked for, and its name in the limiter
MAX_CHANGES_KEPT = 500  # in run.json; the log has all of them
LIMIT_NAMES = SetLimits.__struct_fields__
AtLimits = Mapping[str, int | float | None]
NO_LIMITS: AtLimits = {}


def changed_limits(limits: Limits, wanted: SetLimits) -> tuple[dict[str, int | float | None], AtLimits]:
    """Return what is set to another value than it has, and the present values of all that is set."""
    present = {name: getattr(limits, name) for name in wanted.changed_limits()}
    return {name: value for name, value in wanted.changed_limits().items() if value != present[name]}, present


def changes_text(present: AtLimits, changes: AtLimits) -> str:
    return ", ".join(f"{name} {limit_text(present[name])} -> {limit_text(value)}" for name, value in changes.items())


def set_text(said: str, limits: Limits, changes: AtLimits) -> str:
    """Return the reply to new limits. said: what was set; limits: those of the job."""
    job = limits_text({name: getattr(limits, name) for name in changes})
    return f"Set {said}. This session only: the next one goes by the job ({job})."


def limits_text(limits: AtLimits) -> str:
    return ", ".join(f"{name} {limit_text(value)}" for name, value in limits.items())


def limit_text(limit: float | None) -> str:
    return "none" if limit is None else f"{limit:,.10g}"


def limits_in_force(limits: Limits) -> AtLimits:
    """Return the limits; of those that few runs have, those that this one has."""
    known = {name: getattr(limits, name) for name in LIMIT_NAMES}
    return {name: value for name, value in known.items() if value is not None or name in {"rpm", "tpm"}}


def in_flight_text(calls: int) -> str:
    if not calls:
        return "nothing is in flight"
    return f"{count_text(calls, 'call')} in flight {'finishes' if calls == 1 else 'finish'}"


def rows_text(progress: Progress) -> str:
    return f"{count_text(progress.left, 'row')} left, {progress.failed} failed"


def speed_text(progress: Progress) -> str:
    return f"{short_number(progress.rpm)} requests and {short_number(progress.tpm)} tokens a minute"


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def time_stamp(moment: float) -> str:
    """Return a unix time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def change_of(command: Command, did: str, at: float, limits: AtLimits = NO_LIMITS) -> LimitChange:
    """Return a command as the session records it. at: unix time; limits: those that it set."""
    word = str(command.do.__struct_config__.tag)
    return LimitChange(time_stamp(at), word, did, command.by, command.reason, dict(limits))


def add_change(session: SessionInfo, change: LimitChange) -> None:
    """Note a change in a session. Of changes that are too old to keep, their limits stay."""
    changes = [*session.steered, change]
    session.limits = limits_after(session.limits, changes[:-MAX_CHANGES_KEPT])
    session.steered = changes[-MAX_CHANGES_KEPT:]


def session_state(
    progress: Progress, *, session: int, is_stopping: bool, held: dict[str, str], limits: Limits, of_job: Limits
) -> SessionState:
    """Return the state of a session. held: why no call begins, each with the time since when."""
    values = {name: getattr(limits, name) for name in LIMIT_NAMES}
    in_job = {name: getattr(of_job, name) for name in LIMIT_NAMES}
    return SessionState(
        session=session,
        stopping=is_stopping,
        held=held,
        limits=values,
        of_job={name: value for name, value in in_job.items() if value != values[name]},
        in_flight=progress.in_flight,
        rpm=round(progress.rpm, 1),
        tpm=round(progress.tpm, 1),
        left=progress.left,
        failed=progress.failed,
        bound_by=progress.bound_by,
    )
