import asyncio
from itertools import pairwise

import aiohttp
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulating import PLAIN, THINKING, ask, chat_body, simulator
from virtual import run_virtual

from arkbatch.protocol.sse import Parser
from arkbatch.protocol.stream import ErrorEvent, Folding, Garbled, Truncated, Whole
from arkbatch.simulator import answers, chunks, streaming
from arkbatch.simulator.seeded_random import fingerprint, random_for

CHINESE = "请用一句话解释为什么天空是蓝色的，并举一个生活中的例子。"
USAGE = {"include_usage": True}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"enum": ["北京"]}}}},
}


def parts(raw):
    """The chunks of a stream that ended well."""
    events = [line.removeprefix(b"data: ") for line in raw.split(b"\n\n") if line]
    assert events[-1] == b"[DONE]"
    return [orjson.loads(event) for event in events[:-1]]


def folded(raw):
    parser, folding = Parser(), Folding()
    for event in [*parser.feed(raw), *parser.close()]:
        folding.add(event)
    return folding.end()


def streamed(text=CHINESE, model=THINKING, faults=(), settings=(), **more):
    return ask(chat_body(text, model, stream=True, **more), faults=dict.fromkeys(faults, 1), **dict(settings))


def without_ids(body):
    return {name: value for name, value in body.items() if name not in {"id", "created"}}


CASES = [
    {},
    {"model": PLAIN},
    {"text": "Hello"},
    {"max_tokens": 5},
    {"max_completion_tokens": 0},
    {"tools": [TOOL], "tool_choice": "required"},
    {"text": "[[fault:content_filter]]"},
    {"text": "[[fault:empty]]"},
    {"settings": {"seed": 7}},
    {"settings": {"chunks": 3}},
    {"settings": {"gzip": True}},
    {"text": "天空 [[fault:split]]"},
    {"text": "天空 [[fault:untidy]]"},
    {"text": "天空 [[fault:no_done]]"},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_folded_stream_is_the_answer_without_streaming(case):
    more = {name: value for name, value in case.items() if name not in {"text", "model", "settings"}}
    body = chat_body(case.get("text", CHINESE), case.get("model", THINKING), **more)
    plain = ask(body, **case.get("settings", {})).json
    whole = folded(ask({**body, "stream": True, "stream_options": USAGE}, **case.get("settings", {})).raw)
    assert isinstance(whole, Whole)
    assert without_ids(whole.body) == without_ids(plain)


@given(st.text(max_size=200), st.integers(0, 2**64), st.none() | st.integers(1, 30))
def test_pieces_add_up_to_the_text_and_none_is_empty(text, number, pieces):
    found = chunks.cut_text(text, random_for(number.to_bytes(16, "big")), pieces)
    assert "".join(found) == text
    assert all(found)
    assert pieces is None or len(found) <= pieces


def test_the_seed_decides_where_the_cuts_fall():
    def cuts(seed):
        found = parts(streamed(settings={"seed": seed}).raw)
        return [part["choices"][0]["delta"] for part in found]

    assert cuts(1) == cuts(1)
    assert cuts(1) != cuts(2)


def test_a_stream_has_the_ids_of_its_call_and_its_own_content_type():
    reply = streamed()
    assert reply.headers["Content-Type"] == "text/event-stream"
    assert reply.headers["Server"] == "hertz"
    assert {part["id"] for part in parts(reply.raw)} == {reply.headers["X-Request-Id"]}


def test_each_delta_has_role_and_content_and_thoughts_come_first():
    found = parts(streamed().raw)
    assert all(part["object"] == "chat.completion.chunk" and part["usage"] is None for part in found)
    deltas = [part["choices"][0]["delta"] for part in found]
    assert all(delta["role"] == "assistant" and isinstance(delta["content"], str) for delta in deltas)
    thinks = ["reasoning_content" in delta for delta in deltas]
    assert thinks == sorted(thinks, reverse=True)
    assert thinks[0]
    assert not any(delta["content"] for delta in deltas if "reasoning_content" in delta)


def test_only_the_last_chunk_of_the_answer_has_a_finish_reason():
    found = [part["choices"][0].get("finish_reason") for part in parts(streamed().raw)]
    assert found == [None] * (len(found) - 1) + ["stop"]


def test_usage_comes_in_a_chunk_of_its_own_when_it_is_asked_for():
    *_, before, last = parts(streamed(stream_options=USAGE).raw)
    assert before["usage"] is None
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] > 0


def test_usage_can_come_with_every_chunk_and_only_grows():
    found = [
        part["usage"]["completion_tokens"] for part in parts(streamed(stream_options={"chunk_include_usage": 1}).raw)
    ]
    assert found == sorted(found)
    assert found[-1] == ask(chat_body(CHINESE, THINKING)).json["usage"]["completion_tokens"]


def test_a_tool_call_comes_in_fragments_of_which_the_first_has_the_name():
    found = parts(streamed(model=PLAIN, tools=[TOOL], tool_choice="required").raw)
    first, *others, last = [part["choices"][0] for part in found]
    [call] = first["delta"]["tool_calls"]
    assert (call["index"], call["type"], call["function"]) == (0, "function", {"name": "weather", "arguments": ""})
    for other in others:
        [call] = other["delta"]["tool_calls"]
        assert (set(call), set(call["function"])) == ({"index", "function"}, {"arguments"})
    assert last["finish_reason"] == "tool_calls"


def test_null_is_no_stream_and_accept_decides_nothing():
    headers = {"Accept": "text/event-stream"}
    assert ask(chat_body(stream=None), headers=headers).json["object"] == "chat.completion"


def test_embeddings_never_stream():
    assert ask({"model": "m", "input": "x", "stream": True}, "/embeddings").json["object"] == "list"


def test_a_refusal_of_a_streaming_call_is_ordinary_json():
    reply = streamed(faults=["overloaded"])
    assert (reply.status, reply.code) == (429, "ServerOverloaded")


@pytest.mark.parametrize(
    ("fault", "ending"),
    [("error_in_200", ErrorEvent), ("truncated", Truncated), ("garbled", Garbled), ("no_choices", Truncated)],
)
def test_a_stream_that_goes_wrong_still_has_status_200(fault, ending):
    reply = streamed(faults=[fault])
    assert reply.status == 200
    assert isinstance(folded(reply.raw), ending)


def test_an_error_inside_a_stream_is_printed_as_clients_look_for_it():
    reply = streamed(faults=["error_in_200"])
    *before, last = reply.raw.split(b"\n\n")[:-1]
    assert before
    assert last.startswith(b'data: {"error":{"code":"InternalServiceError"')
    assert last.endswith(b'"type":"InternalServerError"}}')


def test_a_truncated_stream_ends_well_without_a_finish_reason_even_when_nothing_was_said():
    for more in ({}, {"max_tokens": 0}):
        raw = streamed(model=PLAIN, faults=["truncated"], **more).raw
        assert b"finish_reason" not in raw
        assert b"[DONE]" not in raw


def test_without_done_the_answer_is_complete_all_the_same():
    raw = streamed(faults=["no_done"]).raw
    assert b"[DONE]" not in raw
    assert isinstance(folded(raw), Whole)


def test_a_torn_stream_is_a_broken_payload():
    with pytest.raises(aiohttp.ClientPayloadError):
        streamed(faults=["drop_inside"])


def arrivals(body, **settings):
    """What came when, and how it ended."""

    async def main():
        found = []
        async with simulator(**settings) as client:
            how = {"json": body, "headers": {"Authorization": "Bearer x"}}
            loop = asyncio.get_running_loop()
            began = loop.time()
            try:
                async with client.session.post(client.url + "/chat/completions", **how) as reply:
                    async for packet, _ in reply.content.iter_chunks():
                        found.append((loop.time() - began, packet))
            except TimeoutError:
                found.append((loop.time() - began, b""))
            await asyncio.sleep(0.1)
            return found, client.counters

    return run_virtual(main())


def test_a_stream_takes_as_long_as_the_answer_does_and_begins_early():
    found, counters = arrivals(chat_body(CHINESE, THINKING, stream=True), latency=100)
    whole = ask(chat_body(CHINESE, THINKING), latency=100).at - 1000
    times = [at for at, _ in found]
    assert times[-1] == pytest.approx(whole)
    assert times[0] == pytest.approx(whole / 5)
    pauses = {round(later - earlier, 6) for earlier, later in pairwise(times)}
    assert len(pauses - {0.0}) == 1
    assert counters.outcomes == {"ok": 1}
    assert counters.usage["output"] > 0


def test_a_stream_can_fall_silent_in_the_middle():
    found, counters = arrivals(chat_body(stream=True), patience=500, faults={"stall_inside": 1})
    assert len(found) > 1
    assert found[-1] == (pytest.approx(500, abs=1), b"")
    assert counters.outcomes == {"client_gone": 1}


def test_packets_can_end_inside_characters():
    whole = answers.answer_chat(chat_body(CHINESE), fingerprint(chat_body(CHINESE), 0))
    found = chunks.answer_chunks(whole, "02", 0, options={}, chance=random_for(b"x"), pieces=None)
    packets = streaming.write_script(found, "split", PLAIN, "02").packets
    assert b"".join(packets) == b"".join(streaming.write_script(found, None, PLAIN, "02").packets)
    with pytest.raises(UnicodeDecodeError):
        packets[0].decode()


def test_an_untidy_stream_has_comments_crlf_and_no_last_blank_line():
    raw = streamed(faults=["untidy"]).raw
    assert raw.startswith(b": keep-alive\r\n")
    assert b"data: " not in raw
    assert raw.endswith(b"data:[DONE]")
