"""A streamed answer that is cut off was billed all the same: what its chunks counted is kept, what they did not is not made up."""

import orjson
import pytest
from nights import job_for, night, records
from runs import prompts

from arkbatch.core.calls import Again, Break, Broken, Halt, Refused, Reply
from arkbatch.core.job_sections import ReplyPolicy
from arkbatch.protocol.endpoints import ENDPOINTS
from arkbatch.protocol.sse import Event
from arkbatch.protocol.stream import ErrorEvent, Folding, Garbled
from arkbatch.protocol.verdict import judge

COUNTED = {"include_usage": True, "chunk_include_usage": True}
CUT = ["truncated", "drop_inside", "stall_inside", "garbled", "error_in_200", "overloaded_in_200"]
SO_FAR = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def ran(folder, fault, **options):
    prompts(folder, {"prompt": f"[[fault:{fault}:1]] why?", "stream": True, "stream_options": options})
    summary, _ = night(job_for(folder, timeout=60))
    assert summary.succeeded == 1
    return summary, records(folder, "results.jsonl")[0]


@pytest.mark.parametrize("fault", CUT)
def test_what_was_counted_before_the_cut_is_thrown_away_and_paid_for(tmp_path, fault):
    summary, line = ran(tmp_path, fault, **COUNTED)
    first, second = line["calls"]
    assert first["tokens"]["output"] > 0
    assert line["discarded"] == first["tokens"] == summary.discarded
    assert line["usage"]["output"] > line["discarded"]["output"]
    assert "tokens" not in second


@pytest.mark.parametrize("fault", CUT)
def test_what_was_not_counted_is_not_made_up(tmp_path, fault):
    summary, line = ran(tmp_path, fault, include_usage=True)
    assert "discarded" not in line
    assert summary.discarded == {}


def folded(*chunks, error=None):
    folding = Folding()
    for chunk in chunks:
        folding.add(Event(orjson.dumps({"model": "m", "service_tier": "default", **chunk})))
    if error is not None:
        folding.add(Event(error))
    return folding.end()


PART = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]}


def test_an_error_event_keeps_the_count_of_the_chunks_before_it():
    error = {"error": {"code": "InternalServiceError", "message": "no"}}
    counted = folded({**PART, "usage": SO_FAR}, error=orjson.dumps(error))
    assert counted == ErrorEvent({"model": "m", "service_tier": "default", "usage": SO_FAR, **error})
    assert folded({**PART, "usage": None}, error=orjson.dumps(error)) == ErrorEvent(error)


def test_so_does_an_event_that_is_none():
    ending = folded({**PART, "usage": SO_FAR}, error=b"{oops")
    assert isinstance(ending, Garbled)
    assert ending.body["usage"] == SO_FAR


def judged(response):
    return judge(response, ENDPOINTS["chat"], ReplyPolicy(), wall=0.0)


@pytest.mark.parametrize("how", [Break.DROPPED, Break.TIMEOUT, Break.GARBLED])
def test_a_break_brings_its_bill(how):
    body = orjson.dumps({"model": "m", "service_tier": "fast", "choices": [], "usage": SO_FAR})
    verdict = judged(Broken(how, "", 1.0, body))
    assert isinstance(verdict, Again)
    assert (verdict.usage, verdict.model, verdict.service_tier) == ({"input": 7, "output": 3}, "m", "fast")
    assert judged(Broken(how, "")).usage == {}


@pytest.mark.parametrize(
    ("code", "kind"), [("ServerOverloaded", Again), ("OutputTextSensitiveContentDetected", Refused), ("x", Again)]
)
def test_an_error_brings_its_bill(code, kind):
    body = orjson.dumps({"error": {"code": code, "message": "no"}, "model": "m", "usage": SO_FAR})
    verdict = judged(Reply(200, body, {}, 1.0))
    assert isinstance(verdict, kind)
    assert verdict.usage == {"input": 7, "output": 3}


def test_a_halt_has_no_room_for_one():
    """The row has no record after a halt, so its beginning would be counted nowhere: it stays unknown."""
    body = orjson.dumps({"error": {"code": "AccountOverdueError", "message": "no"}, "usage": SO_FAR})
    assert isinstance(judged(Reply(200, body, {}, 1.0)), Halt)
