"""The Responses API: which bodies are meant for it, what its replies mean, and how a stream of it is folded."""

import asyncio

import orjson
import pytest
from builders import reply, row

from arkbatch.core.calls import Again, Done, Kind, Refused
from arkbatch.core.job_sections import ReplyPolicy
from arkbatch.protocol.endpoints import ENDPOINTS, by_body, responses
from arkbatch.protocol.endpoints.base import Answer, Problem
from arkbatch.protocol.endpoints.reply_messages import choices_of
from arkbatch.protocol.sse import Event
from arkbatch.protocol.stream import ErrorEvent, Folding, Truncated, Whole
from arkbatch.protocol.structured_output import Validation
from arkbatch.protocol.tool_calls import ToolResult, message_with_calls, next_request, tool_calls_in
from arkbatch.protocol.verdict import judge

USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 8},
    "output_tokens": 30,
    "output_tokens_details": {"reasoning_tokens": 20},
    "total_tokens": 130,
}
TEXT = {"type": "message", "content": [{"type": "output_text", "text": "hi"}, {"type": "output_text", "text": " you"}]}
THOUGHT = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}
CALL = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"x":1}'}


def response(*output, status="completed", **more):
    return {"object": "response", "status": status, "output": list(output), "usage": USAGE, "model": "m-9", **more}


def read(parsed):
    return ENDPOINTS["responses"].read(parsed, None)


def verdict(parsed, status=200, **policy):
    return judge(reply(parsed, status=status), ENDPOINTS["responses"], ReplyPolicy(**policy), wall=0.0)


@pytest.mark.parametrize(
    "more",
    [
        {"instructions": "be brief"},
        {"max_output_tokens": 9},
        {"previous_response_id": "resp_1"},
        {"text": {"format": {"type": "json_object"}}},
        {"reasoning": {"effort": "low"}},
        {"tools": []},
        {"conversation": "c"},
    ],
)
def test_a_body_with_a_key_of_responses_is_never_taken_for_embeddings(more):
    assert by_body({"model": "m", "input": "text", **more}) == "responses"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("text", "embeddings"),
        (["a", "b"], "embeddings"),
        ([{"role": "user", "content": "a"}], "responses"),
        ([{"type": "message", "role": "user", "content": "a"}], "responses"),
        ([{"type": "function_call_output", "call_id": "c", "output": "o"}], "responses"),
        ([{"type": "text", "text": "a"}], "multimodal_embeddings"),
        ([{"type": "image_url", "image_url": {"url": "u"}}], "multimodal_embeddings"),
    ],
)
def test_the_form_of_the_input_tells_the_endpoints_apart(given, name):
    assert by_body({"input": given}) == name


def test_the_endpoint_of_the_job_wins_over_the_form_of_a_text():
    assert by_body({"input": "a"}, "responses") == "responses"
    assert by_body({"input": "a", "instructions": "i"}, "embeddings") == "embeddings"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "input is missing"),
        ({"input": ""}, "allowed is a text or a list"),
        ({"input": []}, "allowed is a text or a list"),
        ({"input": [{}]}, "an object with a role or a type"),
        ({"input": "a", "background": True}, "arkbatch does not fetch it later"),
        ({"input": "a", "extra_body": {}}, "extra_body"),
    ],
)
def test_what_no_server_could_answer_is_refused_anywhere(body, says):
    for at_ark in (True, False):
        assert says in ENDPOINTS["responses"].objection_to({"model": "m", **body}, at_ark=at_ark)


def test_what_ark_alone_refuses_goes_to_other_servers():
    body = {"model": "m", "input": "a", "instructions": "i", "caching": {"type": "enabled"}}
    assert "Ark does not cache them" in ENDPOINTS["responses"].objection_to(body, at_ark=True)
    assert ENDPOINTS["responses"].objection_to(body, at_ark=False) is None


def test_the_size_counts_every_text_and_the_ceiling_is_that_of_the_output():
    parts = [{"type": "input_text", "text": "cd"}, {"type": "input_image", "image_url": "u"}]
    body = {
        "input": [{"role": "user", "content": "ab"}, {"role": "user", "content": parts}],
        "instructions": "ef",
        "max_output_tokens": 7,
    }
    size = responses.size(body)
    assert (size.narrow, size.wide, size.parts, size.ceiling) == (6, 0, 1, 7)


@pytest.mark.parametrize(
    ("parsed", "reason", "empty"),
    [
        (response(THOUGHT, TEXT), "stop", False),
        (response(CALL), "tool_calls", False),
        (response(THOUGHT), "stop", True),
        (response(), "stop", True),
        (response({"type": "message", "content": [{"type": "refusal", "refusal": "no"}]}), "stop", False),
        (response({"type": "web_search_call"}), "stop", False),
        (response(TEXT, status="incomplete", incomplete_details={"reason": "max_output_tokens"}), "length", False),
        (response(status="incomplete", incomplete_details={"reason": "content_filter"}), "content_filter", True),
        (response(TEXT, status="incomplete", incomplete_details={"reason": "steered"}), "steered", False),
        (response(TEXT, status="incomplete", incomplete_details=None), "incomplete", False),
        ({"output": [TEXT]}, "stop", False),
    ],
)
def test_status_and_items_become_the_finish_reasons_of_chat(parsed, reason, empty):
    answer = read(parsed)
    assert isinstance(answer, Answer)
    assert (answer.finish_reason, answer.empty) == (reason, empty)


def test_tokens_are_counted_by_the_names_of_this_api():
    assert read(response(TEXT)).usage == {"input": 100, "cached": 64, "cache_write": 8, "output": 30, "reasoning": 20}


def test_calls_of_built_in_tools_have_meters_of_their_own():
    at_ark = response(TEXT) | {"usage": {**USAGE, "tool_usage": {"web_search": 3, "mcp": 0, "strange": 2}}}
    assert read(at_ark).usage["web_searches"] == 3
    assert "mcp_calls" not in read(at_ark).usage
    assert read(response(TEXT, tool_usage={"web_search": {"num_requests": 2}})).usage["web_searches"] == 2


@pytest.mark.parametrize("status", ["queued", "in_progress", "cancelled"])
def test_an_unfinished_response_is_no_answer(status):
    problem = read(response(status=status))
    assert isinstance(problem, Problem)
    assert problem.code == "not_finished"


@pytest.mark.parametrize(
    ("code", "kind", "type_"),
    [
        ("server_error", Kind.SERVER_ERROR, Again),
        ("rate_limit_exceeded", Kind.RATE_LIMITED, Again),
        ("invalid_prompt", Kind.BLOCKED, Refused),
        ("bio_policy", Kind.BLOCKED, Refused),
        ("invalid_base64_image", Kind.BAD_FILE, Refused),
    ],
)
def test_a_failed_response_is_judged_by_its_error_and_keeps_its_bill(code, kind, type_):
    found = verdict(response(status="failed", error={"code": code, "message": "why"}))
    assert type(found) is type_
    assert (found.cause.kind, found.cause.code, found.usage["output"]) == (kind, code, 30)


def test_a_response_that_failed_without_a_word_is_asked_again():
    found = verdict(response(status="failed"))
    assert isinstance(found, Again)
    assert found.usage["input"] == 100


@pytest.mark.parametrize("status", [498, 429])
def test_no_capacity_for_flex_is_overload_and_costs_no_attempt(status):
    code = "capacity_exceeded" if status == 498 else "resource_unavailable"
    found = verdict({"error": {"code": code, "message": "Resource unavailable"}}, status=status)
    assert (found.cause.kind, found.scope.value) == (Kind.OVERLOADED, "concurrency")


def test_the_rules_for_replies_hold_as_for_chat():
    cut = response(TEXT, status="incomplete", incomplete_details={"reason": "max_output_tokens"})
    assert isinstance(verdict(cut), Done)
    assert isinstance(verdict(cut, retry_on_finish_reason=frozenset({"length"})), Again)
    assert isinstance(verdict(response(THOUGHT)), Again)


def test_the_answer_is_all_its_texts_joined_as_the_sdk_joins_them():
    [choice] = choices_of(response(THOUGHT, TEXT, CALL))
    message = choice["message"]
    assert (message["content"], message["reasoning_content"]) == ("hi you", "hm")
    assert message["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"x":1}'}


def test_a_schema_is_held_against_the_text():
    async def look(value):
        return None if value == {"a": 1} else "not that"

    validation = Validation(look, 2)
    text = {"type": "message", "content": [{"type": "output_text", "text": '{"a": 1}'}]}
    asked = row(endpoint="responses", body={"model": "m", "input": "a"})
    assert isinstance(asyncio.run(validation(asked, reply(response(text)), Done({}))), Done)
    assert asyncio.run(validation(asked, reply(response(TEXT)), Done({}))).cause.kind is Kind.INVALID_OUTPUT


def test_tools_go_round_with_every_item_by_value():
    body = {"model": "m", "input": "what?", "tool_choice": "required"}
    message = message_with_calls(orjson.dumps(response(THOUGHT, CALL)))
    assert [(wish.id, wish.name, wish.arguments) for wish in tool_calls_in(message)] == [("c1", "look", {"x": 1})]
    assert next_request(body, message, [ToolResult("seen")]) == {
        "model": "m",
        "input": [
            {"role": "user", "content": "what?"},
            THOUGHT,
            CALL,
            {"type": "function_call_output", "call_id": "c1", "output": "seen"},
        ],
    }
    assert message_with_calls(orjson.dumps(response(TEXT))) is None


def folded(*events):
    folding = Folding()
    for event in events:
        folding.add(Event(orjson.dumps(event), event.get("type", "")))
    return folding, folding.end()


DELTA = {"type": "response.output_text.delta", "delta": "h"}
CREATED = {"type": "response.created", "response": response(status="in_progress") | {"usage": None}}


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed"])
def test_a_stream_is_what_its_last_event_holds(status):
    whole = response(TEXT, status=status)
    folding, ending = folded(CREATED, DELTA, {"type": f"response.{status}", "response": whole})
    assert ending == Whole(whole)
    assert folding.started


@pytest.mark.parametrize("events", [(CREATED,), (CREATED, DELTA), (DELTA,)])
def test_a_stream_without_its_last_event_was_cut_off(events):
    assert isinstance(folded(*events)[1], Truncated)


@pytest.mark.parametrize(
    "error", [{"type": "error", "code": "server_error", "message": "m"}, {"error": {"code": "server_error"}}]
)
def test_an_error_event_ends_a_stream(error):
    ending = folded(CREATED, DELTA, error)[1]
    assert isinstance(ending, ErrorEvent)
    assert ending.body["error"]["code"] == "server_error"
