"""The part of a reply that a person wants to read."""

import base64
import binascii
import struct
from collections.abc import Iterator
from typing import Any

from arkbatch.core.json_numbers import dumps_as_written
from arkbatch.core.text import number_text
from arkbatch.protocol.endpoints.reply_messages import choices_of

_VECTORS = 3
_NUMBERS = 4


def answer_lines(body: Any) -> Iterator[str]:
    """Lines about a reply's body. A body of an unknown shape is shown as it is."""
    choices = choices_of(body)
    data = body.get("data") if isinstance(body, dict) else None
    if choices:
        for number, choice in enumerate(choices):
            yield from _choice_lines(choice, f" {number + 1}" if len(choices) > 1 else "")
    elif isinstance(data, list):
        yield from _vector_lines(data)
    elif isinstance(data, dict) and "embedding" in data:
        yield f"1 vector: {_numbers_text(data)}"
    else:
        yield "Reply:"
        yield dumps_as_written(body).decode()


def _choice_lines(choice: Any, number: str) -> Iterator[str]:
    message = choice.get("message") or {}
    reason = choice.get("finish_reason")
    if thoughts := message.get("reasoning_content"):
        yield f"Thoughts{number}:"
        yield text_of(thoughts)
    yield f"Answer{number}{f' (finish reason {reason})' if reason else ''}:"
    yield text_of(message.get("content")) or "(no content)"
    if refusal := message.get("refusal"):
        yield f"Refusal{number}: {text_of(refusal)}"
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        yield f"Calls the tool {function.get('name')}: {text_of(function.get('arguments'))}"


def text_of(content: Any) -> str:
    """Plain text, also out of a list of parts; anything else as JSON."""
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list):
        said = [part for part in content if not is_thought(part)]
        if all(isinstance(part, dict) and "text" in part for part in said):
            return "".join(str(part["text"]) for part in said)
    return dumps_as_written(content).decode()


def is_thought(part: Any) -> bool:
    """Whether a part of an answer is what a model thought before it answered."""
    return isinstance(part, dict) and part.get("type") in {"thinking", "reasoning"}


def thoughts_in(content: Any) -> str:
    """The thoughts among the parts of an answer, as text."""
    parts = [part for part in content if is_thought(part)] if isinstance(content, list) else []
    return "".join(text_of(part.get("thinking") or part.get("reasoning") or part.get("text")) for part in parts)


def _vector_lines(data: list[Any]) -> Iterator[str]:
    yield f"{number_text(len(data))} vector{'' if len(data) == 1 else 's'}:"
    for item in data[:_VECTORS]:
        yield f"  {item.get('index')}: {_numbers_text(item)}"
    if len(data) > _VECTORS:
        yield f"  and {number_text(len(data) - _VECTORS)} more, with --json"


def _numbers_text(item: Any) -> str:
    size, first = _beginning_of_vector(item.get("embedding"))
    return f"{number_text(size)} numbers, {', '.join(f'{number:.6g}' for number in first)} ..."


def _beginning_of_vector(embedding: Any) -> tuple[int, tuple[float, ...]]:
    """How many numbers a vector has, and the first of them. Base64 holds little-endian 32-bit floats."""
    if isinstance(embedding, list):
        return len(embedding), tuple(embedding[:_NUMBERS])
    try:
        raw = base64.b64decode(embedding, validate=True)
    except (TypeError, ValueError, binascii.Error):
        return 0, ()
    shown = min(_NUMBERS, len(raw) // 4)
    return len(raw) // 4, struct.unpack(f"<{shown}f", raw[: 4 * shown])
