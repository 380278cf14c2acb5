"""What `status` prints for people."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from arkbatch.core.steered import Steered
from arkbatch.core.text import count, duration, printable, short
from arkbatch.journal.ledger import Tally
from arkbatch.journal.run_directory import SessionInfo
from arkbatch.limits.pace_file import PaceNote
from arkbatch.pricing.amounts import Money
from arkbatch.reports.status.status import FailureNote, Speed, Status
from arkbatch.reports.text.summary import cost_text, counts_text, reported_text, spent_text, table, tokens_text
from arkbatch.reports.text.tables import grid

SHOWN = 10  # of sessions, and of kinds of failure
_METERS = ("input", "cached", "output", "reasoning")
_MODEL_HEADINGS = ("model", "endpoint", "tier", "done", "failed", "calls", *_METERS, "discarded")


def status_text(status: Status) -> str:
    """Sentences and short tables; the last line is the command that goes on."""
    return printable(
        "\n".join(
            [
                _headline(status),
                *table([row for row in _facts(status) if row[1]]),
                *_section("Usage by model:", grid(_MODEL_HEADINGS, [_model(tally) for tally in status.models])),
                *_section("Failed rows:", [line for note in status.failures[:SHOWN] for line in _failure(note)]),
                *_more(len(status.failures) - SHOWN, "more kinds of failure, with --json"),
                *_section("Sessions:", grid(_SESSION_HEADINGS, _sessions(status))),
                *_more(len(status.sessions) - SHOWN, "earlier sessions, with --json"),
                *_section("Changed while the last session worked:", grid(_STEERED_HEADINGS, _steered(status))),
                *_more(len(_last_steered(status)) - SHOWN, "earlier changes, with --json"),
                status.go_on,
            ]
        )
    )


def _headline(status: Status) -> str:
    if status.writer and status.paused:
        since = f" since {_moment(status.paused.at)}"
        why = f": {' '.join(status.paused.reason.split())}" if status.paused.reason else ""
        return f"{status.run_dir}: paused{since} by {status.paused.by}{why} ({status.writer})."
    if status.writer:
        return f"{status.run_dir}: running ({status.writer})."
    if not status.left:
        return f"{status.run_dir}: finished{', with failed rows' if status.failed else ''}."
    why = f" Stopped: {status.halt}" if status.halt else ""
    return f"{status.run_dir}: not finished, and no session is running.{why}"


def _facts(status: Status) -> Iterator[tuple[str, str]]:
    of = f"{count(status.rows)}{_limited(status)}"
    yield "rows", f"{count(status.done)} done, {count(status.failed)} failed, {count(status.left)} left of {of}"
    yield "hours", status.waiting
    yield "in time", status.outlook
    yield "speed", _speed(status.speed) if status.speed and not status.waiting else ""
    yield "slow calls", stragglers_text(status)
    yield "ended with", counts_text(status.finish_reasons)
    yield "tokens", tokens_text(status.usage)
    yield "discarded", tokens_text(status.discarded)
    cost, thrown = Money.from_plain(status.cost), Money.from_plain(status.discarded_cost)
    said = cost_text(cost, thrown, status.no_price_because)
    yield "cost", spent_text(said, simulated=status.simulated)
    yield "reported", reported_text(status.usage)
    yield "input", status.input + ("" if status.input_state == "as it was" else f" ({status.input_state})")
    model = status.asked["model"] or "the model of each row"
    yield "asked", f"{status.asked['endpoint']}, {model}, {status.asked['base_url']}"
    changed = any(each.limits for each in _last_steered(status))
    yield "limits", _limits(status.limits) + (" (changed for that session only)" if changed else "")
    yield "pace", pace_text(status.pace, over=not status.left) if status.pace else ""
    yield "simulated", "yes: the answers come from arkbatch's own simulator" if status.simulated else ""


def _limited(status: Status) -> str:
    if status.row_limit is None:
        return ""
    beyond = status.done + status.failed + status.left - status.rows
    return f" (--limit; {count(beyond)} more ended beyond it)" if beyond > 0 else " (--limit)"


def stragglers_text(status: Status) -> str:
    """Those that are known by name, and how many more there are."""
    said = [
        f"row {each.row} for {duration(each.seconds)} (usually {duration(each.usual)})" for each in status.stragglers
    ]
    more = status.straggling - len(said)
    return ", ".join([*said, f"{count(more)} more"] if more > 0 else said)


def _speed(speed: Speed) -> str:
    if not speed.rows_per_minute:
        return "no row has ended in the last minute"
    left = f"; about {duration(speed.seconds_left)} left" if speed.seconds_left is not None else ""
    return f"{short(speed.rows_per_minute)} rows and {short(speed.tokens_per_minute)} tokens a minute{left}"


def _limits(limits: dict[str, Any]) -> str:
    numbers = ", ".join(f"{name} {value:g}" for name, value in limits.items() if isinstance(value, int | float))
    return f"{numbers}, fixed" if limits.get("mode") == "fixed" else numbers


def pace_text(note: PaceNote, *, over: bool) -> str:
    """Where it stands, and why it last changed. Once a run is over it no longer matters whether the service is away."""
    away = f"; {note.away} ({duration(note.away_seconds)})" if note.away and not over else ""
    found = [
        f"{short(note.rpm)} requests a minute" if note.rpm else "",
        f"{note.concurrency} calls at once" if note.concurrency else "",
    ]
    if not any(found):
        return note.reason + away
    changed = datetime.fromtimestamp(note.changed_at, UTC).isoformat(" ", "minutes").replace("+00:00", " UTC")
    return f"{', '.join(filter(None, found))}; since {changed}: {note.reason}{away}"


def _model(tally: Tally) -> tuple[str, ...]:
    never_sent = not tally.endpoint
    return (
        "(bad lines, never sent)" if never_sent else tally.model or "(no answer)",
        tally.endpoint,
        tally.service_tier,
        count(tally.succeeded),
        count(tally.failed),
        count(tally.attempts),
        *(count(tally.usage[meter]) if tally.usage.get(meter) else "" for meter in _METERS),
        count(thrown) if (thrown := tally.discarded.get("input", 0) + tally.discarded.get("output", 0)) else "",
    )


def _failure(note: FailureNote) -> Iterator[str]:
    name = f"{note.kind} ({note.code})" if note.code else note.kind
    sample = " ".join(note.sample.split())
    yield f"  {count(note.rows)} {name}, such as row {note.sample_row}{f': {sample}' if sample else ''}"
    yield f"      What to do: {note.advice}"


_SESSION_HEADINGS = ("", "command", "began", "took", "ended")


def _sessions(status: Status) -> list[tuple[str, ...]]:
    return [_session(each, status) for each in status.sessions[-SHOWN:]]


def _session(session: SessionInfo, status: Status) -> tuple[str, ...]:
    running = status.writer is not None and session is status.sessions[-1]
    return (
        str(session.number),
        session.command,
        _moment(session.began_at),
        duration(session.seconds) if session.ended_at else "",
        session.ending or ("running" if running else "killed, or the disk was full"),
    )


_STEERED_HEADINGS = ("", "when", "by", "what", "why")


def _last_steered(status: Status) -> list[Steered]:
    return status.sessions[-1].steered if status.sessions else []


def _steered(status: Status) -> list[tuple[str, ...]]:
    return [
        (each.do, _moment(each.at), each.by, each.did, " ".join(each.reason.split()))
        for each in _last_steered(status)[-SHOWN:]
    ]


def _moment(stamp: str) -> str:
    return stamp.replace("T", " ").replace("+00:00", " UTC")


def _section(title: str, lines: list[str]) -> list[str]:
    return [title, *lines] if lines else []


def _more(number: int, words: str) -> list[str]:
    return [f"  and {count(number)} {words}"] if number > 0 else []
