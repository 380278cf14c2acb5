"""Servers that cost next to nothing, so that a benchmark measures the client. Each runs as a process of its own.

They read requests by `Content-Length` from raw sockets and answer each with the same chat completion: plain, streamed
in 20 chunks at once or one by one, or sealed, which takes the arithmetic of one key agreement for each call. For
embeddings it is one vector.
"""

import asyncio
import contextlib
import functools
import json
import socket
import subprocess
import sys
from collections.abc import Iterator

DRIP_SECONDS = 0.005
TEXT = "An answer of ordinary length. " * 12
BODY = json.dumps(
    {
        "id": "021795259743213000000000000000000000ffff7f00000153844f",
        "object": "chat.completion",
        "created": 1795259743,
        "model": "doubao-seed-1-6-251015",
        "service_tier": "default",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "logprobs": None,
                "message": {"role": "assistant", "content": TEXT},
            }
        ],
        "usage": {
            "prompt_tokens": 60,
            "completion_tokens": 80,
            "total_tokens": 140,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    }
).encode()
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nServer: hertz\r\n"
    b"X-Request-Id: 021795259743213000000000000000000000ffff7f00000153844f\r\nContent-Length: %d\r\n\r\n"
)
REPLY = HEAD % len(BODY) + BODY


def streamed_reply() -> list[bytes]:
    """20 chunks: 18 with text, the finish reason, the usage."""
    head = {"id": "02", "object": "chat.completion.chunk", "created": 1795259743, "model": "doubao-seed-1-6"}
    deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": TEXT[:20]}, None)] * 18
    deltas.append(({"role": "assistant", "content": ""}, "stop"))
    chunks = [{**head, "choices": [{"index": 0, "delta": d, "finish_reason": r}], "usage": None} for d, r in deltas]
    usage = {"prompt_tokens": 60, "completion_tokens": 80, "total_tokens": 140}
    events = [*map(json.dumps, [*chunks, {**head, "choices": [], "usage": usage}]), "[DONE]"]
    parts = [f"data: {event}\n\n".encode() for event in events]
    lines = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return [lines, *(b"%x\r\n%s\r\n" % (len(part), part) for part in parts), b"0\r\n\r\n"]


def embeddings_reply() -> bytes:
    vector = [round((number * 37 % 1000 - 500) / 7919, 6) for number in range(1024)]
    body = json.dumps(
        {
            "id": "02",
            "object": "list",
            "created": 1795259743,
            "model": "doubao-embedding-large-text-250515",
            "data": [{"object": "embedding", "index": 0, "embedding": vector}],
            "usage": {"prompt_tokens": 60, "total_tokens": 60},
        }
    ).encode()
    return HEAD % len(body) + body


class Canned(asyncio.Protocol):
    def connection_made(self, transport):
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.transport, self.buffer = transport, b""

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            raw = self.buffer[:end]
            head = raw.lower()
            begin = head.index(b"content-length:") + 15
            length = int(head[begin : head.find(b"\r", begin) if b"\r" in head[begin:] else len(head)])
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            self.transport.write(self.answer(raw))

    def answer(self, head: bytes) -> bytes:  # noqa: ARG002 - for those who need to look
        return REPLY


class Embedded(Canned):
    """One vector of 1,024 numbers, as text."""

    reply = embeddings_reply()

    def answer(self, head: bytes) -> bytes:  # noqa: ARG002
        return self.reply


class Streamed(Canned):
    """All chunks at once."""

    reply = b"".join(streamed_reply())

    def answer(self, head: bytes) -> bytes:  # noqa: ARG002
        return self.reply


class Dripped(Canned):
    """Each chunk by itself, as a model makes them."""

    head_of_reply, *chunks = streamed_reply()

    def answer(self, head: bytes) -> bytes:  # noqa: ARG002
        self._drip(iter(self.chunks))
        return self.head_of_reply

    def _drip(self, left: Iterator[bytes]) -> None:
        if (chunk := next(left, None)) is not None and not self.transport.is_closing():
            asyncio.get_running_loop().call_later(DRIP_SECONDS, self._write, chunk, left)

    def _write(self, chunk: bytes, left: Iterator[bytes]) -> None:
        self.transport.write(chunk)
        self._drip(left)


class Sealed(Canned):
    """Decrypts nothing: what comes takes no time to be ignored, and the answer is under the key that came with it."""

    @functools.cached_property
    def private(self):
        from cryptography.hazmat.primitives.asymmetric import ec

        return ec.derive_private_key(1, ec.SECP256R1())

    def answer(self, head: bytes) -> bytes:
        from arkbatch.protocol import encryption as sealing

        if b"/e2e/get/certificate" in head:
            body = json.dumps({"Certificate": certificate_of(self.private), "error": None}).encode()
        else:
            token = head.partition(b"X-Session-Token: ")[2].partition(b"\r\n")[0]
            seal = sealing.seal_from_token(token.decode(), self.private)
            body = BODY.replace(TEXT.encode(), seal.encrypt_text(TEXT).encode())
        return HEAD % len(body) + body


def certificate_of(private) -> str:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    name, now = x509.Name([]), datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, private.public_key(), 1)
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    return builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


KINDS = {"plain": Canned, "embeddings": Embedded, "streamed": Streamed, "dripped": Dripped, "sealed": Sealed}


async def _serve(port: int, kind: str = "plain") -> None:
    server = await asyncio.get_running_loop().create_server(KINDS[kind], "127.0.0.1", port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.sleep(3600)


@contextlib.contextmanager
def canned_server(kind: str = "plain") -> Iterator[str]:
    """The base URL of a server in a process of its own, ended with the block."""
    process = subprocess.Popen([sys.executable, __file__, "serve", kind], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/api/v3"
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__" and sys.argv[1:2] == ["serve"]:
    import uvloop

    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_serve(0, sys.argv[2]))
