"""What the replies of many providers mean: usage, errors, endings and waits, each by a rule that knows no provider."""

import orjson
import pytest

from arkbatch.core.calls import Again, Confirm, Done, Halt, Kind, Refused, Reply, Scope
from arkbatch.core.job_sections import ReplyPolicy
from arkbatch.protocol.endpoints import ENDPOINTS
from arkbatch.protocol.endpoints.usage import meters_of_usage, usage_in
from arkbatch.protocol.retry_after import wait_of
from arkbatch.protocol.verdict import judge

WALL = 1_783_670_400.0  # 2026-07-10 08:00 UTC
KEY, MONEY, MODEL = (Halt, Kind.AUTH), (Halt, Kind.BILLING), (Halt, Kind.NOT_FOUND)
LONG, BLOCKED, PARAMETER = (Refused, Kind.TOO_LONG), (Refused, Kind.BLOCKED), (Refused, Kind.INVALID_REQUEST)
RATE, LOAD, TEMPORARY = (Again, Scope.RATE), (Again, Scope.CONCURRENCY), (Again, Scope.ROW)


def counted(p, c, t=None, **more):
    return {"prompt_tokens": p, "completion_tokens": c, **({} if t is None else {"total_tokens": t}), **more}


def reasoning(count):
    return {"completion_tokens_details": {"reasoning_tokens": count}}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (counted(10120, 1499, 14428, **reasoning(2809)), {"input": 10120, "output": 4308, "reasoning": 2809}),  # xAI
        (counted(14, 20, 834), {"input": 14, "output": 820}),  # Gemini
        (counted(100, 84, 184, **reasoning(1081)), {"input": 100, "output": 1165, "reasoning": 1081}),  # DeepInfra
        (counted(500, 500, 1000, **reasoning(200)), {"input": 500, "output": 500, "reasoning": 200}),  # OpenAI
        (counted(20.0, "5", 25.0), {"input": 20, "output": 5}),
        (counted(20, 5, 20), {"input": 20, "output": 5, "contradictory": 1}),
        (counted(9, 5, prompt_cache_hit_tokens=4), {"input": 9, "output": 5, "cached": 4}),  # DeepSeek
        (counted(9, 5, cached_tokens=4), {"input": 9, "output": 5, "cached": 4}),  # Kimi
        (counted(9, 5, num_cached_tokens=4), {"input": 9, "output": 5, "cached": 4}),  # Mistral
        (counted(9, 5, 64, cached_tokens=50), {"input": 59, "output": 5, "cached": 50}),  # beside the input
        (counted(9, 5, reasoning_tokens=2), {"input": 9, "output": 5, "reasoning": 2}),  # SGLang
        (counted(9, 5, cost=0.5), {"input": 9, "output": 5, "reported_usd_ticks": 5 * 10**9}),  # OpenRouter
        (counted(9, 5, cost_in_usd_ticks=7), {"input": 9, "output": 5, "reported_usd_ticks": 7}),
        (counted(-9, -5, -14), {}),
        (counted(2**63, 2**70, 5), {"input": 5, "output": 0}),
        ({"total_tokens": 11}, {"input": 11, "output": 0}),
        ({"promptTokens": 9, "completionTokens": 5, "totalTokens": 14}, {"input": 9, "output": 5}),
        ({"inputTokens": 9, "outputTokens": 5, "totalTokens": 14}, {"input": 9, "output": 5}),  # Bedrock
        (
            {"promptTokenCount": 9, "candidatesTokenCount": 5, "thoughtsTokenCount": 3, "totalTokenCount": 17},
            {"input": 9, "output": 8, "reasoning": 3},
        ),  # Gemini's own API
        (
            {"input_tokens": 4, "output_tokens": 5, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 6},
            {"input": 100, "output": 5, "cached": 90, "cache_write": 6},
        ),  # Anthropic: beside the input
        (
            counted(100, 5, 105, cache_read_input_tokens=90),
            {"input": 100, "output": 5, "cached": 90},
        ),  # inside, LiteLLM
        ({}, {}),
        (None, {}),
    ],
)
def test_usage_is_what_is_billed(usage, expected):
    assert meters_of_usage(usage) == expected


def test_an_answer_that_says_something_and_counts_no_output_is_uncounted_and_not_free():
    assert meters_of_usage(counted(9, 0, 9), has_content=True)["uncounted"] == 1
    assert "uncounted" not in meters_of_usage(counted(9, 0, 9))


@pytest.mark.parametrize(
    "place",
    [
        {"choices": [{"usage": counted(3, 2)}]},
        {"x_groq": {"usage": counted(3, 2)}},
        {"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2}},
        {"meta": {"billed_units": {"input_tokens": 3, "output_tokens": 2}, "tokens": {"input_tokens": 63}}},
        {"usage": {"billed_units": {"input_tokens": 3.0, "output_tokens": 2.0}, "tokens": {"input_tokens": 63}}},
    ],
)
def test_usage_is_found_in_a_choice_and_beside_it(place):
    assert usage_in({"usage": None, **place}) == {"input": 3, "output": 2}


def error(message, code=None, **more):
    return {"error": {"message": message, "code": code, **more}}


@pytest.mark.parametrize(
    ("status", "body", "means"),
    [
        (429, error("Allocated quota exceeded", "insufficient_quota"), RATE),  # DashScope's minute
        (429, error("You exceeded your current quota", "insufficient_quota"), MONEY),
        (429, error("余额不足或无可用资源包,请充值。", "1113"), MONEY),
        (400, error("your account is in good standing.", "Arrearage"), MONEY),
        (403, error("used all available credits or reached its monthly spending limit"), MONEY),
        (400, [{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}], KEY),
        (403, error("flagged", 403, metadata={"reasons": ["violence"]}), BLOCKED),
        (403, error("Content violates usage guidelines", "permission-denied"), BLOCKED),
        (400, error("Content Exists Risk", "invalid_request_error"), BLOCKED),
        (400, error("Range of input length should be [1, 30720]"), LONG),
        (413, error("Request too large for model, TPM: Limit 6000", "rate_limit_exceeded"), LONG),
        (429, error("Too many tokens, please wait before trying again. rate limit"), RATE),
        (404, error('model "x" not found, try pulling it first'), MODEL),
        (503, error("当前分组 X 下对于模型 Y 无可用渠道"), MODEL),
        (400, error("Unknown parameter: 'safety_settings'"), PARAMETER),
        (400, error("frequency_penalty must be at most 2"), PARAMETER),
        (400, error("Failed to call a function.", "tool_use_failed", failed_generation="x"), TEMPORARY),
        (400, error("server error", "server_error"), TEMPORARY),
        (498, error("Flex tier capacity exceeded"), LOAD),
        (424, {"error": "Request failed", "error_type": "generation"}, TEMPORARY),
        (425, b"", TEMPORARY),
        (529, error("x"), LOAD),
        (402, error("needs credits", 402, metadata={"limit_source": "openrouter_in_flight_budget"}), MONEY),
        (200, {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}, "choices": None}, MONEY),
        (200, {"error_code": 18, "error_msg": "Open api qps request limit reached"}, RATE),
        (200, error("Provider returned error", 429, metadata={"raw": "temporarily rate-limited upstream"}), RATE),
        (200, {"error": "Unexpected endpoint or method. (POST /chat/completions)"}, MODEL),
    ],
)
def test_an_error_is_read_by_its_words_before_its_status(status, body, means):
    verdict = judged(status, body)
    about = verdict.scope if isinstance(verdict, Again) else verdict.cause.kind
    assert (type(verdict), about) == means


def judged(status, body, headers=None):
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return judge(Reply(status, raw, headers or {}, 1.0), ENDPOINTS["chat"], ReplyPolicy(), wall=WALL)


def test_money_that_comes_back_by_itself_is_waited_for():
    verdict = judged(402, error("in-flight budget", 402), {"retry-after": "3"})
    assert (verdict.scope, verdict.after) == (Scope.CONCURRENCY, 3.0)


def test_a_page_with_403_is_a_firewalls_and_needs_several_rows_to_halt():
    assert judged(403, b"<html><title>403 Forbidden</title></html>").confirm is Confirm.SEVERAL_ROWS


def test_the_words_of_the_provider_behind_a_gateway_are_shown():
    raw = '{"message": "image too small"}'
    verdict = judged(400, error("Provider returned error", 400, metadata={"raw": raw}))
    assert "image too small" in verdict.cause.message


def answer(finish="stop", content="x", **choice):
    choices = [{"index": 0, "finish_reason": finish, "message": {"content": content}, **choice}]
    return {"model": "m", "choices": choices, "usage": counted(3, 2, 5)}


@pytest.mark.parametrize("finish", ["error", "abort", "network_error", "insufficient_system_resource"])
def test_an_answer_that_was_broken_off_is_asked_again_and_stays_on_the_bill(finish):
    verdict = judged(200, answer(finish))
    assert isinstance(verdict, Again)
    assert verdict.usage == {"input": 3, "output": 2}


def test_an_error_in_a_choice_is_judged_by_its_own_number():
    verdict = judged(200, answer("stop", error={"code": 429, "message": "slow down"}))
    assert (verdict.scope, verdict.usage) == (Scope.RATE, {"input": 3, "output": 2})


@pytest.mark.parametrize("finish", ["sensitive", "RECITATION", "content_filter: PROHIBITED_CONTENT", "refusal"])
def test_moderation_blocks_in_whatever_word(finish):
    assert judged(200, answer(finish)).cause.kind is Kind.BLOCKED


@pytest.mark.parametrize("finish", ["end_turn", "eos", "COMPLETE", "repetition", "never_heard_of", "length"])
def test_other_ends_are_kept_with_their_word(finish):
    assert judged(200, answer(finish)).finish_reason == finish


def test_a_whole_context_without_a_word_of_answer_is_too_long():
    body = answer("model_context_window_exceeded", "") | {"usage": counted(8192, 0, 8192)}
    assert judged(200, body).cause.kind is Kind.TOO_LONG


@pytest.mark.parametrize(
    ("body", "oddity"),
    [
        (b"\xef\xbb\xbf%s", "byte_order_mark"),
        (b"%s\n<!-- served by cache 7 -->", "text_around_json"),
        (b"Warning: x in y.php\n%s", "text_around_json"),
    ],
)
def test_a_paid_answer_is_kept_whatever_it_is_wrapped_in(body, oddity):
    verdict = judged(200, body % orjson.dumps(answer()))
    assert isinstance(verdict, Done)
    assert (verdict.oddity, orjson.loads(verdict.body)["usage"]) == (oddity, counted(3, 2, 5))


def test_half_a_surrogate_pair_and_infinities_are_kept_as_what_json_can_hold():
    raw = orjson.dumps(answer(content="cut HALF", logprobs="LOW"))
    verdict = judged(200, raw.replace(b"HALF", b"\\ud83d").replace(b'"LOW"', b"-Infinity"))
    choice = orjson.loads(verdict.body)["choices"][0]
    assert (choice["message"]["content"], choice["logprobs"]) == ("cut �", None)


@pytest.mark.parametrize(
    ("kept", "usage"),
    [
        (b'"prompt_tokens":3,', {}),
        (b'"prompt_tokens":3,"completion_tokens":2', {}),  # perhaps the beginning of 25
        (b'"completion_tokens":2,"prompt_tokens":3,', {"input": 3, "output": 2}),
        (b'"total_tokens":5,"prompt_tokens":3,', {"input": 3, "output": 2}),
    ],
)
def test_of_a_usage_that_was_cut_off_one_count_alone_is_no_bill(kept, usage):
    whole = orjson.dumps({name: value for name, value in answer().items() if name != "usage"})
    verdict = judged(200, whole[:-1] + b',"usage":{' + kept)
    assert isinstance(verdict, Done)
    assert (verdict.usage, verdict.oddity) == (usage, "cut_off")


def test_what_cannot_be_read_is_not_bought_for_ever():
    verdict = judged(200, orjson.dumps(answer()).replace(b'"choices"', b"choices"))
    assert (verdict.usage, verdict.most) == ({"input": 3, "output": 2}, 2)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("2.6s", 2.6),
        ("1m2s", 62.0),
        ("60, 120", 120.0),
        ("2 minutes", 120.0),
        (f"{WALL + 60:.0f}", 60.0),
        (f"{(WALL + 60) * 1000:.0f}", 60.0),
        ("2026-07-10T08:01:00Z", 60.0),
        ("Mon, 01 Jan 2024 00:00:00 +99999999999999", None),
        ("9" * 6000, None),
        ("-3", None),
        ("nan", None),
    ],
)
def test_a_wait_is_read_in_every_form(said, seconds):
    assert wait_of(said, WALL) == seconds


@pytest.mark.parametrize(
    ("body", "headers", "seconds"),
    [
        (error("slow down"), {"retry-after-ms": "2600"}, 2.6),
        (error("slow down"), {"retry-after": "1", "retry-after-ms": "2600"}, 2.6),
        (error("Please try again in 7m12s."), {}, 432.0),
        (error("rate limit, try again after 1 seconds"), {}, 1.0),
        (error("slow", details=[{"retryDelay": "25s"}]), {}, 25.0),
        (error("slow"), {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "9s"}, 9.0),
        (error("slow"), {"retry-after": "86400"}, 300.0),
    ],
)
def test_a_rate_reply_says_how_long_in_a_header_or_in_its_body(body, headers, seconds):
    assert judged(429, body, headers).after == seconds


def test_a_quota_that_returns_within_the_patience_is_waited_for_by_its_name():
    verdict = judged(429, error("weekly limit, resets at 2026-07-10T08:30:00Z"))
    assert (verdict.cause.kind, verdict.after, verdict.is_time_named) == (Kind.QUOTA, 1800.0, True)
