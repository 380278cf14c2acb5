"""Streams and answers in the shapes of other APIs: a paid answer is kept, marked, and not asked for again."""

import orjson
import pytest

from arkbatch.core.calls import Done, Kind, Refused, Reply
from arkbatch.core.job_sections import ReplyPolicy
from arkbatch.protocol.endpoints import ENDPOINTS
from arkbatch.protocol.lenient_json import dumps_strictly
from arkbatch.protocol.sse import Event
from arkbatch.protocol.stream import Folding, Garbled, Truncated, Whole
from arkbatch.protocol.verdict import judge

BILL = {"input_tokens": 10, "output_tokens": 5}
GEMINI_BILL = {"promptTokenCount": 10, "candidatesTokenCount": 3, "thoughtsTokenCount": 2, "totalTokenCount": 15}
STARTED = {"type": "message_start", "message": {"id": "m", "role": "assistant", "model": "c", "usage": {**BILL}}}
TOOL = {"type": "tool_use", "id": "t", "name": "f", "input": {}}


def anthropic(place, **delta):
    return {"type": "content_block_delta", "index": place, "delta": delta}


def gemini(text, **more):
    return {"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0, **more}]}


def dashscope(text, reason="null"):
    return {"output": {"text": text, "finish_reason": reason}, "usage": BILL, "request_id": "r"}


def dashscope_message(text, reason="null"):
    message = {"role": "assistant", "content": text}
    return {"output": {"choices": [{"message": message, "finish_reason": reason}]}, "usage": BILL}


def cohere(text):
    return {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"type": "text", "text": text}}}}


STREAMS = {
    "anthropic": [
        STARTED,
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        anthropic(0, type="text_delta", text="fi"),
        anthropic(0, type="text_delta", text="ne"),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ],
    "gemini": [gemini("fi"), {**gemini("ne", finishReason="STOP"), "usageMetadata": GEMINI_BILL}],
    "cohere": [
        {"type": "message-start", "id": "x", "delta": {"message": {"role": "assistant", "content": []}}},
        {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
        cohere("fi"),
        cohere("ne"),
        {"type": "content-end", "index": 0},
        {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": {"billed_units": BILL}}},
    ],
    "cohere, first version": [
        {"event_type": "stream-start", "generation_id": "x"},
        {"event_type": "text-generation", "text": "fi"},
        {"event_type": "text-generation", "text": "ne"},
        {"event_type": "stream-end", "finish_reason": "COMPLETE", "response": {"meta": {"billed_units": BILL}}},
    ],
    "dashscope, all so far": [dashscope("fi"), dashscope("fine"), dashscope("fine", "stop")],
    "dashscope, each part": [dashscope_message("fi"), dashscope_message("ne"), dashscope_message("", "stop")],
    "ollama": [
        {"model": "l", "message": {"role": "assistant", "content": "fi"}, "done": False},
        {"model": "l", "message": {"role": "assistant", "content": "ne"}, "done": False},
        {"message": {"content": ""}, "done": True, "done_reason": "stop", "prompt_eval_count": 10, "eval_count": 5},
    ],
}


def folded(events):
    folding = Folding()
    for event in events:
        folding.add(Event(orjson.dumps(event)))
    return folding.end()


def judged(body):
    return judge(Reply(200, dumps_strictly(body), {}, 1.0), ENDPOINTS["chat"], ReplyPolicy(), wall=0.0)


def message_of(verdict):
    assert isinstance(verdict, Done)
    assert verdict.oddity == "foreign_shape"
    return orjson.loads(verdict.body)["choices"][0]["message"]


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_in_another_shape_is_one_answer_with_its_bill(name):
    ending = folded(STREAMS[name])
    assert isinstance(ending, Whole)
    verdict = judged(ending.body)
    assert message_of(verdict)["content"] == "fine"
    assert {meter: verdict.usage[meter] for meter in ("input", "output")} == {"input": 10, "output": 5}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_in_another_shape_that_breaks_off_is_no_answer(name):
    ends = 2 if name == "anthropic" else 1
    assert isinstance(folded(STREAMS[name][:-ends]), Truncated)


def test_a_call_of_a_tool_is_put_together_from_its_parts():
    ending = folded(
        [
            STARTED,
            anthropic(0, type="thinking_delta", thinking="hm"),
            {"type": "content_block_start", "index": 1, "content_block": TOOL},
            anthropic(1, type="input_json_delta", partial_json='{"a":'),
            anthropic(1, type="input_json_delta", partial_json="1}"),
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}},
        ]
    )
    function = {"name": "f", "arguments": '{"a":1}'}
    message = message_of(judged(ending.body))
    assert message["tool_calls"] == [{"id": "t", "type": "function", "function": function}]
    assert message["reasoning_content"] == "hm"


@pytest.mark.parametrize("as_list", [True, False])
def test_candidates_are_an_answer(as_list):
    whole = {**gemini("fine", finishReason="STOP"), "usageMetadata": GEMINI_BILL, "modelVersion": "g"}
    verdict = judged(STREAMS["gemini"] if as_list else whole)
    assert message_of(verdict)["content"] == "fine"
    assert verdict.usage == {"input": 10, "output": 5, "reasoning": 2}


@pytest.mark.parametrize(
    "body", [{"promptFeedback": {"blockReason": "OTHER"}}, {"candidates": [{"finishReason": "SAFETY", "index": 0}]}]
)
def test_what_gemini_refuses_is_blocked(body):
    verdict = judged({**body, "usageMetadata": {"promptTokenCount": 10, "totalTokenCount": 10}})
    assert isinstance(verdict, Refused)
    assert (verdict.cause.kind, verdict.usage["input"]) == (Kind.BLOCKED, 10)


def test_a_chat_stream_with_signs_of_life_between_is_not_marked():
    chunk = {"choices": [{"index": 0, "delta": {"content": "fine"}, "finish_reason": "stop"}]}
    ending = folded([{"type": "ping"}, chunk])
    assert isinstance(ending, Whole)
    assert ending.body["choices"][0]["message"]["content"] == "fine"


@pytest.mark.parametrize(
    "event", [{"type": "message_start"}, {"candidates": [5]}, {"output": {"choices": 5}}, {"type": "content-delta"}]
)
def test_what_only_looks_like_an_event_of_another_shape_ends_nothing(event):
    assert isinstance(folded([event]), Garbled | Truncated)
    assert not isinstance(judged(event), Done)
