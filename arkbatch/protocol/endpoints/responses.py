"""`/responses`: the Responses API of OpenAI, which Ark and others also serve.

What a server must know of a request is checked here; ranges are Ark's where the request goes to Ark. The words of a
reply's status become the finish reasons of chat (`stop`, `length`, `content_filter`, `tool_calls`), so that the job's
rules for replies work unchanged. Whether an answer is empty is judged by its items and never by its status: some
servers say `completed` when the output allowance was used up before the first word.
Sources: openai-python 3.57.0 (types), Ark's pages of 2026-05-28.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from arkbatch.core.json_numbers import dumps_as_written
from arkbatch.core.row import Body, Size
from arkbatch.core.usage import NO_USAGE, Usage
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
from arkbatch.protocol.endpoints.usage import TOOL_METERS, meters_of_usage

NAME = "responses"
INPUT = "a text or a list of at least one item"

# One of these in a body with `input` says that it is no request for embeddings.
_OWN_KEYS = (
    "instructions",
    "max_output_tokens",
    "previous_response_id",
    "reasoning",
    "tools",
    "conversation",
)
_OWN_TYPES = frozenset(
    ("message", "input_text", "input_image", "input_file", "function_call", "function_call_output", "reasoning")
)
_FINISH_REASONS = {"max_output_tokens": "length", "content_filter": "content_filter"}
_UNFINISHED = frozenset(("queued", "in_progress", "cancelled"))


def is_meant(body: Body) -> bool:
    """Whether a bare body with `input` is a request of this API, and not one for embeddings."""
    given = body.get("input")
    if isinstance(given, list):
        first = given[0] if given else None
        if isinstance(first, dict):
            return "role" in first or first.get("type") in _OWN_TYPES
    return given is not None and (isinstance(body.get("text"), dict) or any(key in body for key in _OWN_KEYS))


def _check_input(name: str, value: object) -> str | None:
    if isinstance(value, str) and value:
        return None
    if not isinstance(value, list) or not value:
        return wrong_value(name, value, INPUT)
    for place, item in enumerate(value):
        if not isinstance(item, dict) or not (isinstance(item.get("role"), str) or isinstance(item.get("type"), str)):
            return wrong_value(f"{name}[{place}]", item, "an object with a role or a type")
    return None


def _check_background(name: str, value: object) -> str | None:
    if value is False:
        return None
    return (
        f"{name} is {dumps_as_written(value).decode()}: such a call returns before its answer exists, and arkbatch "
        "does not fetch it later; leave background out"
    )


SHAPES: dict[str, Check] = {
    **MISTAKEN,
    "input": _check_input,
    "model": non_empty_text,
    "stream": boolean,
    "background": _check_background,
    "max_output_tokens": whole_number(0),
}
CHECKS: dict[str, Check] = {
    **SHAPES,
    "instructions": text,
    "max_output_tokens": whole_number(1),
    "previous_response_id": text,
    "store": boolean,
    "expire_at": whole_number(0),
    "text": mapping,
    "tools": list_of_objects,
    "tool_choice": of_type("a text or an object", str, dict),
    "max_tool_calls": whole_number(1, 10),
    "thinking": mapping,
    "reasoning": mapping,
    "caching": mapping,
    "temperature": number_between(0, 2),
    "top_p": number_between(0, 1),
    "service_tier": text,
}


def misshapen(body: Body) -> str | None:
    return first_problem(body, SHAPES, "input", "model")


def problem(body: Body) -> str | None:
    reason = first_problem(body, CHECKS, "input", "model")
    if reason is None and body.get("instructions") and _is_cached(body):
        return "instructions are set together with caching; Ark does not cache them: put them into input"
    return reason


def _is_cached(body: Body) -> bool:
    caching = body.get("caching")
    return isinstance(caching, dict) and caching.get("type") == "enabled"


def texts_of(body: Body) -> tuple[list[str], int]:
    """What the model reads, and how many parts of it are no text. Tools and schemas count as text."""
    found: list[str] = []
    others = 0
    given = body["input"]
    for item in [{"content": given}] if isinstance(given, str) else given:
        others += _take_item(item, found)
    if isinstance(body.get("instructions"), str):
        found.append(body["instructions"])
    found.extend(dumps_as_written(body[name]).decode() for name in ("tools", "text") if body.get(name))
    return found, others


def _take_item(item: Mapping[str, Any], found: list[str]) -> int:
    """Adds the texts of an input item to `found`; returns the number of its parts that are no text."""
    others = 0
    for name in ("content", "output", "summary", "arguments", "text"):
        value = item.get(name)
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, list):
            for part in value:
                words = part.get("text") if isinstance(part, dict) else None
                if isinstance(words, str):
                    found.append(words)
                else:
                    others += 1
    return others


def size(body: Body) -> Size:
    """How large a valid request is. What `previous_response_id` adds to its input is not known."""
    found, others = texts_of(body)
    narrow, wide = narrow_and_wide("".join(found))
    return Size(narrow, wide, others, body.get("max_output_tokens"))


def read(parsed: object, body: Body | None = None) -> Answer | Problem:  # noqa: ARG001 - the same for all endpoints
    if not isinstance(parsed, dict) or parsed.get("error") is not None:
        return problem_without_answer(parsed)
    usage = meters_of(parsed)
    model, tier = text_or_empty(parsed.get("model")), text_or_empty(parsed.get("service_tier"))
    status = parsed.get("status")
    items = output_items(parsed)
    if items is None:
        code = "failed" if status == "failed" else "no_output"
        return Problem(code, lacks_field(parsed, "output"), usage, model, tier)
    if status == "failed":
        return Problem("failed", "the response failed, and its error does not say why", usage, model, tier)
    if status in _UNFINISHED:
        return Problem(
            "not_finished", f"the response is {status}, and arkbatch does not fetch it later", usage, model, tier
        )
    return Answer(usage, model, tier, _finish_reason(parsed, items), not any(map(_says_something, items)))


def output_items(parsed: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The items of a reply; None when the reply has no list of objects there."""
    items = parsed.get("output")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        return None
    return items


def meters_of(parsed: Mapping[str, Any]) -> Usage:
    """The counted tokens, and the calls of built-in tools under meters of their own."""
    usage = parsed.get("usage")
    counted = dict(meters_of_usage(usage))
    beside = usage.get("tool_usage") if isinstance(usage, dict) else None
    for counts in (beside, parsed.get("tool_usage")):
        counted.update(_tool_calls(counts))
    return counted or NO_USAGE


def _tool_calls(counts: object) -> Iterator[tuple[str, int]]:
    if not isinstance(counts, dict):
        return
    for name, value in counts.items():
        count = value.get("num_requests") if isinstance(value, dict) else value
        if name in TOOL_METERS and type(count) is int and count > 0:
            yield TOOL_METERS[name], count


def _finish_reason(parsed: Mapping[str, Any], items: Iterable[Mapping[str, Any]]) -> str:
    if parsed.get("status") == "incomplete":
        details = parsed.get("incomplete_details")
        reason = text_or_empty(details.get("reason")) if isinstance(details, dict) else ""
        return _FINISH_REASONS.get(reason, reason or "incomplete")
    return "tool_calls" if any(item.get("type") == "function_call" for item in items) else "stop"


def _says_something(item: Mapping[str, Any]) -> bool:
    """Whether an item is of use to a reader: text, a refusal, or a call of any tool. Thoughts alone are not."""
    if item.get("type") == "message":
        return any(_part_text(part).strip() for part in _parts_of(item))
    return item.get("type") != "reasoning"


def _parts_of(item: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = item.get("content")
    if isinstance(content, str):
        return [{"type": "output_text", "text": content}]
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def _part_text(part: Mapping[str, Any]) -> str:
    return text_or_empty(part.get("text")) or text_or_empty(part.get("refusal"))


def message_of(parsed: Mapping[str, Any]) -> dict[str, Any]:
    """The reply as the message that chat would have: content, refusal, thoughts and calls of functions."""
    items = output_items(parsed) or []
    parts = [part for item in items if item.get("type") == "message" for part in _parts_of(item)]
    message: dict[str, Any] = {"content": "".join(text_or_empty(part.get("text")) for part in parts)}
    if refusal := "".join(text_or_empty(part.get("refusal")) for part in parts):
        message["refusal"] = refusal
    if thoughts := "".join(_reasoning_texts(items)):
        message["reasoning_content"] = thoughts
    if calls := [_tool_call(item) for item in items if item.get("type") == "function_call"]:
        message["tool_calls"] = calls
    return message


def finish_reason_of(parsed: Mapping[str, Any]) -> str:
    """Why the answer ended, in the words of chat."""
    return _finish_reason(parsed, output_items(parsed) or [])


def _reasoning_texts(items: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for item in items:
        if item.get("type") == "reasoning":
            for name in ("summary", "content"):
                parts = item.get(name)
                yield from (text_or_empty(part.get("text")) for part in parts or () if isinstance(part, dict))


def _tool_call(item: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": item.get("name"), "arguments": item.get("arguments")}
    return {"id": item.get("call_id"), "type": "function", "function": function}


def next_request(body: Body, items: list[dict[str, Any]], results: Iterable[tuple[str, str]]) -> Body:
    """Return the next request after a reply called functions, with the whole conversation so far.

    By value, since a reference (`previous_response_id`) works only where the server keeps its answers.
    results: the id of each call with the text of its result
    """
    given = body["input"]
    before = [{"role": "user", "content": given}] if isinstance(given, str) else given
    told = [{"type": "function_call_output", "call_id": id_, "output": text} for id_, text in results]
    asked = {**body, "input": [*before, *items, *told]}
    if asked.get("tool_choice") not in (None, "auto", "none"):  # a forced call would be forced for ever
        del asked["tool_choice"]
    return asked


def flat_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A tool in the shape of this API, from the shape of chat."""
    function = tool.get("function")
    return {"type": "function", **function} if isinstance(function, dict) else dict(tool)


ENDPOINT = Endpoint(NAME, "/responses", "input", problem, misshapen, size, read)
