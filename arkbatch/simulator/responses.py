"""The Responses API: the answer that chat gives to the same words, in another form.

A body is checked and answered as the equivalent chat body. A stream is the documented sequence of events; the last one
contains the whole response.
"""

from collections.abc import Iterator
from random import Random
from typing import Any

from arkbatch.simulator import answers, checks
from arkbatch.simulator.answers import ModelAnswer
from arkbatch.simulator.chunks import cut_text
from arkbatch.simulator.refusals import Refusal, invalid_parameter, missing_parameter, unsupported_parameter

Body = dict[str, Any]

_SAME = ("model", "temperature", "top_p", "thinking", "service_tier", "parallel_tool_calls")
_PART_TYPES = {"input_text": "text", "output_text": "text", "input_image": "image_url", "input_file": "file"}
_STATUS = {"length": ("incomplete", "max_output_tokens"), "content_filter": ("incomplete", "content_filter")}


def check_responses_body(body: Body) -> Refusal | None:
    """Return why a body is refused, or None."""
    if "input" not in body:
        return missing_parameter("input")
    given = body["input"]
    if not (isinstance(given, str) and given) and not (isinstance(given, list) and given):
        return invalid_parameter("input", "expected a string that is not empty, or a list of items")
    if isinstance(given, list) and not all(isinstance(item, dict) and _is_item(item) for item in given):
        return invalid_parameter("input", "each item needs a role or a type")
    for name in ("background", "stop", "n", "seed", "messages"):
        if name in body:
            return unsupported_parameter(name)
    if body.get("instructions") and (body.get("caching") or {}).get("type") == "enabled":
        return invalid_parameter("caching", "caching is not supported for instructions")
    most = body.get("max_output_tokens", 1)
    if not checks.is_whole(most) or most < 1:
        return invalid_parameter("max_output_tokens", "expected an integer of at least 1")
    if not all(isinstance(tool, dict) and isinstance(tool.get("type"), str) for tool in body.get("tools") or ()):
        return invalid_parameter("tools", "each tool needs a type")
    return checks.check_chat(as_chat(body))


def _is_item(item: Body) -> bool:
    return isinstance(item.get("role"), str) or isinstance(item.get("type"), str)


def as_chat(body: Body) -> Body:
    """Return the equivalent chat body."""
    chat: Body = {name: body[name] for name in _SAME if name in body}
    chat["messages"] = list(_chat_messages(body))
    if "max_output_tokens" in body:
        chat["max_completion_tokens"] = body["max_output_tokens"]
    if effort := (body.get("reasoning") or {}).get("effort"):
        chat["reasoning_effort"] = effort
    tools = [tool for tool in body.get("tools") or () if tool["type"] == "function"]
    if tools:
        chat["tools"] = [_nest_tool(tool) for tool in tools]
        if "tool_choice" in body:
            choice = body["tool_choice"]
            chat["tool_choice"] = _nest_tool(choice) if isinstance(choice, dict) else choice
    form = (body.get("text") or {}).get("format")
    if form and form.get("type") == "json_schema":
        chat["response_format"] = {"type": "json_schema", "json_schema": {"schema": form.get("schema") or {}}}
    elif form:
        chat["response_format"] = form
    return chat


def _nest_tool(tool: Body) -> Body:
    return {"type": "function", "function": {name: value for name, value in tool.items() if name != "type"}}


def _chat_messages(body: Body) -> Iterator[Body]:
    if instructions := body.get("instructions"):
        yield {"role": "system", "content": instructions}
    given = body["input"]
    for item in [{"role": "user", "content": given}] if isinstance(given, str) else given:
        match item:
            case {"type": "function_call", "call_id": id_, "name": name, "arguments": arguments}:
                function = {"name": name, "arguments": arguments}
                yield {"role": "assistant", "tool_calls": [{"id": id_, "type": "function", "function": function}]}
            case {"type": "function_call_output", "call_id": id_, "output": output}:
                yield {"role": "tool", "tool_call_id": id_, "content": output}
            case {"role": role, "content": list() as parts}:
                yield {"role": role, "content": [_chat_part(part) for part in parts]}
            case {"role": role, "content": content}:
                yield {"role": role, "content": content}


def _chat_part(part: Any) -> Any:
    """Return a part in chat form, where the link to an image is an object."""
    if not isinstance(part, dict) or part.get("type") not in _PART_TYPES:
        return part
    kind = _PART_TYPES[part["type"]]
    return {"type": kind, "text": part.get("text")} if kind == "text" else {"type": kind, kind: _link_part(part, kind)}


def _link_part(part: Body, kind: str) -> Body:
    return {"url": part.get("image_url") or ""} if kind == "image_url" else {"file_id": part.get("file_id") or ""}


def input_tokens(body: Body) -> int:
    return answers.input_tokens(as_chat(body))


def response_object(answer: ModelAnswer, body: Body, request_id: str, created: int) -> Body:
    """Return the answer as one response object."""
    status, reason = _STATUS.get(answer.finish, ("completed", ""))
    return {
        "id": f"resp_{request_id}",
        "object": "response",
        "created_at": created,
        "status": status,
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "model": answer.model,
        "output": list(_output_items(answer, request_id)),
        "parallel_tool_calls": True,
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools", []),
        "service_tier": "default",
        "usage": response_usage(answer),
        "store": body.get("store", True),
        "max_output_tokens": body.get("max_output_tokens"),
        "text": body.get("text", {"format": {"type": "text"}}),
    }


def response_usage(answer: ModelAnswer) -> Body:
    return {
        "input_tokens": answer.input,
        "input_tokens_details": {"cached_tokens": answer.cached},
        "output_tokens": answer.output,
        "output_tokens_details": {"reasoning_tokens": answer.reasoning},
        "total_tokens": answer.input + answer.output,
    }


def _output_items(answer: ModelAnswer, request_id: str) -> Iterator[Body]:
    status = "completed" if answer.finish in {"stop", "tool_calls"} else "incomplete"
    if answer.thought:
        summary = [{"type": "summary_text", "text": answer.thought}]
        yield {"type": "reasoning", "id": f"rs_{request_id}", "summary": summary, "status": status}
    if answer.content:
        text = {"type": "output_text", "text": answer.content, "annotations": []}
        yield {
            "type": "message",
            "id": f"msg_{request_id}",
            "role": "assistant",
            "status": status,
            "content": [text],
        }
    for index, call in enumerate(answer.tool_calls):
        yield {
            "type": "function_call",
            "id": f"fc_{index}_{request_id}",
            "call_id": call["id"],
            "name": call["function"]["name"],
            "arguments": call["function"]["arguments"],
            "status": "completed",
        }


def response_events(whole: Body, chance: Random, pieces: int | None) -> list[Body]:
    """Return the numbered events of a stream; the last one contains the whole response."""
    begun = {**whole, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    found: list[Body] = [{"type": "response.created", "response": begun}]
    found.append({"type": "response.in_progress", "response": begun})
    for index, item in enumerate(whole["output"]):
        found.extend({**event, "output_index": index} for event in _item_events(item, chance, pieces))
    found.append({"type": f"response.{whole['status']}", "response": whole})
    return [{**event, "sequence_number": number} for number, event in enumerate(found)]


def _item_events(item: Body, chance: Random, pieces: int | None) -> Iterator[Body]:
    id_ = item["id"]
    yield {"type": "response.output_item.added", "item": {**item, "status": "in_progress"} | _empty_item(item)}
    match item["type"]:
        case "message":
            part = item["content"][0]
            place = {"item_id": id_, "content_index": 0}
            yield {"type": "response.content_part.added", **place, "part": {**part, "text": ""}}
            for piece in cut_text(part["text"], chance, pieces):
                yield {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
            yield {"type": "response.output_text.done", **place, "text": part["text"], "logprobs": []}
            yield {"type": "response.content_part.done", **place, "part": part}
        case "function_call":
            for piece in cut_text(item["arguments"], chance, pieces):
                yield {"type": "response.function_call_arguments.delta", "item_id": id_, "delta": piece}
            done = {"item_id": id_, "name": item["name"], "arguments": item["arguments"]}
            yield {"type": "response.function_call_arguments.done", **done}
        case "reasoning":
            part = item["summary"][0]
            place = {"item_id": id_, "summary_index": 0}
            yield {"type": "response.reasoning_summary_part.added", **place, "part": {**part, "text": ""}}
            for piece in cut_text(part["text"], chance, pieces):
                yield {"type": "response.reasoning_summary_text.delta", **place, "delta": piece}
            yield {"type": "response.reasoning_summary_text.done", **place, "text": part["text"]}
            yield {"type": "response.reasoning_summary_part.done", **place, "part": part}
    yield {"type": "response.output_item.done", "item": item}


def _empty_item(item: Body) -> Body:
    """Return the fields that an item does not have yet when it begins."""
    match item["type"]:
        case "message":
            return {"content": []}
        case "function_call":
            return {"arguments": ""}
    return {"summary": []}
