"""Finds what is wrong with the file of a simulated batch."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

from arkbatch.simulator import tokens
from arkbatch.simulator.stored_batch import Batch

MOST_ROWS, MOST_BYTES = 50_000, 200_000_000


def check_file(batch: Batch, path: Path) -> None:
    """Count the rows and tokens of a batch, find its model, and note the errors of its file."""
    if path.stat().st_size > MOST_BYTES:
        batch.note_error("file_too_large", f"The file is larger than {MOST_BYTES} bytes.")
    seen: set[str] = set()
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
        error = _wrong_line(batch, line, seen)
        if error is not None:
            batch.note_error(*error, line=number)
            return
        batch.rows += 1
    if not batch.rows:
        batch.note_error("empty_file", "The file has no requests.")
    if batch.rows > MOST_ROWS:
        batch.note_error("too_many_tasks", f"The batch has more than {MOST_ROWS} requests.")


def _wrong_line(batch: Batch, line: bytes, seen: set[str]) -> tuple[str, str] | None:
    try:
        parsed: dict[str, Any] = orjson.loads(line)
    except orjson.JSONDecodeError:
        return "invalid_json_line", "This line is not parseable as valid JSON."
    body, id_ = parsed.get("body"), parsed.get("custom_id")
    if not isinstance(body, dict) or not isinstance(id_, str) or not id_:
        return "invalid_request", "This line has no custom_id or no body."
    if id_ in seen:
        return "duplicate_custom_id", f"The custom_id {id_} is used more than once."
    seen.add(id_)
    if parsed.get("url") != batch.endpoint:
        return "url_mismatch", f"The url {parsed.get('url')} is not {batch.endpoint}."
    batch.model = batch.model or str(body.get("model", ""))
    if body.get("model", "") != batch.model:
        return "model_mismatch", "All requests of a batch must have the same model."
    batch.tokens += tokens.text_tokens(line.decode(errors="replace"))
    return None


def check_tokens(batch: Batch, others: Iterable[Batch], waiting: int, limit: int | None) -> None:
    """Refuse a batch for tokens: those of its model that wait already, or a fault that strikes each file once.

    others: all other batches; waiting: tokens of the same model in them that are not worked off
    """
    is_struck = "token_limit" in batch.faults and not any(
        other.input_file_id == batch.input_file_id for other in others
    )
    if is_struck or (limit is not None and waiting + batch.tokens > limit):
        named = f" Limit: {limit:,} enqueued tokens." if limit is not None else ""
        said = f"Enqueued token limit reached for {batch.model} in this organization.{named} Please try again once"
        batch.note_error("token_limit_exceeded", f"{said} some in_progress batches have been completed.")


def spoil_lines(batch: Batch) -> None:
    """Refuse a tenth of the lines, where that fault strikes."""
    if "bad_line" in batch.faults and batch.rows > 1 and not batch.errors:
        for number in _spoiled(batch.rows):
            batch.note_error("invalid_request", "This line is not a valid request.", line=number)


def _spoiled(rows: int) -> Iterator[int]:
    first = 1 + rows // 2
    return iter(range(first, first + max(1, rows // 10)))
