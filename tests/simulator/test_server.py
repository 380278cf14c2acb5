import asyncio
import re

import aiohttp
import pytest
from simulating import PLAIN, THINKING, ask, chat_body, simulator
from virtual import run_virtual

from arkbatch.core.errors import UsageError
from arkbatch.simulator.server import COUNTERS, Settings, make_app, serve

ID = re.compile(r"02\d{13}[0-9a-f]{38}")


def test_the_id_in_the_body_is_the_id_in_the_header():
    reply = ask(chat_body())
    assert reply.status == 200
    assert ID.fullmatch(reply.json["id"])
    assert reply.headers["X-Request-Id"] == reply.json["id"]


def test_an_error_ends_with_the_id_of_the_header():
    reply = ask(chat_body(temperature=3))
    assert reply.json["error"]["message"].endswith(f" Request id: {reply.headers['X-Request-Id']}")


def test_ids_differ_from_call_to_call():
    async def main():
        async with simulator() as client:
            return {(await client.chat(chat_body())).json["id"] for _ in range(20)}

    assert len(run_virtual(main())) == 20


def test_headers_are_those_that_the_production_service_was_seen_to_send():
    headers = ask(chat_body(), headers={"X-Client-Request-Id": "20260101000000abc"}).headers
    assert headers["X-Client-Request-Id"] == "20260101000000abc"
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert headers["Server"] == "hertz"
    assert headers["Vary"] == "Accept-Encoding"
    assert not [name for name in headers if "ratelimit" in name.lower() or name == "Retry-After"]


def test_the_client_id_is_echoed_with_errors_and_absent_when_not_sent():
    assert ask(chat_body(top_p=2), headers={"X-Client-Request-Id": "mine"}).headers["X-Client-Request-Id"] == "mine"
    assert "X-Client-Request-Id" not in ask(chat_body()).headers


def test_a_completion_has_the_documented_fields():
    reply = ask(chat_body("天空为什么这么蓝？", model=THINKING)).json
    assert reply["object"] == "chat.completion"
    assert reply["model"] == THINKING
    assert reply["service_tier"] == "default"
    [choice] = reply["choices"]
    assert (choice["index"], choice["finish_reason"], choice["logprobs"]) == (0, "stop", None)
    assert choice["message"]["role"] == "assistant"
    assert "模拟" in choice["message"]["content"]
    usage = reply["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert 0 < usage["completion_tokens_details"]["reasoning_tokens"] < usage["completion_tokens"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 0}


def test_null_parameters_are_absent_as_the_official_sdk_sends_them():
    nulls = dict.fromkeys(("max_tokens", "max_completion_tokens", "stop", "tools", "thinking", "stream", "logit_bias"))
    with_nulls, without = ask(chat_body(**nulls)), ask(chat_body())
    assert with_nulls.status == 200
    assert with_nulls.json["choices"] == without.json["choices"]


def test_an_endpoint_id_is_answered_by_the_model_behind_it():
    assert ask(chat_body(model="ep-20260101000000-abcde")).json["model"] == "doubao-seed-1-6-251015"


@pytest.mark.parametrize(
    "header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer "}, {"Authorization": "Basic x"}]
)
def test_without_a_known_key_the_answer_is_401(header):
    reply = ask(chat_body(), headers=header, key=None, keys=("right",))
    assert reply.status == 401
    error = reply.json["error"]
    assert (error["code"], error["type"], error["param"]) == ("AuthenticationError", "Unauthorized", "")


def test_a_known_key_is_let_in():
    assert ask(chat_body(), key="right", keys=("other", "right")).status == 200


@pytest.mark.parametrize(("models", "asked"), [((), "unknown-model"), (("doubao-a",), "doubao-b")])
def test_an_unknown_model_is_404(models, asked):
    reply = ask(chat_body(model=asked), models=models)
    assert reply.status == 404
    error = reply.json["error"]
    assert (error["code"], error["type"]) == ("InvalidEndpointOrModel.NotFound", "NotFound")
    assert error["message"].startswith(f"The model or endpoint {asked} does not exist or you do not have access")


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'"x"', b"\xff"])
def test_a_body_that_is_no_json_object_is_400(raw):
    assert (ask(raw).status, ask(raw).code) == (400, "InvalidParameter")


def test_a_missing_model_is_named():
    error = ask({"messages": [{"role": "user", "content": "hi"}]}).json["error"]
    assert (error["code"], error["param"], error["type"]) == ("MissingParameter.model", "model", "BadRequest")


def test_bodies_over_the_default_of_aiohttp_pass_and_over_64_mb_do_not():
    padding = b" " * (63 << 20)

    async def chunks(count):
        yield b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
        for _ in range(count):
            yield padding

    async def main():
        async with simulator() as client:
            url, key = client.url + "/chat/completions", {"Authorization": "Bearer x"}
            return [(await client.session.post(url, headers=key, data=chunks(count))).status for count in (1, 2)]

    assert run_virtual(main()) == [200, 413]


def test_a_gzipped_request_is_read():
    import gzip

    import orjson

    raw = gzip.compress(orjson.dumps(chat_body()))
    assert ask(raw, headers={"Content-Encoding": "gzip"}).status == 200


def test_replies_are_gzipped_on_request():
    reply = ask(chat_body(), gzip=True)
    assert reply.headers["Content-Encoding"] == "gzip"
    assert reply.json["choices"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/v3/chat/completions"])
def test_the_paths_of_openai_lead_to_the_same_answers(path):
    async def main():
        async with simulator() as client:
            root = client.url.removesuffix("/api/v3")
            return (await client.post(root + path, chat_body())).json["choices"]

    assert run_virtual(main()) == ask(chat_body()).json["choices"]


def test_any_other_path_is_a_plain_404():
    reply = ask(chat_body(), path="/chat/completion")
    assert (reply.status, reply.raw) == (404, b"404 page not found")


def test_the_same_request_gets_the_same_answer_whatever_came_before():
    async def main():
        async with simulator(seed=3) as client:
            for number in range(10):
                await client.chat(chat_body(f"question {number}"))
            return (await client.chat(chat_body())).json

    late, first = run_virtual(main()), ask(chat_body(), seed=3).json
    assert (late["choices"], late["usage"]) == (first["choices"], first["usage"])
    assert ask(chat_body(), seed=4).json["choices"] != first["choices"]


def test_latency_spreads_around_its_mean_and_repeats():
    async def times():
        async with simulator(latency=10) as client:
            loop = asyncio.get_running_loop()
            seconds = []
            for number in range(200):
                began = loop.time()
                seconds.append((await client.chat(chat_body(f"question {number}"))).at - began)
            return seconds

    first, second = run_virtual(times()), run_virtual(times())
    assert first == pytest.approx(second)
    assert min(first) >= 5
    assert 8.5 < sum(first) / 200 < 11.5


def test_counters_tell_what_happened():
    async def main():
        async with simulator(latency=1) as client:
            calls = [client.chat(chat_body(f"{n % 5}"), headers={"X-Client-Request-Id": f"c{n}"}) for n in range(8)]
            await asyncio.gather(*calls, client.chat(chat_body(temperature=9)))
            return client.counters

    counters = run_virtual(main())
    assert counters.outcomes == {"ok": 8, "InvalidParameter": 1}
    assert (counters.calls, counters.in_flight, counters.most_in_flight) == (9, 0, 9)
    assert sorted(counters.attempts.values()) == [1, 1, 2, 2, 2]
    assert {seen.client_request_id for seen in counters.recent} == {f"c{n}" for n in range(8)} | {""}
    assert counters.usage["output"] > 0


def test_a_client_that_leaves_is_counted_as_gone_and_holds_no_place():
    async def main():
        async with simulator(patience=5, latency=100, max_inflight=1) as client:
            for _ in range(2):
                with pytest.raises(TimeoutError):
                    await client.chat(chat_body())
                await asyncio.sleep(0.1)
            return client.counters

    counters = run_virtual(main())
    assert counters.outcomes == {"client_gone": 2}
    assert counters.in_flight == 0


def test_the_application_carries_its_counters():
    assert make_app(Settings())[COUNTERS].calls == 0


def test_only_the_id_and_created_show_the_wall_clock():
    async def main():
        async with (
            serve(Settings(), wall=lambda: 1_700_000_000.5) as url,
            aiohttp.ClientSession(headers={"Authorization": "Bearer x"}) as session,
            session.post(url + "/chat/completions", json=chat_body(model=PLAIN)) as reply,
        ):
            return await reply.json()

    reply = run_virtual(main())
    assert reply["created"] == 1_700_000_000
    assert reply["id"].startswith("021700000000500")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rpm": 0}, "rpm is 0"),
        ({"latency": -1}, "latency is -1"),
        ({"faults": {"stahl": 1}}, "no fault named 'stahl'"),
        ({"faults": {"stall": 2}}, "between 0 and 1"),
        ({"faults": {"stall": 0.6, "burst": 0.6}}, "together exceed 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong, said):
    with pytest.raises(UsageError, match=said):
        make_app(Settings(**wrong))
