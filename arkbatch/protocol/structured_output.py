"""Checks answers against a JSON Schema, and asks again for a misfit.

The schema comes in as a function, so that this module needs no schema library. Only answers in words are checked, each
text of them; an answer that calls tools has no text yet. A fence of backticks around the JSON is not removed, since
every reader of the results would have to remove it again.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from arkbatch.core.calls import Again, Cause, Done, Kind, Reply, Verdict
from arkbatch.core.row import Row
from arkbatch.protocol.endpoints import chat, responses
from arkbatch.protocol.endpoints.batch_lane import online_name
from arkbatch.protocol.endpoints.reply_messages import messages_of
from arkbatch.protocol.error_body import one_line

Misfit = Callable[[object], Awaitable[str | None]]
"""Why a value does not satisfy the schema, and where in it; None when it does."""

_IN_WORDS = frozenset((chat.ENDPOINT.name, responses.NAME))
_SHOWN = 80  # characters of a text that is no JSON


class Validation:
    """Checks each answer. `attempts`: how many unfit answers a row may give."""

    def __init__(self, misfit: Misfit, attempts: int) -> None:
        self._misfit = misfit
        self._attempts = attempts

    async def __call__(self, row: Row, reply: Reply, done: Done) -> Verdict:
        if online_name(row.endpoint) not in _IN_WORDS:
            return done
        for message in messages_of(orjson.loads(reply.body)):
            cause = await self._why_unfit(message)
            if cause is not None:
                return Again(
                    cause, usage=done.usage, model=done.model, service_tier=done.service_tier, most=self._attempts
                )
        return done

    async def _why_unfit(self, message: dict[str, Any]) -> Cause | None:
        if message.get("tool_calls"):
            return None
        text = message.get("content")
        if type(text) is not str or not text:
            refusal = message.get("refusal")
            said = f"the model refused: {refusal}" if refusal else "the answer is no text"
            return _unfit_cause("no_text", said)
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            return _unfit_cause("not_json", _why_no_json(text, str(error)))
        reason = await self._misfit(value)
        return None if reason is None else _unfit_cause("schema", f"the answer does not satisfy the schema: {reason}")


def _unfit_cause(code: str, said: str) -> Cause:
    return Cause(Kind.INVALID_OUTPUT, code, one_line(said))


def _why_no_json(text: str, error: str) -> str:
    if text.lstrip().startswith("```"):
        return "the answer is no JSON: it stands in a fence of backticks; ask for JSON alone, or set response_format"
    shown = text[:_SHOWN] + ("..." if len(text) > _SHOWN else "")
    return f"the answer is no JSON ({error}): {shown}"
