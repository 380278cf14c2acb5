"""The sealing transport: what the wire carries, above all when something goes wrong."""

import asyncio
import base64
import json
import sys
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from aiohttp import ClientError, ClientSession
from virtual import run_virtual

pytest.importorskip("cryptography")

from cryptography.hazmat.primitives.asymmetric import ec

from arkbatch.core.calls import Break, Broken, Call, Reply
from arkbatch.core.errors import Halted, UsageError
from arkbatch.protocol import encryption as sealing
from arkbatch.transport.encrypting import CERTIFICATE_PATH, SealedTransport, from_service, from_text

DATA = json.loads((Path(__file__).parents[1] / "data" / "sealing.json").read_text(encoding="utf-8"))
SERVICE = ec.derive_private_key(int(DATA["service_key"], 16), ec.SECP256R1())
PEM, AICC_PEM = DATA["certificates"]["plain"], DATA["certificates"]["aicc"]
NOW = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
SECRET = "TOP-SECRET-绝密-prompt"
IMAGE = f"data:image/png;base64,{base64.b64encode(SECRET.encode()).decode()}"


def chat(content=SECRET, path="/chat/completions", **rest):
    messages = [{"role": "system", "content": SECRET}, {"role": "user", "content": content}]
    return Call("id-1", "chat", path, orjson.dumps({"model": "ep-1", "messages": messages, **rest}))


class Service:
    """The other side: decrypts, and answers with the last user's text under the same secret."""

    def __init__(self):
        self.calls = []
        self.certificate = Reply(200, orjson.dumps({"Certificate": PEM, "error": None}), {}, 0.1)
        self.pieces = 1
        self.change = lambda reply: reply

    @property
    def chats(self):
        return [call for call in self.calls if call.path != CERTIFICATE_PATH]

    async def send(self, call):
        self.calls.append(call)
        await asyncio.sleep(0.1)
        return self.certificate if call.path == CERTIFICATE_PATH else self.change(self.answer(call))

    def answer(self, call):
        seal = sealing.seal_from_token(call.headers["X-Session-Token"], SERVICE)
        content = orjson.loads(call.body)["messages"][-1]["content"]
        text = sealing.open_text(content if isinstance(content, str) else content[0]["text"], seal)
        step = -(-len(text) // self.pieces)
        sealed = "".join(seal.encrypt_text(text[at : at + step]) for at in range(0, len(text), step))
        choice = {"index": 0, "message": {"role": "assistant", "content": sealed}, "finish_reason": "stop"}
        return Reply(200, orjson.dumps({"id": "02", "choices": [choice], "usage": {"total_tokens": 1}}), {}, 0.1)


def send(service, *calls, wall=lambda: NOW, confidential=False, certificate_of=None):
    async def main():
        source = certificate_of or from_service(service, confidential=confidential)
        transport = SealedTransport(service, source, wall, confidential=confidential)
        return [await transport.send(call) for call in calls]

    return run_virtual(main())


def content_of(reply):
    return orjson.loads(reply.body)["choices"][0]["message"]["content"]


@pytest.mark.parametrize("path", ["/chat/completions", "/batch/chat/completions"])
def test_a_prompt_goes_sealed_and_its_answer_comes_back_in_clear(path):
    service = Service()
    [reply] = send(service, chat(path=path, temperature=0.5))
    assert content_of(reply) == SECRET
    [call] = service.chats
    assert (call.client_id, call.path) == ("id-1", path)
    assert SECRET.encode() not in call.body
    assert orjson.loads(call.body)["temperature"] == 0.5
    assert call.headers["x-is-encrypted"] == "true"
    assert call.headers["X-Encrypt-Info"] == '{"ExpireTime": 1862117558.0}'


@pytest.mark.parametrize("pieces", [2, 3, 22])
def test_an_answer_in_several_blobs_is_put_together(pieces):
    service = Service()
    service.pieces = pieces
    assert content_of(send(service, chat())[0]) == SECRET


def test_the_certificate_is_asked_for_as_the_sdk_asks():
    service = Service()
    send(service, chat())
    asked = service.calls[0]
    assert (asked.path, asked.body) == ("/e2e/get/certificate", b'{"model":"ep-1"}')
    assert asked.headers == {"X-Session-Token": "/e2e/get/certificate"}


def test_confidential_computing_asks_for_and_names_its_own_keys():
    service = Service()
    service.certificate = Reply(200, orjson.dumps({"Certificate": AICC_PEM}), {}, 0.1)
    send(service, chat(), confidential=True)
    assert service.calls[0].body == b'{"model":"ep-1","type":"AICCv0.1"}'
    assert service.calls[1].headers["X-Encrypt-Info"] == (
        '{"ExpireTime": 1862117558.0, "Version": "AICCv0.1", "KeyID": "K-9", "RingID": "R-7"}'
    )


def test_each_attempt_has_a_secret_of_its_own():
    service = Service()
    send(service, chat(), chat())
    first, second = service.chats
    assert first.headers["X-Session-Token"] != second.headers["X-Session-Token"]
    assert first.body != second.body


def test_a_thousand_calls_share_one_certificate():
    service = Service()

    async def main():
        transport = SealedTransport(service, from_service(service), lambda: NOW)
        await asyncio.gather(*(transport.send(chat()) for _ in range(1000)))

    run_virtual(main())
    assert len(service.calls) == 1001


def test_a_failed_fetch_is_shared_by_those_who_waited_and_the_next_call_tries_again():
    service = Service()

    async def main():
        transport = SealedTransport(service, from_service(service), lambda: NOW)
        good, service.certificate = service.certificate, Broken(Break.CONNECT, "no route")
        lost = await asyncio.gather(*(transport.send(chat()) for _ in range(100)))
        service.certificate = good
        return lost, await transport.send(chat())

    lost, found = run_virtual(main())
    assert lost == [Broken(Break.CONNECT, "no route")] * 100
    assert content_of(found) == SECRET
    assert len(service.calls) == 3


def test_a_call_that_gives_up_while_fetching_leaves_the_fetch_to_the_next():
    service = Service()

    async def main():
        transport = SealedTransport(service, from_service(service), lambda: NOW)
        first, second = (asyncio.ensure_future(transport.send(chat())) for _ in range(2))
        await asyncio.sleep(0.05)
        first.cancel()
        return await second

    assert content_of(run_virtual(main())) == SECRET


def send_later(service, seconds):
    """One call now and one after that time, by the same transport."""
    clock = [NOW]

    async def main():
        transport = SealedTransport(service, from_service(service), lambda: clock[0])
        await transport.send(chat())
        clock[0] += seconds
        await transport.send(chat())

    run_virtual(main())


@pytest.mark.parametrize(("days", "fetches"), [(6, 1), (8, 2)])
def test_a_certificate_is_kept_for_a_week(days, fetches):
    service = Service()
    send_later(service, days * 86_400)
    assert [call.path for call in service.calls].count(CERTIFICATE_PATH) == fetches


def test_a_certificate_that_expires_during_the_run_halts_it():
    service = Service()
    with pytest.raises(Halted, match=r"expired on 2029-01-03.*nothing was sent"):
        send_later(service, 4 * 365 * 86_400)
    assert len(service.chats) == 1


def test_headers_that_differ_in_their_case_cannot_switch_it_off():
    service = Service()
    call = chat()
    spelt = {"X-IS-ENCRYPTED": "false", "x-session-token": "x", "X-Other": "kept"}
    send(service, Call(call.client_id, call.endpoint, call.path, call.body, spelt))
    names = [name.lower() for name in service.chats[0].headers]
    assert sorted(names) == ["x-encrypt-info", "x-is-encrypted", "x-other", "x-session-token"]
    assert service.chats[0].headers["x-is-encrypted"] == "true"


@pytest.mark.parametrize(
    "call",
    [
        chat([{"type": "image_url", "image_url": {"url": "tos://b/a"}}]),
        chat([{"type": "input_audio", "input_audio": {"data": SECRET}}]),
        Call("i", "embeddings", "/embeddings", orjson.dumps({"model": "ep-1", "input": SECRET})),
        Call("i", "chat", "/responses", orjson.dumps({"model": "ep-1", "input": SECRET})),
        Call("i", "chat", "/chat/completions", SECRET.encode()),
        Call("i", "chat", "/chat/completions", orjson.dumps([SECRET])),
        Call("i", "chat", "/chat/completions", orjson.dumps({"messages": SECRET})),
        Call("i", "chat", "/chat/completions", orjson.dumps({"model": "ep-1", "messages": SECRET})),
    ],
    ids=["image address", "audio", "embeddings", "other path", "no JSON", "a list", "no model", "no messages"],
)
def test_what_cannot_be_sealed_is_refused_and_never_sent(call):
    service = Service()
    [reply] = send(service, call)
    assert service.chats == []
    assert reply.status == 400
    assert orjson.loads(reply.body)["error"]["code"] == "InvalidParameter.NotEncryptable"
    assert SECRET.encode() not in reply.body


@pytest.mark.parametrize(
    "certificate",
    [
        Broken(Break.TIMEOUT, "", 3.0),
        Reply(401, b'{"error":{"code":"AuthenticationError"}}', {}, 0.1),
        Reply(500, b"<html>", {}, 0.1),
        Reply(200, b'{"Certificate":"","error":{"code":"x"}}', {}, 0.1),
    ],
    ids=["broken", "key refused", "server error", "error inside a 200"],
)
def test_what_the_certificate_call_says_goes_to_the_row(certificate):
    service = Service()
    service.certificate = certificate
    assert send(service, chat()) == [certificate]
    assert service.chats == []


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"Certificate":null}', b'{"Certificate":""}'])
def test_an_answer_without_a_certificate_is_garbled(body):
    service = Service()
    service.certificate = Reply(200, body, {}, 0.1)
    assert send(service, chat())[0].how is Break.GARBLED
    assert service.chats == []


@pytest.mark.parametrize("pem", ["garbage", PEM[:100], "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"])
def test_a_certificate_that_must_not_be_used_halts(pem):
    service = Service()
    with pytest.raises(Halted, match="must not be used"):
        send(service, chat(), certificate_of=from_text(pem))
    assert service.calls == []


def test_a_certificate_from_a_file_asks_nobody():
    service = Service()
    assert content_of(send(service, chat(), certificate_of=from_text(PEM))[0]) == SECRET
    assert len(service.calls) == 1


def with_content(content):
    def change(reply):
        body = orjson.loads(reply.body)
        body["choices"][0]["message"]["content"] = content
        return Reply(200, orjson.dumps(body), {}, 0.1)

    return change


@pytest.mark.parametrize(
    "content", ["in clear", "clear", sealing.Seal(b"x" * 32, b"y" * 12, "").encrypt_text("other key")]
)
def test_a_reply_that_is_not_sealed_with_our_secret_is_broken(content):
    service = Service()
    service.change = with_content(content)
    [broken] = send(service, chat())
    assert broken.how is Break.GARBLED
    assert content not in broken.detail


@pytest.mark.parametrize(
    "reply",
    [
        Reply(429, b'{"error":{"code":"ServerOverloaded"}}', {"retry-after": "1"}, 0.1),
        Reply(200, b'{"error":{"code":"x"}}', {}, 0.1),
        Reply(200, b"<html>", {}, 0.1),
        Broken(Break.DROPPED, "gone"),
    ],
)
def test_errors_come_through_as_they_are(reply):
    service = Service()
    service.change = lambda _: reply
    [found] = send(service, chat())
    assert found == reply


class Wire:
    """A raw server: keeps each byte that reached it and answers by a script."""

    def __init__(self, *answers):
        self.bytes = b""
        self.answers = list(answers)

    async def handle(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        self.bytes += head + await reader.readexactly(length)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            status, body = answer
            writer.write(
                b"HTTP/1.1 %d X\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)
            )
        writer.close()

    @asynccontextmanager
    async def opened(self):
        server = await asyncio.start_server(self.handle, "127.0.0.1", 0)
        async with server, ClientSession() as session:
            self.session, self.port = session, server.sockets[0].getsockname()[1]
            yield self

    async def send(self, call):
        url = f"http://127.0.0.1:{self.port}{call.path}"
        try:
            async with self.session.post(url, data=call.body, headers=call.headers) as reply:
                return Reply(reply.status, await reply.read(), {}, 0.0)
        except ClientError as error:
            return Broken(Break.DROPPED, str(error))


GOOD = (200, orjson.dumps({"Certificate": AICC_PEM}))  # good in both flavours
PARTS = [
    {"type": "text", "text": SECRET},
    {"type": "image_url", "image_url": {"url": IMAGE}},
]
WRONG = {
    "all is well": ([GOOD, (500, b"{}")], NOW, chat(PARTS)),
    "server drops the certificate call": ([None], NOW, chat(PARTS)),
    "certificate call fails": ([(500, b"")], NOW, chat(PARTS)),
    "certificate call redirects": ([(302, b"")], NOW, chat(PARTS)),
    "certificate is garbage": ([(200, b'{"Certificate":"x"}')], NOW, chat(PARTS)),
    "certificate is missing": ([(200, b"{}")], NOW, chat(PARTS)),
    "certificate has expired": ([GOOD], NOW + 9 * 365 * 86_400, chat(PARTS)),
    "certificate is not valid yet": ([GOOD], 0.0, chat(PARTS)),
    "server drops the chat call": ([GOOD, None], NOW, chat(PARTS)),
    "server refuses the encryption": ([GOOD, (400, b'{"error":{"code":"InvalidParameter"}}')], NOW, chat(PARTS)),
    "server answers in clear": ([GOOD, (200, b'{"choices":[{"message":{"content":"hi"}}]}')], NOW, chat(PARTS)),
    "a part cannot be sealed": ([GOOD], NOW, chat([*PARTS, {"type": "file", "file": {"file_data": SECRET}}])),
    "no chat": ([GOOD], NOW, chat(PARTS, path="/embeddings")),
    "headers that say otherwise": (
        *([GOOD, (500, b"{}")], NOW),
        Call("i", "chat", "/chat/completions", chat(PARTS).body, {"X-Is-Encrypted": "false"}),
    ),
}


@pytest.mark.parametrize(("answers", "now", "call"), WRONG.values(), ids=WRONG.keys())
@pytest.mark.parametrize("confidential", [False, True], ids=["plain", "AICC"])
def test_on_the_wire_there_is_never_a_prompt(answers, now, call, confidential):
    async def main():
        async with Wire(*answers).opened() as wire:
            transport = SealedTransport(
                wire, from_service(wire, confidential=confidential), lambda: now, confidential=confidential
            )
            for _ in range(2):
                with suppress(Halted):
                    await transport.send(call)
            return wire.bytes

    sent = asyncio.run(main())
    assert sent.count(b"POST /chat/") == sent.count(b"x-is-encrypted: true")
    for trace in (SECRET.encode(), json.dumps(SECRET).encode()[1:-1], b"SECRET", IMAGE.encode()[-20:]):
        assert trace not in sent
        assert base64.b64encode(trace)[:12] not in sent


def test_without_the_library_the_message_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "arkbatch.transport.encrypting")
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    with pytest.raises(UsageError, match=r"arkbatch\[seal\]"):
        import arkbatch.transport.encrypting  # noqa: F401
