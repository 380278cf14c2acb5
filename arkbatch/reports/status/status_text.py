"""The output of `status` for people."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from arkbatch.core.language import Language
from arkbatch.core.limit_changes import LimitChange
from arkbatch.core.text import duration_text, number_text, printable_text, short_number
from arkbatch.journal.ledger import Tally
from arkbatch.journal.run_info import SessionInfo
from arkbatch.limits.pace_file import PaceNote
from arkbatch.pricing.amounts import Money
from arkbatch.reports.status.advice import advice_for, names_of_run
from arkbatch.reports.status.status import FailureNote, Speed, Status
from arkbatch.reports.text.summary import (
    aligned_lines,
    cost_text,
    counts_text,
    kind_text,
    reported_text,
    spent_text,
    tokens_text,
)
from arkbatch.reports.text.tables import grid_lines

SHOWN = 10  # of sessions, and of kinds of failure
_METERS = ("input", "cached", "output", "reasoning")
_MODEL_HEADINGS = ("model", "endpoint", "tier", "done", "failed", "calls", *_METERS, "discarded")


def status_text(status: Status, language: Language = Language.ENGLISH) -> str:
    """Return sentences and short tables; the last line is the command that resumes the run."""
    say = language.say
    facts = [(say(label), language.translate_text(value)) for label, value in _fact_lines(status, language) if value]
    failures = [line for note in status.failures[:SHOWN] for line in _failure_lines(note, status, language)]
    usage = [_model_cells(tally, language) for tally in status.models]
    return printable_text(
        "\n".join(
            [
                _headline_of(status, language),
                *aligned_lines(facts),
                *_section_lines(say("Usage by model:"), grid_lines(_MODEL_HEADINGS, usage, language)),
                *_section_lines(say("Failed rows:"), failures),
                *_more_line(len(status.failures) - SHOWN, "and {number} more kinds of failure, with --json", language),
                *_section_lines(
                    say("Sessions:"), grid_lines(_SESSION_HEADINGS, _session_table(status, language), language)
                ),
                *_more_line(len(status.sessions) - SHOWN, "and {number} earlier sessions, with --json", language),
                *_section_lines(
                    say("Changed while the last session worked:"),
                    grid_lines(_STEERED_HEADINGS, _steered_table(status), language),
                ),
                *_more_line(len(_last_steered(status)) - SHOWN, "and {number} earlier changes, with --json", language),
                language.say_next(status.go_on),
            ]
        )
    )


def _headline_of(status: Status, language: Language) -> str:
    say, run_dir = language.say, status.run_dir
    if status.writer and status.paused:
        why = f": {' '.join(status.paused.reason.split())}" if status.paused.reason else ""
        paused = "{run_dir}: paused since {since} by {by} ({writer})."
        by = f"{status.paused.by}{why}"
        return say(paused, run_dir=run_dir, since=_moment_text(status.paused.at), by=by, writer=status.writer)
    if status.writer:
        return say("{run_dir}: running ({writer}).", run_dir=run_dir, writer=status.writer)
    if not status.left:
        failed = "{run_dir}: finished, with failed rows."
        return say(failed if status.failed else "{run_dir}: finished.", run_dir=run_dir)
    why = say(" Stopped: {reason}", reason=language.translate_text(status.halt)) if status.halt else ""
    return say("{run_dir}: not finished, and no session is running.", run_dir=run_dir) + why


def _fact_lines(status: Status, language: Language) -> Iterator[tuple[str, str]]:
    """Yield labels with their facts; empty facts are left out."""
    say = language.say
    rows = number_text(status.rows)
    of = f"{say('about {rows}', rows=rows) if status.rows_are_estimated else rows}{_limited_by(status)}"
    done, failed, left = number_text(status.done), number_text(status.failed), number_text(status.left)
    yield (
        "rows",
        say("{done} done, {failed} failed, {left} left of {rows}", done=done, failed=failed, left=left, rows=of),
    )
    yield "hours", status.waiting
    yield "waiting", status.refused
    yield "in time", status.outlook
    yield "speed", _speed_text(status.speed, language) if status.speed and not status.waiting else ""
    yield "slow calls", stragglers_text(status, language)
    yield "ended with", counts_text(status.finish_reasons)
    yield "tokens", tokens_text(status.usage, language)
    yield "discarded", tokens_text(status.discarded, language)
    cost, thrown = Money.from_builtins(status.cost), Money.from_builtins(status.discarded_cost)
    said = cost_text(cost, thrown, status.no_price_because)
    yield "cost", spent_text(said, simulated=status.simulated, language=language)
    yield "reported", reported_text(status.usage)
    yield "input", status.input + ("" if status.input_state == "as it was" else f" ({say(status.input_state)})")
    model = status.asked["model"] or say("the model of each row")
    yield "asked", f"{status.asked['endpoint']}, {model}, {status.asked['base_url']}"
    changed = any(each.limits for each in _last_steered(status))
    yield "limits", _limits_text(status.limits) + (say(" (changed for that session only)") if changed else "")
    yield "pace", pace_text(status.pace, over=not status.left) if status.pace else ""
    yield "simulated", say("yes: the answers come from arkbatch's own simulator") if status.simulated else ""


def _limited_by(status: Status) -> str:
    if status.row_limit is None:
        return ""
    beyond = status.done + status.failed + status.left - status.rows
    return f" (--limit; {number_text(beyond)} more ended beyond it)" if beyond > 0 else " (--limit)"


def stragglers_text(status: Status, language: Language = Language.ENGLISH) -> str:
    """Return the slow calls that are known by name, and how many others exist."""
    said = [
        language.say(
            "row {row} for {silent} (usually {usual})",
            row=each.row,
            silent=duration_text(each.seconds),
            usual=duration_text(each.usual),
        )
        for each in status.stragglers
    ]
    more = status.straggling - len(said)
    return ", ".join([*said, language.say("{number} more", number=number_text(more))] if more > 0 else said)


def _speed_text(speed: Speed, language: Language) -> str:
    if not speed.rows_per_minute:
        return language.say("no row has ended in the last minute")
    rows, tokens = short_number(speed.rows_per_minute), short_number(speed.tokens_per_minute)
    said = language.say("{rows} rows and {tokens} tokens a minute", rows=rows, tokens=tokens)
    if speed.seconds_left is None:
        return said
    return said + language.say("; about {time} left", time=duration_text(speed.seconds_left))


def _limits_text(limits: dict[str, Any]) -> str:
    numbers = ", ".join(f"{name} {value:g}" for name, value in limits.items() if isinstance(value, int | float))
    return f"{numbers}, fixed" if limits.get("mode") == "fixed" else numbers


def pace_text(note: PaceNote, *, over: bool) -> str:
    """Return where the pace stands, and why it last changed.

    over: the run has ended, so an outage of the service no longer matters
    """
    away = f"; {note.away} ({duration_text(note.away_seconds)})" if note.away and not over else ""
    found = [
        f"{short_number(note.rpm)} requests a minute" if note.rpm else "",
        f"{note.concurrency} calls at once" if note.concurrency else "",
    ]
    if not any(found):
        return note.reason + away
    changed = datetime.fromtimestamp(note.changed_at, UTC).isoformat(" ", "minutes").replace("+00:00", " UTC")
    return f"{', '.join(filter(None, found))}; since {changed}: {note.reason}{away}"


def _model_cells(tally: Tally, language: Language) -> tuple[str, ...]:
    never_sent = not tally.endpoint
    return (
        language.say("(bad lines, never sent)") if never_sent else tally.model or language.say("(no answer)"),
        tally.endpoint,
        tally.service_tier,
        number_text(tally.succeeded),
        number_text(tally.failed),
        number_text(tally.attempts),
        *(number_text(tally.usage[meter]) if tally.usage.get(meter) else "" for meter in _METERS),
        number_text(thrown) if (thrown := tally.discarded.get("input", 0) + tally.discarded.get("output", 0)) else "",
    )


def _failure_lines(note: FailureNote, status: Status, language: Language) -> Iterator[str]:
    said, names = kind_text(note.kind, language), names_of_run(status.asked)
    name = f"{said} ({note.code})" if note.code else said
    sample = " ".join(note.sample.split())
    of = language.say("{rows} {kind}, such as row {row}", rows=number_text(note.rows), kind=name, row=note.sample_row)
    yield f"  {of}{f': {language.translate_text(sample)}' if sample else ''}"
    yield f"      {language.say('What to do:')} {advice_for(note.kind, status.run_dir, language, names)}"


_SESSION_HEADINGS = ("", "command", "began", "took", "ended")


def _session_table(status: Status, language: Language) -> list[tuple[str, ...]]:
    return [_session_cells(each, status, language) for each in status.sessions[-SHOWN:]]


def _session_cells(session: SessionInfo, status: Status, language: Language) -> tuple[str, ...]:
    running = status.writer is not None and session is status.sessions[-1]
    return (
        str(session.number),
        session.command,
        _moment_text(session.began_at),
        duration_text(session.seconds) if session.ended_at else "",
        language.say("running" if running else session.ending or "killed, or the disk was full"),
    )


_STEERED_HEADINGS = ("", "when", "by", "what", "why")


def _last_steered(status: Status) -> list[LimitChange]:
    return status.sessions[-1].steered if status.sessions else []


def _steered_table(status: Status) -> list[tuple[str, ...]]:
    return [
        (each.do, _moment_text(each.at), each.by, each.did, " ".join(each.reason.split()))
        for each in _last_steered(status)[-SHOWN:]
    ]


def _moment_text(stamp: str) -> str:
    return stamp.replace("T", " ").replace("+00:00", " UTC")


def _section_lines(title: str, lines: list[str]) -> list[str]:
    return [title, *lines] if lines else []


def _more_line(number: int, words: str, language: Language) -> list[str]:
    return [f"  {language.say(words, number=number_text(number))}"] if number > 0 else []
