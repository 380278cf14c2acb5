"""What one exchange becomes, against servers that keep to HTTP and servers that do not."""

import asyncio
import contextlib
from unittest.mock import Mock

import aiohttp
import pytest
from aioresponses import aioresponses
from servers import OK, Raw, chunked, closed_port, gzipped, served, whole
from virtual import run_virtual

from arkbatch.core.calls import Break, Broken, Call, Reply
from arkbatch.core.job import Additions
from arkbatch.core.job_sections import Timeouts
from arkbatch.core.secret import Secret
from arkbatch.transport import transport
from arkbatch.transport.auth import ApiKey, KeyElsewhere
from arkbatch.transport.connection_slots import ConnectionSlots
from arkbatch.transport.session_posts import Addresses, SessionPosts
from arkbatch.transport.transport import HttpTransport, open_transport

pytestmark = pytest.mark.usefixtures("either_way")

CALL = Call("run-1-7-1", "chat", "/chat/completions", b'{"model":"m"}')
TIMEOUTS = Timeouts(connect=5, read=30)


def send_to(handler, call=CALL, key="sk-secret"):
    """The response of one call to a server of our own."""

    async def main():
        async with served(handler) as url, open_transport(url, ApiKey(Secret(key)), TIMEOUTS, 4) as http:
            return await http.send(call)

    return run_virtual(main())


def send_nowhere(url, timeouts=TIMEOUTS):
    async def main():
        async with open_transport(url, ApiKey(Secret("k")), timeouts, 4) as http:
            return await http.send(CALL)

    return run_virtual(main())


@pytest.mark.parametrize(
    "answer",
    [whole(b'{"a": 1}'), gzipped(b'{"a": 1}'), chunked(b'{"a"', b": 1}"), OK + b'Connection: close\r\n\r\n{"a": 1}'],
    ids=["with its length", "gzip", "chunked", "until the end"],
)
def test_a_whole_reply_is_given_as_it_came(answer):
    reply = send_to(Raw(answer, close=b"close" in answer))
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body, reply.headers.get("content-type")) == (200, b'{"a": 1}', "application/json")


@pytest.mark.parametrize("status", [b"400 Bad Request", b"401 No", b"429 Too Many", b"500 Oh", b"529 ?"])
def test_an_error_status_is_a_reply_and_no_exception(status):
    reply = send_to(Raw(whole(b'{"error":{}}', b"HTTP/1.1 " + status + b"\r\nRetry-After: 3\r\n")))
    assert (reply.status, reply.headers.get("retry-after")) == (int(status[:3]), "3")


def test_a_key_that_a_refusal_repeats_is_not_kept():
    refusal = b"HTTP/1.1 401 Unauthorized\r\n"
    reply = send_to(Raw(whole(b"the key sk-secret-0123 is unknown", refusal)), key="sk-secret-0123")
    assert (reply.status, reply.body) == (401, b"the key *** is unknown")


@pytest.mark.parametrize("key", ["EMPTY", "anything", "simulated", "no-key-needed", "sk-no-key-required"])
def test_a_word_that_stands_for_a_key_is_not_struck_from_answers(key):
    assert send_to(Raw(whole(b"say " + key.encode())), key=key).body == b"say " + key.encode()


def test_the_time_is_measured_to_the_last_byte():
    assert send_to(Raw(whole(), silent=12.5)).seconds == pytest.approx(12.5, abs=0.1)


@pytest.mark.parametrize(
    ("server", "how"),
    [
        (Raw(b"", close=True), Break.DROPPED),
        (Raw(whole(b"x" * 99)[:-50], close=True), Break.DROPPED),
        (Raw(chunked(b"x" * 99)[:-60], close=True), Break.DROPPED),
        (Raw(b"HTTP/1.1 200 OK\r\nContent-", close=True), Break.DROPPED),
        (Raw(whole(), silent=31), Break.TIMEOUT),
        (Raw(whole(b"x" * 99)[:-50]), Break.TIMEOUT),
        (Raw(b"SSH-2.0-OpenSSH_9.6\r\n"), Break.GARBLED),
        (Raw(b"\x15\x03\x01\x00\x02\x02\x50" * 9), Break.GARBLED),
        (Raw(whole(b"\x00\x01", OK + b"Content-Encoding: gzip\r\n")), Break.GARBLED),
        (Raw(gzipped(b'{"a": 1}' * 99).replace(b"\r\n\r\n\x1f", b"\r\n\r\n\x00")), Break.GARBLED),
    ],
    ids=[
        "before the first byte",
        "inside the body",
        "inside the chunks",
        "inside the headers",
        "silence before the reply",
        "silence inside the body",
        "another protocol",
        "TLS on a plain port",
        "no gzip",
        "damaged gzip",
    ],
)
def test_how_an_exchange_breaks(server, how):
    broken = send_to(server)
    assert isinstance(broken, Broken), broken
    assert broken.how is how, broken.detail


def test_nobody_listening_is_told_before_anything_was_sent():
    broken = send_nowhere(f"http://127.0.0.1:{closed_port()}/v1")
    assert broken.how is Break.CONNECT
    assert "127.0.0.1" in broken.detail


def test_a_plain_port_behind_an_https_address_is_no_connection():
    async def main():
        plain = served(Raw(b"HTTP/1.1 400 Bad\r\n\r\n"))
        async with plain as url, open_transport(url.replace("http", "https"), ApiKey(Secret("k")), TIMEOUTS, 1) as http:
            return await http.send(CALL)

    assert run_virtual(main()).how is Break.CONNECT


def test_a_slow_answer_that_keeps_talking_is_no_timeout():
    """The timeout is one of silence: aiohttp's own 300 s for the whole call would throw this away."""

    async def drip(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"Content-Length: 40\r\n\r\n")
        for _ in range(40):
            await asyncio.sleep(25)
            writer.write(b"1")
        writer.close()

    reply = send_to(drip)
    assert isinstance(reply, Reply)
    assert reply.seconds >= 1_000


def dripping(what):
    """A server whose answer comes in drips, one a second."""

    async def drip(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"Content-Length: 4000\r\n\r\n")
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            for _ in range(100):
                await asyncio.sleep(1)
                writer.write(what)
        writer.close()

    return drip


def test_blanks_that_keep_a_connection_awake_are_no_data():
    broken = send_to(dripping(b"\n \r\n"))
    assert (broken.how, broken.detail) == (Break.TIMEOUT, "no data for 30 s")
    assert broken.seconds == pytest.approx(30, abs=0.5)


def test_a_whole_call_may_be_given_a_limit_that_no_data_lengthens():
    async def main():
        timeouts = Timeouts(connect=5, read=30, call=50)
        async with served(dripping(b"1")) as url, open_transport(url, ApiKey(Secret("k")), timeouts, 4) as http:
            return await http.send(CALL)

    broken = run_virtual(main())
    assert (broken.how, broken.detail) == (Break.TIMEOUT, "the call took longer than timeouts.call = 50 s")
    assert broken.seconds == pytest.approx(50, abs=0.5)


LAST_CHUNK = b"0\r\n\r\n"
ENDLESS = [whole(b'{"a":1}' + b" " * 50)[:-50], chunked(b'{"a"', b":1}").removesuffix(LAST_CHUNK)]


@pytest.mark.parametrize("close", [True, False], ids=["closed", "left open"])
@pytest.mark.parametrize("answer", ENDLESS, ids=["a length that is too large", "without its last chunk"])
def test_a_body_that_is_whole_is_kept_although_its_end_is_missing(answer, close):
    reply = send_to(Raw(answer, close=close))
    assert isinstance(reply, Reply)
    assert reply.body == b'{"a":1}'
    assert reply.seconds < 10.1


@pytest.mark.parametrize("body", [b'{"a":1', b'{"a":{"error":null}', b"<html>", b"[1,2"])
def test_a_body_that_is_not_whole_is_not_kept(body):
    assert send_to(Raw(chunked(body).removesuffix(LAST_CHUNK), close=True)).how is Break.DROPPED


@pytest.mark.parametrize("answer", [whole(b"x" * 2_000), chunked(b"x" * 999, b"x" * 999, b"x"), gzipped(b"x" * 50_000)])
def test_a_reply_over_the_limit_is_not_kept(monkeypatch, answer):
    monkeypatch.setattr(transport, "LARGEST_REPLY", 1_500)
    assert send_to(Raw(answer)).how is Break.TOO_LARGE


def test_a_redirect_is_not_followed_and_the_key_stays_here():
    async def main():
        other = Raw(whole())
        async with served(other) as elsewhere:
            head = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: " + elsewhere.encode() + b"\r\n"
            async with (
                served(Raw(whole(b"", head))) as url,
                open_transport(url, ApiKey(Secret("k")), TIMEOUTS, 1) as http,
            ):
                return await http.send(CALL), other.heard

    reply, heard = run_virtual(main())
    assert (reply.status, heard) == (307, [])


def test_what_is_sent():
    server = Raw(whole())
    send_to(server, Call("id-1", "chat", "/chat/completions", '{"a":"中"}'.encode(), {"X-Extra": "1"}))
    head, body = server.heard[0]
    lines = dict(line.split(": ", 1) for line in head.lower().split("\r\n")[1:] if line)
    assert head.startswith("POST /v1/chat/completions HTTP/1.1")
    assert lines["authorization"] == "bearer sk-secret"
    assert lines["x-client-request-id"] == "id-1"
    assert lines["content-type"] == "application/json"
    assert lines["x-extra"] == "1"
    assert "gzip" in lines["accept-encoding"]
    assert body.decode() == '{"a":"中"}'


def test_headers_and_query_of_the_jobs_own_are_sent_and_its_secrets_struck_from_replies():
    server = Raw(whole(b"your tag is secret-tag-7", OK + b"X-Request-Id: secret-tag-7\r\n"))
    additions = Additions({"X-Tag": "secret-tag-7", "Accept": "text/plain"}, {"v": "1 2"}, (Secret("secret-tag-7"),))

    async def main():
        async with (
            served(server) as url,
            open_transport(url, ApiKey(Secret("k")), TIMEOUTS, 1, additions=additions) as http,
        ):
            return [await http.send(CALL), await http.send(Call("c", "chat", "/x?y=z", b"{}"))]

    replies = run_virtual(main())
    assert [reply.body for reply in replies] == [b"your tag is ***"] * 2
    assert replies[0].headers["x-request-id"] == "***"
    assert [head.split(" ")[1] for head, _ in server.heard] == ["/v1/chat/completions?v=1+2", "/v1/x?y=z&v=1+2"]
    assert "\r\nX-Tag: secret-tag-7\r\n" in server.heard[0][0]
    assert "\r\nAccept: text/plain\r\n" in server.heard[0][0]


def test_where_the_key_stands_elsewhere_no_authorization_is_sent():
    server = Raw(whole())

    async def main():
        async with served(server) as url, open_transport(url, KeyElsewhere(), TIMEOUTS, 1) as http:
            await http.send(CALL)

    run_virtual(main())
    assert "authorization" not in server.heard[0][0].lower()


def test_a_body_of_twenty_megabytes_is_sent_without_a_warning():
    server = Raw(whole())
    reply = send_to(server, Call("id", "chat", "/x", b"x" * (20 << 20)))
    assert isinstance(reply, Reply), reply
    assert len(server.heard[0][1]) == 20 << 20


def test_connections_are_used_again_and_cookies_are_not_kept():
    connections = []
    server = Raw(whole(head=OK + b"Set-Cookie: a=b\r\n"))

    async def counting(reader, writer):
        connections.append(1)
        await server(reader, writer)

    async def main():
        async with served(counting) as url, open_transport(url, ApiKey(Secret("k")), TIMEOUTS, 4) as http:
            for _ in range(3):
                await http.send(CALL)

    run_virtual(main())
    assert len(connections) == 1
    assert "cookie:" not in server.heard[2][0].lower()


def test_the_pool_is_as_large_as_the_concurrency():
    async def main():
        async with (
            served(Raw(whole(), silent=10)) as url,
            open_transport(url, ApiKey(Secret("k")), TIMEOUTS, 150) as http,
        ):
            began = asyncio.get_running_loop().time()
            await asyncio.gather(*(http.send(CALL) for _ in range(150)))
            return asyncio.get_running_loop().time() - began

    assert run_virtual(main()) == pytest.approx(10, abs=0.5)


def test_cancelling_a_call_is_no_reply():
    async def main():
        async with (
            served(Raw(whole(), silent=10)) as url,
            open_transport(url, ApiKey(Secret("k")), TIMEOUTS, 1) as http,
        ):
            task = asyncio.ensure_future(http.send(CALL))
            await asyncio.sleep(1)
            task.cancel()
            await asyncio.wait([task])
            return task.cancelled()

    assert run_virtual(main())


class Answer(aiohttp.ClientResponse):
    """For aioresponses 0.7.9, which does not know the newest argument of aiohttp's own class."""

    def __init__(self, *args, **more):
        super().__init__(*args, **({"stream_writer": Mock(output_size=0)} | more))


def mocked_send(url="http://x.test/v1/", **answer):
    async def main():
        with aioresponses() as mocked:
            mocked.post("http://x.test/v1/chat/completions", response_class=Answer, **answer)
            async with aiohttp.ClientSession() as session:
                posts = SessionPosts(session, Addresses(url), None)
                return await HttpTransport(posts, ApiKey(Secret("sk-secret")), ConnectionSlots(1), TIMEOUTS).send(CALL)

    return run_virtual(main())


@pytest.mark.parametrize("url", ["http://x.test/v1/", "http://x.test/v1"])
def test_the_path_follows_the_base_url_with_one_slash(url):
    assert mocked_send(url, payload={"a": 1}, headers={"X-Request-Id": "02"}).headers.get("x-request-id") == "02"


@pytest.mark.parametrize(
    ("error", "how"),
    [
        (aiohttp.ConnectionTimeoutError(), Break.CONNECT),
        (aiohttp.SocketTimeoutError(), Break.TIMEOUT),
        (TimeoutError(), Break.TIMEOUT),
        (aiohttp.ServerDisconnectedError(), Break.DROPPED),
        (aiohttp.ClientOSError(104, "Connection reset by peer"), Break.DROPPED),
        (ConnectionResetError("reset"), Break.DROPPED),
        (BrokenPipeError("pipe"), Break.DROPPED),
        (aiohttp.ClientPayloadError("half"), Break.DROPPED),
        (aiohttp.InvalidURL("x"), Break.GARBLED),
        (ValueError("odd header"), Break.GARBLED),
    ],
)
def test_exceptions_become_values(error, how):
    broken = mocked_send(exception=error)
    assert broken.how is how
    assert "sk-secret" not in broken.detail


@pytest.mark.parametrize("proxy", ["http://user:pa55word@127.0.0.1:{port}", "htp://user:pa55word@127.0.0.1:{port}:8"])
def test_the_password_of_a_proxy_is_not_told(monkeypatch, proxy):
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", "")

    async def main():
        refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"
        async with served(AtOnce(refusal)) as url:
            monkeypatch.setenv("https_proxy", proxy.format(port=url.split(":")[2].split("/")[0]))
            async with open_transport("https://x.test/v1", ApiKey(Secret("k")), TIMEOUTS, 4) as http:
                return await http.send(CALL)

    broken = run_virtual(main())
    assert isinstance(broken, Broken)
    assert "pa55word" not in broken.detail
    if "{port}:8" not in proxy:
        assert (broken.how, broken.detail) == (Break.CONNECT, "the proxy answered 407 Proxy Authentication Required")


class AtOnce:
    """Answers a head without a body, as of a CONNECT."""

    def __init__(self, answer):
        self.answer = answer

    async def __call__(self, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self.answer)
        writer.close()
