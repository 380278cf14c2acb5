"""Replies that aiohttp's parser refuses are read by looser rules, with one call for each row."""

import asyncio
from contextlib import closing
from typing import NamedTuple

import pytest
from servers import Raw, served
from virtual import run_virtual

from arkbatch.core.calls import Break, Broken, Call
from arkbatch.core.job_sections import Timeouts
from arkbatch.core.secret import Secret
from arkbatch.transport.auth import ApiKey
from arkbatch.transport.loose_http import LooseReader, TolerantParser
from arkbatch.transport.transport import open_transport

BODY = b'{"a":1}'
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 7\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"4\r\n" + BODY[:4] + b"\r\n3\r\n" + BODY[4:] + b"\r\n0\r\n\r\n"
READ = {
    "length and chunked": OK + LENGTH + CHUNKED + b"\r\n" + CHUNKS,
    "chunked and length": OK + CHUNKED + LENGTH + b"\r\n" + CHUNKS,
    "length beside chunked that was taken off": OK + LENGTH + CHUNKED + b"\r\n" + BODY,
    "length twice": OK + LENGTH * 2 + b"\r\n" + BODY,
    "length twice in one line": OK + b"Content-Length: 7, 7\r\n\r\n" + BODY,
    "two lengths": OK + LENGTH + b"Content-Length: 9\r\n\r\n" + BODY,
    "length with a sign": OK + b"Content-Length: +7\r\n\r\n" + BODY,
    "identity": OK + b"Transfer-Encoding: identity\r\n" + LENGTH + b"\r\n" + BODY,
    "no colon": OK + b"a line of words\r\n" + LENGTH + b"\r\n" + BODY,
    "a name of two words": OK + b"X Request Id: 3\r\n" + LENGTH + b"\r\n" + BODY,
    "no name": OK + b": x\r\n" + LENGTH + b"\r\n" + BODY,
    "a NUL": OK + b"X-A: a\0b\r\n" + LENGTH + b"\r\n" + BODY,
    "a Chinese name": OK + "X-名: 值\r\n".encode() + LENGTH + b"\r\n" + BODY,
    "LF alone": (OK + CHUNKED + b"\r\n" + CHUNKS).replace(b"\r\n", b"\n"),
    "junk behind the body": OK + LENGTH + b"\r\n" + BODY + b"\r\ngarbage\r\n\r\n",
    "an interim head before": b"HTTP/1.1 103 Hints\r\nX A: b\r\n\r\n" + OK + LENGTH + b"\r\n" + BODY,
    "no end but the connection's": OK + b"X A: b\r\n\r\n" + BODY,
    "no version": OK.replace(b"HTTP/1.1", b"HTTP/1") + b"X A: b\r\n" + LENGTH + b"\r\n" + BODY,
}


def answered(wire):
    async def main():
        async with (
            served(Raw(wire, close=True)) as url,
            open_transport(url, ApiKey(Secret("k")), Timeouts(connect=5, read=3), 1) as http,
        ):
            return await http.send(Call("run-1-7-1", "chat", "/chat/completions", b"{}"))

    return run_virtual(main())


@pytest.mark.parametrize("name", READ)
def test_a_body_is_read_whatever_its_head_looks_like(name):
    reply = answered(READ[name])
    assert (reply.status, reply.body) == (200, BODY)


@pytest.mark.parametrize(
    ("wire", "how"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", Break.GARBLED),
        (b"HTTP/1.1 abc\r\n\r\n", Break.GARBLED),
        (OK + b"X A: b\r\nContent-Length: 9\r\n\r\n" + BODY[:5], Break.DROPPED),
        (OK + b"X A: b\r\n" + CHUNKED + b"\r\n" + CHUNKS[:9], Break.DROPPED),
    ],
)
def test_what_is_no_whole_reply_by_any_reading_stays_none(wire, how):
    broken = answered(wire)
    assert isinstance(broken, Broken)
    assert broken.how is how


def test_a_reply_that_nobody_asked_for_is_not_taken_for_the_next_one():
    """The second reply comes while the connection waits for its next call."""

    async def talk(reader, writer):
        with closing(writer):
            await reader.readuntil(b"{}")
            writer.write(OK + LENGTH + b"\r\n" + BODY)
            await asyncio.sleep(0.1)
            writer.write(OK + LENGTH + b"\r\n" + b"another")
            await reader.read()

    async def main():
        async with (
            served(talk) as url,
            open_transport(url, ApiKey(Secret("k")), Timeouts(connect=5, read=3), 1) as http,
        ):
            await http.send(Call("run-1-7-1", "chat", "/chat/completions", b"{}"))
            await asyncio.sleep(1)
            return await http.send(Call("run-1-8-1", "chat", "/chat/completions", b"{}"))

    assert run_virtual(main()).body == BODY


class Content:
    def __init__(self):
        self.body, self.has_ended = b"", False

    def feed_data(self, data):
        self.body += data

    def feed_eof(self):
        self.has_ended = True


class Refusing:
    """A parser that refuses what it is given once a head has ended, as the strict one does."""

    def __init__(self):
        self.seen = b""

    def feed_data(self, data):
        self.seen += data
        if b"\n\r\n" in self.seen or b"\n\n" in self.seen:
            raise ValueError("bad")
        return [], False, b""


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize("name", READ)
def test_pieces_of_any_size_make_the_same_reply(name, size):
    content, heads = Content(), []
    parser = TolerantParser(Refusing(), lambda: LooseReader(Head, lambda: content))
    for at in range(0, len(READ[name]), size):
        heads += parser.feed_data(READ[name][at : at + size])[0]
    parser.feed_eof()
    assert [head.code for head, _ in heads] == [200]
    assert (content.body, content.has_ended) == (BODY, True)


class Head(NamedTuple):
    version: tuple
    code: int
    reason: str
    headers: object
