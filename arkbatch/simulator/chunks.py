"""Cuts an answer into the chunks of a stream.

Reasoning comes first, then the content, then tool calls in fragments, then the finish reason. Each delta has a role and
a content, as Ark writes them. `stream_options` are applied here; `streaming` turns chunks into bytes and breaks them.
"""

from collections.abc import Iterator
from random import Random
from typing import Any

from msgspec.structs import replace

from arkbatch.simulator.answers import ModelAnswer, usage_object

# The last event of a stream of the Responses API.
LAST_EVENTS = frozenset({"response.completed", "response.incomplete"})

_LONGEST = 12  # characters of a piece

Delta = dict[str, Any]
Chunk = dict[str, Any]


def cut_text(text: str, chance: Random, pieces: int | None = None) -> list[str]:
    """Cut a text into short pieces, or into so many equal ones.

    No piece is empty.
    """
    if pieces is not None:
        ends = [len(text) * (k + 1) // pieces for k in range(pieces)]
        return [text[start:end] for start, end in zip([0, *ends], ends, strict=False) if start < end]
    found = []
    place = 0
    while place < len(text):
        size = 1 + int(_LONGEST * chance.random())
        found.append(text[place : place + size])
        place += size
    return found


def answer_chunks(
    answer: ModelAnswer, request_id: str, created: int, *, options: dict[str, Any], chance: Random, pieces: int | None
) -> list[Chunk]:
    """Return all chunks of one answer; joined, they equal `answers.chat_completion`."""
    head = {
        "id": request_id,
        "object": "chat.completion.chunk",
        "created": created,
        "model": answer.model,
        "service_tier": "default",
    }
    deltas = list(_answer_deltas(answer, chance, pieces))
    choices = [{"index": 0, "delta": delta, "logprobs": None} for delta in deltas]
    choices.append(_last_delta(answer))
    always = bool(options.get("chunk_include_usage"))
    result = [
        {**head, "choices": [choice], "usage": _so_far(answer, place, len(deltas)) if always else None}
        for place, choice in enumerate(choices)
    ]
    if options.get("include_usage"):
        result.append({**head, "choices": [], "usage": usage_object(answer)})
    return result


def ends_answer(chunk: Chunk) -> bool:
    """Whether the answer is complete with this chunk or Responses API event."""
    if "choices" not in chunk:
        return chunk["type"] in LAST_EVENTS
    return not chunk["choices"] or "finish_reason" in chunk["choices"][0]


def _answer_deltas(answer: ModelAnswer, chance: Random, pieces: int | None) -> Iterator[Delta]:
    for piece in cut_text(answer.thought, chance, pieces):
        yield {"role": "assistant", "content": "", "reasoning_content": piece}
    for piece in cut_text(answer.content, chance, pieces):
        yield {"role": "assistant", "content": piece}
    for index, call in enumerate(answer.tool_calls):
        for fragment in _tool_call_fragments(call, chance, pieces):
            yield {"role": "assistant", "content": "", "tool_calls": [{"index": index, **fragment}]}


def _tool_call_fragments(call: dict[str, Any], chance: Random, pieces: int | None) -> Iterator[dict[str, Any]]:
    """Yield a fragment with everything but the arguments, then fragments of the arguments."""
    yield {**call, "function": {"name": call["function"]["name"], "arguments": ""}}
    for piece in cut_text(call["function"]["arguments"], chance, pieces):
        yield {"function": {"arguments": piece}}


def _last_delta(answer: ModelAnswer) -> dict[str, Any]:
    choice: dict[str, Any] = {
        "index": 0,
        "delta": {"role": "assistant", "content": ""},
        "finish_reason": answer.finish,
        "logprobs": None,
    }
    if answer.finish == "content_filter":
        choice["moderation_hit_type"] = "severe_violation"
    return choice


def _so_far(answer: ModelAnswer, place: int, count: int) -> dict[str, Any]:
    output = answer.output * place // max(1, count) if place < count else answer.output
    return usage_object(replace(answer, output=output, reasoning=min(output, answer.reasoning)))
