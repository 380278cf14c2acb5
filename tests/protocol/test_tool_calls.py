"""What a reply calls, what goes back, and the request that asks on."""

import orjson
import pytest

from arkbatch.core.calls import Cause, Kind
from arkbatch.protocol.tool_calls import ToolCall, ToolResult, message_with_calls, next_request, tool_calls_in

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "tools": [{}], "tool_choice": "required"}


def called(arguments="{}", **changes):
    return {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}} | changes


def message(*calls, **more):
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **more}


@pytest.mark.parametrize("calls", [None, [], "f()", [5]])
def test_an_answer_calls_nothing(calls):
    assert (
        message_with_calls(orjson.dumps({"choices": [{"message": {"content": "hello", "tool_calls": calls}}]})) is None
    )


def test_a_message_with_calls_is_found_whatever_the_finish_reason():
    said = message(called())
    assert message_with_calls(orjson.dumps({"choices": [{"message": said, "finish_reason": "stop"}]})) == said


@pytest.mark.parametrize(
    ("arguments", "read"),
    [('{"a": 1}', {"a": 1}), ("", {}), (None, {}), ({"a": 1}, {"a": 1})],
)
def test_arguments_are_a_json_object(arguments, read):
    assert tool_calls_in(message(called(arguments))) == [ToolCall("c1", "f", read)]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (called('{"a": 1,'), "no JSON"),
        (called("[1]"), "no object"),
        (called(5), "no text"),
        (called(function={"arguments": "{}"}), "names no function"),
        (called(function=None), "names no function"),
        ({}, "names no function"),
    ],
)
def test_what_cannot_be_read_says_why(call, said):
    (wish,) = tool_calls_in(message(call))
    assert said in wish.problem


def test_the_message_and_the_results_are_appended_and_a_forced_choice_is_dropped():
    said = message(called(), called(id="c2"), reasoning_content="hm", audio=None, extra={"mark": 1})
    asked = next_request(BODY, said, [ToolResult("one"), ToolResult("two")])
    assert "tool_choice" not in asked
    first, back, one, two = asked["messages"]
    assert first == BODY["messages"][0]
    assert back == {
        "role": "assistant",
        "content": None,
        "tool_calls": said["tool_calls"],
        "reasoning_content": "hm",
        "extra": {"mark": 1},
    }
    assert one == {"role": "tool", "tool_call_id": "c1", "content": "one"}
    assert two == {"role": "tool", "tool_call_id": "c2", "content": "two"}
    assert len(BODY["messages"]) == 1


def test_a_choice_that_forces_nothing_stays():
    assert next_request({**BODY, "tool_choice": "auto"}, message(called()), [ToolResult("x")])["tool_choice"] == "auto"


def test_a_message_that_cannot_be_written_again_ends_the_row():
    deep: object = 1
    for _ in range(300):
        deep = [deep]
    cause = next_request(BODY, message(called(), extra=deep), [ToolResult("x")])
    assert isinstance(cause, Cause)
    assert cause.kind is Kind.BAD_REPLY
