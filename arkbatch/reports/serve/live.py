"""Serves the report page on this machine, and keeps open pages up to date.

Prompts and messages are on the page, so other users of the machine must not see it: every request needs the token
that only the terminal shows. Nothing is read from the run while no page is open. A look at the
files that fails is shown on the page; it never ends the session that runs beside.
"""

import asyncio
import hmac
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
from aiohttp import web
from msgspec import Struct

from arkbatch.core.errors import RunDirectoryError
from arkbatch.core.text import printable_value
from arkbatch.engine.run_beside import run_together
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.monitor.observer import Observer
from arkbatch.monitor.progress import Progress, seconds_left
from arkbatch.reports.page.page import Now, PageData, ParcelNote, live_policy, page_data, render_page
from arkbatch.reports.page.timeline import Follower
from arkbatch.reports.serve.loopback import HOST, NAMES, listen_on_loopback
from arkbatch.reports.status.find_run import explain_unreadable
from arkbatch.reports.status.status import read_status

TOKEN_HEADER = "X-Arkbatch-Token"  # noqa: S105  its name, not its value
_EVERY = 1.0  # seconds between looks
_CATCHING_UP = 0.1  # the same while old lines are read: a session in this process needs the time between
_SLICE = 4 << 20  # bytes of each file that one look reads
_FAREWELL = 2.0  # seconds in which pages are told that it is over


class Moment(Observer):
    """Remembers the last word of a session in this process."""

    def __init__(self) -> None:
        self._standing: Progress | None = None
        self._stopping = self._closed = False

    def progressed(self, standing: Progress) -> None:
        self._standing = standing

    def stopping(self, in_flight: int) -> None:
        del in_flight
        self._stopping = True

    def closed(self, ending: str) -> None:
        del ending
        self._closed = True

    def state_now(self) -> Now | None:
        if self._standing is None or self._closed:
            return None
        standing = self._standing
        refused = f"{standing.refused}: {standing.refused_with}" if standing.refused else ""
        waiting = " · ".join(filter(None, (standing.waiting, refused)))
        return Now(standing.in_flight, standing.bound_by, seconds_left(standing), self._stopping, waiting)


class Look:
    """Each call looks at the run anew, and reads a slice of what was recorded since.

    parcels: reads how the batch files of the run stand
    """

    def __init__(
        self,
        run_dir: str,
        wall: Callable[[], float],
        now: Callable[[], Now | None] = lambda: None,
        parcels: Callable[[], Sequence[ParcelNote]] = tuple,
    ) -> None:
        self._run_dir = run_dir
        self._wall = wall
        self._now = now
        self._parcels = parcels
        self._follower = Follower(RunDirectory(Path(run_dir)))

    def __call__(self) -> PageData:
        """RunDirectoryError: it cannot be read now."""
        status = read_status(self._run_dir, self._wall)
        with explain_unreadable(Path(self._run_dir)):
            whole = self._follower.read_on(_SLICE)
            parcels = self._parcels()
        timeline = self._follower.timeline
        return page_data(status, timeline, self._wall, reading=not whole, now=self._now(), parcels=parcels)


class _Message(Struct, frozen=True):
    can_stop: bool
    trouble: str
    page: PageData | None


class _Site:
    """The handlers, and the newest message. A slow reader misses messages; none are kept for it."""

    def __init__(self, look: Callable[[], PageData], stop: Callable[[], None] | None) -> None:
        self.token = secrets.token_urlsafe(18)
        self.port = 0
        self._look = look
        self._stop = stop
        self._message = b""
        self._version = 0
        self._over = False
        self._news = asyncio.Condition()
        self._readers = 0
        self._read = asyncio.Event()
        self._page: PageData | None = None

    def make_app(self) -> web.Application:
        app = web.Application(middlewares=[self._check_host])
        app.add_routes(
            [web.get("/", self._show_page), web.get("/events", self._send_events), web.post("/stop", self._ask_stop)]
        )
        return app

    async def keep_looking(self) -> None:
        while True:
            await self._read.wait()
            reading = await self._look_once()
            await asyncio.sleep(_CATCHING_UP if reading else _EVERY)

    async def say_farewell(self) -> None:
        """Show how it ended, and let the pages go."""
        if self._readers:
            while await self._look_once():
                pass
        async with self._news:
            self._over = True
            self._news.notify_all()

    async def _look_once(self) -> bool:
        """Look and tell; whether old lines are still being read."""
        trouble = ""
        try:
            self._page = await asyncio.to_thread(self._look)
        except RunDirectoryError as error:
            trouble = str(error)
        message = _Message(self._stop is not None, trouble, self._page)
        async with self._news:
            self._message = msgspec.json.encode(printable_value(msgspec.to_builtins(message)))
            self._version += 1
            self._news.notify_all()
        return not trouble and self._page is not None and self._page.reading

    @web.middleware
    async def _check_host(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        name, _, port = request.host.partition(":")
        if name not in NAMES or (port or "80") != str(self.port):
            raise web.HTTPForbidden(text="This page has another address.\n")
        given = request.query.get("token", "") if request.method == "GET" else request.headers.get(TOKEN_HEADER, "")
        if not hmac.compare_digest(given.encode(), self.token.encode()):
            raise web.HTTPForbidden(text="Open the address that the terminal shows, with the token in it.\n")
        return await handler(request)

    async def _show_page(self, request: web.Request) -> web.Response:
        del request
        headers = {
            "Content-Security-Policy": f"{live_policy()}; frame-ancestors 'none'",
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        return web.Response(text=render_page(None), content_type="text/html", headers=headers)

    async def _send_events(self, request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await stream.prepare(request)
        seen = self._version
        with self._count_reader():
            while not self._over:
                seen = await self._newer_than(seen)
                if self._message:
                    await stream.write(b"data: " + self._message + b"\n\n")
            await stream.write(b"event: over\ndata:\n\n")
        return stream

    async def _newer_than(self, seen: int) -> int:
        async with self._news:
            await self._news.wait_for(lambda: self._over or self._version != seen)
            return self._version

    @contextmanager
    def _count_reader(self) -> Iterator[None]:
        self._readers += 1
        self._read.set()
        try:
            yield
        finally:
            self._readers -= 1
            if not self._readers:
                self._read.clear()

    async def _ask_stop(self, request: web.Request) -> web.Response:
        origin = request.headers.get("Origin")
        if origin is not None and origin != f"http://{request.host}":
            raise web.HTTPForbidden(text="Only the page itself may ask for that.\n")
        if self._stop is None:
            raise web.HTTPNotFound(text="The run is in another process: stop it there.\n")
        self._stop()
        return web.Response(status=202, text="Stopping.\n")


@asynccontextmanager
async def serve_page(
    look: Callable[[], PageData], *, port: int = 0, stop: Callable[[], None] | None = None
) -> AsyncIterator[str]:
    """Serve while the body runs; the address with its token is given to it. Port 0 is any free one.

    stop: asks the session in this process to stop; without it the page has no such button
    UsageError: the port is taken.
    """
    site = _Site(look, stop)
    runner = web.AppRunner(site.make_app(), access_log=None, handler_cancellation=True, shutdown_timeout=_FAREWELL)
    await runner.setup()
    try:
        site.port = await listen_on_loopback(runner, port)
        async with run_together(site.keep_looking()):
            yield f"http://{HOST}:{site.port}/?token={site.token}"
        await site.say_farewell()
    finally:
        await runner.cleanup()
