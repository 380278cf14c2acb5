"""Posts a call by aiohttp's public session.

The session works with any aiohttp. `aiohttp_internals` does the same for a third of the processor time, where it can.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol
from urllib.parse import urlencode

import aiohttp
from msgspec import Struct
from yarl import URL

from arkbatch.core.calls import Call, Response
from arkbatch.transport.large_body import make_payload

CLIENT_ID = "X-Client-Request-Id"
# aiohttp allows 8,190 bytes; a security policy or a cookie in one line is often longer.
HEADER_LIMITS: dict[str, Any] = {"max_line_size": 1 << 17, "max_field_size": 1 << 17, "max_headers": 1000}
NO_QUERY: Mapping[str, str] = {}
IDLE_SECONDS = 5.0  # as the official SDK; a connection that rested longer may be gone without notice
MOST_RESENDS = 3  # of one call, over connections that the server had closed


class Incoming(Struct, frozen=True, gc=False):
    """A reply of which the head has come. is_whole: `content` has all of the body, and nothing more is to come."""

    status: int
    headers: Mapping[str, str]
    content: aiohttp.StreamReader
    is_whole: bool


# What aiohttp raises where a connection ends before its reply.
CLOSED = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionResetError, BrokenPipeError)
Take = Callable[[Incoming], Awaitable[Response]]


class Addresses:
    """Where a call of a path goes: base URL, path, and the query of all calls."""

    def __init__(self, base_url: str, query: Mapping[str, str] = NO_QUERY) -> None:
        self._base_url = base_url.rstrip("/")
        self._query = urlencode(query)

    def url_of(self, path: str) -> URL:
        url = self._base_url + path
        if self._query:
            url += ("&" if "?" in path else "?") + self._query
        return URL(url)


class Posts(Protocol):
    """Posts a call and gives the reply to `take` while the connection is open. Raises as aiohttp does."""

    async def post(self, call: Call, authorization: str, take: Take) -> Response: ...


class StaleConnectionError(aiohttp.ServerDisconnectedError):
    """A connection that was used before ended without a byte of a reply: the server had closed it."""


class _Progress:
    """What tracing tells of one request of the session."""

    def __init__(self, timeout: asyncio.Timeout, read_seconds: float) -> None:
        self.was_used_before = False
        self._timeout = timeout
        self._read_seconds = read_seconds

    def sent(self) -> None:
        """The time for the reply begins anew with each piece of the request."""
        if not self._timeout.expired():
            self._timeout.reschedule(asyncio.get_running_loop().time() + self._read_seconds)


class SessionPosts:
    """Posts through the session, by what aiohttp documents. The session was made with `trace_progress`."""

    def __init__(self, session: aiohttp.ClientSession, addresses: Addresses, proxy: str | None) -> None:
        self._session = session
        self._addresses = addresses
        self._proxy = proxy
        self._read_seconds: float = session.timeout.sock_read or 86_400.0

    async def post(self, call: Call, authorization: str, take: Take) -> Response:
        for _ in range(MOST_RESENDS):
            try:
                return await self._post_once(call, authorization, take)
            except StaleConnectionError:
                continue  # nothing of a reply was lost, and the next connection may be a fresh one
        return await self._post_once(call, authorization, take)

    async def _post_once(self, call: Call, authorization: str, take: Take) -> Response:
        async with asyncio.timeout(None) as head_timeout:
            progress = _Progress(head_timeout, self._read_seconds)
            try:
                response = await self._request(call, authorization, progress)
            except CLOSED as error:
                if progress.was_used_before:
                    raise StaleConnectionError from error
                raise
            head_timeout.reschedule(None)
        async with response:
            if response.status == 101:
                raise aiohttp.ClientError("the server wants to speak another protocol")
            return await take(Incoming(response.status, response.headers, response.content, response.content.is_eof()))

    def _request(self, call: Call, authorization: str, progress: _Progress) -> Any:
        own = {"Authorization": authorization} if authorization else {}
        return self._session.post(
            self._addresses.url_of(call.path),
            data=make_payload(call.body, self._session.timeout.sock_read),
            headers={**own, CLIENT_ID: call.client_id, **call.headers},
            proxy=self._proxy,
            allow_redirects=False,
            trace_request_ctx=progress,
        )


def trace_progress() -> aiohttp.TraceConfig:
    """Tells each request's `_Progress` whether its connection is an old one, and what has been sent."""
    config = aiohttp.TraceConfig()

    async def reused(_session: Any, context: Any, _params: Any) -> None:
        if isinstance(context.trace_request_ctx, _Progress):
            context.trace_request_ctx.was_used_before = True

    async def sent(_session: Any, context: Any, _params: Any) -> None:
        if isinstance(context.trace_request_ctx, _Progress):
            context.trace_request_ctx.sent()

    config.on_connection_reuseconn.append(reused)
    config.on_request_headers_sent.append(sent)
    config.on_request_chunk_sent.append(sent)
    return config
