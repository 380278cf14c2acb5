"""The output of `check` for people."""

from collections.abc import Iterator

from arkbatch.core.language import Language
from arkbatch.core.text import count_text, number_text, printable_text, short_number
from arkbatch.limits.token_estimator import OUTPUT
from arkbatch.reports.status.advice import NO_ROWS
from arkbatch.reports.status.check import NO_MODEL, DuplicateId, Inspection
from arkbatch.reports.text.summary import aligned_lines
from arkbatch.reports.text.tables import grid_lines

SHOWN = 20
_HEADINGS = ("rows", "endpoint", "model", "input tokens", "output tokens", "with max_tokens")


def inspection_text(found: Inspection, next_command: str, language: Language = Language.ENGLISH) -> str:
    """Return sentences and short tables; the last line says what to do next."""
    text = "\n".join(
        [
            _headline_of(found),
            *_format_lines(found),
            *_group_table(found, language),
            *_size_lines(found),
            *_bad_lines(found, language),
            *_duplicate_lines(found),
            *_repeated_lines(found),
            _next_step(found, next_command),
        ]
    )
    return language.translate_text(text)


def _headline_of(found: Inspection) -> str:
    good = found.rows - found.bad - found.unnamed
    parts = [f"{number_text(good)} of {number_text(found.rows)} rows can be sent"]
    parts += [count_text(found.bad, f"bad {found.unit}")] if found.bad else []
    parts += [f"{number_text(found.unnamed)} without a model"] if found.unnamed else []
    parts += (
        [f"{count_text(found.blank, 'blank line' if found.unit == 'line' else 'row')} passed over"]
        if found.blank
        else []
    )
    return f"{printable_text(found.input)}: {', '.join(parts)}. Nothing was sent."


def _format_lines(found: Inspection) -> Iterator[str]:
    """Yield the format of a table, and which of its columns are not sent."""
    if found.unit == "row":
        names = ", ".join(found.columns[:SHOWN])
        columns = f", {count_text(len(found.columns), 'column')} ({names})" if names else ""
        yield printable_text(f"  {found.format}{columns}")
    for note in found.notes:
        yield f"  {printable_text(note)}"


def _group_table(found: Inspection, language: Language) -> list[str]:
    rows = [
        (
            number_text(group.rows),
            group.endpoint,
            printable_text(group.model),
            short_number(group.input_tokens),
            short_number(group.output_tokens),
            number_text(group.limited) if group.endpoint == "chat" else "-",
        )
        for group in found.groups[:SHOWN]
    ]
    more = len(found.groups) - SHOWN
    return [
        *grid_lines(_HEADINGS, rows, language),
        *([f"  and {number_text(more)} more models"] if more > 0 else []),
    ]


def _size_lines(found: Inspection) -> Iterator[str]:
    if found.largest is None:
        return
    yield (
        f"Tokens, roughly: {short_number(found.input_tokens)} input, {short_number(found.output_tokens)} output. "
        f"Input is judged by its characters; an answer is taken for {OUTPUT:.0f} tokens, "
        "or for max_tokens where that is less."
    )
    row = found.largest
    yield (
        f"Largest row: {found.unit} {row.line} ({printable_text(row.custom_id)}) with some "
        f"{short_number(row.input_tokens)} input tokens in {number_text(row.bytes)} bytes."
    )


def _bad_lines(found: Inspection, language: Language) -> Iterator[str]:
    if not found.bad:
        return
    yield f"Bad {found.unit}s, {number_text(found.bad)} in all:"
    yield from aligned_lines(
        [
            (f"{language.say(found.unit)} {bad.line}", printable_text(language.translate_text(bad.reason)))
            for bad in found.bad_lines[:SHOWN]
        ]
    )
    if found.bad > SHOWN:
        yield f"The first {SHOWN} are shown; by reason:"
        yield from aligned_lines(
            [
                (number_text(lines), printable_text(language.translate_text(reason)))
                for reason, lines in list(found.reasons.items())[:SHOWN]
            ]
        )
        if len(found.reasons) > SHOWN:
            yield f"  and {number_text(len(found.reasons) - SHOWN)} more reasons, with --json"


def _duplicate_lines(found: Inspection) -> Iterator[str]:
    if not found.duplicates:
        return
    yield (
        f"The same custom_id on several lines: {count_text(found.duplicate_ids, 'id')} on "
        f"{number_text(found.duplicate_lines)} lines. All are sent, and told apart by line number:"
    )
    yield from aligned_lines([(printable_text(each.custom_id), _line_numbers(each)) for each in found.duplicates])
    if found.duplicate_ids > len(found.duplicates):
        yield f"  and {number_text(found.duplicate_ids - len(found.duplicates))} more ids"


def _repeated_lines(found: Inspection) -> Iterator[str]:
    if found.repeated_rows:
        said = f"{number_text(found.repeated_rows)} of {count_text(found.rows, 'row')} repeat an earlier request"
        yield f"{said}: with --dedupe they are not sent, and get a copy of its record."


def _line_numbers(each: DuplicateId) -> str:
    more = each.count - len(each.lines)
    return f"lines {', '.join(map(str, each.lines))}{f' and {number_text(more)} more' if more else ''}"


def _next_step(found: Inspection, command: str) -> str:
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
