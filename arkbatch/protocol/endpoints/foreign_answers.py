"""Chat answers in the shapes of other APIs, read as chat completions.

A gateway that does not translate what its provider sends, or a base URL that names the provider's own API, gives a paid
answer in another shape. The text and the finish reason are put where a chat completion has them; all else stays.

Known shapes: a completion's `text`, a message that is a text or stands in `delta`, an answer in an envelope (`data`,
`result`, `response`) or a list, `result` of Baidu, `output` of DashScope, `message` of Ollama and Cohere, the content
of Anthropic, candidates of Gemini, and the chunks of a stream that came as one list.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from arkbatch.core.row import Body
from arkbatch.protocol.foreign_events import chunk_of_candidates
from arkbatch.protocol.lenient_json import dumps_strictly
from arkbatch.protocol.sse import Event
from arkbatch.protocol.stream import ENVELOPE, Folding, Whole

_ENVELOPES = ("data", "result", "response", "output")
_REASONS = ("finish_reason", "stop_reason", "stopReason", "done_reason")
_MAX_ENVELOPES = 3


def as_chat_completion(parsed: object, depth: int = 0) -> Body | None:
    """Return the answer that a reply holds in another shape as a chat completion, None when there is none."""
    if isinstance(parsed, list):
        return _from_list(parsed, depth)
    if not isinstance(parsed, dict):
        return None
    if (choices := _choices_in(parsed.get("choices"))) is not None:
        return {**parsed, "choices": choices}
    if "candidates" in parsed or "promptFeedback" in parsed:
        return _from_candidates(parsed)
    if (message := _message_in(parsed)) is not None:
        return {**parsed, "choices": [_choice(message, parsed)]} | _usage_of_ollama(parsed)
    if depth < _MAX_ENVELOPES:
        for name in _ENVELOPES:
            inner = parsed.get(name)
            if isinstance(inner, dict | list) and (found := as_chat_completion(inner, depth + 1)) is not None:
                outer = {key: value for key, value in parsed.items() if key in ("usage", "model", "id")}
                return outer | found if found.get("choices") else None
    return None


def _from_candidates(parsed: Mapping[str, Any]) -> Body | None:
    """Return an answer of Gemini."""
    try:
        chunk = chunk_of_candidates(parsed)
    except (TypeError, AttributeError):  # it only looks like one
        return None
    for choice in (chunk or {}).get("choices", ()):
        choice["message"] = {"role": "assistant", "content": None, **choice.pop("delta")}
    return chunk if chunk and chunk["choices"] else None


def _from_list(parsed: list[Any], depth: int) -> Body | None:
    """Return the answer of a list: of its only item, or of all of them as the chunks of a stream."""
    if len(parsed) == 1 and depth < _MAX_ENVELOPES and not _is_chunk(parsed[0]):
        found = parsed[0] if _has_messages(parsed[0]) else as_chat_completion(parsed[0], depth + 1)
        return found if isinstance(found, dict) else None
    if parsed and all(map(_is_line_of_ollama, parsed)):
        return _from_lines_of_ollama(parsed)
    if not parsed or not (all(map(_is_chunk, parsed)) or all(map(_is_part_of_gemini, parsed))):
        return None
    folding = Folding()
    for chunk in parsed:
        folding.add(Event(dumps_strictly(chunk)))
    ending = folding.end()
    if not isinstance(ending, Whole):
        return None
    body: Body = ending.body.get(ENVELOPE, ending.body)
    return body


def _is_part_of_gemini(value: object) -> bool:
    return isinstance(value, dict) and "candidates" in value


def _is_chunk(value: object) -> bool:
    if not isinstance(value, dict) or not isinstance(choices := value.get("choices"), list):
        return False
    return all(isinstance(choice, dict) and "delta" in choice for choice in choices)


def _is_line_of_ollama(value: object) -> bool:
    return isinstance(value, dict) and type(value.get("done")) is bool


def _from_lines_of_ollama(lines: list[Any]) -> Body | None:
    """Return the answer that the lines of a stream make, None where the last of them did not come."""
    last = lines[-1]
    if not last["done"]:
        return None
    messages = [line["message"] for line in lines if isinstance(line.get("message"), dict)]
    texts = [message.get("content") for message in messages] + [line.get("response") for line in lines]
    message: Body = {"role": "assistant", "content": "".join(text for text in texts if isinstance(text, str))}
    if calls := [call for each in messages if isinstance(each.get("tool_calls"), list) for call in each["tool_calls"]]:
        message["tool_calls"] = calls
    return {**last, "choices": [_choice(message, last)]} | _usage_of_ollama(last)


def _has_messages(value: object) -> bool:
    if not isinstance(value, dict) or not isinstance(choices := value.get("choices"), list) or not choices:
        return False
    return all(isinstance(choice, dict) and isinstance(choice.get("message"), dict) for choice in choices)


def _choices_in(choices: object) -> list[Body] | None:
    """Return choices whose messages stand where they belong."""
    if isinstance(choices, dict):
        choices = list(choices.values())
    if not isinstance(choices, list) or not choices:
        return None
    found = [_with_message(choice) for choice in choices if isinstance(choice, dict)]
    whole = [choice for choice in found if choice is not None]
    return whole if len(whole) == len(choices) else None


def _with_message(choice: Mapping[str, Any]) -> Body | None:
    message = choice.get("message")
    if isinstance(message, dict):
        return dict(choice)
    for said in (message, choice.get("text")):
        if isinstance(said, str) and said:
            return {**choice, "message": {"role": "assistant", "content": said}}
    delta = choice.get("delta")
    if isinstance(delta, dict) and delta.get("content") and choice.get("finish_reason"):
        return {**choice, "message": {"role": "assistant", **delta}}
    return None


def _message_in(parsed: Mapping[str, Any]) -> Body | None:
    """Return the message of an answer that has no choices."""
    if parsed.get("done") is False:  # a part of one
        return None
    message = parsed.get("message")
    if isinstance(message, dict) and message.get("role") == "assistant":
        return dict(message)
    if parsed.get("role") == "assistant" and parsed.get("content"):
        return {"role": "assistant", "content": parsed["content"]}
    for name in ("result", "text", "output"):
        said = parsed.get(name)
        if isinstance(said, str) and said and _tells_end_or_usage(parsed):
            return {"role": "assistant", "content": said}
    return None


def _tells_end_or_usage(parsed: Mapping[str, Any]) -> bool:
    """Whether a text is rather an answer than a word about the call."""
    return "usage" in parsed or any(name in parsed for name in _REASONS)


def _choice(message: Body, parsed: Mapping[str, Any]) -> Body:
    reason = next(_texts(parsed, _REASONS), None)
    return {"index": 0, "finish_reason": reason, "message": message}


def _texts(parsed: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[str]:
    return (value for name in names if isinstance(value := parsed.get(name), str) and value)


def _usage_of_ollama(parsed: Mapping[str, Any]) -> Body:
    """Return usage where a server counts at the top level, under its own names."""
    counts = parsed.get("prompt_eval_count"), parsed.get("eval_count")
    if "usage" in parsed or not all(type(count) is int for count in counts):
        return {}
    return {"usage": {"prompt_tokens": counts[0], "completion_tokens": counts[1]}}
