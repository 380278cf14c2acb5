"""Chooses the tool calls of a simulated model, and reads their results.

One round is enough for it: when results follow the last user message, it answers.
"""

from random import Random
from typing import Any

import orjson

from arkbatch.simulator import schema_values

_MOST = 2  # calls at a time

Call = dict[str, Any]
Messages = list[dict[str, Any]]


def choose_calls(body: dict[str, Any], chance: Random, *, again: bool) -> list[Call]:
    """Return the tool calls of an answer: required ones, or some by chance.

    again: call tools in any case
    """
    tools, choice = body.get("tools") or [], body.get("tool_choice", "auto")
    if not tools or choice == "none":
        return []
    if not again and (tool_results(body["messages"]) or (choice == "auto" and chance.random() < 0.5)):
        return []
    functions = [tool["function"] for tool in tools]
    if isinstance(choice, dict):
        functions = [function for function in functions if function["name"] == choice["function"]["name"]]
    most = _MOST if body.get("parallel_tool_calls", True) else 1
    count = 1 + chance.randrange(min(most, len(functions)))
    return [_make_call(function, chance) for function in functions[:count]]


def tool_results(messages: Messages) -> list[str]:
    """Return what tools returned since the last user message."""
    found: list[str] = []
    for message in reversed(messages):
        if message["role"] == "user":
            break
        if message["role"] == "tool":
            found.insert(0, _text_of(message["content"]))
    return found


def spoil_call(call: Call, fault: str) -> Call:
    """Return the call with arguments that are not JSON, or with an undeclared tool."""
    function = call["function"]
    if fault == "unknown_tool":
        return {**call, "function": {**function, "name": "no_such_tool"}}
    return {**call, "function": {**function, "arguments": function["arguments"][:-1] + ","}}


def _make_call(function: dict[str, Any], chance: Random) -> Call:
    arguments = schema_values.fit_schema(function.get("parameters", {"type": "object"}), chance)
    named = {"name": function["name"], "arguments": orjson.dumps(arguments).decode()}
    return {"id": f"call_{chance.getrandbits(96):024x}", "type": "function", "function": named}


def _text_of(content: str | list[dict[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content if part["type"] == "text")
