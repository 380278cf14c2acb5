"""Paid answers in the shapes of other APIs are kept, and read as chat completions."""

import orjson
import pytest

from arkbatch.core.calls import Again, Done, Halt, Refused, Reply
from arkbatch.core.job_sections import ReplyPolicy
from arkbatch.protocol.endpoints import ENDPOINTS
from arkbatch.protocol.sse import Event
from arkbatch.protocol.stream import Folding, Truncated, Whole
from arkbatch.protocol.verdict import judge

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
MESSAGE = {"role": "assistant", "content": "fine"}
ANSWER = {"model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": MESSAGE}], "usage": USAGE}
PARTS = {"role": "assistant", "content": [{"type": "text", "text": "fine"}]}
CHUNKS = [
    {"model": "m", "choices": [{"index": 0, "delta": {"content": "fi"}}]},
    {"choices": [{"index": 0, "delta": {"content": "ne"}, "finish_reason": "stop"}]},
    {"choices": [], "usage": USAGE},
]


def judged(body, endpoint="chat"):
    return judge(Reply(200, orjson.dumps(body), {}, 1.0), ENDPOINTS[endpoint], ReplyPolicy(), wall=0.0)


SHAPES = {
    "completion": {"choices": [{"index": 0, "text": "fine", "finish_reason": "stop"}], "usage": USAGE},
    "message as text": {"choices": [{"index": 0, "message": "fine", "finish_reason": "stop"}], "usage": USAGE},
    "message in delta": {"choices": [{"index": 0, "delta": MESSAGE, "finish_reason": "stop"}], "usage": USAGE},
    "choices by number": {"choices": {"0": ANSWER["choices"][0]}, "usage": USAGE},
    "data envelope": {"code": 200, "message": "ok", "data": ANSWER},
    "list of one": [ANSWER],
    "chunks in a list": CHUNKS,
    "baidu": {"object": "chat.completion", "result": "fine", "is_truncated": False, "usage": USAGE},
    "dashscope text": {
        "output": {"text": "fine", "finish_reason": "stop"},
        "usage": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15},
        "request_id": "r",
    },
    "dashscope choices": {
        "output": {"choices": ANSWER["choices"]},
        "usage": {"input_tokens": 10, "output_tokens": 5},
    },
    "ollama": {"model": "m", "message": MESSAGE, "done_reason": "stop", "prompt_eval_count": 10, "eval_count": 5},
    "anthropic": {
        "type": "message",
        **PARTS,
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 10, "output_tokens": 5},
    },
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_an_answer_in_another_shape_is_kept_with_its_text_and_its_bill(shape):
    verdict = judged(shape)
    assert isinstance(verdict, Done)
    assert (verdict.usage, verdict.oddity) == ({"input": 10, "output": 5}, "foreign_shape")
    content = orjson.loads(verdict.body)["choices"][0]["message"]["content"]
    assert content == "fine" or content == PARTS["content"]
    assert verdict.finish_reason in {"stop", "end_turn", ""}


def test_chunks_as_json_lines_are_one_answer():
    raw = b"".join(orjson.dumps(chunk) + b"\n" for chunk in CHUNKS)
    verdict = judge(Reply(200, raw, {}, 1.0), ENDPOINTS["chat"], ReplyPolicy(), wall=0.0)
    assert (verdict.usage, verdict.oddity) == ({"input": 10, "output": 5}, "foreign_shape")
    assert orjson.loads(verdict.body)["choices"][0]["message"]["content"] == "fine"


def test_the_first_of_several_chunks_is_no_answer():
    assert isinstance(judged(CHUNKS[0]), Again)


@pytest.mark.parametrize(
    "body", [{"result": "ok"}, {"message": "ok"}, {"data": {"ok": True}}, {"choices": [{}]}, [], [1]]
)
def test_what_says_nothing_of_an_answer_is_none(body):
    assert isinstance(judged(body), Again | Refused | Halt)


def test_an_answer_that_was_broken_off_is_so_in_any_shape():
    assert isinstance(judged({"choices": [{"text": "fi", "finish_reason": "abort"}], "usage": USAGE}), Again)


def test_vectors_are_not_taken_for_answers():
    assert isinstance(judged(SHAPES["completion"], "embeddings"), Again)


def folded(*chunks, has_done):
    folding = Folding()
    for each in chunks:
        folding.add(Event(orjson.dumps(each)))
    return folding.end(has_done=has_done)


def test_a_stream_with_text_usage_and_done_is_whole_without_a_finish_reason():
    begun = {"choices": [{"index": 0, "delta": MESSAGE}]}
    assert isinstance(folded(begun, CHUNKS[2], has_done=True), Whole)
    assert isinstance(folded(begun, CHUNKS[2], has_done=False), Truncated)
    assert isinstance(folded(begun, has_done=True), Truncated)
    assert isinstance(folded(CHUNKS[2], has_done=True), Truncated)
