"""The one module that uses inner parts of aiohttp, to post calls faster.

`ClientSession.post` makes a request, a writer, a task and a response for each call, which costs more than all that
arkbatch does for a row. But two calls of a run differ in a request id and a body only. So `DirectPosts` lets aiohttp's
`ClientRequest` make the head once, lets its connector open the connections and keeps them itself, writes, and reads
what aiohttp's parser makes of the reply: well under half the work (`benchmarks/posting.py`). Name resolution, TLS and
HTTP parsing stay aiohttp's.

These inner parts may change with any version of aiohttp. So nothing else imports them, `aiohttp_trial` tries them out
before a session begins, and a call that finds them changed goes through the public session, as do all that follow.
"""

# ruff: noqa: SLF001

import asyncio
import math
import select
from bisect import bisect_right
from collections.abc import Callable
from functools import cached_property, partial
from operator import itemgetter
from typing import Any, cast

import aiohttp
from msgspec import Struct
from multidict import CIMultiDict
from yarl import URL

from arkbatch.core.calls import Call, Response
from arkbatch.transport.large_body import LARGE
from arkbatch.transport.loose_http import LooseReader, TolerantParser
from arkbatch.transport.session_posts import (
    CLIENT_ID,
    CLOSED,
    HEADER_LIMITS,
    IDLE_SECONDS,
    MOST_RESENDS,
    Addresses,
    Incoming,
    SessionPosts,
    StaleConnectionError,
    Take,
)

try:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.http_exceptions import HttpProcessingError
    from aiohttp.http_parser import RawResponseMessage
    from aiohttp.http_writer import HttpVersion
except ImportError as error:  # another aiohttp
    MISSING = str(error)
    ResponseHandler = HttpProcessingError = RawResponseMessage = HttpVersion = None  # type: ignore[assignment, misc]
else:
    MISSING = ""

_BROKEN_LINE = "a request header holds a line break"
_PER_CALL = {"CONTENT-LENGTH", "TRANSFER-ENCODING"}
# What Python raises where a name is gone or takes other arguments.
_CHANGED = (AttributeError, TypeError, LookupError, AssertionError, NotImplementedError)
TIMER_TOLERANCE_SECONDS = 0.001


class ChangedError(Exception):
    """An inner part of aiohttp is not what it was; nothing is known to be wrong with the server."""


if not MISSING:

    class OneTimerHandler(ResponseHandler):
        """One connection of the pool, which costs next to nothing while nothing is wrong with it.

        aiohttp sets a timer when it has sent a request, another with each part of a reply, and takes each back: hardly
        any ever fires. Here a connection has one timer that goes on by itself. A part that comes only notes the time,
        and when the timer fires it looks how long the silence has been. What follows from a silence is aiohttp's.

        And aiohttp wakes its parser after each piece of a reply that is read, in case it had paused. Here only if it
        had.
        """

        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            super().__init__(loop)
            self.silent_since = math.inf  # nothing is waited for
            self._awaits_head = False
            self._poll: select.poll | None = None
            self.exchanges = 0

        async def read_head(self, since: float) -> Incoming:
            """Wait for the final head of a reply.

            since: the loop time from which the wait counts; interim replies and parts of a head do not prolong it
            """
            while True:
                self._awaits_head = True  # each time, since an interim reply ends the wait
                self.silent_since = since
                if self._read_timeout_handle is None:
                    self._set_timer()
                message, content = await self.read()
                if message.code == 101:
                    raise aiohttp.ClientError("the server wants to speak another protocol")
                if message.code >= 200:
                    break
            self._awaits_head = False
            is_whole = content.is_eof()
            if not is_whole:
                self.silent_since = self._loop.time()
            return Incoming(message.code, message.headers, content, is_whole)

        def set_response_params(self, **parameters: Any) -> None:
            """Begin with the next reply; one that the strict parser refuses is read loosely."""
            super().set_response_params(**parameters)
            self._parser = cast("Any", TolerantParser(self._parser, self._make_loose_reader))

        def _make_loose_reader(self) -> LooseReader:
            return LooseReader(_message_of, partial(aiohttp.StreamReader, self, self._read_bufsize, loop=self._loop))

        def is_closed_by_server(self) -> bool:
            """Whether the socket has something to read before anything was asked: the end, or what nobody wants."""
            if self._poll is None:
                socket = self.transport.get_extra_info("socket") if self.transport else None
                if socket is None or socket.fileno() < 0:
                    return True
                if not hasattr(select, "poll"):  # Windows has none
                    return False
                self._poll = select.poll()
                self._poll.register(socket.fileno(), select.POLLIN)
            return bool(self._poll.poll(0))

        def _reschedule_timeout(self) -> None:
            if not self._awaits_head:
                self.silent_since = self._loop.time()
            if self._read_timeout_handle is None:
                self._set_timer()

        def _set_timer(self) -> None:
            if self._read_timeout:
                self._read_timeout_handle = self._loop.call_later(self._read_timeout, self._look)

        def _drop_timeout(self) -> None:
            """Nothing is waited for any more. The timer stays for the next call, unless there can be none."""
            self.silent_since = math.inf
            if self._read_timeout_handle is not None and self.transport is None:
                self._read_timeout_handle.cancel()
                self._read_timeout_handle = None

        def _look(self) -> None:
            self._read_timeout_handle = None
            if self.silent_since == math.inf:
                return
            assert self._read_timeout is not None
            left = self.silent_since + self._read_timeout - self._loop.time()
            if left > 0:
                self._read_timeout_handle = self._loop.call_later(left, self._look)
            else:
                self._on_read_timeout()

        def resume_reading(self, resume_parser: bool = True) -> None:
            if self._reading_paused:
                super().resume_reading(resume_parser)

        def connection_lost(self, exc: BaseException | None) -> None:
            self._poll = None  # the number of its file may soon be another's
            super().connection_lost(exc)
            self._drop_timeout()

    class _PathRequest(aiohttp.ClientRequest):
        """Stands for all calls to one path. aiohttp would put its key together for each."""

        @cached_property
        def connection_key(self) -> Any:
            return super().connection_key


def _message_of(version: tuple[int, int], code: int, reason: str, headers: Any) -> Any:
    """Return a head as aiohttp's parser gives it; its connection is not used again."""
    return RawResponseMessage(HttpVersion(*version), code, reason, headers, (), True, None, False, False)


class _Target(Struct):
    """What is the same for all calls to a path, and the head as far as it is the same with this authorization."""

    request: Any
    lines: str
    authorization: str | None = None
    head: bytes = b""

    def write_head(self, authorization: str) -> None:
        """Make the head anew for another key, up to the name of the header that each call has for itself."""
        own = f"{_header_line('Authorization', authorization)}\r\n" if authorization else ""
        self.head = f"{self.lines}{own}{CLIENT_ID}: ".encode()
        self.authorization = authorization


class _KeptConnections:
    """Open connections that wait for their next call, the last used one first.

    aiohttp's own pool does the same for ten times the steps.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[float, Any]] = []  # the loop time at which each was put back
        self._loop_time = asyncio.get_running_loop().time
        self._timer: asyncio.TimerHandle | None = None

    def keep(self, connection: Any) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._close_old)
        self._waiting.append((self._loop_time(), connection))

    def take(self) -> Any:
        """The connection that was used last and can be used again; None: there is none."""
        while self._waiting:
            since, connection = self._waiting.pop()
            protocol = connection.protocol
            is_open = protocol.transport is not None and not protocol.transport.is_closing()
            # A reply that came while nothing was asked would be taken for that of the next row.
            if is_open and not protocol.should_close and self._loop_time() - since <= IDLE_SECONDS:
                return connection
            connection.close()
        return None

    def _close_old(self) -> None:
        self._timer = None
        # A timer may come a little early, and a sum of floats may be a little off: both would set the timer again for
        # the same moment, for ever where a test's clock stands still.
        oldest = self._loop_time() - IDLE_SECONDS + TIMER_TOLERANCE_SECONDS
        old = bisect_right(self._waiting, oldest, key=itemgetter(0))
        for _, connection in self._waiting[:old]:
            connection.close()
        del self._waiting[:old]
        if self._waiting:
            self._timer = asyncio.get_running_loop().call_at(self._waiting[0][0] + IDLE_SECONDS, self._close_old)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for _, connection in self._waiting:
            connection.release()
        self._waiting = []


class DirectPosts:
    """Posts on connections of the session's connector, which from now on are of our kind.

    changed: is told once, if inner parts prove to have changed
    """

    def __init__(
        self, session: aiohttp.ClientSession, addresses: Addresses, changed: Callable[[str], None] | None = None
    ) -> None:
        self._session = session
        self._timeout = session.timeout
        self._connector = cast("Any", session.connector)
        self._addresses = addresses
        self._through_session = SessionPosts(session, addresses, None)
        self._changed = changed
        self._usual_factory = self._connector._factory
        self._connector._factory = partial(OneTimerHandler, loop=asyncio.get_running_loop())
        self._is_usable = True
        self._is_closed_quietly = False  # this server closes connections that may be used again
        self._targets: dict[str, _Target] = {}
        self._outbox: list[tuple[asyncio.WriteTransport, bytes]] = []  # of this round of the loop
        self._kept = _KeptConnections()

    def close(self) -> None:
        """Give the connections that no call uses back to the session, which closes them."""
        self._kept.close()

    async def post(self, call: Call, authorization: str, take: Take) -> Response:
        if not self._is_usable or len(call.body) >= LARGE:
            return await self._through_session.post(call, authorization, take)
        try:
            target = self._targets.get(call.path) or self._make_target(call.path)
            if authorization != target.authorization:
                target.write_head(authorization)
            request = b"".join((target.head, _rest_of_head(call), call.body))
            for _ in range(MOST_RESENDS):
                try:
                    return await self._post_once(target, request, take)
                except StaleConnectionError:
                    self._is_closed_quietly = True
                    continue  # nothing of a reply was lost, and the next connection may be a fresh one
            return await self._post_once(target, request, take, is_fresh=True)
        except ChangedError as error:
            self._give_up(str(error))
            return await self._through_session.post(call, authorization, take)

    def _give_up(self, why: str) -> None:
        if self._is_usable and self._changed is not None:
            self._changed(why)
        self._is_usable = False
        self._connector._factory = self._usual_factory

    async def _post_once(self, target: _Target, request: bytes, take: Take, *, is_fresh: bool = False) -> Response:
        connection = await (self._open_connection(target) if is_fresh else self._take_connection(target))
        try:
            response = await take(await self._exchange(connection, request))
        except BaseException:
            connection.close()
            raise
        if connection.protocol.should_close:  # the server wants it, or the reply has not been read to its end
            connection.close()
        else:
            self._kept.keep(connection)
        return response

    async def _take_connection(self, target: _Target) -> Any:
        """A connection on which a request can be written; those that the server has closed are left out."""
        while (connection := self._kept.take()) is not None:
            # To look costs a system call, so it is done at servers only that have been found out.
            if not self._is_closed_quietly or not connection.protocol.is_closed_by_server():
                return connection
            connection.close()
        return await self._open_connection(target)

    async def _open_connection(self, target: _Target) -> Any:
        try:
            connection = await self._connector.connect(target.request, [], self._timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError(f"Connection timeout to host {target.request.url}") from error
        except _CHANGED as error:
            raise ChangedError(f"{type(error).__name__}: {error}") from error
        if not isinstance(connection.protocol, OneTimerHandler):
            connection.close()
            raise ChangedError("connections are made in another way")
        return connection

    async def _exchange(self, connection: Any, request: bytes) -> Incoming:
        handler, began = connection.protocol, asyncio.get_running_loop().time()
        was_used_before = handler.exchanges > 0
        handler.exchanges += 1
        try:
            if handler.transport is None:
                raise aiohttp.ServerDisconnectedError
            handler.set_response_params(
                read_until_eof=True, auto_decompress=False, read_timeout=self._timeout.sock_read, **HEADER_LIMITS
            )
            self._write_soon(handler.transport, request)
            return await handler.read_head(began)  # type: ignore[no-any-return]
        except CLOSED as error:
            if was_used_before:
                raise StaleConnectionError from error
            raise
        except HttpProcessingError as error:
            raise aiohttp.ClientError(f"no HTTP: {error.message}") from error
        except _CHANGED as error:
            raise ChangedError(f"{type(error).__name__}: {error}") from error

    def _write_soon(self, transport: asyncio.WriteTransport, request: bytes) -> None:
        """Write at the end of this round of the loop, behind all that is to be done in it.

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

    def _make_target(self, path: str) -> _Target:
        try:
            request, lines = request_head(self._session, self._addresses.url_of(path))
        except _CHANGED as error:
            raise ChangedError(f"{type(error).__name__}: {error}") from error
        self._targets[path] = target = _Target(request, lines)
        return target


def request_head(session: aiohttp.ClientSession, url: URL) -> tuple[Any, str]:
    headers = CIMultiDict(session.headers)
    request = _PathRequest("POST", url, headers=headers, loop=asyncio.get_running_loop(), session=session)
    kept = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items() if name.upper() not in _PER_CALL)
    return request, f"POST {url.raw_path_qs} HTTP/1.1\r\n{kept}"


def _rest_of_head(call: Call) -> bytes:
    """What follows the name of the last header of `_Target.head`, with the empty line."""
    own = call.client_id
    if "\n" in own or "\r" in own:
        raise ValueError(_BROKEN_LINE)
    if call.headers:
        own = "\r\n".join([own, *(_header_line(name, value) for name, value in call.headers.items())])
    return f"{own}\r\nContent-Length: {len(call.body)}\r\n\r\n".encode()


def _header_line(name: str, value: str) -> str:
    """ValueError: the header would break out of its line."""
    line = f"{name}: {value}"
    if "\n" in line or "\r" in line:
        raise ValueError(_BROKEN_LINE)
    return line
