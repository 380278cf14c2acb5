"""The fields of an answer table, and how each is read from a record."""

import struct
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from arkbatch.core.errors import RunDamaged
from arkbatch.journal.ledger import Ledger
from arkbatch.journal.record_format import load_record
from arkbatch.pricing.run_cost import Bill
from arkbatch.protocol.endpoints.reply_messages import choices_of
from arkbatch.protocol.vectors import FLOAT, vectors_in
from arkbatch.reports.answers.answer_text import text_of, thoughts_in

NOT_DONE = "not done"
SKIPPED = "skipped: a value is missing"
# The groups that --with names, and the columns of each.
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "row": ("row",),
    "custom_id": ("custom_id",),
    "reasoning": ("reasoning",),
    "answers": ("answers",),
    "tokens": ("input_tokens", "output_tokens"),
    "cost": ("cost", "currency"),
    "model": ("model",),
    "seconds": ("seconds",),
    "request_id": ("request_id",),
    "attempts": ("attempts",),
}
BASIC = ("answer", "error", "finish_reason")
VECTOR = "vector"
# The types of columns that are not text, as `typed_columns` names them.
TYPES: Mapping[str, str] = {
    "row": "whole",
    "answers": "json",
    "input_tokens": "whole",
    "output_tokens": "whole",
    "cost": "fraction",
    "seconds": "fraction",
    "attempts": "whole",
    VECTOR: "vector",
}


class Said(Struct):
    """One record, taken apart. `success`: it holds an answer and no failure."""

    record: dict[str, Any]
    line: bytes
    success: bool
    choices: list[dict[str, Any]]

    @property
    def body(self) -> Any:
        response = self.record.get("response")
        return response.get("body") if response else None

    @property
    def answer(self) -> str | None:
        return said_in(self.choices[0]) if self.success and self.choices else None

    @property
    def error(self) -> str | None:
        error = self.record.get("error")
        if self.success or not error:
            return None
        if self.record.get("interrupted"):
            return NOT_DONE
        kind, message = error.get("kind") or error.get("code"), error.get("message")
        return f"{kind}: {message}" if message else str(kind)


def take_apart(line: bytes, *, success: bool) -> Said:
    """A record as the fields need it."""
    record = load_record(line)
    response, error, usage = record.get("response"), record.get("error"), record.get("usage", {})
    is_whole = isinstance(response, dict) and "body" in response
    if not (response is None or is_whole) or not isinstance(error, dict | None) or not isinstance(usage, dict):
        raise RunDamaged(
            f"The record of row {record.get('row')} is not what arkbatch wrote. Take its line out of the run's files, "
            "delete ledger.bin beside them, and run the same command again."
        )
    return Said(record, line, success, choices_of(response["body"]) if success and response else [])


def said_in(choice: Mapping[str, Any]) -> str:
    """The text of a choice; where there is none, what the model refused with, or its tool calls as JSON."""
    message = choice.get("message") or {}
    text = text_of(message.get("content")) or text_of(message.get("refusal"))
    return text or (text_of(calls) if (calls := message.get("tool_calls")) else "")


def _finish_reason(said: Said) -> Any:
    return said.choices[0].get("finish_reason") if said.choices else None


def _reasoning_of(said: Said) -> Any:
    message = said.choices[0].get("message") or {} if said.choices else {}
    thoughts = message.get("reasoning_content") or message.get("reasoning")
    return text_of(thoughts) or thoughts_in(message.get("content")) or None


def _answers_of(said: Said) -> Any:
    return [said_in(choice) for choice in said.choices] or None


def _tokens_of_meter(meter: str) -> Callable[[Said], Any]:
    return lambda said: said.record.get("usage", {}).get(meter)


def _request_id(said: Said) -> Any:
    return (said.record.get("response") or {}).get("request_id") or None


def _first_vector(said: Said) -> Any:
    """The first vector of a row, as numbers."""
    if not said.success:
        return None
    try:
        floats = next((each for _, each in sorted(vectors_in(said.body))), b"")
    except ValueError:
        return None
    return list(struct.unpack(f"<{len(floats) // FLOAT}f", floats)) or None


READERS: Mapping[str, Callable[[Said], Any]] = {
    "answer": lambda said: said.answer,
    "error": lambda said: said.error,
    "finish_reason": _finish_reason,
    "row": lambda said: said.record["row"],
    "custom_id": lambda said: said.record["custom_id"],
    "reasoning": _reasoning_of,
    "answers": _answers_of,
    "input_tokens": _tokens_of_meter("input"),
    "output_tokens": _tokens_of_meter("output"),
    "model": lambda said: said.record.get("model") or None,
    # Nothing was measured of a row that was never sent, or whose answer is a copy.
    "seconds": lambda said: said.record.get("seconds") if said.record.get("attempts") else None,
    "request_id": _request_id,
    "attempts": lambda said: said.record.get("attempts"),
    VECTOR: _first_vector,
}


class CostOfRow:
    """What each record has cost, by the prices of its run."""

    def __init__(self, bill: Bill) -> None:
        self._bill = bill

    def cost_of(self, said: Said) -> tuple[float | None, str | None]:
        """The amount and its currency; None for both where there is no price."""
        self._bill.clear_costs()
        self._bill.fold(self._bill.decode(said.line), Ledger())
        amounts = self._bill.total_cost().amounts
        if len(amounts) != 1:
            return None, None
        ((currency, amount),) = amounts.items()
        return float(amount), currency
