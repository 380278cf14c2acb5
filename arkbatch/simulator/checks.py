"""Which request bodies are refused, and with what words: gaps, wrong types, documented ranges, and parameters that
exclude each other. Bodies come without nulls. Parameters that are not documented pass.

What passes here can be answered: `answers` and `vectors` rely on it.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from arkbatch.simulator import models, tokens
from arkbatch.simulator.refusals import TOO_LONG, Refusal, invalid, missing, unsupported

Body = dict[str, Any]

ROLES = ("system", "user", "assistant", "tool", "developer")
PARTS = ("text", "image_url", "video_url", "input_audio", "file")
DETAILS = ("auto", "low", "high", "xhigh")
CONTEXT_TOKENS = 262_144
MAX_INPUTS = 256
MAX_INPUT_BYTES = 100_000
MAX_INPUT_TOKENS = 4096
MAX_DIMENSIONS = 4096
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


def chat(body: Body) -> Refusal | None:
    """Why a chat body is refused, or None."""
    return next(_chat(body), None)


def _chat(body: Body) -> Iterator[Refusal]:
    yield from _messages(body)
    yield from _numbers(body)
    yield from _choices(body)
    yield from _exclusions(body)
    if tokens.of_messages(body["messages"]) > CONTEXT_TOKENS:
        yield TOO_LONG


def _messages(body: Body) -> Iterator[Refusal]:
    messages = body.get("messages")
    if messages is None:
        yield missing("messages")
    if not isinstance(messages, list) or not messages:
        yield invalid("messages", "it must be a list with at least one message")
        return
    for message in messages:
        yield from _message(message)
    yield from _tool_results(messages)


def _message(message: Any) -> Iterator[Refusal]:
    if not isinstance(message, dict):
        yield invalid("messages", "each message must be an object")
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
                yield from _part(part)
        case None if role == "assistant":
            return
        case None:
            yield missing("messages.content")
        case _:
            yield invalid("messages", "content must be a string or a list of parts")


def _tool_results(messages: list[Body]) -> Iterator[Refusal]:
    """A result belongs to a call that was made before."""
    made: set[str] = set()
    for message in messages:
        if message["role"] == "tool" and message.get("tool_call_id") not in made:
            yield invalid("messages", "the tool_call_id of a tool message must be that of an earlier tool call")
        calls = message.get("tool_calls") or []
        if not isinstance(calls, list) or not all(map(_is_tool_call, calls)):
            yield invalid("messages", "a tool call has an id, and a function with a name and arguments as a string")
            return
        made.update(call["id"] for call in calls)


def _part(part: Any) -> Iterator[Refusal]:
    match part:
        case {"type": "text", "text": str()}:
            return
        case {"type": "text"}:
            yield invalid("messages", "a text part needs a text")
        case {"type": "image_url", "image_url": {"url": str(url)} as image}:
            yield from _image(url)
            if image.get("detail") not in (None, *DETAILS):
                detail = f"Invalid image detail: {image['detail']}"
                yield Refusal(400, "InvalidArgumentError.InvalidImageDetail", detail)
        case {"type": "image_url"}:
            yield from _image("")
        case {"type": str(kind)} if kind in PARTS:
            return
        case _:
            yield invalid("messages", f"a part of content must be of type {', '.join(PARTS)}")


def _image(url: str) -> Iterator[Refusal]:
    if not url:
        yield Refusal(400, "InvalidImageURL.EmptyURL", "Empty base64 image url")
    if url.startswith("data:"):
        if not _IMAGE_DATA.match(url):
            yield Refusal(400, "InvalidImageURL.InvalidFormat", "Invalid base64 image url")
        if len(url) * 3 // 4 > MAX_IMAGE_BYTES:
            yield Refusal(400, "InvalidParameter.OversizedImage", "The image exceeds the limit of 10 MB.")


def _numbers(body: Body) -> Iterator[Refusal]:
    for name, (low, high) in _RANGES.items():
        if name in body and not (_is_number(body[name]) and low <= body[name] <= high):
            yield invalid(name, f"expected a number between {low} and {high}")
    for name, (low, high) in _WHOLE_RANGES.items():
        if name in body and not (_is_whole(body[name]) and low <= body[name] <= high):
            yield invalid(name, f"expected an integer between {low} and {high}")
    bias = body.get("logit_bias", {})
    if not isinstance(bias, dict) or not all(_is_number(b) and -100 <= b <= 100 for b in bias.values()):
        yield invalid("logit_bias", "expected numbers between -100 and 100 by token id")


def _choices(body: Body) -> Iterator[Refusal]:
    for name, right in _SHAPES.items():
        if name in body and not right(body[name]):
            yield invalid(name, "its type or value is not among the documented ones")
    for name in ("stream", "logprobs", "parallel_tool_calls"):
        if not isinstance(body.get(name, False), bool):
            yield invalid(name, "expected true or false")
    if not all(map(_is_tool, body.get("tools", []))):
        yield invalid("tools", "each tool must be a function with a name")
    match body.get("tool_choice"):
        case {"function": {"name": name}} if name not in {t["function"]["name"] for t in body.get("tools", [])}:
            yield invalid("tool_choice", f"there is no tool named {name}")


def _exclusions(body: Body) -> Iterator[Refusal]:
    if "max_tokens" in body and "max_completion_tokens" in body:
        yield invalid("max_tokens", "it cannot be set together with max_completion_tokens")
    effort = body.get("reasoning_effort", "minimal")
    if body.get("thinking", {}).get("type") == "disabled" and effort not in {"none", "minimal"}:
        yield invalid("reasoning_effort", f"{effort} cannot be combined with thinking disabled")
    if "top_logprobs" in body and not body.get("logprobs"):
        yield invalid("top_logprobs", "it needs logprobs")
    if models.effort(models.chat_model(body["model"]), body) != "none":
        yield from (unsupported(name) for name in _NOT_WHILE_THINKING if body.get(name))


def batch_chat(body: Body) -> Refusal | None:
    """The same without streaming, which the batch lane does not have."""
    return unsupported("stream") if body.get("stream") is True else chat(body)


def embeddings(body: Body) -> Refusal | None:
    """Why an embeddings body is refused, or None."""
    return next(_embeddings(body), None)


def _embeddings(body: Body) -> Iterator[Refusal]:
    if "input" not in body:
        yield missing("input")
        return
    inputs = [body["input"]] if isinstance(body["input"], str) else body["input"]
    if not isinstance(inputs, list) or not 1 <= len(inputs) <= MAX_INPUTS:
        yield invalid("input", f"expected a string, or a list of 1 to {MAX_INPUTS} strings")
        return
    for text in inputs:
        if not isinstance(text, str) or not text:
            yield invalid("input", "each input must be a string that is not empty")
        elif len(text.encode()) > MAX_INPUT_BYTES or tokens.of_text(text) > MAX_INPUT_TOKENS:
            yield invalid("input", f"an input is longer than {MAX_INPUT_BYTES} bytes or {MAX_INPUT_TOKENS} tokens")
    yield from _encoding(body)
    dimensions = body.get("dimensions", 1)
    if not _is_whole(dimensions) or not 1 <= dimensions <= MAX_DIMENSIONS:
        yield invalid("dimensions", f"expected an integer between 1 and {MAX_DIMENSIONS}")


def multimodal(body: Body) -> Refusal | None:
    """Why a body of multimodal embeddings is refused, or None."""
    return next(_multimodal(body), None)


def _multimodal(body: Body) -> Iterator[Refusal]:
    parts = body.get("input")
    if parts is None:
        yield missing("input")
    if not isinstance(parts, list) or not parts:
        yield invalid("input", "expected a list of parts, with at least one")
        return
    for part in parts:
        yield from _seen_or_read(part)
    yield from _encoding(body)
    if body.get("dimensions", 1024) not in (1024, 2048):
        yield invalid("dimensions", "expected 1024 or 2048")
    if not isinstance(body.get("instructions", ""), str):
        yield invalid("instructions", "expected a string")
    match body.get("sparse_embedding", {"type": "disabled"}):
        case {"type": "disabled"}:
            return
        case {"type": "enabled"}:
            if any(part["type"] != "text" for part in parts):
                yield invalid("sparse_embedding", "only texts can have one")
        case _:
            yield invalid("sparse_embedding", "its type must be enabled or disabled")


def _seen_or_read(part: Any) -> Iterator[Refusal]:
    """One of the kinds of parts that have a vector, in good shape."""
    match part:
        case {"type": "text" | "image_url"}:
            yield from _part(part)
        case {"type": "video_url", "video_url": {"url": str(url)}} if url:
            return
        case _:
            yield invalid("input", "a part must be a text, an image_url or a video_url")


def tokenization(body: Body) -> Refusal | None:
    """Why a tokenization body is refused, or None."""
    text = body.get("text")
    if text is None:
        return missing("text")
    texts = [text] if isinstance(text, str) else text
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
        return invalid("text", "expected a string or a list of strings, none of them empty")
    return None


def _encoding(body: Body) -> Iterator[Refusal]:
    if body.get("encoding_format", "float") not in ("float", "base64"):
        yield invalid("encoding_format", "expected float or base64")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
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
