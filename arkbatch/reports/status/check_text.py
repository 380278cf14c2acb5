"""What `check` prints for people."""

from collections.abc import Iterator

from arkbatch.core.text import count, counted, printable, short
from arkbatch.limits.token_estimator import OUTPUT
from arkbatch.reports.status.advice import NO_ROWS
from arkbatch.reports.status.check import NO_MODEL, Duplicate, Inspection
from arkbatch.reports.text.summary import table
from arkbatch.reports.text.tables import grid

SHOWN = 20
_HEADINGS = ("rows", "endpoint", "model", "input tokens", "output tokens", "with max_tokens")


def inspection_text(found: Inspection, next_command: str) -> str:
    """Sentences and short tables; the last line is what to do next."""
    return "\n".join(
        [
            _headline(found),
            *_format(found),
            *_groups(found),
            *_sizes(found),
            *_bad_lines(found),
            *_duplicates(found),
            _next(found, next_command),
        ]
    )


def _headline(found: Inspection) -> str:
    good = found.rows - found.bad - found.unnamed
    parts = [f"{count(good)} of {count(found.rows)} rows can be sent"]
    parts += [counted(found.bad, f"bad {found.unit}")] if found.bad else []
    parts += [f"{count(found.unnamed)} without a model"] if found.unnamed else []
    parts += (
        [f"{counted(found.blank, 'blank line' if found.unit == 'line' else 'row')} passed over"] if found.blank else []
    )
    return f"{printable(found.input)}: {', '.join(parts)}. Nothing was sent."


def _format(found: Inspection) -> Iterator[str]:
    """What a table is, and what of it stays here."""
    if found.unit == "row":
        names = ", ".join(found.columns[:SHOWN])
        columns = f", {counted(len(found.columns), 'column')} ({names})" if names else ""
        yield printable(f"  {found.format}{columns}")
    for note in found.notes:
        yield f"  {printable(note)}"


def _groups(found: Inspection) -> list[str]:
    rows = [
        (
            count(group.rows),
            group.endpoint,
            printable(group.model),
            short(group.input_tokens),
            short(group.output_tokens),
            count(group.limited) if group.endpoint == "chat" else "-",
        )
        for group in found.groups[:SHOWN]
    ]
    more = len(found.groups) - SHOWN
    return [*grid(_HEADINGS, rows), *([f"  and {count(more)} more models"] if more > 0 else [])]


def _sizes(found: Inspection) -> Iterator[str]:
    if found.largest is None:
        return
    yield (
        f"Tokens, roughly: {short(found.input_tokens)} input, {short(found.output_tokens)} output. Input is judged by "
        f"its characters; an answer is taken for {OUTPUT:.0f} tokens, or for max_tokens where that is less."
    )
    row = found.largest
    yield (
        f"Largest row: {found.unit} {row.line} ({printable(row.custom_id)}) with some {short(row.input_tokens)} "
        f"input tokens in {count(row.bytes)} bytes."
    )


def _bad_lines(found: Inspection) -> Iterator[str]:
    if not found.bad:
        return
    yield f"Bad {found.unit}s, {count(found.bad)} in all:"
    yield from table([(f"{found.unit} {bad.line}", printable(bad.reason)) for bad in found.bad_lines[:SHOWN]])
    if found.bad > SHOWN:
        yield f"The first {SHOWN} are shown; by reason:"
        yield from table([(count(lines), printable(reason)) for reason, lines in list(found.reasons.items())[:SHOWN]])
        if len(found.reasons) > SHOWN:
            yield f"  and {count(len(found.reasons) - SHOWN)} more reasons, with --json"


def _duplicates(found: Inspection) -> Iterator[str]:
    if not found.duplicates:
        return
    yield (
        f"The same custom_id on several lines: {counted(found.duplicate_ids, 'id')} on {count(found.duplicate_lines)} "
        "lines. All are sent, and told apart by line number:"
    )
    yield from table([(printable(each.custom_id), _places(each)) for each in found.duplicates])
    if found.duplicate_ids > len(found.duplicates):
        yield f"  and {count(found.duplicate_ids - len(found.duplicates))} more ids"


def _places(each: Duplicate) -> str:
    more = each.count - len(each.lines)
    return f"lines {', '.join(map(str, each.lines))}{f' and {count(more)} more' if more else ''}"


def _next(found: Inspection, command: str) -> str:
    if found.unnamed:
        said = NO_MODEL[1:-1].capitalize()
        return f"{said}: give --model M, set ARK_MODEL (elsewhere MODEL_NAME), or write model into the rows."
    if not found.rows:
        return NO_ROWS
    if found.bad == found.rows:
        return "None of the lines can be sent: fix them."
    if found.bad:
        return f"Fix the bad lines, or send the others (bad lines are recorded as failures):  {command}"
    return f"Send them:  {command}"
