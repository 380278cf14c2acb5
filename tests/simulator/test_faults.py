import asyncio

import aiohttp
import pytest
from simulating import THINKING, ask, chat_body, simulator
from virtual import run_virtual

from arkbatch.simulator import faults
from arkbatch.simulator.dialects import DIALECTS, ERRORS
from arkbatch.simulator.refusals import Refusal

REFUSALS = [
    ("server_error", 500, "InternalServiceError", "InternalServerError"),
    ("rate_rpm", 429, "ModelAccountRpmRateLimitExceeded", "TooManyRequests"),
    ("rate_tpm", 429, "ModelAccountTpmRateLimitExceeded", "TooManyRequests"),
    ("overloaded", 429, "ServerOverloaded", "TooManyRequests"),
    ("burst", 429, "RequestBurstTooFast", "TooManyRequests"),
    ("inflight", 429, "InflightBatchsizeExceeded", "TooManyRequests"),
    ("refuse", 400, "InvalidParameter", "BadRequest"),
    ("sensitive", 400, "SensitiveContentDetected", "BadRequest"),
    ("unauthorized", 401, "AuthenticationError", "Unauthorized"),
    ("overdue", 403, "AccountOverdueError", "Forbidden"),
    ("not_open", 404, "ModelNotOpen", "NotFound"),
    ("free_quota", 429, "QuotaExceeded", "TooManyRequests"),
    ("set_limit", 429, "SetLimitExceeded", "TooManyRequests"),
]

IN_STREAMS = {"truncated", "no_done", "split", "untidy"}  # tried in test_simulator_streams.py
IN_SEALED_CALLS = {"reply_in_clear", "wrong_seal"}  # tried in test_encryption.py
IN_DIALECTS = {*DIALECTS, *ERRORS}  # tried in test_dialects.py
WITH_TOOLS = {"bad_arguments", "unknown_tool", "tool_loop"}  # tried in test_simulator_tools.py


@pytest.mark.parametrize(("name", "status", "code", "type_"), REFUSALS)
def test_refusals_carry_the_documented_status_code_and_type(name, status, code, type_):
    reply = ask(chat_body(), faults={name: 1})
    error = reply.json["error"]
    assert (reply.status, error["code"], error["type"]) == (status, code, type_)
    assert "Retry-After" not in reply.headers


def test_every_fault_of_the_menu_is_tried_in_this_file():
    tried = {name for name, *_ in REFUSALS} | {"bad_gateway", "drop_before", "drop_inside", "stall"}
    tried |= {"garbled", "error_in_200", "no_choices", "empty", "content_filter", "length", "stall_inside", "slow"}
    tried |= {"overloaded_wait", "overloaded_in_200", "sensitive_in_200", "off_schema"}
    tried |= IN_STREAMS | IN_SEALED_CALLS | WITH_TOOLS | IN_DIALECTS
    assert tried == set(faults.MENU)


def test_an_overloaded_service_may_say_how_long_to_wait():
    reply = ask(chat_body(), faults={"overloaded_wait": 1})
    assert (reply.status, reply.code, reply.headers["Retry-After"]) == (429, "ServerOverloaded", "5")


def test_the_three_meanings_of_a_429_are_told_by_the_message():
    assert "free trial quota" in ask(chat_body(), faults={"free_quota": 1}).json["error"]["message"]
    assert "Safe Experience Mode" in ask(chat_body(), faults={"set_limit": 1}).json["error"]["message"]


def test_a_bad_gateway_is_an_html_page_without_ids():
    reply = ask(chat_body(), faults={"bad_gateway": 1})
    assert reply.status == 502
    assert reply.headers["Content-Type"].startswith("text/html")
    assert "X-Request-Id" not in reply.headers
    assert b"<title>502 Bad Gateway</title>" in reply.raw


def test_drop_before_closes_without_a_reply():
    with pytest.raises(aiohttp.ServerDisconnectedError):
        ask(chat_body(), faults={"drop_before": 1})


def test_drop_inside_closes_in_the_middle_of_the_body():
    with pytest.raises(aiohttp.ClientPayloadError):
        ask(chat_body(), faults={"drop_inside": 1})


def test_a_slow_answer_takes_a_hundred_times_as_long_and_is_the_same():
    usual, slow = ask(chat_body(), latency=1.0), ask(chat_body(), latency=1.0, faults={"slow": 1}, patience=None)
    assert slow.json["choices"] == usual.json["choices"]
    assert slow.at - 1_000 == pytest.approx(100 * (usual.at - 1_000), rel=0.01)  # the clock begins at 1,000


@pytest.mark.parametrize("fault", ["stall", "stall_inside"])
def test_a_stall_never_ends(fault):
    with pytest.raises(TimeoutError):
        ask(chat_body(), faults={fault: 1}, patience=40_000)


@pytest.mark.parametrize("fault", sorted(IN_STREAMS | IN_SEALED_CALLS | WITH_TOOLS))
def test_what_strikes_only_streams_or_sealed_calls_or_tools_leaves_other_answers_alone(fault):
    assert ask(chat_body(), faults={fault: 1}).json["choices"] == ask(chat_body()).json["choices"]


def test_a_stopping_server_does_not_wait_for_its_stalls():
    async def main():
        async with simulator(faults={"stall": 1}, patience=None) as client:
            waiting = asyncio.create_task(client.chat(chat_body()))
            await asyncio.sleep(60)
        with pytest.raises(aiohttp.ClientError):
            await waiting
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) < 1_000 + 63


def test_a_garbled_reply_is_a_whole_response_with_half_a_json():
    reply = ask(chat_body(), faults={"garbled": 1})
    assert reply.status == 200
    with pytest.raises(ValueError):
        _ = reply.json


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("error_in_200", "InternalServiceError"),
        ("overloaded_in_200", "ServerOverloaded"),
        ("sensitive_in_200", "OutputTextSensitiveContentDetected"),
    ],
)
def test_an_error_can_come_with_status_200_and_inside_a_stream(fault, code):
    reply = ask(chat_body(), faults={fault: 1})
    assert (reply.status, reply.code) == (200, code)
    stream = ask(chat_body(stream=True), faults={fault: 1})
    assert stream.status == 200
    assert stream.raw.split(b"\n\n")[-2].startswith(b'data: {"error":{"code":"%b"' % code.encode())


def test_no_choices_means_none_for_chat_and_no_data_for_embeddings():
    assert "choices" not in ask(chat_body(), faults={"no_choices": 1}).json
    assert ask({"model": "m", "input": "x"}, "/embeddings", faults={"no_choices": 1}).json["data"] == []


@pytest.mark.parametrize(("name", "finish"), [("empty", "stop"), ("content_filter", "content_filter")])
def test_an_answer_without_content_is_billed_for_its_thoughts(name, finish):
    reply = ask(chat_body(model=THINKING), faults={name: 1}).json
    [choice] = reply["choices"]
    assert (choice["finish_reason"], choice["message"]["content"]) == (finish, "")
    usage = reply["usage"]
    assert usage["completion_tokens"] == usage["completion_tokens_details"]["reasoning_tokens"] > 0


def test_length_cuts_the_answer():
    whole, cut = ask(chat_body()).json, ask(chat_body(), faults={"length": 1}).json
    [choice] = cut["choices"]
    assert choice["finish_reason"] == "length"
    assert whole["choices"][0]["message"]["content"].startswith(choice["message"]["content"])
    assert cut["usage"]["completion_tokens"] < whole["usage"]["completion_tokens"]


def test_off_schema_answers_in_json_of_another_shape():
    shape = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"properties": {"a": {}}}}}
    content = ask(chat_body(response_format=shape), faults={"off_schema": 1}).json["choices"][0]["message"]["content"]
    assert content == '{"off_schema": true}'


def test_a_marker_in_the_prompt_asks_for_a_fault():
    reply = ask(chat_body("Hello [[fault:content_filter]]"))
    assert reply.json["choices"][0]["finish_reason"] == "content_filter"


def test_a_counted_marker_strikes_the_first_attempts_only():
    async def main():
        async with simulator() as client:
            return [(await client.chat(chat_body("Hello [[fault:server_error:2]]"))).status for _ in range(4)]

    assert run_virtual(main()) == [500, 500, 200, 200]


def test_a_misspelled_marker_is_refused_with_its_name():
    reply = ask(chat_body("Hello [[fault:stahl]]"))
    assert reply.status == 400
    assert "stahl" in reply.json["error"]["message"]


@pytest.mark.parametrize(
    ("raw", "attempt", "fault"),
    [
        (b"nothing here", 1, None),
        (b"[[fault:stall]]", 99, "stall"),
        (b"[[fault:stall:1]]", 2, None),
        (b"[[fault:rate_rpm:1]] [[fault:stall:2]]", 1, "rate_rpm"),
        (b"[[fault:rate_rpm:1]] [[fault:stall:2]]", 2, "stall"),
        (b"[[fault:rate_rpm:1]] [[fault:stall:2]]", 3, None),
    ],
)
def test_the_first_marker_that_still_applies_wins(raw, attempt, fault):
    assert faults.asked_for(raw, attempt) == fault


def test_an_unknown_marker_is_a_refusal():
    assert isinstance(faults.asked_for(b"[[fault:nix]]", 1), Refusal)


@pytest.mark.parametrize(
    ("luck", "fault"), [(0.0, "stall"), (0.19, "stall"), (0.2, "burst"), (0.49, "burst"), (0.5, None)]
)
def test_each_fault_owns_a_stretch_as_long_as_its_rate(luck, fault):
    assert faults.draw_fault({"stall": 0.2, "burst": 0.3}, luck) == fault


def test_faults_by_rate_strike_the_same_requests_in_any_order_and_spare_retries():
    async def statuses(numbers):
        async with simulator(seed=1, faults={"overloaded": 0.3}) as client:
            return {n: [(await client.chat(chat_body(f"{n}"))).status for _ in range(6)] for n in numbers}

    forth, back = run_virtual(statuses(range(100))), run_virtual(statuses(reversed(range(100))))
    assert forth == back
    assert 15 <= sum(tries[0] == 429 for tries in forth.values()) <= 45
    assert all(200 in tries for tries in forth.values())


def test_retry_after_is_said_when_the_settings_say_so():
    reply = ask(chat_body(), faults={"overloaded": 1}, retry_after=True)
    assert reply.headers["Retry-After"] == "1"
