"""How a call is posted with aiohttp: through its session, or on a connection of its pool.

`ClientSession.post` makes a request, a writer, a task and a response for each call, which costs more than all that
arkbatch does for a row. But two calls of a run differ in a request id and a body only. So `PooledPosts` lets aiohttp's
`ClientRequest` make the head once, takes a connection from the connector for each call, writes, and reads what
aiohttp's parser makes of the reply: well under half the work (`benchmarks/posting.py`). Pool, name resolution, TLS,
HTTP parsing and decompression stay aiohttp's, and so does what becomes of a silence that `silence` has noticed.

These inner parts may change with any minor version of aiohttp. `posts_for` takes them for the versions that they were
tested with only, and else the session, which does the same at its own speed. So it does behind a proxy.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Protocol

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.http_exceptions import HttpProcessingError
from msgspec import Struct
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from arkbatch.core.types import Call, Response
from arkbatch.transport.large_body import LARGE, payload

TESTED = "3.14."
_PER_CALL = {"CONTENT-LENGTH", "TRANSFER-ENCODING"}
_CLIENT_ID = "X-Client-Request-Id"


class Incoming(Struct, frozen=True, gc=False):
    """A reply of which the head has come. What `content` has not been read, the connection still has to bring."""

    status: int
    headers: CIMultiDictProxy[str]
    content: aiohttp.StreamReader


Take = Callable[[Incoming], Awaitable[Response]]


class Posts(Protocol):
    """Posts a call and hands what comes to `take`, in which the connection is still open. Raises as aiohttp does."""

    async def post(self, call: Call, authorization: str, take: Take) -> Response: ...


class SessionPosts:
    """Through the session, by what aiohttp documents."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str, proxy: str | None) -> None:
        self._session = session
        self._base_url = base_url
        self._proxy = proxy

    async def post(self, call: Call, authorization: str, take: Take) -> Response:
        async with self._session.post(
            URL(self._base_url + call.path),
            data=payload(call.body, self._session.timeout.sock_read),
            headers={"Authorization": authorization, _CLIENT_ID: call.client_id, **call.headers},
            proxy=self._proxy,
            allow_redirects=False,
        ) as response:
            return await take(Incoming(response.status, response.headers, response.content))


class _Request(aiohttp.ClientRequest):
    """Stands for all calls to one path. aiohttp would put its key together for each."""

    @cached_property
    def connection_key(self) -> ConnectionKey:
        return super().connection_key


class _Target(Struct):
    """What is the same for all calls to a path, and the head as far as it is the same with this authorization."""

    request: _Request
    lines: str
    authorization: str = ""
    head: bytes = b""

    def head_with(self, authorization: str) -> bytes:
        """Up to the name of the header that each call has for itself. It is made anew only when the key is another."""
        if authorization != self.authorization or not self.head:
            self.head = f"{self.lines}{_line('Authorization', authorization)}\r\n{_CLIENT_ID}: ".encode()
            self.authorization = authorization
        return self.head


class PooledPosts:
    """On a connection of the session's pool."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        assert session.connector is not None
        self._session = session
        self._timeout = session.timeout
        self._connector = session.connector
        self._base_url = base_url
        self._through_session = SessionPosts(session, base_url, None)
        self._targets: dict[str, _Target] = {}
        self._outbox: list[tuple[asyncio.WriteTransport, bytes]] = []  # of this round of the loop

    async def post(self, call: Call, authorization: str, take: Take) -> Response:
        if len(call.body) >= LARGE:
            return await self._through_session.post(call, authorization, take)
        target = self._targets.get(call.path) or self._target(call.path)
        head, rest = target.head_with(authorization), _rest_of_head(call)
        try:
            connection = await self._connector.connect(target.request, [], self._timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError(f"Connection timeout to host {target.request.url}") from error
        try:
            response = await take(await self._exchange(connection.protocol, b"".join((head, rest, call.body))))
        except BaseException:
            connection.close()
            raise
        connection.release()  # aiohttp closes it when the reply has not been read to its end
        return response

    async def _exchange(self, protocol: ResponseHandler | None, request: bytes) -> Incoming:
        assert protocol is not None
        if protocol.transport is None:
            raise aiohttp.ServerDisconnectedError
        protocol.set_response_params(read_until_eof=True, read_timeout=self._timeout.sock_read)
        self._write(protocol.transport, request)
        while True:
            protocol.start_timeout()  # each time, since an interim answer ends it
            message, content = await protocol.read()
            if message.code == 101:
                raise HttpProcessingError(code=101, message="the server wants to speak another protocol")
            if message.code >= 200:  # others only say that one is to come
                return Incoming(message.code, message.headers, content)

    def _write(self, transport: asyncio.WriteTransport, request: bytes) -> None:
        """At the end of this round of the loop, behind all that is to be done in it.

        Requests that go out together find their reader awake; to wake it for each costs a local server, or a proxy on
        this machine, as much as to answer.
        """
        if not self._outbox:
            asyncio.get_running_loop().call_soon(self._write_all)
        self._outbox.append((transport, request))

    def _write_all(self) -> None:
        outbox, self._outbox = self._outbox, []
        for transport, request in outbox:
            if not transport.is_closing():
                transport.write(request)

    def _target(self, path: str) -> _Target:
        url = URL(self._base_url + path)
        headers = CIMultiDict(self._session.headers)
        made = _Request("POST", url, headers=headers, loop=asyncio.get_running_loop(), session=self._session)
        kept = "".join(f"{name}: {value}\r\n" for name, value in made.headers.items() if name.upper() not in _PER_CALL)
        self._targets[path] = target = _Target(made, f"POST {url.raw_path_qs} HTTP/1.1\r\n{kept}")
        return target


def is_tested() -> bool:
    """Whether inner parts of this aiohttp are known."""
    return aiohttp.__version__.startswith(TESTED)


def posts_for(session: aiohttp.ClientSession, base_url: str, proxy: str | None) -> Posts:
    """The quickest way that is known to work."""
    if proxy is None and is_tested():
        return PooledPosts(session, base_url)
    return SessionPosts(session, base_url, proxy)


def _rest_of_head(call: Call) -> bytes:
    """What follows the name of the last header of `_Target.head_with`, with the empty line."""
    own = _whole_line(call.client_id)
    if call.headers:
        own = "\r\n".join([own, *(_line(name, value) for name, value in call.headers.items())])
    return f"{own}\r\nContent-Length: {len(call.body)}\r\n\r\n".encode()


def _line(name: str, value: str) -> str:
    return _whole_line(f"{name}: {value}")


def _whole_line(text: str) -> str:
    """ValueError: a header would break out of its line."""
    if "\n" in text or "\r" in text:
        raise ValueError("a request header holds a line break")
    return text
