"""Tiny servers that do one thing, for what no well-behaved server does."""

import asyncio
import functools
import gzip
import socket
from contextlib import asynccontextmanager

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def whole(body=b"{}", head=OK):
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def gzipped(body):
    return whole(gzip.compress(body), OK + b"Content-Encoding: gzip\r\n")


def chunked(*parts):
    return OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (*parts, b""))


class Raw:
    """Answers each request with the same bytes, then keeps the connection or closes it. `heard`: the requests."""

    def __init__(self, answer, *, silent=0.0, close=False):
        self.answer, self.silent, self.close = answer, silent, close
        self.heard = []

    async def __call__(self, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
                )
                self.heard.append((head.decode("latin-1"), await reader.readexactly(length)))
                await asyncio.sleep(self.silent)
                writer.write(self.answer)
                await writer.drain()
                if self.close:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):  # the test is over
            pass
        finally:
            writer.close()


@asynccontextmanager
async def served(handler, tls=None):
    """The base URL of a server on this machine."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0, limit=1 << 26, ssl=tls)
    async with server:
        host, port = server.sockets[0].getsockname()
        yield f"http{'s' if tls else ''}://{host}:{port}/v1"


@functools.cache
def _reserved():
    reserved = socket.socket()
    reserved.bind(("127.0.0.1", 0))
    return reserved


def closed_port():
    """A port on which nobody listens, nor can while these tests last: other processes take what is free."""
    return _reserved().getsockname()[1]
