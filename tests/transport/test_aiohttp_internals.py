"""Two ways to post a call that a server cannot tell apart, and when which is taken."""

import asyncio
import contextlib
import socket
import struct

import aiohttp
import pytest
from http_paths import by_session
from servers import OK, Raw, served, whole
from virtual import run_virtual

from arkbatch.core.calls import Break, Call, Reply
from arkbatch.core.job_sections import Timeouts
from arkbatch.core.secret import Secret
from arkbatch.transport import aiohttp_internals
from arkbatch.transport.aiohttp_internals import DirectPosts, OneTimerHandler, _KeptConnections
from arkbatch.transport.aiohttp_trial import why_unusable
from arkbatch.transport.auth import ApiKey
from arkbatch.transport.session_posts import IDLE_SECONDS, Addresses
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
    by_session(monkeypatch)
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


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize(("status", "how"), [("103 Early Hints", Break.TIMEOUT), ("101 Other", Break.GARBLED)])
def test_an_interim_answer_that_nothing_follows_ends_too(status, how):
    _, response = sent(CALL, answer=f"HTTP/1.1 {status}\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n".encode())
    assert response.how is how


@pytest.mark.usefixtures("either_way")
def test_headers_that_never_end_are_a_broken_exchange():
    _, response = sent(CALL, answer=OK + b"X-Large: " + b"x" * 1_000_000)
    assert response.how in {Break.GARBLED, Break.DROPPED}


def trouble():
    return run_virtual(why_unusable())


def test_the_inner_parts_of_the_installed_aiohttp_work():
    assert trouble() == ""


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (aiohttp_internals, "ResponseHandler"),
        (OneTimerHandler, "_reschedule_timeout"),
        (OneTimerHandler, "read_head"),
        (aiohttp.client_proto.ResponseHandler, "set_response_params"),
        (aiohttp.client_proto.ResponseHandler, "read"),
        (aiohttp.client_proto.ResponseHandler, "_on_read_timeout"),
        (aiohttp.client_proto.ResponseHandler, "should_close"),
        (aiohttp.ClientRequest, "connection_key"),
        (aiohttp.ClientRequest, "__init__"),
        (aiohttp.connector.BaseConnector, "connect"),
    ],
)
def test_an_inner_part_that_is_another_is_noticed_before_a_session(monkeypatch, owner, name):
    if owner is aiohttp_internals:
        monkeypatch.setattr(aiohttp_internals, "MISSING", "cannot import name 'ResponseHandler'")
    else:
        monkeypatch.setattr(owner, name, lambda *_, **__: 0)
    assert trouble() != ""


def test_a_session_that_began_with_changed_parts_goes_on_by_the_public_session(monkeypatch):
    notes = []

    async def main():
        server = Raw(whole())
        async with (
            served(server) as url,
            open_transport(url, ApiKey(Secret("k")), Timeouts(), 4, note=notes.append) as http,
        ):
            monkeypatch.setattr(OneTimerHandler, "read_head", None)
            first = await http.send(CALL)
            monkeypatch.undo()
            return first, await http.send(CALL), len(server.heard)

    first, second, heard = run_virtual(main())
    assert (first.status, second.status, heard) == (200, 200, 2)
    assert [("directly" in note, "session" in note) for note in notes] == [(True, False), (False, True)]


def test_an_error_of_ours_is_no_change_of_aiohttp():
    async def main():
        async with served(Raw(whole())) as url, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout()) as session:

            async def broken(_):
                raise LookupError("ours")

            await DirectPosts(session, Addresses(url)).post(CALL, "k", broken)

    with pytest.raises(LookupError, match="ours"):
        run_virtual(main())


@pytest.mark.parametrize("proxy", ["", "http://127.0.0.1:{port}"])
def test_the_path_that_runs_is_told(monkeypatch, proxy):
    notes = []

    async def main():
        async with served(Raw(whole())) as url:
            monkeypatch.setenv("http_proxy", proxy and url)
            monkeypatch.setenv("no_proxy", "")
            async with open_transport("http://x.test/v1", ApiKey(Secret("k")), Timeouts(), 4, note=notes.append):
                pass

    run_virtual(main())
    assert ("because of the proxy" in notes[0]) == bool(proxy)


class ClosesAfterward:
    """Answers, and closes without saying so: at once, or as the second request comes."""

    def __init__(self, how):
        self.how, self.connections, self.requests = how, 0, 0

    async def __call__(self, reader, writer):
        self.connections += 1
        await self.request(reader)
        writer.write(whole())
        if self.how == "reset":
            await reader.read(1)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif self.how == "late":
            await self.request(reader)
        writer.close()

    async def request(self, reader):
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        self.requests += 1


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("how", ["at once", "late", "reset"])
@pytest.mark.parametrize("at_once", [1, 8])
def test_a_connection_that_the_server_closed_costs_no_call(how, at_once):
    server = ClosesAfterward(how)

    async def main():
        async with served(server) as url, open_transport(url, ApiKey(Secret("k")), Timeouts(), at_once) as http:

            async def worker():
                return [await http.send(CALL) for _ in range(5)]

            return await asyncio.gather(*(worker() for _ in range(at_once)))

    replies = [reply for worker in run_virtual(main()) for reply in worker]
    assert [type(reply) for reply in replies] == [Reply] * 5 * at_once
    assert server.connections == 5 * at_once


def test_a_call_that_meets_many_closed_connections_is_sent_on_a_fresh_one():
    server = ClosesAfterward("late")

    async def main():
        async with served(server) as url, open_transport(url, ApiKey(Secret("k")), Timeouts(), 8) as http:
            await asyncio.gather(*(http.send(CALL) for _ in range(8)))
            return await http.send(CALL)

    assert type(run_virtual(main())) is Reply
    assert server.connections == 9


@pytest.mark.parametrize(("seconds", "opened", "still_open"), [(4, 2, 2), (6, 3, 1), (60, 3, 1)])
def test_connections_rest_for_five_seconds_and_are_closed_then(seconds, opened, still_open):
    events = []

    async def answer(reader, writer):
        events.append("open")
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n" + CALL.body)
                writer.write(whole())
        events.append("closed")
        writer.close()

    async def main():
        async with served(answer) as url, open_transport(url, ApiKey(Secret("k")), Timeouts(), 2) as http:
            await asyncio.gather(http.send(CALL), http.send(CALL))
            await asyncio.sleep(seconds)
            await http.send(CALL)
            await asyncio.sleep(0.1)
            return events.count("open"), events.count("open") - events.count("closed")

    assert run_virtual(main()) == (opened, still_open)


@pytest.mark.usefixtures("either_way")
def test_a_fresh_connection_that_is_closed_is_tried_once():
    server = Raw(b"", close=True)

    async def main():
        async with served(server) as url, open_transport(url, ApiKey(Secret("k")), Timeouts(), 1) as http:
            return await http.send(CALL)

    assert (run_virtual(main()).how, len(server.heard)) == (Break.DROPPED, 1)


def test_a_look_for_old_connections_is_not_set_for_the_same_moment_again():
    """Else the loop would turn for ever where its clock stands still, as in these tests."""

    class Closed:
        def close(self):
            closed.append(self)

    closed, looks = [], 1_000

    async def main():
        kept = _KeptConnections()
        for look in range(looks):
            began = look / 7
            kept._waiting, kept._loop_time = [(began, Closed())], lambda: began + IDLE_SECONDS  # noqa: B023
            kept._close_old()

    run_virtual(main())
    assert len(closed) == looks
