"""Two ways to post a call that a server cannot tell apart, and when which is taken."""

import aiohttp
import pytest
from servers import OK, Raw, served, whole
from virtual import run_virtual

from arkbatch.core.job import Secret, Timeouts
from arkbatch.core.types import Break, Call, Reply
from arkbatch.transport import aiohttp_internals as posting
from arkbatch.transport.aiohttp_internals import PooledPosts, SessionPosts, posts_for
from arkbatch.transport.auth import ApiKey
from arkbatch.transport.transport import open_transport

CALL = Call("run-1-7-1", "chat", "/chat/completions", '{"model":"doubao","user":"豆包"}'.encode())


def sent(call, key="sk-secret", answer=None):
    """What a server hears of one call, and the response to it."""
    server = Raw(answer or whole())

    async def main():
        async with served(server) as url, open_transport(url, ApiKey(Secret(key)), Timeouts(), 4) as transport:
            return await transport.send(call)

    response = run_virtual(main())
    return server.heard, response


def lines(head):
    """The request line, and the headers without the port, in no order."""
    request, *headers = head.strip().split("\r\n")
    return request, sorted(each for each in headers if not each.lower().startswith("host:"))


@pytest.mark.parametrize("call", [CALL, Call("1", "chat", "/x?y=1", b"{}", headers={"X-Session-Token": "a"})])
def test_a_server_hears_the_same_by_either_way(monkeypatch, call):
    ((pooled_head, pooled_body),), _ = sent(call)
    monkeypatch.setattr(posting, "TESTED", "no version")
    ((session_head, session_body),), _ = sent(call)
    assert lines(pooled_head) == lines(session_head)
    assert pooled_body == session_body


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("word", ["a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rb"])
def test_a_line_break_in_a_header_sends_nothing(word):
    for call, key in ((CALL, word), (Call(word, "chat", "/x", b"{}"), "k")):
        heard, response = sent(call, key)
        assert (heard, response.how) == ([], Break.GARBLED)
    heard, response = sent(Call("1", "chat", "/x", b"{}", headers={"A": word}))
    assert (heard, response.how) == ([], Break.GARBLED)


@pytest.mark.usefixtures("either_way")
def test_an_interim_answer_is_waited_out():
    _, response = sent(CALL, answer=b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + whole(b'{"a":1}', OK))
    assert isinstance(response, Reply)
    assert (response.status, response.body) == (200, b'{"a":1}')


@pytest.mark.parametrize(("status", "how"), [("103 Early Hints", Break.TIMEOUT), ("101 Other", Break.GARBLED)])
def test_an_interim_answer_that_nothing_follows_ends_too(status, how):
    _, response = sent(CALL, answer=f"HTTP/1.1 {status}\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n".encode())
    assert response.how is how


@pytest.mark.usefixtures("either_way")
def test_headers_that_never_end_are_a_broken_exchange():
    _, response = sent(CALL, answer=OK + b"X-Large: " + b"x" * 1_000_000)
    assert response.how in {Break.GARBLED, Break.DROPPED}


@pytest.mark.parametrize(
    ("version", "proxy", "way"),
    [
        ("3.14.5", None, PooledPosts),
        ("3.14.5", "http://proxy.test:3128", SessionPosts),
        ("3.15.0", None, SessionPosts),
        ("4.0.0", None, SessionPosts),
    ],
)
def test_only_versions_that_were_tested_are_taken_below_their_session(monkeypatch, version, proxy, way):
    monkeypatch.setattr(aiohttp, "__version__", version)

    async def main():
        async with aiohttp.ClientSession() as session:
            return type(posts_for(session, "http://x.test/v1", proxy))

    assert run_virtual(main()) is way
