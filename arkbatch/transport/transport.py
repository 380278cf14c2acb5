"""One HTTP exchange over aiohttp: from `Call` to `Reply` or `Broken`.

It keeps no count, tries nothing twice and judges nothing. Redirects are not followed, since the key would go along.
A timeout is one of silence, never of the whole call: thinking models answer after half an hour, and aiohttp's own
limit of 300 seconds would throw their paid answers away. Replies are read up to a size limit, also after
decompression.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, closing
from functools import partial
from typing import Protocol

import aiohttp

from arkbatch.core.calls import Broken, Call, Reply, Response
from arkbatch.core.errors import Halted
from arkbatch.core.job import Additions
from arkbatch.core.job_sections import Timeouts
from arkbatch.core.secret import Secret
from arkbatch.transport import aiohttp_trial
from arkbatch.transport.aiohttp_internals import DirectPosts
from arkbatch.transport.auth import Credentials
from arkbatch.transport.connection_slots import ConnectionSlots
from arkbatch.transport.proxies import proxy_for
from arkbatch.transport.redaction import Redaction
from arkbatch.transport.reply_reader import read_reply
from arkbatch.transport.session_posts import HEADER_LIMITS, IDLE_SECONDS, Addresses, Posts, SessionPosts, trace_progress
from arkbatch.transport.transport_errors import CallTimeoutError, break_of_error, error_detail, untrusted_text

LARGEST_REPLY = 128 << 20  # 256 embeddings of 4096 numbers take some 25 MB


class Transport(Protocol):
    """Sends one call. Wrappers (encryption, streaming) have the same one method."""

    async def send(self, call: Call) -> Response: ...


class HttpTransport:
    """Over aiohttp. The credentials are asked for each call, so that a key can be renewed."""

    def __init__(
        self,
        posts: Posts,
        credentials: Credentials,
        slots: ConnectionSlots,
        timeouts: Timeouts,
        secrets: Iterable[Secret] = (),
    ) -> None:
        self._posts = posts
        self._credentials = credentials
        self._slots = slots
        self._redaction = Redaction(secret.reveal() for secret in secrets)
        self._has_connected = False
        self._read_seconds = timeouts.read
        self._call_seconds = timeouts.call

    async def send(self, call: Call) -> Response:
        """Sent twice only when a key was refused that can be had anew.

        Raises `Halted` when no key is to be had, and when the server's certificate cannot be trusted.
        """
        authorization = await self._credentials.header(call.model)
        if isinstance(authorization, Broken):
            return authorization
        response = await self._exchange(call, authorization)
        if isinstance(response, Reply) and response.status == 401:
            return await self._with_another_key(call, authorization, response)
        return response

    async def _with_another_key(self, call: Call, authorization: str, refusal: Reply) -> Response:
        if not self._credentials.refused(call.model, authorization):
            return refusal
        another = await self._credentials.header(call.model)
        if isinstance(another, Broken):
            return another
        return await self._exchange(call, another)

    async def _exchange(self, call: Call, authorization: str) -> Response:
        loop_time = asyncio.get_running_loop().time
        began = loop_time()

        read = partial(read_reply, call, began, LARGEST_REPLY, self._read_seconds)
        await self._slots.take()
        try:
            posted = self._posts.post(call, authorization, read)
            response = await (
                posted if self._call_seconds is None else self._limit_call_time(self._call_seconds, posted)
            )
            self._has_connected = True
        except aiohttp.ClientConnectorCertificateError as error:
            if not self._has_connected:
                raise Halted(untrusted_text(error)) from error
            response = Broken(break_of_error(error), untrusted_text(error), loop_time() - began)
        except (aiohttp.ClientError, TimeoutError, ConnectionError, ValueError, OSError) as error:
            response = Broken(break_of_error(error), self._error_detail(error), loop_time() - began)
        finally:
            self._slots.give_back()
        return self._redaction.strike_secrets(response, authorization)

    @staticmethod
    async def _limit_call_time(seconds: float, posted: Awaitable[Response]) -> Response:
        """The response, if the whole call takes no longer than that. Raises `CallTimeoutError`."""
        try:
            async with asyncio.timeout(seconds) as timeout:
                return await posted
        except TimeoutError as error:
            if timeout.expired():
                raise CallTimeoutError(f"the call took longer than timeouts.call = {seconds:g} s") from error
            raise

    def _error_detail(self, error: Exception) -> str:
        if isinstance(error, TimeoutError) and not isinstance(error, CallTimeoutError | aiohttp.ConnectionTimeoutError):
            return f"no data for {self._read_seconds:g} s"
        return error_detail(error)


@asynccontextmanager
async def open_transport(
    base_url: str,
    credentials: Credentials,
    timeouts: Timeouts,
    connections: int,
    slots: ConnectionSlots | None = None,
    *,
    additions: Additions = Additions(),  # noqa: B008 - frozen
    note: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[HttpTransport]:
    """A transport with a pool of so many connections: as many as calls, where the open files allow it.

    slots: through which the number can be changed later
    additions: headers and query of each call besides its own
    note: is told by which path the calls go, and when that changes
    """
    slots = slots or ConnectionSlots()
    slots.limit = connections
    connector = aiohttp.TCPConnector(
        limit=0, keepalive_timeout=IDLE_SECONDS, ttl_dns_cache=60, socket_factory=slots.open_socket
    )
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect, sock_read=timeouts.read)
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "Accept-Encoding": "gzip, deflate",  # the same on every machine, whatever else is installed
        "User-Agent": "arkbatch",
    }
    trouble, proxy = await aiohttp_trial.why_unusable(), proxy_for(base_url)
    note(path_in_words(trouble, proxy))
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        headers={**headers, **additions.headers},
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[trace_progress()],
        auto_decompress=False,
        **HEADER_LIMITS,
    ) as session:
        addresses = Addresses(base_url, additions.query)
        if trouble or proxy is not None:
            yield HttpTransport(
                SessionPosts(session, addresses, proxy), credentials, slots, timeouts, additions.secrets
            )
            return
        with closing(DirectPosts(session, addresses, lambda why: note(path_in_words(why)))) as posts:
            yield HttpTransport(posts, credentials, slots, timeouts, additions.secrets)


def path_in_words(trouble: str = "", proxy: str | None = None) -> str:
    """How calls are posted, for `run.log` and `arkbatch --version`."""
    if trouble:
        return f"aiohttp {aiohttp.__version__}: calls go through its session, which is slower ({trouble})"
    if proxy:
        return f"aiohttp {aiohttp.__version__}: calls go through its session, because of the proxy"
    return f"aiohttp {aiohttp.__version__}: calls go on its connections directly"
