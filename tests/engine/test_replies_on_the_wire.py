"""Any bytes that a server puts on the wire, in any pieces, plain and streamed, become the record of their row."""

import asyncio
import re
import tempfile
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from json_values import JSON
from msgspec.structs import replace
from runs import job_of, numbered, prompts
from sessions import failures, one_session, results
from virtual import run_virtual

from arkbatch.core.secret import Secret

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
CHOICE = {"index": 0, "finish_reason": "stop"}
GOOD = orjson.dumps({"model": "m", "choices": [{**CHOICE, "message": {"content": "fine"}}], "usage": USAGE})
GOOD_STREAM = b"data: %b\n\ndata: %b\n\ndata: [DONE]\n\n" % (
    orjson.dumps({"model": "m", "choices": [{**CHOICE, "delta": {"content": "fine"}}]}),
    orjson.dumps({"choices": [], "usage": USAGE}),
)


@st.composite
def bodies(draw):
    """A reply of which a part is anything; or events of which some are anything; or no JSON at all."""
    chosen = draw(st.sampled_from(["reply", "events", "bytes"]))
    if chosen == "bytes":
        return draw(st.binary(max_size=40))
    odd = draw(st.sampled_from(["choices", "usage", "model", "error", "object", "type"]))
    if chosen == "reply":
        return orjson.dumps(
            {**orjson.loads(GOOD), odd: draw(JSON)}, option=draw(st.sampled_from([0, orjson.OPT_INDENT_2]))
        )
    events = draw(st.lists(JSON | st.just({"choices": [{**CHOICE, "delta": {"content": "fine"}}]}), max_size=4))
    end = draw(st.sampled_from([b"data: [DONE]\n\n", b"", b"event: error\ndata: gone\n\n", b": ping\n\n"]))
    gap = draw(st.sampled_from([b"\n\n", b"\r\n\r\n", b"\n"]))
    return b"".join(b"data: %b%b" % (orjson.dumps(each), gap) for each in events) + end


@st.composite
def wires(draw):
    """The pieces in which a whole reply goes over the wire."""
    body = draw(bodies())
    kind = draw(st.sampled_from([b"application/json", b"text/event-stream", b"text/html; charset=x"]))
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nX-Request-Id: %b\r\n" % (
        kind,
        draw(st.sampled_from([b"1", b"caf\xe9", b"\xff"])),
    )
    match draw(st.sampled_from(["length", "chunked", "closed"])):
        case "length":
            whole = head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        case "chunked":
            parts = re.findall(rb"(?s).{1,7}", body)
            whole = head + b"Transfer-Encoding: chunked\r\n\r\n"
            whole += b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
        case _:
            whole = head + b"Connection: close\r\n\r\n" + body
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(whole) - 1)), max_size=6)))
    return [whole[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


def good(request):
    kind, body = (b"text/event-stream", GOOD_STREAM) if b'"stream":true' in request else (b"application/json", GOOD)
    return [b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (kind, len(body), body)]


async def serve(odd):
    """A server that answers the first call of each odd row with its pieces, and all else well."""
    asked = set()

    async def handle(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
        request = await reader.readexactly(length)
        number = int(re.search(rb"question (\d+)", request)[1])
        pieces = good(request)
        if number <= len(odd) and number not in asked:
            asked.add(number)
            pieces = odd[number - 1]
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        writer.close()

    return await asyncio.start_server(handle, "127.0.0.1", 0)


@pytest.mark.parametrize("stream", [False, True])
@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(odd=st.lists(wires(), min_size=1, max_size=3))
def test_any_bytes_in_any_pieces_end_as_a_record_of_their_row(stream, odd):
    with tempfile.TemporaryDirectory() as folder:
        job = job_of(prompts(Path(folder), *numbered(6)), concurrency=6, stream=stream)
        job = replace(job, retry=replace(job.retry, max_attempts=2))

        async def main():
            async with await serve(odd) as server:
                port = server.sockets[0].getsockname()[1]
                return await one_session(replace(job, base_url=f"http://127.0.0.1:{port}", api_key=Secret("k")))

        summary = run_virtual(main())
        done, lost = ([line["row"] for line in lines] for lines in (results(job), failures(job)))
        if summary.halt is None:
            assert sorted(done + lost) == [1, 2, 3, 4, 5, 6]
            assert {4, 5, 6} <= set(done)
        else:
            assert summary.exit_code
