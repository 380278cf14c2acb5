"""`/chat/completions`: what Ark documents of its request and its reply.

Ranges are those of Ark's reference (chat API, December 2025); what goes to another server is not held to them. Output
tokens are bounded by `max_completion_tokens`, or else by `max_tokens`, which on a thinking model does not count the
chain of thought: a ceiling that comes from it may be passed. Of several choices the first speaks for the reply's
finish reason.
"""

from typing import Any

from arkbatch.core.json_numbers import dumps_as_written
from arkbatch.core.row import Body, Size
from arkbatch.protocol.endpoints.base import (
    Answer,
    Endpoint,
    Problem,
    lacks_field,
    narrow_and_wide,
    problem_without_answer,
    text_or_empty,
)
from arkbatch.protocol.endpoints.parameter_checks import (
    MISTAKEN,
    Check,
    boolean,
    first_problem,
    list_of_objects,
    mapping,
    non_empty_text,
    number_between,
    of_type,
    text,
    whole_number,
    wrong_value,
)
from arkbatch.protocol.endpoints.usage import usage_in
from arkbatch.protocol.finish_reasons import AnswerEnding, ending_of

_THINKING = frozenset({"thinking", "reasoning", "redacted_thinking"})
MESSAGES = "a list of at least one message"
CONTENT = "a text or a list of parts"


def _check_messages(name: str, value: object) -> str | None:
    if type(value) is not list or not value:
        return wrong_value(name, value, MESSAGES)
    for place, message in enumerate(value):
        if type(message) is not dict:
            return wrong_value(f"{name}[{place}]", message, "an object with a role")
        role = message.get("role")
        if type(role) is not str or not role:
            return wrong_value(f"{name}[{place}].role", role, "a text such as user, assistant, system or tool")
        content = message.get("content")
        if type(content) is not str and content is not None:
            reason = _check_parts(f"{name}[{place}].content", content)
            if reason is not None:
                return reason
    return None


def _check_parts(name: str, value: object) -> str | None:
    if type(value) is not list:
        return wrong_value(name, value, CONTENT)
    for place, part in enumerate(value):
        if type(part) is not dict or type(part.get("type")) is not str:
            return wrong_value(f"{name}[{place}]", part, "an object with a type, such as text or image_url")
    return None


def _check_stop(name: str, value: object) -> str | None:
    if type(value) is str:
        return None
    if type(value) is list and len(value) <= 4 and all(type(item) is str for item in value):
        return None
    return wrong_value(name, value, "a text or a list of at most 4 texts")


def _check_logit_bias(name: str, value: object) -> str | None:
    if type(value) is not dict:
        return wrong_value(name, value, "an object of token ids and numbers")
    for token, bias in value.items():
        reason = _bias(f"{name}.{token}", bias)
        if reason is not None:
            return reason
    return None


_bias = number_between(-100, 100)

CHECKS: dict[str, Check] = {
    **MISTAKEN,
    "messages": _check_messages,
    "model": non_empty_text,
    "stream": boolean,
    "stream_options": mapping,
    "max_tokens": whole_number(1),
    "max_completion_tokens": whole_number(0),
    "thinking": mapping,
    "reasoning_effort": text,
    "service_tier": text,
    "stop": _check_stop,
    "frequency_penalty": number_between(-2, 2),
    "presence_penalty": number_between(-2, 2),
    "temperature": number_between(0, 2),
    "top_p": number_between(0, 1),
    "logprobs": boolean,
    "top_logprobs": whole_number(0, 20),
    "logit_bias": _check_logit_bias,
    "n": whole_number(1),
    "tools": list_of_objects,
    "parallel_tool_calls": boolean,
    "tool_choice": of_type("a text or an object", str, dict),
    "response_format": mapping,
    "user": text,
}

# What has to hold at any server, for it is read here: types, and no documented ranges.
SHAPES: dict[str, Check] = {
    **MISTAKEN,
    **{name: CHECKS[name] for name in ("messages", "model", "stream", "stream_options", "n")},
    **dict.fromkeys(("max_tokens", "max_completion_tokens"), whole_number(0)),
}


def misshapen(body: Body) -> str | None:
    return first_problem(body, SHAPES, "messages", "model")


def problem(body: Body) -> str | None:
    reason = first_problem(body, CHECKS, "messages", "model")
    if reason is None and body.get("max_tokens") is not None and body.get("max_completion_tokens") is not None:
        return "max_tokens is set together with max_completion_tokens; allowed is one of the two"
    return reason


def texts_of(body: Body) -> tuple[list[str], int]:
    """What the model reads, and how many parts of it are no text. Tools and schemas count as text."""
    texts: list[str] = []
    others = 0
    for message in body["messages"]:
        content = message.get("content")
        if type(content) is str:
            texts.append(content)
        elif content:
            others += _take_parts(content, texts)
        if calls := message.get("tool_calls"):
            texts.append(dumps_as_written(calls).decode())
    if "tools" in body or "response_format" in body:
        schemas = [value for name in ("tools", "response_format") if (value := body.get(name))]
        if schemas:
            texts.append(dumps_as_written(schemas).decode())
    return texts, others


def size(body: Body) -> Size:
    """For a body without a `problem`."""
    found, others = texts_of(body)
    narrow, wide = narrow_and_wide(found[0] if len(found) == 1 else "".join(found))
    ceiling = body.get("max_completion_tokens")
    if ceiling is None:
        ceiling = body.get("max_tokens")
    if ceiling is not None:
        ceiling *= body.get("n") or 1
    return Size(narrow, wide, others, ceiling)


def _take_parts(parts: list[dict[str, Any]], texts: list[str]) -> int:
    """Adds the text parts to `texts`; the number of the others."""
    others = 0
    for part in parts:
        words = part.get("text")
        if type(words) is str:
            texts.append(words)
        else:
            others += 1
    return others


def read(parsed: object, body: Body | None = None) -> Answer | Problem:  # noqa: ARG001 - the same for all endpoints
    if type(parsed) is not dict or parsed.get("error"):
        return problem_without_answer(parsed)
    model, tier = text_or_empty(parsed.get("model")), text_or_empty(parsed.get("service_tier"))
    choices: Any = parsed.get("choices")
    messages = _messages_of(choices)
    has_content = any(map(_says_something, messages))
    usage = usage_in(parsed, has_content=has_content)
    if not messages:
        code = "no_choices" if not choices else "no_message"
        return Problem(code, lacks_field(parsed, "choices"), usage, model, tier)
    return Answer(usage, model, tier, _finish_reason(choices), not has_content)


def _finish_reason(choices: list[dict[str, Any]]) -> str:
    """Return the first one, unless another choice was broken off: the answer is not whole then."""
    if len(choices) == 1:
        return text_or_empty(choices[0].get("finish_reason"))
    reasons = [text_or_empty(choice.get("finish_reason")) for choice in choices]
    return next((each for each in reasons[1:] if ending_of(each) is AnswerEnding.BROKEN), reasons[0])


def _messages_of(choices: object) -> list[dict[str, Any]]:
    """Return one message of each choice, or none at all."""
    messages: list[dict[str, Any]] = []
    if type(choices) is not list:
        return messages
    for choice in choices:
        if type(choice) is not dict or type(message := choice.get("message")) is not dict:
            return []
        messages.append(message)
    return messages


def _says_something(message: dict[str, Any]) -> bool:
    """Return whether a message answers: white space and thinking do not, a refusal and a call of a tool do."""
    content = message.get("content")
    if type(content) is str:
        if content and not content.isspace():
            return True
    elif type(content) is list:
        if any(map(_part_says_something, content)):
            return True
    elif content:
        return True
    return any(message.get(name) for name in ("tool_calls", "refusal", "function_call", "audio"))


def _part_says_something(part: object) -> bool:
    if type(part) is not dict:
        return bool(part)
    if part.get("type") in _THINKING:
        return False
    words = part.get("text")
    return bool(words.strip()) if type(words) is str else len(part) > 1


ENDPOINT = Endpoint("chat", "/chat/completions", "messages", problem, misshapen, size, read)
