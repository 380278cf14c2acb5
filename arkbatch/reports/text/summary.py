"""What a terminal shows: short tables and lines. It formats values and reads nothing."""

import re
import shlex
from collections.abc import Iterator, Sequence
from decimal import Decimal
from urllib.parse import urlsplit

from arkbatch.core.job import Job
from arkbatch.core.text import count, counted, duration, printable
from arkbatch.core.types import ASSUMED, CONTRADICTORY, REPORTED_TICKS, TICKS_PER_USD, UNCOUNTED
from arkbatch.monitor.progress import FoundRows
from arkbatch.pricing.amounts import Money, shown
from arkbatch.pricing.summary import Summary

AMOUNT = re.compile(r"(at most )?[\d.]+ [A-Z]{3}\b")
NAMES = {"input": "input", "cached": "of it cached", "output": "output", "reasoning": "of it reasoning"}
NOT_LISTED = {*NAMES, ASSUMED, CONTRADICTORY, REPORTED_TICKS, UNCOUNTED}


def target_line(job: Job, rows: int) -> str:
    """How many rows go to which model and server, and where each of the two was said."""
    model = f"{job.model}{_in_brackets(job.model_from)}" if job.model else "the model that each row names"
    if job.simulated:
        return f"{counted(rows, 'row')} -> {model} at the simulator"
    host = urlsplit(job.base_url).netloc
    return f"{counted(rows, 'row')} -> {model} at {host}{_in_brackets(job.base_url_from)}"


def _in_brackets(place: str) -> str:
    return f" ({place})" if place else ""


def found_line(found: FoundRows) -> str:
    """What a session finds in its directory, before the first call."""
    if found.command == "retry":
        return _retry_line(found)
    if found.fresh:
        return f"New run in {found.run_dir}: {counted(found.left, 'row')}."
    changes = "".join(f"\n  changed: {change}" for change in found.changes)
    return (
        f"Resuming {found.run_dir}: {counted(found.done, 'row')} done, {count(found.failed)} failed, "
        f"{count(found.left)} left.{changes or ' Nothing changed since the last session.'}"
    )


def _retry_line(found: FoundRows) -> str:
    changes = "".join(f"\n  changed: {change}" for change in found.changes)
    unsent = (
        f"\n  {count(found.unsent)} more were never sent, and the input has changed since: run it again with --rebase."
        if found.unsent
        else ""
    )
    if found.failed and not (found.to_send or found.unsent):
        return (
            f"None of the {counted(found.failed, 'failed row')} in {found.run_dir} is of those kinds or numbers: "
            f"arkbatch status {found.run_dir}"
        )
    return f"Retrying {count(found.to_send)} of {count(found.failed)} failed rows in {found.run_dir}.{unsent}{changes}"


def summary_text(summary: Summary, next_command: str) -> str:
    """The short table at the end, whose last line is always the command that goes on."""
    rows = [
        ("rows", f"{count(summary.succeeded)} succeeded, {count(summary.failed)} failed, {count(summary.left)} left"),
        ("failures", ", ".join(f"{count(rows)} {kind}" for kind, rows in summary.failures.items())),
        ("ended with", counts_text(summary.finish_reasons)),
        ("tokens", tokens_text(summary.usage)),
        ("discarded", tokens_text(summary.discarded)),
        ("cost", spent_text(_cost(summary), simulated=summary.simulated)),
        ("reported", reported_text(summary.usage)),
        ("time", f"{duration(summary.seconds)} ({counted(summary.session['recorded'], 'row')} in this session)"),
        (
            "away",
            f"the service was away for {duration(away)}" if (away := summary.session.get("seconds_away", 0)) else "",
        ),
        ("asked again", _hedged_text(summary.session)),
        ("latency", f"p50 {summary.p50:.2f} s, p95 {summary.p95:.2f} s" if summary.p50 and summary.p95 else ""),
        ("streamed", _speeds_text(summary)),
        ("simulated", "yes: the answers come from arkbatch's own simulator" if summary.simulated else ""),
        ("results", f"{summary.run_dir}/results.jsonl" if summary.succeeded else ""),
        (
            "failed rows",
            f"{summary.run_dir}/failures.jsonl; why: arkbatch status {shlex.quote(summary.run_dir)}"
            if summary.failed
            else "",
        ),
    ]
    lines = [headline(summary), *table([row for row in rows if row[1]])]
    if summary.halt:
        lines.append(f"Reason:     {summary.halt.message}")
        lines += [f"What to do: {summary.halt.advice}"] if summary.halt.advice else []
    return printable("\n".join([*lines, next_command]))


def counts_text(finish_reasons: dict[str, int]) -> str:
    """Return `stop 9,120, length 880`."""
    return ", ".join(f"{reason} {count(rows)}" for reason, rows in finish_reasons.items())


def _hedged_text(session: dict[str, int]) -> str:
    again = session.get("asked_again", 0)
    return (
        f"{counted(again, 'slow row')}; the second call was quicker for {count(session['second_won'])}" if again else ""
    )


def _speeds_text(summary: Summary) -> str:
    if summary.first_token_p50 is None or summary.first_token_p95 is None:
        return ""
    first = f"first token p50 {summary.first_token_p50:.2f} s, p95 {summary.first_token_p95:.2f} s"
    speed = summary.tokens_per_second_p50
    return f"{first}; then {speed:,.0f} tokens/s" if speed else first


def cost_text(cost: Money | None, discarded: Money | None, reason: str) -> str:
    """`12.40 CNY + 310 rows without a price (x is not in the price book), 0.31 CNY of it for discarded answers`."""
    if cost is None or not (cost.amounts or cost.unpriced):
        return ""
    why = f" ({reason})" if cost.unpriced and reason else ""
    thrown = f", {discarded} of it for discarded answers" if discarded and discarded.amounts else ""
    return f"{cost}{why}{thrown}"


def spent_text(said: str, *, simulated: bool) -> str:
    """A cost, unless it was not spent: what simulated answers would have cost."""
    return f"{said}, had it been real" if simulated and AMOUNT.match(said) else said


def _cost(summary: Summary) -> str:
    return cost_text(summary.cost, summary.discarded_cost, summary.no_price_because)


def headline(summary: Summary) -> str:
    match summary.ending:
        case "nothing left":
            if not (summary.left or summary.failed or summary.succeeded):
                return "Nothing to send: the input has no rows."
            return "Nothing was sent." if summary.left else "Nothing left to send: every row has its record."
        case "finished":
            return "Finished." if not summary.failed else "Finished, with failed rows."
        case "ordered":
            return "Everything is ordered. The answers come later; what is recorded is safe."
        case "halted":
            return "Stopped: every request would fail until this is fixed. Rows without a record stay undone."
        case _:
            return "Stopped. What was recorded is safe; the rest is undone."


def tokens_text(usage: dict[str, int]) -> str:
    """`12,345 input (2,000 cached), 678 output (300 reasoning)` and what other meters there are."""
    if not usage:
        return ""
    parts = [_meter(usage, "input", "cached"), _meter(usage, "output", "reasoning")]
    others = [f"{count(number)} {name}" for name, number in usage.items() if name not in NOT_LISTED and number]
    assumed = [f"of these {count(usage[ASSUMED])} {ASSUMED}"] if usage.get(ASSUMED) else []
    notes = "".join(f"; {each}" for each in _usage_notes(usage))
    return ", ".join([*parts, *others, *assumed]) + notes


def _usage_notes(usage: dict[str, int]) -> Iterator[str]:
    """Yield what is wrong with the counts that the replies gave."""
    if replies := usage.get(CONTRADICTORY):
        yield f"{_replies(replies)} whose counts do not add up"
    if replies := usage.get(UNCOUNTED):
        yield f"{_replies(replies)} that did not count the output"


def _replies(number: int) -> str:
    return f"{count(number)} {'reply' if number == 1 else 'replies'}"


def reported_text(usage: dict[str, int]) -> str:
    """Return what the provider says that the replies cost, "" when it does not say."""
    ticks = usage.get(REPORTED_TICKS)
    return "" if ticks is None else f"{shown(Decimal(ticks) / TICKS_PER_USD)} USD"


def _meter(usage: dict[str, int], name: str, part: str) -> str:
    inner = f" ({count(usage[part])} {part})" if usage.get(part) else ""
    return f"{count(usage.get(name, 0))} {name}{inner}"


def table(rows: Sequence[tuple[str, ...]], indent: str = "  ") -> list[str]:
    """Lines with their columns aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)] if rows else []
    return [
        indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
