"""What a terminal shows: short tables and lines. It formats values and reads nothing."""

import re
import shlex
from collections.abc import Iterator, Sequence
from decimal import Decimal
from urllib.parse import urlsplit

from arkbatch.core.job import Job
from arkbatch.core.language import Language
from arkbatch.core.text import display_width, duration_text, number_text, padded_text, printable_text
from arkbatch.core.usage import ASSUMED, CONTRADICTORY, REPORTED_TICKS, TICKS_PER_USD, UNCOUNTED
from arkbatch.monitor.progress import FoundRows
from arkbatch.pricing.amounts import Money, amount_text
from arkbatch.pricing.summary import Summary

AMOUNT = re.compile(r"(at most )?[\d.]+ [A-Z]{3}\b")
NAMES = {"input": "input", "cached": "of it cached", "output": "output", "reasoning": "of it reasoning"}
NOT_LISTED = {*NAMES, ASSUMED, CONTRADICTORY, REPORTED_TICKS, UNCOUNTED}


def target_line(job: Job, rows: int, language: Language = Language.ENGLISH) -> str:
    """How many rows go to which model and server, and where each of the two was said."""
    own = language.say("the model that each row names")
    model = f"{job.model}{_in_brackets(language.say(job.model_from))}" if job.model else own
    counted_rows = language.say_count(rows, "row")
    if job.simulated:
        return language.say("{rows} -> {model} at the simulator", rows=counted_rows, model=model)
    host = urlsplit(job.base_url).netloc + _in_brackets(language.say(job.base_url_from))
    return language.say("{rows} -> {model} at {host}", rows=counted_rows, model=model, host=host)


def _in_brackets(place: str) -> str:
    return f" ({place})" if place else ""


def found_line(found: FoundRows, language: Language = Language.ENGLISH) -> str:
    """What a session finds in its directory, before the first call."""
    if found.command == "retry":
        return _retry_line(found, language)
    if found.fresh:
        rows = language.say_count(found.left, "row")
        return language.say("New run in {run_dir}: {rows}.", run_dir=found.run_dir, rows=rows)
    resuming = language.say(
        "Resuming {run_dir}: {done} done, {failed} failed, {left} left.",
        run_dir=found.run_dir,
        done=language.say_count(found.done, "row"),
        failed=number_text(found.failed),
        left=number_text(found.left),
    )
    return resuming + (_changes_text(found, language) or language.say(" Nothing changed since the last session."))


def _changes_text(found: FoundRows, language: Language) -> str:
    return "".join(f"\n  {language.say('changed')}: {change}" for change in found.changes)


def _retry_line(found: FoundRows, language: Language) -> str:
    unsent = (
        f"\n  {number_text(found.unsent)} more were never sent, and the input has changed since: "
        "run it again with --rebase."
        if found.unsent
        else ""
    )
    if found.failed and not (found.to_send or found.unsent):
        rows = language.say_count(found.failed, "failed row")
        none = "None of the {rows} in {run_dir} is of those kinds or numbers: arkbatch status {run_dir}"
        return language.say(none, rows=rows, run_dir=found.run_dir)
    retrying = language.say(
        "Retrying {rows} of {failed} failed rows in {run_dir}.",
        rows=number_text(found.to_send),
        failed=number_text(found.failed),
        run_dir=found.run_dir,
    )
    return f"{retrying}{unsent}{_changes_text(found, language)}"


def summary_text(summary: Summary, next_command: str, language: Language = Language.ENGLISH) -> str:
    """The short table at the end, whose last line is always the command that goes on."""
    facts = [(label, value) for label, value in _facts_of(summary, language) if value]
    rows = [(language.say(label), language.translate_text(value)) for label, value in facts]
    lines = [summary_headline(summary, language), *aligned_lines(rows)]
    if summary.halt:
        lines.append(_labelled_line("Reason:", language.translate_text(summary.halt.message), language))
        advice = language.say(summary.halt.advice)
        lines += [_labelled_line("What to do:", advice, language)] if advice else []
    return printable_text("\n".join([*lines, language.say_next(next_command)]))


def _labelled_line(label: str, text: str, language: Language) -> str:
    return f"{padded_text(language.say(label), len('What to do:'))} {text}"


def _facts_of(summary: Summary, language: Language) -> Iterator[tuple[str, str]]:
    """Yield what the summary says, by label; what is empty is left out."""
    say = language.say
    away = summary.session.get("seconds_away", 0)
    yield (
        "rows",
        say(
            "{done} succeeded, {failed} failed, {left} left",
            done=number_text(summary.succeeded),
            failed=number_text(summary.failed),
            left=number_text(summary.left),
        ),
    )
    yield (
        "failures",
        ", ".join(f"{number_text(rows)} {kind_text(kind, language)}" for kind, rows in summary.failures.items()),
    )
    yield "ended with", counts_text(summary.finish_reasons)
    yield "tokens", tokens_text(summary.usage, language)
    yield "discarded", tokens_text(summary.discarded, language)
    yield "cost", spent_text(_summary_cost_text(summary), simulated=summary.simulated, language=language)
    yield "reported", reported_text(summary.usage)
    recorded = language.say_count(summary.session["recorded"], "row")
    yield "time", say("{time} ({rows} in this session)", time=duration_text(summary.seconds), rows=recorded)
    yield "away", say("the service was away for {time}", time=duration_text(away)) if away else ""
    yield "asked again", _hedged_text(summary.session, language)
    if copied := summary.session.get("copied", 0):
        yield "copied", say("{rows} with the request of an earlier row", rows=language.say_count(copied, "row"))
    yield "latency", f"p50 {summary.p50:.2f} s, p95 {summary.p95:.2f} s" if summary.p50 and summary.p95 else ""
    yield "streamed", _speeds_text(summary)
    yield "simulated", say("yes: the answers come from arkbatch's own simulator") if summary.simulated else ""
    yield "results", f"{summary.run_dir}/results.jsonl" if summary.succeeded else ""
    file, command = f"{summary.run_dir}/failures.jsonl", f"arkbatch status {shlex.quote(summary.run_dir)}"
    yield "failed rows", say("{file}; why: {command}", file=file, command=command) if summary.failed else ""


def kind_text(kind: str, language: Language) -> str:
    """Return a kind of failure with the word that --kind takes: `timeout`, `超时(timeout)`."""
    said = language.say(kind)
    return kind if said == kind else f"{said}({kind})"


def counts_text(finish_reasons: dict[str, int]) -> str:
    """Return `stop 9,120, length 880`."""
    return ", ".join(f"{reason} {number_text(rows)}" for reason, rows in finish_reasons.items())


def _hedged_text(session: dict[str, int], language: Language) -> str:
    again = session.get("asked_again", 0)
    if not again:
        return ""
    rows, won = language.say_count(again, "slow row"), number_text(session["second_won"])
    return language.say("{rows}; the second call was quicker for {won}", rows=rows, won=won)


def _speeds_text(summary: Summary) -> str:
    if summary.first_token_p50 is None or summary.first_token_p95 is None:
        return ""
    first = f"first token p50 {summary.first_token_p50:.2f} s, p95 {summary.first_token_p95:.2f} s"
    speed = summary.tokens_per_second_p50
    return f"{first}; then {speed:,.0f} tokens/s" if speed else first


def cost_text(cost: Money | None, discarded: Money | None, reason: str) -> str:
    """`12.40 CNY + 310 rows without a price (x is not in ...), 0.31 CNY of it for discarded answers`."""
    if cost is None or not (cost.amounts or cost.unpriced):
        return ""
    why = f" ({reason}; `--prices FILE` gives one)" if cost.unpriced and reason else ""
    thrown = f", {discarded} of it for discarded answers" if discarded and discarded.amounts else ""
    return f"{cost}{why}{thrown}"


def spent_text(said: str, *, simulated: bool, language: Language = Language.ENGLISH) -> str:
    """A cost, or what simulated answers would have cost; nothing where they have no price, since none was paid."""
    if not simulated:
        return said
    return language.say("{cost}, had it been real", cost=said) if AMOUNT.match(said) else ""


def _summary_cost_text(summary: Summary) -> str:
    return cost_text(summary.cost, summary.discarded_cost, summary.no_price_because)


def summary_headline(summary: Summary, language: Language = Language.ENGLISH) -> str:
    """Return how the session ended, in one sentence."""
    return language.say(_english_headline(summary))


def _english_headline(summary: Summary) -> str:
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


def tokens_text(usage: dict[str, int], language: Language = Language.ENGLISH) -> str:
    """`12,345 input (2,000 cached), 678 output (300 reasoning)` and what other meters there are."""
    if not usage:
        return ""
    parts = [_meter_text(usage, "input", "cached", language), _meter_text(usage, "output", "reasoning", language)]
    others = [f"{number_text(number)} {name}" for name, number in usage.items() if name not in NOT_LISTED and number]
    assumed = [f"of these {number_text(usage[ASSUMED])} {ASSUMED}"] if usage.get(ASSUMED) else []
    notes = "".join(f"; {each}" for each in _usage_notes(usage))
    return ", ".join([*parts, *others, *assumed]) + notes


def _usage_notes(usage: dict[str, int]) -> Iterator[str]:
    """Yield what is wrong with the counts that the replies gave."""
    if replies := usage.get(CONTRADICTORY):
        yield f"{_replies_text(replies)} whose counts do not add up"
    if replies := usage.get(UNCOUNTED):
        yield f"{_replies_text(replies)} that did not count the output"


def _replies_text(number: int) -> str:
    return f"{number_text(number)} {'reply' if number == 1 else 'replies'}"


def reported_text(usage: dict[str, int]) -> str:
    """Return what the provider says that the replies cost, "" when it does not say."""
    ticks = usage.get(REPORTED_TICKS)
    return "" if ticks is None else f"{amount_text(Decimal(ticks) / TICKS_PER_USD)} USD"


def _meter_text(usage: dict[str, int], name: str, part: str, language: Language) -> str:
    inner = f" ({number_text(usage[part])} {language.say(part)})" if usage.get(part) else ""
    return f"{number_text(usage.get(name, 0))} {language.say(name)}{inner}"


def aligned_lines(rows: Sequence[tuple[str, ...]], indent: str = "  ") -> list[str]:
    """Lines with their columns aligned."""
    widths = [max(map(display_width, column)) for column in zip(*rows, strict=True)] if rows else []
    return [
        indent + "  ".join(padded_text(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
