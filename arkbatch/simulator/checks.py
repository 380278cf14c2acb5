"""Checks chat bodies, and refuses them with the service's words.

It refuses missing values, wrong types, values out of the documented ranges, and parameters that exclude each other.
Bodies come without nulls. Undocumented parameters pass. `answers` relies on it: a body that passes can be answered.
`inputs` checks the bodies of other endpoints.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from arkbatch.simulator import models, tokens
from arkbatch.simulator.refusals import TOO_LONG, Refusal, invalid_parameter, missing_parameter, unsupported_parameter

Body = dict[str, Any]

ROLES = ("system", "user", "assistant", "tool", "developer")
PARTS = ("text", "image_url", "video_url", "input_audio", "file")
DETAILS = ("auto", "low", "high", "xhigh")
CONTEXT_TOKENS = 262_144
MAX_IMAGE_BYTES = 10 * 1024 * 1024

_IMAGE_DATA = re.compile(r"data:image/[a-z0-9.+-]+;base64,[A-Za-z0-9+/]")

_RANGES = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
    "repetition_penalty": (0, 2),
}
_WHOLE_RANGES = {
    "max_tokens": (0, 65_536),
    "max_completion_tokens": (0, 65_536),
    "top_logprobs": (0, 20),
    "n": (1, 5),
}
_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_NOT_WHILE_THINKING = ("stop", "logprobs", "top_logprobs", "logit_bias")


def check_chat(body: Body) -> Refusal | None:
    """Return why a chat body is refused, or None."""
    return next(_chat_refusals(body), None)


def _chat_refusals(body: Body) -> Iterator[Refusal]:
    yield from _check_messages(body)
    yield from _check_numbers(body)
    yield from _check_choices(body)
    yield from _check_exclusions(body)
    if tokens.messages_tokens(body["messages"]) > CONTEXT_TOKENS:
        yield TOO_LONG


def _check_messages(body: Body) -> Iterator[Refusal]:
    messages = body.get("messages")
    if messages is None:
        yield missing_parameter("messages")
    if not isinstance(messages, list) or not messages:
        yield invalid_parameter("messages", "it must be a list with at least one message")
        return
    for message in messages:
        yield from _check_message(message)
    yield from _check_tool_results(messages)


def _check_message(message: Any) -> Iterator[Refusal]:
    if not isinstance(message, dict):
        yield invalid_parameter("messages", "each message must be an object")
        return
    role = message.get("role")
    if role is None:
        yield Refusal(400, "InvalidArgumentError", "MissingRole: Invalid message", "messages")
    if role not in ROLES:
        yield Refusal(400, "InvalidArgumentError.UnknownRole", f"Unknown the role of message: {role}")
    match message.get("content"):
        case str():
            return
        case list() as parts:
            for part in parts:
                yield from check_part(part)
        case None if role == "assistant":
            return
        case None:
            yield missing_parameter("messages.content")
        case _:
            yield invalid_parameter("messages", "content must be a string or a list of parts")


def _check_tool_results(messages: list[Body]) -> Iterator[Refusal]:
    """Require that each tool result belongs to an earlier tool call."""
    made: set[str] = set()
    for message in messages:
        if message["role"] == "tool" and message.get("tool_call_id") not in made:
            yield invalid_parameter(
                "messages", "the tool_call_id of a tool message must be that of an earlier tool call"
            )
        calls = message.get("tool_calls") or []
        if not isinstance(calls, list) or not all(map(_is_tool_call, calls)):
            yield invalid_parameter(
                "messages", "a tool call has an id, and a function with a name and arguments as a string"
            )
            return
        made.update(call["id"] for call in calls)


def check_part(part: Any) -> Iterator[Refusal]:
    """Yield why a part of a content is refused."""
    match part:
        case {"type": "text", "text": str()}:
            return
        case {"type": "text"}:
            yield invalid_parameter("messages", "a text part needs a text")
        case {"type": "image_url", "image_url": {"url": str(url)} as image}:
            yield from _check_image(url)
            if image.get("detail") not in (None, *DETAILS):
                detail = f"Invalid image detail: {image['detail']}"
                yield Refusal(400, "InvalidArgumentError.InvalidImageDetail", detail)
        case {"type": "image_url"}:
            yield from _check_image("")
        case {"type": str(kind)} if kind in PARTS:
            return
        case _:
            yield invalid_parameter("messages", f"a part of content must be of type {', '.join(PARTS)}")


def _check_image(url: str) -> Iterator[Refusal]:
    if not url:
        yield Refusal(400, "InvalidImageURL.EmptyURL", "Empty base64 image url")
    if url.startswith("data:"):
        if not _IMAGE_DATA.match(url):
            yield Refusal(400, "InvalidImageURL.InvalidFormat", "Invalid base64 image url")
        if len(url) * 3 // 4 > MAX_IMAGE_BYTES:
            yield Refusal(400, "InvalidParameter.OversizedImage", "The image exceeds the limit of 10 MB.")


def _check_numbers(body: Body) -> Iterator[Refusal]:
    for name, (low, high) in _RANGES.items():
        if name in body and not (_is_number(body[name]) and low <= body[name] <= high):
            yield invalid_parameter(name, f"expected a number between {low} and {high}")
    for name, (low, high) in _WHOLE_RANGES.items():
        if name in body and not (is_whole(body[name]) and low <= body[name] <= high):
            yield invalid_parameter(name, f"expected an integer between {low} and {high}")
    bias = body.get("logit_bias", {})
    if not isinstance(bias, dict) or not all(_is_number(b) and -100 <= b <= 100 for b in bias.values()):
        yield invalid_parameter("logit_bias", "expected numbers between -100 and 100 by token id")


def _check_choices(body: Body) -> Iterator[Refusal]:
    for name, right in _SHAPES.items():
        if name in body and not right(body[name]):
            yield invalid_parameter(name, "its type or value is not among the documented ones")
    for name in ("stream", "logprobs", "parallel_tool_calls"):
        if not isinstance(body.get(name, False), bool):
            yield invalid_parameter(name, "expected true or false")
    if not all(map(_is_tool, body.get("tools", []))):
        yield invalid_parameter("tools", "each tool must be a function with a name")
    match body.get("tool_choice"):
        case {"function": {"name": name}} if name not in {t["function"]["name"] for t in body.get("tools", [])}:
            yield invalid_parameter("tool_choice", f"there is no tool named {name}")


def _check_exclusions(body: Body) -> Iterator[Refusal]:
    if "max_tokens" in body and "max_completion_tokens" in body:
        yield invalid_parameter("max_tokens", "it cannot be set together with max_completion_tokens")
    effort = body.get("reasoning_effort", "minimal")
    if body.get("thinking", {}).get("type") == "disabled" and effort not in {"none", "minimal"}:
        yield invalid_parameter("reasoning_effort", f"{effort} cannot be combined with thinking disabled")
    if "top_logprobs" in body and not body.get("logprobs"):
        yield invalid_parameter("top_logprobs", "it needs logprobs")
    if models.thinking_effort(models.chat_model(body["model"]), body) != "none":
        yield from (unsupported_parameter(name) for name in _NOT_WHILE_THINKING if body.get(name))


def check_batch_chat(body: Body) -> Refusal | None:
    """Return why a body is refused on the batch lane, which does not stream."""
    return unsupported_parameter("stream") if body.get("stream") is True else check_chat(body)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_stop(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) <= 4 and all(isinstance(stop, str) for stop in value)
    return isinstance(value, str)


def _is_tool(tool: Any) -> bool:
    match tool:
        case {"type": "function", "function": {"name": str()}}:
            return True
    return False


def _is_tool_call(call: Any) -> bool:
    match call:
        case {"id": str(), "function": {"name": str(), "arguments": str()}}:
            return True
    return False


def _is_tool_choice(value: Any) -> bool:
    return value in ("none", "auto", "required") or _is_tool(value)


def _is_response_format(value: Any) -> bool:
    match value:
        case {"type": "text" | "json_object"} | {"type": "json_schema", "json_schema": {"schema": dict()}}:
            return True
    return False


def _is_thinking(value: Any) -> bool:
    match value:
        case {"type": "enabled" | "disabled" | "auto"}:
            return True
    return False


_SHAPES: dict[str, Callable[[Any], bool]] = {
    "thinking": _is_thinking,
    "reasoning_effort": lambda value: value in _EFFORTS,
    "response_format": _is_response_format,
    "tool_choice": _is_tool_choice,
    "tools": lambda value: isinstance(value, list),
    "stop": _is_stop,
    "stream_options": lambda value: isinstance(value, dict),
}
