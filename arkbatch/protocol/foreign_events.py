"""Events of other APIs' streams, read as chunks of a chat answer.

A gateway that does not translate what its provider streams sends a paid answer in another shape. Each event becomes a
chunk with `choices` and `delta`, which `stream` puts together as any other. Only events without `choices` come here.

Known shapes: Anthropic's messages, Gemini's candidates, Cohere's chat (both versions), DashScope's own output and
Ollama's lines.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import orjson

from arkbatch.core.row import Body

_NO_REASONS = (None, "", "null")
# Events that add nothing; others of the same APIs are known by their parts.
_WITHOUT_CONTENT = {
    *("ping", "message_stop", "content_block_stop", "content-end", "content-start", "tool-call-end", "tool-plan-delta"),
    *("citation-start", "citation-end", "stream-start", "search-queries-generation", "search-results"),
}


class ForeignEvents:
    """Reads the events of one stream."""

    def __init__(self) -> None:
        self._said: dict[str, list[str]] = {}  # by DashScope, whose texts may each hold the ones before

    def chunk_of(self, event: Mapping[str, Any]) -> Body | None:
        """Return the chunk that an event stands for, None for one that is not known."""
        if isinstance(kind := event.get("type") or event.get("event_type"), str):
            return _chunk_of_named(kind, event)
        if "candidates" in event or "promptFeedback" in event:
            return chunk_of_candidates(event)
        if type(event.get("done")) is bool:
            return _chunk_of_line(event)
        return self._chunk_of_output(event) if isinstance(event.get("output"), dict) else None

    def _chunk_of_output(self, event: Mapping[str, Any]) -> Body | None:
        """Return the chunk of DashScope's output. Its texts count at the end, when it is seen how they were meant."""
        output = event["output"]
        choice = next(iter(output.get("choices") or ()), output)
        message = choice.get("message") or {"content": output.get("text")}
        for name, value in message.items():
            if name != "role" and isinstance(value, str):
                self._said.setdefault(name, []).append(value)
        told = {key: event[key] for key in ("usage", "request_id") if key in event}
        reason = choice.get("finish_reason")
        if reason in _NO_REASONS:
            return {**told, "choices": []}
        delta: Body = {name: _joined_text(parts) for name, parts in self._said.items()}
        if calls := message.get("tool_calls"):
            delta["tool_calls"] = calls
        return {**told, **_chunk(delta, reason)}


def _joined_text(parts: list[str]) -> str:
    """Return the whole text of parts that each go on where the last ended, or that each hold all so far."""
    holds_all = all(later.startswith(earlier) for earlier, later in pairwise(parts))
    return parts[-1] if holds_all else "".join(parts)


def _chunk(delta: Mapping[str, Any], reason: object = None, **told: Any) -> Body:
    return {**told, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def _chunk_of_named(kind: str, event: Mapping[str, Any]) -> Body | None:
    """Return the chunk of an event of Anthropic or Cohere, which have a type."""
    delta = event.get("delta") or {}
    match kind:
        case "message_start":
            message = event["message"]
            return {key: message[key] for key in ("id", "model", "usage") if key in message} | {"choices": []}
        case "content_block_start":
            return _chunk(_delta_of_block(event.get("index"), event["content_block"]))
        case "content_block_delta":
            return _chunk(_delta_of_part(event.get("index"), delta))
        case "message_delta":
            return _chunk({}, delta.get("stop_reason"), usage=event.get("usage"))
        case "message-start":
            return {"id": event.get("id"), "choices": []}
        case "content-delta" | "tool-call-start" | "tool-call-delta":
            return _chunk(_delta_of_cohere(event.get("index"), delta["message"]))
        case "message-end":
            return _chunk({}, delta.get("finish_reason"), usage=delta.get("usage"))
        case "text-generation":
            return _chunk({"content": event.get("text")})
        case "stream-end":
            meta = (event.get("response") or {}).get("meta") or {}
            return _chunk({}, event.get("finish_reason"), usage=meta.get("billed_units") or meta.get("tokens"))
    return {"choices": []} if kind in _WITHOUT_CONTENT else None


def _tool_call(index: object, function: Mapping[str, Any], **told: Any) -> Body:
    return {"tool_calls": [{"index": index, **told, "function": function}]}


def _delta_of_block(index: object, block: Mapping[str, Any]) -> Body:
    if block.get("type") == "tool_use":
        return _tool_call(index, {"name": block.get("name"), "arguments": ""}, id=block.get("id"), type="function")
    return {"content": text} if (text := block.get("text")) else {}


def _delta_of_part(index: object, delta: Mapping[str, Any]) -> Body:
    if (said := delta.get("partial_json")) is not None:
        return _tool_call(index, {"arguments": said})
    if (text := delta.get("text")) is not None:
        return {"content": text}
    return {"reasoning_content": thought} if (thought := delta.get("thinking")) else {}


def _delta_of_cohere(index: object, message: Mapping[str, Any]) -> Body:
    if calls := message.get("tool_calls"):
        return {"tool_calls": [{"index": index, **calls}]}
    content = message["content"]
    thought = content.get("thinking")
    return {"reasoning_content": thought} if thought else {"content": content.get("text")}


def chunk_of_candidates(event: Mapping[str, Any]) -> Body | None:
    """Return Gemini's answer, or a part of one, as a chunk; None for an answer that holds nothing."""
    choices = [_choice_of_candidate(place, each) for place, each in enumerate(event.get("candidates") or ())]
    if not choices and (event.get("promptFeedback") or {}).get("blockReason"):
        choices = _chunk({}, "content_filter")["choices"]  # the prompt was refused, and the reason is its own word
    told = {new: event[old] for old, new in _TOLD_BY_GEMINI.items() if old in event}
    return {**told, "choices": choices}


_TOLD_BY_GEMINI = {
    "usageMetadata": "usage",
    "modelVersion": "model",
    "responseId": "id",
    "promptFeedback": "promptFeedback",
}


def _choice_of_candidate(place: int, candidate: Mapping[str, Any]) -> Body:
    delta: Body = {}
    calls: list[Body] = []
    for part in (candidate.get("content") or {}).get("parts") or ():
        if isinstance(text := part.get("text"), str):
            name = "reasoning_content" if part.get("thought") else "content"
            delta[name] = delta.get(name, "") + text
        elif isinstance(call := part.get("functionCall"), dict):
            written = orjson.dumps(call.get("args") or {}).decode()
            calls.append({"type": "function", "function": {"name": call.get("name"), "arguments": written}})
        else:  # an image, or code that was run
            delta.setdefault("parts", []).append(part)
    if calls:
        delta["tool_calls"] = calls
    reason = candidate.get("finishReason")
    return {"index": candidate.get("index", place), "delta": delta, "finish_reason": reason}


def _chunk_of_line(event: Mapping[str, Any]) -> Body:
    """Return the chunk of a line of Ollama."""
    message = dict(event.get("message") or {"content": event.get("response")})
    if thought := message.pop("thinking", None):
        message["reasoning_content"] = thought
    told: Body = {"model": event.get("model")}
    counts = event.get("prompt_eval_count"), event.get("eval_count")
    if all(type(count) is int for count in counts):
        told["usage"] = {"prompt_tokens": counts[0], "completion_tokens": counts[1]}
    return {**told, **_chunk(message, (event.get("done_reason") or "stop") if event["done"] else None)}
