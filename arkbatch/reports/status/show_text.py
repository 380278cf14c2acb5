"""The output of `show` for people: one row, from its input line to its answer."""

from collections.abc import Iterator
from datetime import datetime
from textwrap import indent
from typing import Any

import orjson
from msgspec import Struct

from arkbatch.core.json_numbers import dumps_as_written
from arkbatch.core.language import Language
from arkbatch.core.outcomes import Attempt
from arkbatch.core.row import Before
from arkbatch.core.text import duration_text, number_text, printable_text
from arkbatch.journal.record_format import ErrorPart, record_decoder
from arkbatch.protocol.tool_calls import tool_calls_in
from arkbatch.reports.answers.answer_text import answer_lines
from arkbatch.reports.status.advice import advice_for
from arkbatch.reports.status.show import INTERRUPTED, UNDONE, Shown, ShownRows
from arkbatch.reports.text.summary import aligned_lines, tokens_text
from arkbatch.reports.text.tables import grid_lines

_KEPT = 4_000  # characters of what the user wrote; answers are shown whole
_CALL_HEADINGS = ("client request id", "server request id", "status", "verdict", "code", "sent after", "seconds", "by")


class _Reply(Struct):
    status_code: int
    body: Any


class _Record(Struct):
    """A line of the journal, as far as it is shown."""

    endpoint: str
    model: str
    service_tier: str
    attempts: int
    calls: list[Attempt]
    seconds: float
    usage: dict[str, int]
    finished_at: datetime
    response: _Reply | None = None
    error: ErrorPart | None = None
    discarded: dict[str, int] = {}
    before: tuple[Before, ...] = ()
    asked_model: str = ""
    messages: list[dict[str, Any]] = []
    interrupted: bool = False


_decode = record_decoder(_Record)


def show_text(found: ShownRows, run_dir: str, language: Language = Language.ENGLISH) -> str:
    """Return the rows, one after the other. Inputs, requests and answers stay as they are."""
    blocks = ["\n".join(_row_lines(row, run_dir, language)) for row in found.rows]
    if found.more:
        blocks.append(language.translate_text(f"More rows have this name; the first {len(found.rows)} are shown."))
    return printable_text("\n\n".join(blocks))


def _row_lines(row: Shown, run_dir: str, language: Language) -> Iterator[str]:
    said = language.translate_text
    record = _decode(row.record) if row.record else None
    yield said(f"Row {row.row} ({row.custom_id}): {_state_text(row, record)}")
    if record:
        yield from aligned_lines(
            [(language.say(label), value) for label, value in _record_facts(record, language) if value]
        )
    yield said(f"Input, {row.input.note}{':' if row.input.text is not None else '.'}")
    if row.input.text is not None:
        yield _shorten_text(row.input.text.decode("utf-8", "replace"))
    if row.request:
        yield said(f"Request, {row.request.method} {row.request.url}:")
        yield _shorten_text(_pretty_json(row.request.body))
    if record:
        yield from _attempt_lines(record, language)
        if record.messages and row.request:
            yield said("Tools:")
            yield from _tool_lines(record.messages[len(row.request.body["messages"]) :])
        yield from _ending_lines(record, run_dir, language)


def _state_text(row: Shown, record: _Record | None) -> str:
    if record is None:
        return f"{UNDONE}, it has no record yet. Run again to send it."
    calls = f"{number_text(record.attempts)} call{'' if record.attempts == 1 else 's'}, {duration_text(record.seconds)}"
    again = " Run again to send it." if row.state == INTERRUPTED else ""
    return f"{row.state}, {calls if record.attempts else 'never sent'}.{again}"


def _record_facts(record: _Record, language: Language) -> Iterator[tuple[str, str]]:
    yield "model", ", ".join(filter(None, (record.model, record.service_tier, record.endpoint)))
    yield "asked for", record.asked_model if record.asked_model != record.model else ""
    yield "ended", record.finished_at.strftime("%Y-%m-%d %H:%M:%S UTC")
    yield "tokens", tokens_text(record.usage, language)
    yield "discarded", tokens_text(record.usage if record.error else record.discarded, language)


def _attempt_lines(record: _Record, language: Language) -> Iterator[str]:
    if record.before:
        yield language.translate_text("Earlier sessions:")
        yield from aligned_lines([_earlier_cells(before) for before in record.before])
    if record.calls:
        yield language.translate_text("Calls:")
        yield from grid_lines(_CALL_HEADINGS, [_call_cells(call) for call in record.calls], language)
    unlisted = record.attempts - sum(before.attempts for before in record.before) - len(record.calls)
    if unlisted > 0:
        yield language.translate_text(f"  {number_text(unlisted)} calls before the last one are not listed")


def _tool_lines(messages: list[dict[str, Any]]) -> Iterator[str]:
    """Yield what the model called, and what it was told."""
    for message in messages:
        if message["role"] == "tool":
            yield _shorten_text(f"-> {message['content']}")
        elif text := message.get("content"):
            yield _shorten_text(_pretty_json(text))
        for asked in tool_calls_in(message) if message.get("tool_calls") else ():
            yield _shorten_text(f"{asked.name}({asked.problem or dumps_as_written(asked.arguments).decode()})")


def _earlier_cells(before: Before) -> tuple[str, ...]:
    why = f"{before.kind} ({before.code})" if before.code else before.kind
    how = "interrupted" if before.interrupted else "failed"
    return f"{how}: {why}", f"{number_text(before.attempts)} calls", before.model, tokens_text(before.usage)


def _call_cells(call: Attempt) -> tuple[str, ...]:
    return (
        call.id,
        call.request_id or "-",
        str(call.status) if call.status else "-",
        call.verdict,
        call.code or "-",
        f"{call.after:.2f}" if call.after else "-",
        f"{call.seconds:.2f}",
        call.model or "-",
    )


def _ending_lines(record: _Record, run_dir: str, language: Language) -> Iterator[str]:
    if record.error is None:
        for place, line in enumerate(answer_lines(record.response.body if record.response else None)):
            yield line if place else language.translate_text(line)  # the first line is a heading
        return
    error = record.error
    error_words = " ".join(filter(None, (error.kind, error.code and f"({error.code})", error.message)))
    yield language.translate_text(f"Error: {error_words}")
    if not record.interrupted:
        advice = language.translate_text(error.advice) or advice_for(error.kind, run_dir, language)
        yield language.translate_text(f"What to do: {advice}")
    if record.response:
        yield language.translate_text(f"The last reply, with status {record.response.status_code}:")
        yield _shorten_text(_pretty_json(record.response.body))


def _pretty_json(value: Any) -> str:
    return value if isinstance(value, str) else dumps_as_written(value, option=orjson.OPT_INDENT_2).decode()


def _shorten_text(text: str) -> str:
    more = len(text) - _KEPT
    said = indent(text[:_KEPT], "  ")
    return f"{said}\n  ... and {number_text(more)} more characters, with --json" if more > 0 else said
