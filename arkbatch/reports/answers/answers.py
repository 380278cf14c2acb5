"""The answers of a run as a table: a line for each answer, as JSON for a program or as CSV for a sheet.

Knows what of a chat reply is its answer, and leaves everything else in the records. Rows that failed or are not done
have no line. A CSV file begins with a byte order mark, since sheets take Chinese for something else without it, and
takes its name only when it is whole.
"""

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from msgspec import Struct

from arkbatch.core.disk_errors import disk
from arkbatch.core.errors import UsageError
from arkbatch.journal.run_directory import becoming
from arkbatch.protocol.endpoints.reply_messages import choices_of
from arkbatch.reports.answers.answer_text import text_of
from arkbatch.reports.answers.results import Order, iter_results

SUFFIX = ".csv"


class Answer(Struct, frozen=True, gc=False):
    """What one choice of a chat reply says. The names of the fields are the columns.

    answer: its text; where there is none, what the model refused with, or the tools that it called, as JSON
    """

    row: int
    custom_id: str
    finish_reason: str
    answer: str


def iter_answers(run_dir: str | Path, order: Order = "input") -> Iterator[Answer]:
    """All answers of a run. UsageError: there are none."""
    found = False
    for line in iter_results(run_dir, order):
        for choice in choices(line["response"]["body"]):
            found = True
            yield Answer(line["row"], line["custom_id"], str(choice.get("finish_reason") or ""), _said(choice))
    if not found:
        raise UsageError(
            f"{run_dir} has no answers of chat: none of its rows has succeeded (arkbatch status), "
            "or they are embeddings (arkbatch vectors)"
        )


def choices(body: Any) -> list[dict[str, Any]]:
    """Those of a chat reply, of which there is one unless more were asked for; none of another endpoint's."""
    return choices_of(body)


def _said(choice: dict[str, Any]) -> str:
    message = choice.get("message") or {}
    text = text_of(message.get("content")) or text_of(message.get("refusal"))
    return text or (text_of(calls) if (calls := message.get("tool_calls")) else "")


def write_table(run_dir: str | Path, file: str | Path, order: Order = "input") -> int:
    """Write them as CSV; how many there are."""
    target = Path(file)
    if target.suffix != SUFFIX:
        raise UsageError(f"{file} does not end in {SUFFIX}: a file of answers is CSV; without -o they are JSON lines")
    rows = 0
    with (
        disk(target),
        becoming(target) as fresh,
        fresh.open("w", encoding="utf-8-sig", errors="replace", newline="") as out,
    ):
        table = csv.writer(out)
        table.writerow(Answer.__struct_fields__)
        for answer in iter_answers(run_dir, order):
            table.writerow((answer.row, answer.custom_id, answer.finish_reason, answer.answer))
            rows += 1
        out.flush()
        os.fsync(out.fileno())
    return rows


def as_json(answer: Answer) -> bytes:
    return orjson.dumps({name: getattr(answer, name) for name in Answer.__struct_fields__})
