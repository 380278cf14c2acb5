"""Streams off a real socket: the traps of the protocol, one by one, and what of them reaches the record."""

import asyncio
import contextlib

import orjson
import pytest
from aiohttp import web
from runs import job_of, prompts
from servers import Raw, served, whole
from virtual import run_virtual

from arkbatch.api.jobs import arun
from arkbatch.config.resolve import resolve_job
from arkbatch.core.calls import Break, Broken, Call, Reply
from arkbatch.core.job_sections import Timeouts
from arkbatch.core.secret import Secret
from arkbatch.rows.parse import RowReader
from arkbatch.transport import reply_reader
from arkbatch.transport.auth import ApiKey
from arkbatch.transport.transport import open_transport

pytestmark = pytest.mark.usefixtures("either_way")


def chunk(content="", *, reason=None, usage=None, **delta):
    choice = {"index": 0, "delta": {"role": "assistant", "content": content, **delta}, "finish_reason": reason}
    return {"id": "02a", "object": "chat.completion.chunk", "model": "m-1", "choices": [choice], "usage": usage}


USAGE = {"id": "02a", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}}


def event(value):
    return b"data: " + orjson.dumps(value) + b"\n\n"


DONE = b"data: [DONE]\n\n"
WHOLE = event(chunk("Hello ")) + event(chunk("界")) + event(chunk(reason="stop")) + event(USAGE)


@contextlib.asynccontextmanager
async def streaming(*steps, tear=False, seen=None):
    """A server that sends the steps one after the other: bytes are written, numbers are seconds to wait."""

    async def chat(request):
        if seen is not None:
            seen.append((request.headers, await request.json(), id(request.transport)))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Request-Id": "02a"})
        await response.prepare(request)
        for step in steps:
            await (response.write(step) if isinstance(step, bytes) else asyncio.sleep(step))
        if tear:
            request.transport.abort()
        return response

    app = web.Application()
    app.router.add_post("/chat/completions", chat)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    finally:
        await runner.cleanup()


CALL = Call("c-1", "chat", "/chat/completions", b'{"stream":true}', model="m", stream=True)


def sent(*steps, calls=1, read=60.0, **how):
    async def main():
        async with (
            streaming(*steps, **how) as url,
            open_transport(url, ApiKey(Secret("k")), Timeouts(read=read), 4) as transport,
        ):
            return [await transport.send(CALL) for _ in range(calls)][-1]

    return run_virtual(main())


def answer(response):
    assert isinstance(response, Reply), response
    return orjson.loads(response.body)


def test_a_stream_comes_back_as_the_reply_that_it_would_have_been():
    body = answer(sent(WHOLE, DONE))
    assert body["object"] == "chat.completion"
    assert body["choices"][0] == {
        "index": 0,
        "message": {"role": "assistant", "content": "Hello 界"},
        "finish_reason": "stop",
    }
    assert body["usage"]["completion_tokens"] == 2


def test_the_first_token_is_timed_when_the_answer_begins_and_not_when_the_stream_does():
    response = sent(event(chunk()), 2.0, event(chunk("a")), 3.0, event(chunk(reason="stop")), DONE)
    assert (round(response.first_token), round(response.seconds)) == (2, 5)


FRAMINGS = {
    "one byte a packet": [bytes([byte]) for byte in WHOLE + DONE],
    "lines that end in CRLF": [(WHOLE + DONE).replace(b"\n", b"\r\n")],
    "comments and blank lines": [b": keep-alive\n\n\n", WHOLE, b": keep-alive\n", DONE],
    "no space after data:": [(WHOLE + DONE).replace(b"data: ", b"data:")],
    "one newline between events": [(WHOLE + DONE).replace(b"\n\n", b"\n")],
    "the last blank line is missing": [WHOLE.rstrip()],
    "a finish reason and no [DONE]": [WHOLE],
    "something after [DONE]": [WHOLE, DONE, event(chunk("more"))],
    "an id and an event without data": [b"id: 1\n\ndata:\n\n", WHOLE, DONE],
    "a line of 300 kB": [event(chunk("", logprobs="x" * 300_000)), WHOLE, DONE],
}


@pytest.mark.parametrize("steps", FRAMINGS.values(), ids=FRAMINGS)
def test_every_framing_gives_the_same_answer(steps):
    body = answer(sent(*steps))
    assert body["choices"][0]["message"]["content"] == "Hello 界"
    assert body["usage"]["total_tokens"] == 9


def test_a_stream_without_a_finish_reason_was_cut_off_although_it_ended_in_good_order():
    response = sent(event(chunk("Hel")))
    assert isinstance(response, Broken)
    assert response.how is Break.DROPPED


def test_a_torn_connection_is_one_that_was_dropped():
    assert sent(event(chunk("Hel")), 0.1, tear=True).how is Break.DROPPED


def test_an_answer_that_was_whole_is_kept_when_the_connection_is_torn_after_it():
    assert answer(sent(WHOLE, 0.1, tear=True))["choices"][0]["finish_reason"] == "stop"


def test_silence_between_two_chunks_is_a_timeout_and_a_long_answer_that_moves_is_not():
    assert sent(event(chunk("a")), 61.0, event(chunk(reason="stop"))).how is Break.TIMEOUT
    slow = [step for _ in range(100) for step in (59.0, event(chunk(reasoning_content="hm")))]
    assert answer(sent(*slow, WHOLE, DONE))["usage"]["total_tokens"] == 9


@pytest.mark.parametrize(
    "sign",
    [
        b": thinking\n\n",
        b"\n",
        b": ",
        b"event: ping\ndata: ping\n\n",
        b"data: null\n\n",
        b'event: ping\ndata: {"t":1}\n\n',
    ],
)
def test_signs_of_life_do_not_lengthen_the_wait_for_data(sign):
    broken = sent(event(chunk("a")), *[step for _ in range(100) for step in (5.0, sign)], event(chunk(reason="stop")))
    assert (broken.how, broken.detail) == (Break.TIMEOUT, "no data for 60 s")
    assert broken.seconds == pytest.approx(60, abs=0.5)


@pytest.mark.parametrize(
    ("steps", "most"),
    [((WHOLE,), 1.1), ((event(chunk("Hi")), event(chunk(reason="stop"))), 10.1)],
    ids=["counted", "not counted"],
)
def test_an_answer_is_over_soon_after_its_finish_reason_whatever_else_comes(steps, most):
    response = sent(*steps, *[step for _ in range(100) for step in (0.5, b": ping\n\n")])
    assert answer(response)["choices"][0]["finish_reason"] == "stop"
    assert response.seconds < most


def test_usage_that_comes_a_while_behind_the_finish_reason_is_waited_for():
    response = sent(event(chunk("Hi")), event(chunk(reason="stop")), 8.0, event(USAGE), 500.0)
    assert answer(response)["usage"]["total_tokens"] == 9
    assert response.seconds < 10


ODD_ENDS = [b'data: "[DONE]"', b"data: [done]", b"data: [DONE", b"data: DONE", b"data: '[DONE]'", b"data: [ DONE ]"]
ODD_ENDS += [b"event: done\ndata: done", b"event: done\ndata: {}", b"data: oops", b"data: {oops", b"data: []"]


@pytest.mark.parametrize("end", ODD_ENDS)
def test_nothing_behind_the_finish_reason_spoils_the_answer(end):
    assert answer(sent(WHOLE, end + b"\n\n"))["usage"]["total_tokens"] == 9


@pytest.mark.parametrize("sign", [b"event: ping\ndata: ping", b"data: ping", b"data: null", b'data: "keep-alive"'])
def test_signs_of_life_are_no_part_of_the_answer(sign):
    assert answer(sent(sign + b"\n\n", WHOLE, sign + b"\n\n", DONE))["choices"][0]["message"]["content"] == "Hello 界"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"error": {"message": "worker lost"}}', b"worker lost"),
        (b"<title>502 Bad Gateway</title>", b"502 Bad Gateway"),
    ],
)
def test_a_line_in_the_place_of_an_event_says_why_the_answer_broke_off(line, words):
    response = sent(event(chunk("a")), line + b"\n")
    said = response.body if isinstance(response, Reply) else response.detail.encode()
    assert words in said


def test_words_in_a_stream_without_an_answer_are_told():
    broken = sent(b"data: upstream is away\n\n", DONE)
    assert (broken.how, broken.detail) == (Break.GARBLED, "an event that is no chunk: upstream is away")
    assert answer(sent(b"event: error\ndata: upstream is away\n\n"))["error"]["message"] == "upstream is away"


def replied(body, content_type, *, asked, status=b"200 OK"):
    head = b"HTTP/1.1 " + status + b"\r\nContent-Type: " + content_type + b"\r\n"

    async def main():
        async with (
            served(Raw(whole(body, head))) as url,
            open_transport(url, ApiKey(Secret("k")), Timeouts(), 4) as transport,
        ):
            return await transport.send(CALL if asked else Call("c-1", "chat", "/chat/completions", b"{}"))

    return run_virtual(main())


TYPES = [b"application/json", b"text/event-stream", b"text/plain", b"application/octet-stream", b""]


@pytest.mark.parametrize("asked", [True, False], ids=["asked", "not asked"])
@pytest.mark.parametrize("content_type", TYPES)
def test_events_and_whole_answers_are_told_apart_by_what_they_are(content_type, asked):
    assert answer(replied(b"\n: hi\n\n" + WHOLE + DONE, content_type, asked=asked))["usage"]["total_tokens"] == 9
    assert answer(replied(b'\xef\xbb\xbf\n{"choices":[]}'[3:], content_type, asked=asked)) == {"choices": []}


@pytest.mark.parametrize("asked", [True, False], ids=["asked", "not asked"])
def test_an_error_may_come_as_an_event_with_an_error_status(asked):
    error = event({"error": {"code": "ServerOverloaded", "message": "busy"}})
    response = replied(error, b"text/event-stream", asked=asked, status=b"503 Busy")
    assert (response.status, answer(response)["error"]["code"]) == (503, "ServerOverloaded")


def test_an_error_status_with_half_a_stream_is_handed_on_as_it_came():
    response = replied(b"data: busy\n\n", b"text/event-stream", asked=True, status=b"503 Busy")
    assert (response.status, response.body) == (503, b"data: busy\n\n")


@pytest.mark.parametrize("name", [b"", b"event: error\n"])
def test_an_error_in_the_stream_reaches_the_verdict_with_its_code(name):
    error = {"error": {"code": "ServerOverloaded", "message": "busy"}}
    assert answer(sent(event(chunk("a")), name + event(error)))["error"]["code"] == "ServerOverloaded"


def test_an_event_that_is_no_chunk_makes_the_reply_garbled():
    assert sent(b"data: {oops\n\n", WHOLE, DONE).how is Break.GARBLED


def test_a_stream_over_the_size_limit_is_given_up(monkeypatch):
    monkeypatch.setattr("arkbatch.transport.transport.LARGEST_REPLY", 1000)
    assert sent(event(chunk("a" * 2000))).how is Break.TOO_LARGE


def test_a_connection_is_used_again_after_a_stream_and_given_up_when_its_end_does_not_come():
    seen = []
    sent(WHOLE, DONE, calls=2, seen=seen)
    assert len({connection for *_, connection in seen}) == 1
    response = sent(WHOLE, DONE, 500.0, b"late")
    assert response.seconds < 1


def test_a_server_that_answers_in_one_piece_although_a_stream_was_asked_for_is_understood():
    async def main():
        async def chat(_):
            return web.json_response({"choices": []})

        app = web.Application()
        app.router.add_post("/chat/completions", chat)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        async with open_transport(url, ApiKey(Secret("k")), Timeouts(), 4) as transport:
            response = await transport.send(CALL)
        await runner.cleanup()
        return response

    assert answer(run_virtual(main())) == {"choices": []}


@pytest.mark.parametrize(
    ("settings", "row", "expected"),
    [
        ({"stream": True}, {}, (True, {"include_usage": True})),
        ({}, {"stream": True}, (True, {"include_usage": True})),
        ({"stream": True}, {"stream": False}, (False, None)),
        (
            {},
            {"stream": True, "stream_options": {"chunk_include_usage": True}},
            (True, {"include_usage": True, "chunk_include_usage": True}),
        ),
        ({"stream": True}, {"stream_options": {"include_usage": False}}, (True, {"include_usage": False})),
        ({}, {}, (None, None)),
    ],
)
def test_a_row_that_streams_asks_for_its_usage(tmp_path, settings, row, expected):
    path = prompts(tmp_path, {"prompt": "a", **row})
    body = RowReader(job_of(path, **settings)).read_row(1, 0, path.read_bytes()).body
    assert (body.get("stream"), body.get("stream_options")) == expected


def test_a_run_records_what_was_streamed_and_how_fast_it_came(tmp_path):
    """The row that is cut off is sent again, and the summary tells the speed."""

    async def main():
        seen = []
        async with streaming(
            0.5, event(chunk("Hi")), 2.0, event(chunk(reason="stop")), event(USAGE), DONE, seen=seen
        ) as url:
            path = prompts(tmp_path, {"prompt": "a"})
            job = resolve_job(str(path), {"model": "m", "base_url": url, "stream": True}, {}, tmp_path)
            return await arun(job), seen[0][1]

    summary, asked = run_virtual(main())
    assert asked["stream"]
    assert asked["stream_options"] == {"include_usage": True}
    line = orjson.loads((tmp_path / "in.run/results.jsonl").read_bytes())
    assert line["response"]["body"]["choices"][0]["message"]["content"] == "Hi"
    assert (line["first_token_seconds"], line["seconds"], line["tokens_per_second"]) == pytest.approx(
        (0.5, 2.5, 1.0), 0.01
    )
    assert summary.usage == {"input": 7, "output": 2}
    assert summary.first_token_p50 == pytest.approx(0.5, 0.05)
    assert summary.tokens_per_second_p50 == pytest.approx(1.0, 0.05)


def test_the_session_may_go_on_streaming_where_it_did_not_stream_before(tmp_path):
    from arkbatch.core.job import answer_settings

    path = prompts(tmp_path, {"prompt": "a"})
    assert answer_settings(job_of(path, stream=True)) == answer_settings(job_of(path))


def test_a_reply_whose_silence_and_grace_end_in_one_round_of_the_loop_ends_once():
    async def main():
        troubles = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: troubles.append(context))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5.0) as timeout:
                reply_reader._Deadline(timeout, 5.0, lambda: True)
                await asyncio.sleep(60)
        return troubles

    assert run_virtual(main()) == []
