"""Tries out the inner parts of aiohttp that `aiohttp_internals` uses, on a reply in memory.

It runs before each session and for `arkbatch --version`, and takes a few milliseconds.
"""

# ruff: noqa: SLF001

import asyncio
import contextlib
import inspect
import math
from typing import Any

import aiohttp
from yarl import URL

from arkbatch.transport import aiohttp_internals
from arkbatch.transport.aiohttp_internals import ChangedError, request_head
from arkbatch.transport.session_posts import HEADER_LIMITS

_HEAD = b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nA: b\r\n\r\n"


async def why_unusable() -> str:
    """Why the inner parts of this aiohttp cannot be used, "" when they can. They are tried on a reply in memory."""
    if aiohttp_internals.MISSING:
        return aiohttp_internals.MISSING
    try:
        async with aiohttp.ClientSession() as session:
            _try_request(session)
            async with asyncio.timeout(5):
                await _try_exchange()
    except Exception as error:  # noqa: BLE001 - whatever it is, the session does without these parts
        return f"{type(error).__name__}: {error}".removesuffix(": ")
    return ""


def _expect(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise ChangedError(otherwise)


def _try_request(session: aiohttp.ClientSession) -> None:
    request, lines = request_head(session, URL("http://host.invalid/v1?a=b"))
    _expect("\r\nHost: host.invalid\r\n" in lines, "another head of a request")
    _expect(request.connection_key.host == "host.invalid", "another key of a connection")
    _expect(callable(session.connector._factory), "connections are made in another way")  # type: ignore[union-attr]
    parameters = list(inspect.signature(session.connector.connect).parameters)  # type: ignore[union-attr]
    _expect(len(parameters) == 3, "another way to connect")


async def _try_exchange() -> None:
    """Read an interim answer, a head and a body in two parts, twice; then notice a silence."""
    loop = asyncio.get_running_loop()
    handler = _handler_to_nowhere(loop, read_timeout=60)
    for body in (b"{}", b"[]"):
        handler.set_response_params(read_until_eof=True, auto_decompress=False, read_timeout=60, **HEADER_LIMITS)
        loop.call_soon(handler.data_received, _HEAD)
        incoming = await handler.read_head(loop.time())
        _expect((incoming.status, incoming.headers["a"]) == (200, "b"), "another head of a reply")
        handler.silent_since = -1.0
        handler.data_received(body[:1])
        _expect(handler.silent_since >= 0, "parts of a body are not noticed")
        handler.data_received(body[1:])
        _expect(handler.silent_since == math.inf, "the end of a body is not noticed")
        _expect(incoming.content.is_eof(), "another end of a body")
        _expect(incoming.content.read_nowait() == body, "another body")
        _expect(not handler.should_close, "another state of a connection")
    handler.close()
    handler = _handler_to_nowhere(loop, read_timeout=0.001)
    with contextlib.suppress(aiohttp.SocketTimeoutError):
        await handler.read_head(loop.time())
        raise ChangedError("a silence is not noticed")
    handler.close()


def _handler_to_nowhere(loop: asyncio.AbstractEventLoop, read_timeout: float) -> "aiohttp_internals.OneTimerHandler":
    handler = aiohttp_internals.OneTimerHandler(loop)
    handler.connection_made(_NoTransport())
    handler.set_response_params(read_until_eof=True, auto_decompress=False, read_timeout=read_timeout, **HEADER_LIMITS)
    return handler


class _NoTransport(asyncio.Transport):
    """A transport to nowhere."""

    def write(self, data: Any) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
