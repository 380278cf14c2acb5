"""Replies that are odd and can be read all the same: text and usage are in the record, with one call for each row."""

import asyncio
import gzip
import re
import zlib

import orjson
import pytest
from msgspec.structs import replace
from runs import job_of, prompts
from sessions import failures, one_session, results
from virtual import run_virtual

from arkbatch.core.secret import Secret

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
DONE = b"data: [DONE]\n\n"


def answer(content="fine", **more):
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
    return orjson.dumps({"model": "m", "choices": [choice], "usage": USAGE} | more)


def chunk(content=None, finish=None, **more):
    delta = {} if content is None else {"content": content}
    return {"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish, **more}]}


LAST = {"choices": [], "usage": USAGE, "model": "m"}
END = (chunk(None, "stop"), LAST)


def http(body, *headers, status=b"200 OK", is_chunked=False):
    head = b"HTTP/1.1 %b\r\n%b" % (status, b"".join(line + b"\r\n" for line in headers))
    if is_chunked:
        return head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def events(*parts, done=DONE, end=b"\n\n", content_type=b"text/event-stream"):
    data = b"".join(part if isinstance(part, bytes) else b"data: " + orjson.dumps(part) + end for part in parts)
    return http(data + done, b"Content-Type: " + content_type, b"Connection: close")


WHOLE = {
    "gzip": http(gzip.compress(answer()), b"Content-Encoding: gzip"),
    "raw deflate": http(zlib.compress(answer())[2:-4], b"Content-Encoding: deflate"),
    "no content type": http(answer()),
    "as html": http(answer(), b"Content-Type: text/html"),
    "two content types": http(answer(), b"Content-Type: application/json", b"Content-Type: text/plain"),
    "201": http(answer(), status=b"201 Created"),
    "206": http(answer(), status=b"206 Partial Content"),
    "no reason phrase": http(answer(), status=b"200 "),
    "HTTP 1.0": http(answer()).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "100 before": b"HTTP/1.1 100 Continue\r\n\r\n" + http(answer()),
    "103 before": b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n" + http(answer()),
    "chunked": http(answer(), is_chunked=True),
    "folded header": http(answer(), b"X-A: b", b" c"),
    "large header": http(answer(), b"x-big: " + b"y" * 7000),
    "byte over 127 in the id": http(answer(), b"x-request-id: caf\xe9"),
    "length too long": http(answer()).replace(b"Content-Length: ", b"Content-Length: 9"),
    "fifty cookies": http(answer(), *[b"Set-Cookie: a=%d" % number for number in range(50)]),
    "twice the usage": http(b'{"usage":{"prompt_tokens":0,"completion_tokens":0},' + answer()[1:]),
    "choices by number": http(answer(choices={"0": orjson.loads(answer())["choices"][0]})),
    "usage as texts": http(answer(usage={"prompt_tokens": "10", "completion_tokens": "5.0"})),
    "usage of Anthropic": http(answer(usage={"input_tokens": 10, "output_tokens": 5})),
    "id beyond 64 bits": http(answer().replace(b'"model"', b'"id":123456789012345678901234567890,"model"')),
    "infinite score": http(answer().replace(b'"model"', b'"score":1e400,"model"')),
    "nested 2000 levels": http(answer()[:-1] + b',"x":' + b"[" * 2000 + b"]" * 2000 + b"}"),
    "empty tool calls": http(answer().replace(b'"role"', b'"tool_calls":[],"role"')),
    "error null": http(answer(error=None, code=200, base_resp={"status_code": 0})),
    "empty finish reason": http(answer().replace(b'"stop"', b'""')),
    "callback": http(b"callback(" + answer() + b");"),
    "prefix": http(b")]}',\n" + answer()),
    "nulls behind": http(answer() + b"\0\0"),
    "wrong checksum": http(gzip.compress(answer())[:-8] + b"12345678", b"Content-Encoding: gzip"),
    "gzip that was taken off": http(answer(), b"Content-Encoding: gzip"),
    "gzip that is not named": http(gzip.compress(answer())),
    "br that was taken off": http(answer(), b"Content-Encoding: br"),
    "length beside chunked": http(answer(), b"Content-Length: 5", is_chunked=True),
    "a line that is no header": http(answer(), b"no header"),
    "a header's name in Chinese": http(answer(), "X-名: 值".encode()),
    "another reply behind": http(answer()) + http(answer("another")),
    "junk behind": http(answer()) + b"junk\r\n\r\n",
    "UTF-16 that nobody names": http(answer().decode().encode("utf-16-le")),
    "UTF-32": http(answer().decode().encode("utf-32"), b"Content-Type: application/json; charset=utf-32"),
    "JSON in a text": http(orjson.dumps(answer().decode())),
    "a comma before the end": http(answer()[:-1] + b",}"),
    "a line of a log before": http(b'{"level":"warn"}\n' + answer()),
    "twice": http(answer() * 2),
    "cut off behind the counts": http(answer()[:-2]),
    "cut off by the connection": http(answer()[:-1]).replace(b"Content-Length: ", b"Content-Length: 1"),
    "a status in words": http(answer(), status=b"299 Fine"),
    "usage of Bedrock": http(answer(usage={"inputTokens": 10, "outputTokens": 5, "totalTokens": 15})),
    "usage of Cohere": http(
        answer(usage={"billed_units": {"input_tokens": 10, "output_tokens": 5}, "tokens": {"input_tokens": 70}})
    ),
    "no usage but Gemini's": http(
        answer(usage=None, usageMetadata={"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15})
    ),
    "a finish reason that is a number": http(answer().replace(b'"stop"', b"0")),
    "content in parts": http(answer().replace(b'"fine"', b'"fine","parts":[1]')),
}
STREAMED = {
    "usage with the finish reason": events(chunk("fine"), {**chunk(None, "stop"), "usage": USAGE}),
    "usage null at last": events(
        chunk("fine"), {**chunk(None, "stop"), "usage": USAGE}, {"choices": [], "usage": None}
    ),
    "usage in each chunk": events({**chunk("fine"), "usage": {**USAGE, "completion_tokens": 2}}, *END),
    "usage in parts": events(
        {**chunk("fine"), "usage": {"prompt_tokens": 10}}, {**END[0], "usage": {"completion_tokens": 5}}
    ),
    "one line breaks": events(chunk("fine"), *END, end=b"\n"),
    "CRLF": events(chunk("fine"), *END, end=b"\r\n\r\n"),
    "CR": events(chunk("fine"), *END, end=b"\r\r"),
    "named events": events(b"id: 1\nevent: message\n", chunk("fine"), *END),
    "data over lines": events(b"data: " + orjson.dumps(chunk("fine")).replace(b",", b",\ndata: ") + b"\n\n", *END),
    "pings": events(b": ping\n\n", b"data: ping\n\n", b"data:\n\n", {"type": "ping"}, chunk("fine"), *END),
    "empty objects": events({}, chunk("fine"), {}, *END),
    "null content": events(chunk("fi"), {"choices": [{"index": 0, "delta": {"content": None}}]}, chunk("ne"), *END),
    "null delta": events({"choices": [{"index": 0, "delta": None}]}, chunk("fine"), *END),
    "no index": events({"choices": [{"delta": {"content": "fine"}}]}, *END),
    "index as text": events({"choices": [{"index": "0", "delta": {"content": "fine"}}]}, *END),
    "finish in the delta": events(
        {"choices": [{"index": 0, "delta": {"content": "fine", "finish_reason": "stop"}}]}, LAST
    ),
    "finish twice": events(chunk("fi"), chunk("", "stop"), chunk("ne", "stop"), LAST),
    "list of chunks": events(b"data: [" + orjson.dumps(chunk("fine")) + b"]\n\n", *END),
    "older completions": events(*({"choices": [{"index": 0, "text": text}]} for text in ("fi", "ne")), *END),
    "message null": events(chunk("fine"), chunk(None, "stop", message=None), LAST),
    "whole": http(answer(), b"Content-Type: application/json"),
    "as octets": events(chunk("fine"), *END, content_type=b"application/octet-stream"),
    "json lines": http(b"\n".join(map(orjson.dumps, (chunk("fine"), *END))), b"Content-Type: application/x-ndjson"),
    "json list": http(orjson.dumps([chunk("fine"), *END]), b"Content-Type: application/json"),
    "done as object": events(chunk("fine"), *END, done=b'data: {"done": true}\n\n'),
    "more behind done": events(chunk("fine"), *END, DONE, done=b'data: {"choices":[{"delta":{"content":"no"}}]}\n\n'),
    "Data in capitals": events(b"Data: " + orjson.dumps(chunk("fine")) + b"\n\n", *END),
    "a blank before the colon": events(b"data : " + orjson.dumps(chunk("fine")) + b"\n\n", *END),
    "indented": events(b"  data: " + orjson.dumps(chunk("fine")) + b"\n\n", *END),
    "data twice": events(b"data: data: " + orjson.dumps(chunk("fine")) + b"\n\n", *END, done=b"data: " + DONE),
    "null as a word for no reason": events(chunk("fi", "null"), chunk("ne", "null"), *END),
    "no tool calls": events({"choices": [{"delta": {"content": "fine", "tool_calls": [None]}}]}, *END),
    "a whole answer as one event": events(b"data: " + answer() + b"\n\n"),
    "gzip that is not named": http(
        gzip.compress(b"".join(b"data: " + orjson.dumps(part) + b"\n\n" for part in (chunk("fine"), *END)))
    ),
    "Azure's filters": events(
        {"choices": [], "prompt_filter_results": [{"prompt_index": 0}], "model": ""},
        chunk("fine", content_filter_results={"hate": {"filtered": False}}),
        END[0],
        {"choices": [{"index": 0, "content_filter_offsets": {"check_offset": 1}, "finish_reason": None}]},
        LAST,
    ),
    "lines of Ollama": http(
        b'{"model":"m","message":{"role":"assistant","content":"fi"},"done":false}\n'
        b'{"model":"m","message":{"role":"assistant","content":"ne"},"done":false}\n'
        b'{"message":{"content":""},"done":true,"done_reason":"stop","prompt_eval_count":10,"eval_count":5}\n'
    ),
    "a large chunk": events(chunk("fine"), {**chunk(""), "junk": "z" * 300_000}, *END),
}
CASES = {
    **{f"whole: {name}": wire for name, wire in WHOLE.items()},
    **{f"stream: {name}": w for name, w in STREAMED.items()},
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The records of all cases by their names, and how often each row was asked for."""
    names, asked = list(CASES), []

    async def handle(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        request = await reader.readexactly(int(re.search(rb"(?i)content-length: (\d+)", head)[1]))
        asked.append(names[int(re.search(rb"case (\d+)\.", request)[1])])
        writer.write(CASES[asked[-1]])
        await writer.drain()
        writer.close()

    async def main():
        async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            return await one_session(replace(job, base_url=url, api_key=Secret("k")))

    rows = [{"prompt": f"case {place}.", "stream": name.startswith("stream")} for place, name in enumerate(names)]
    job = job_of(prompts(tmp_path_factory.mktemp("odd"), *rows), concurrency=4)
    run_virtual(main())
    return {names[line["row"] - 1]: line for line in [*results(job), *failures(job)]}, asked


@pytest.mark.parametrize("name", CASES)
def test_what_can_be_read_of_an_odd_reply_is_kept_and_is_paid_for_once(recorded, name):
    records, asked = recorded
    assert records[name]["error"] is None
    assert records[name]["response"]["body"]["choices"][0]["message"]["content"] == "fine"
    assert records[name]["usage"] == {"input": 10, "output": 5}
    assert asked.count(name) == 1
