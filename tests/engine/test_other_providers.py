"""A server that speaks OpenAI's protocol and is not Ark: everything works there that is not Ark's own, and that says so."""

import asyncio
import json
from contextlib import asynccontextmanager

import orjson
import pytest
from aiohttp import web
from runs import ended, prompts
from virtual import run_virtual

from arkbatch.config.resolve import resolve_job
from arkbatch.core.errors import UsageError
from arkbatch.protocol.ark_only import remarks_on

MODEL = "gpt-oss-120b"
USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 9,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 16, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 4, "accepted_prediction_tokens": 0},
    "cost_details": {"upstream": 1.0e-05},
}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": f"{MODEL}-2025-08-05",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hi", "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "stop",
            "native_finish_reason": "STOP",
        }
    ],
    "usage": USAGE,
    "system_fingerprint": "fp_1",
    "provider": {"name": "x", "latency": 0.10},
}
CHUNK = {"id": "chatcmpl-2", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "obfuscation": "aX3"}
VECTORS = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}], "model": "e"}


def said(code, message, kind="invalid_request_error"):
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


class Provider:
    """Answers by what the last message says, and keeps what it heard."""

    def __init__(self):
        self.heard, self.times = [], []

    async def chat(self, request):
        body = await request.json()
        self.heard.append((dict(request.headers), body))
        self.times.append(asyncio.get_running_loop().time())
        told = {"x-request-id": f"req_{len(self.heard)}", "x-ratelimit-limit-requests": "500"}
        if body.get("stream"):
            return await self.stream(request, told)
        match body["messages"][-1]["content"]:
            case "slow" if len(self.heard) < 3:
                told |= {
                    "x-ratelimit-remaining-requests": "0",
                    "x-ratelimit-reset-requests": "20s",
                    "retry-after": "20",
                }
                error = said("rate_limit_exceeded", "Rate limit reached for requests", "requests")
                return web.json_response(error, status=429, headers=told)
            case "long":
                error = said("context_length_exceeded", "This model's maximum context length is 8 tokens.")
                return web.json_response(error, status=400, headers=told)
            case "broke":
                error = said("insufficient_quota", "You exceeded your current quota", "insufficient_quota")
                return web.json_response(error, status=429, headers=told)
            case "odd":
                return web.json_response({"detail": [{"msg": "field required"}]}, status=422)
        told |= {"x-ratelimit-remaining-requests": "499", "x-ratelimit-reset-requests": "120ms"}
        return web.Response(text=json.dumps(ANSWER), content_type="application/json", headers=told)

    async def stream(self, request, told):
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **told})
        await response.prepare(request)
        deltas = [({"role": "assistant", "content": "Hel"}, None), ({"content": "lo"}, None), ({}, "stop")]
        for delta, reason in deltas:
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            await response.write(b"data: " + orjson.dumps({**CHUNK, "choices": [choice]}) + b"\n\n")
        await response.write(b"data: " + orjson.dumps({**CHUNK, "choices": [], "usage": USAGE}) + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response

    async def embeddings(self, request):
        self.heard.append((dict(request.headers), await request.json()))
        return web.json_response({**VECTORS, "usage": {"prompt_tokens": 3, "total_tokens": 3}})

    @asynccontextmanager
    async def opened(self):
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post("/v1/embeddings", self.embeddings)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        finally:
            await runner.cleanup()


def ran(folder, *rows, **flags):
    provider = Provider()

    async def main():
        async with provider.opened() as url:
            environ = {"OPENAI_API_KEY": "sk-theirs", "OPENAI_BASE_URL": url, "MODEL_NAME": MODEL}
            environ |= {"VOLC_ACCESSKEY": "a", "VOLC_SECRETKEY": "s"}
            return await ended(resolve_job(str(prompts(folder, *rows)), flags, environ, folder))

    return run_virtual(main()), provider


def lines(folder, name):
    return [orjson.loads(line) for line in (folder / "in.run" / name).read_bytes().splitlines()]


def test_a_whole_run(tmp_path):
    asked = {
        "custom_id": "a",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"messages": [{"role": "user", "content": "x"}], "max_completion_tokens": 128_000, "verbosity": "low"},
    }
    rows = [asked, {"prompt": "y", "stream": True}, {"input": [101, 7592, 102]}, {"prompt": "long"}, {"prompt": "odd"}]
    summary, provider = ran(tmp_path, *rows, concurrency=1)
    assert (summary.succeeded, summary.failures) == (3, {"too_long": 1, "invalid_request": 1})
    whole, streamed, vector = lines(tmp_path, "results.jsonl")
    assert whole["response"] == {"status_code": 200, "request_id": "req_1", "body": ANSWER}
    assert streamed["response"]["body"]["choices"][0]["message"]["content"] == "Hello"
    assert streamed["response"]["body"]["obfuscation"] == "aX3"
    assert whole["usage"] == streamed["usage"] == {"input": 20, "output": 9, "cached": 16, "reasoning": 4}
    assert vector["usage"] == {"input": 3, "output": 0}
    assert provider.heard[0][1] == {**asked["body"], "model": MODEL}
    assert {headers["Authorization"] for headers, _ in provider.heard} == {"Bearer sk-theirs"}


def test_the_digits_and_fields_of_an_answer_survive_in_the_record(tmp_path):
    ran(tmp_path, {"prompt": "x"})
    line = (tmp_path / "in.run/results.jsonl").read_bytes()
    assert json.dumps(ANSWER).encode() in line
    assert b"1e-05" in line
    assert b'"provider": {"name": "x", "latency": 0.1}' in line


def test_its_word_about_its_limits_is_kept_and_costs_no_attempt(tmp_path):
    summary, provider = ran(tmp_path, {"prompt": "slow"}, max_attempts=1)
    assert (summary.succeeded, summary.failed) == (1, 0)
    assert provider.times[1] - provider.times[0] >= 20


def test_its_account_without_money_halts_the_run_and_nothing_is_said_of_ark(tmp_path):
    summary, _ = ran(tmp_path, {"prompt": "broke"})
    assert (summary.ending, summary.halt.code) == ("halted", "insufficient_quota")
    assert "Ark" not in summary.halt.advice


def test_no_price_of_ark_is_put_on_its_models(tmp_path):
    summary, _ = ran(tmp_path, {"prompt": "x", "model": "deepseek-v3-1"})
    assert summary.cost.unpriced == 1
    assert not summary.cost.amounts


ELSEWHERE = "https://llm.example/v1"
KEY = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": ELSEWHERE}
OWN = {
    "the batch lane": ({"lane": "batch"}, 'lane = "batch" is'),
    "encryption": ({"encrypt": True}, "encrypt = true is"),
    "projects": ({"project": "default"}, 'project = "default" is'),
    "tokenization": ({"endpoint": "tokenization"}, 'endpoint = "tokenization" is'),
    "vectors of several parts": ({"endpoint": "multimodal_embeddings"}, 'endpoint = "multimodal_embeddings" is'),
}


@pytest.mark.parametrize(("flags", "word"), OWN.values(), ids=OWN)
def test_what_is_arks_own_says_so(tmp_path, flags, word):
    path = str(prompts(tmp_path, {"prompt": "a"}))
    with pytest.raises(UsageError, match=f"{word} Ark's own, and {ELSEWHERE} is not Ark's address"):
        resolve_job(path, {"model": "m", **flags}, KEY, tmp_path)
    as_ark = {"ARK_API_KEY": "k", "ARK_BASE_URL": ELSEWHERE}  # a gateway before it
    assert resolve_job(path, {"model": "m", **flags}, as_ark, tmp_path).base_url == ELSEWHERE


def test_an_access_key_opens_nothing_there(tmp_path):
    path = str(prompts(tmp_path, {"prompt": "a"}))
    environ = {"VOLC_ACCESSKEY": "a", "VOLC_SECRETKEY": "s"}
    with pytest.raises(UsageError, match="VOLC_ACCESSKEY is Ark's own and opens nothing there"):
        resolve_job(path, {"model": "m", "base_url": ELSEWHERE}, environ, tmp_path)


def test_a_prefix_of_request_ids_is_sent_and_it_is_said_that_it_may_be_lost(tmp_path):
    prompts(tmp_path, {"prompt": "a"})
    (tmp_path / "job.toml").write_text('input = "in.jsonl"\nmodel = "m"\nrequest_id_prefix = "night-"\n')
    there = resolve_job(str(tmp_path / "job.toml"), {}, KEY, tmp_path)
    here = resolve_job(str(tmp_path / "job.toml"), {}, {"ARK_API_KEY": "k"}, tmp_path)
    assert ["X-Client-Request-Id, a header of Ark's" in remark for remark in remarks_on(there)] == [True]
    assert remarks_on(here) == []


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": "x"}], "max_tokens": 9, "max_completion_tokens": 9},
        {"messages": [{"role": "developer", "content": "x"}], "temperature": 3, "stop": list("abcde")},
        {"input": ["x"] * 2048},
        {"input": [[1, 2], [3]]},
    ],
)
def test_what_ark_documents_of_a_request_binds_nobody_else(tmp_path, body):
    from arkbatch.core.row import Row
    from arkbatch.rows.parse import RowReader

    path = prompts(tmp_path, body)
    there = RowReader(resolve_job(str(path), {"model": "m"}, KEY, tmp_path)).read_row(1, 0, path.read_bytes())
    here = RowReader(resolve_job(str(path), {"model": "m"}, {"ARK_API_KEY": "k"}, tmp_path)).read_row(
        1, 0, path.read_bytes()
    )
    assert (isinstance(there, Row), isinstance(here, Row)) == (True, False)
