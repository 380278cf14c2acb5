"""The tool calls in a message, their results, and the next request.

The message of the model goes back as it came, without its nulls, since providers put marks of their own into it. What
is wrong with a call is sent to the model as the result of that call, so that it can correct it: an unknown name, or
arguments that are no JSON. A `tool_choice` that forces a call holds for the first request alone, or the model could
never answer. Of several choices the first one counts. `engine.tool_module` runs the functions.
"""

from collections.abc import Sequence
from typing import Any

import orjson
from msgspec import Struct

from arkbatch.core.calls import Cause, Kind
from arkbatch.core.row import Body
from arkbatch.core.text import count_text
from arkbatch.protocol.endpoints import responses
from arkbatch.protocol.endpoints.reply_messages import messages_of

_ITEMS = "output_items"
_SHOWN = 60  # characters of arguments that are no JSON


class ToolCall(Struct, frozen=True):
    """One call of a tool that the model asks for.

    problem: why it cannot be made, "" when it can
    """

    id: str
    name: str
    arguments: dict[str, Any] = {}
    problem: str = ""


class ToolResult(Struct, frozen=True):
    """The result of one call, as the model reads it.

    trouble: what went wrong, in a word for the log, "" when nothing did
    """

    text: str
    trouble: str = ""


def failed_result(trouble: str, said: str) -> ToolResult:
    return ToolResult(f"error: {said}", trouble)


def message_with_calls(reply: bytes) -> dict[str, Any] | None:
    """Return the message of a good reply that calls tools; None when it is an answer.

    Of a reply of the Responses API, its items stand beside it, since all of them are sent back.
    """
    parsed = orjson.loads(reply)
    message = messages_of(parsed)[0]
    if "choices" not in parsed:
        message[_ITEMS] = parsed["output"]
    calls = message.get("tool_calls")
    return message if isinstance(calls, list) and calls and all(isinstance(call, dict) for call in calls) else None


def tool_calls_in(message: dict[str, Any]) -> list[ToolCall]:
    return [_parse_call(call) for call in message["tool_calls"]]


def _parse_call(call: dict[str, Any]) -> ToolCall:
    named, given = call.get("function"), call.get("id")
    function = named if isinstance(named, dict) else {}
    name, arguments = function.get("name"), function.get("arguments")
    id_ = given if isinstance(given, str) else ""
    if not isinstance(name, str) or not name:
        return ToolCall(id_, "", problem="the call names no function")
    read = _parse_arguments(arguments)
    return ToolCall(id_, name, problem=read) if isinstance(read, str) else ToolCall(id_, name, read)


def _parse_arguments(arguments: object) -> dict[str, Any] | str:
    """Return the arguments, or why they cannot be read. For a function without parameters, models write nothing."""
    if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
        return {}
    if isinstance(arguments, dict):  # some servers do not write them as text
        return arguments
    if not isinstance(arguments, str):
        return "the arguments are no text with a JSON object in it"
    try:
        value = orjson.loads(arguments)
    except orjson.JSONDecodeError as error:
        return f"the arguments are no JSON ({error}): {arguments[:_SHOWN]}"
    return value if isinstance(value, dict) else "the arguments are JSON, but no object"


def text_of(result: object) -> ToolResult:
    """Return the result of a function for the model: a text as it is, anything else as JSON."""
    try:
        text = result if isinstance(result, str) else orjson.dumps(result).decode()
        text.encode()
    except (TypeError, UnicodeEncodeError):
        return failed_result(
            "no result", f"the function returned what is neither text nor JSON ({type(result).__name__})"
        )
    return ToolResult(text)


def next_request(body: Body, message: dict[str, Any], results: Sequence[ToolResult]) -> Body | Cause:
    """Return the request that goes on with these results. A Cause: the message cannot be sent back."""
    if _ITEMS in message:
        texts = [(call.id, each.text) for call, each in zip(tool_calls_in(message), results, strict=True)]
        return responses.next_request(body, message[_ITEMS], texts)
    said = {key: value for key, value in message.items() if value is not None} | {"role": "assistant"}
    said.setdefault("content", None)
    try:
        orjson.dumps(said)
    except TypeError as error:
        return Cause(Kind.BAD_REPLY, "message", f"the model's message cannot be sent back: {error}")
    messages = [
        {"role": "tool", "tool_call_id": call.id, "content": each.text}
        for call, each in zip(tool_calls_in(message), results, strict=True)
    ]
    asked = {**body, "messages": [*body["messages"], said, *messages]}
    if asked.get("tool_choice") not in (None, "auto", "none"):
        del asked["tool_choice"]
    return asked


def too_many_rounds(most_rounds: int) -> Cause:
    said = f"the model has not answered after {most_rounds} rounds of calling tools"
    return Cause(Kind.UNFINISHED, "max_rounds", said, "raise max_rounds under [tools], or tell the model when to stop")


def stopped_before_answer(rounds: int) -> Cause:
    after = f"after {count_text(rounds, 'round')} of calling tools, " if rounds else ""
    said = f"the run was stopped {after}before the model answered"
    return Cause(Kind.UNFINISHED, "stopped", said)
