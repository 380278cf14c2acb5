"""A server that costs next to nothing, so that a benchmark measures the client. Run as a process of its own.

It reads requests by `Content-Length` from raw sockets and answers each with the same chat completion.
"""

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator

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
                "message": {"role": "assistant", "content": "An answer of ordinary length. " * 12},
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
REPLY = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nServer: hertz\r\n"
    b"X-Request-Id: 021795259743213000000000000000000000ffff7f00000153844f\r\nContent-Length: %d\r\n\r\n" % len(BODY)
) + BODY


class Canned(asyncio.Protocol):
    def connection_made(self, transport):
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.transport, self.buffer = transport, b""

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            begin = head.index(b"content-length:") + 15
            length = int(head[begin : head.find(b"\r", begin) if b"\r" in head[begin:] else len(head)])
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            self.transport.write(REPLY)


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Canned, "127.0.0.1", port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.sleep(3600)


@contextlib.contextmanager
def canned_server() -> Iterator[str]:
    """The base URL of a server in a process of its own, ended with the block."""
    process = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/api/v3"
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__" and sys.argv[1:2] == ["serve"]:
    import uvloop

    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_serve(0))
