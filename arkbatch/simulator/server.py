"""The simulator as an aiohttp application: routes, and the order of the steps that a call goes through. What each
step decides is known to the modules around it.

    key -> body -> model -> requests allowed -> parameters -> tokens allowed -> fault -> time passes -> answer

All time is the running loop's, so that it works under a loop whose clock jumps; only `created` and ids show
the wall clock.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import ceil
from typing import Any

import orjson
from aiohttp import web
from msgspec import Struct

from arkbatch.simulator import breakage, faults, incoming, models, refusals, wire
from arkbatch.simulator.chance import fingerprint, luck
from arkbatch.simulator.counters import Counters, Seen
from arkbatch.simulator.endpoints import ENDPOINTS, Asked, Endpoint
from arkbatch.simulator.limits import Limits, TurnedAway
from arkbatch.simulator.refusals import Refusal
from arkbatch.simulator.settings import Settings, check

__all__ = ["COUNTERS", "Counters", "Settings", "make_app", "serve"]

COUNTERS = web.AppKey("counters", Counters)
BASES = ("/api/v3", "/v1")
MAX_BODY = 64 * 1024 * 1024


class Call(Struct):
    """What is known of one HTTP request so far."""

    http: web.Request
    id: str
    at: float
    model: str = ""
    attempt: int = 0
    admitted: bool = False
    outcome: str = "client_gone"

    @property
    def client_id(self) -> str | None:
        return self.http.headers.get("X-Client-Request-Id")

    def headers(self) -> dict[str, str]:
        return wire.headers(self.id, self.client_id)


class Simulator:
    """Everything that lives as long as the server."""

    def __init__(self, settings: Settings, counters: Counters, wall: Callable[[], float]) -> None:
        self._settings = settings
        self._counters = counters
        self._limits = Limits(settings, counters)
        self._wall = wall
        self._ids = wire.Ids(wall)
        self._closing = asyncio.Event()

    async def close(self, app: web.Application) -> None:
        """Ends the stalls, so that a stopping server does not wait for them."""
        del app
        self._closing.set()

    async def handle(self, endpoint: Endpoint, request: web.Request) -> web.StreamResponse:
        call = Call(request, self._ids.next(), asyncio.get_running_loop().time())
        self._counters.entered()
        try:
            match await self._check(endpoint, call):
                case Asked() as asked:
                    return await self._answer(endpoint, call, asked)
                case Refusal() as refusal:
                    return self._refuse(call, refusal)
                case TurnedAway(refusal=refusal, seconds=seconds, say=say):
                    return self._refuse(call, refusal, seconds if say else None)
        finally:
            self._leave(call)

    async def _check(self, endpoint: Endpoint, call: Call) -> Asked | Refusal | TurnedAway:
        authorization = call.http.headers.get("Authorization", "")
        if refusal := incoming.key_refused(authorization, self._settings.keys):
            return refusal
        try:
            raw = await call.http.read()
        except web.HTTPRequestEntityTooLarge:
            return refusals.TOO_LARGE
        except web.RequestPayloadError:  # such as a body that is not the gzip it says it is
            return refusals.NOT_JSON
        body = incoming.parsed(raw)
        if isinstance(body, Refusal):
            return body
        call.model = body["model"]
        if not models.exists(call.model, self._settings.models):
            return refusals.NO_SUCH_MODEL
        return self._admit(endpoint, call, body, raw)

    def _admit(self, endpoint: Endpoint, call: Call, body: dict[str, Any], raw: bytes) -> Asked | Refusal | TurnedAway:
        if turned_away := self._limits.request(call.model, call.at):
            return turned_away
        call.admitted = True
        if refusal := endpoint.check(body):
            return refusal
        if turned_away := self._limits.tokens(call.model, endpoint.input_tokens(body), call.at):
            return turned_away
        of = fingerprint(body, self._settings.seed)
        call.attempt = self._counters.attempt(of)
        fault = faults.asked_for(raw, call.attempt)
        if fault is None and self._settings.faults:
            fault = faults.drawn(self._settings.faults, luck(of, call.attempt).random())
        return fault if isinstance(fault, Refusal) else Asked(body, of, fault)

    async def _answer(self, endpoint: Endpoint, call: Call, asked: Asked) -> web.StreamResponse:
        refusal = faults.MENU[asked.fault].refusal if asked.fault else None
        if refusal:
            return self._refuse(call, refusal, 1 if self._settings.retry_after else None)
        if self._settings.latency:
            chance = luck(asked.of, -call.attempt)
            await asyncio.sleep(self._settings.latency * (0.5 + 0.5 * chance.expovariate(1)))
        call.outcome = asked.fault or "ok"
        match asked.fault:
            case "stall":
                await self._closing.wait()
                return breakage.hang_up(call.http)
            case "drop_before":
                return breakage.hang_up(call.http)
            case "bad_gateway":
                return breakage.bad_gateway()
            case "error_in_200":
                return self._send(call, wire.error(refusals.INTERNAL, call.model, call.id))
        reply = orjson.dumps(self._reply(endpoint, call, asked))
        match asked.fault:
            case "drop_inside":
                return await breakage.tear(call.http, reply, call.headers())
            case "garbled":
                return self._send(call, reply[: len(reply) // 2])
        return self._send(call, reply)

    def _reply(self, endpoint: Endpoint, call: Call, asked: Asked) -> dict[str, Any]:
        reply, output = endpoint.answer(asked, self._settings, call.id, int(self._wall()))
        self._limits.output(call.model, output, asyncio.get_running_loop().time())
        self._counters.usage["input"] += reply["usage"]["prompt_tokens"]
        self._counters.usage["output"] += output
        return reply

    def _refuse(self, call: Call, refusal: Refusal, retry_after: float | None = None) -> web.Response:
        call.outcome = refusal.code
        response = self._send(call, wire.error(refusal, call.model, call.id), refusal.status)
        if retry_after is not None:
            response.headers["Retry-After"] = str(max(1, ceil(retry_after)))
        return response

    def _send(self, call: Call, body: bytes, status: int = 200) -> web.Response:
        response = web.Response(body=body, status=status, headers=call.headers())
        if self._settings.gzip and "gzip" in call.http.headers.get("Accept-Encoding", ""):
            response.enable_compression(web.ContentCoding.gzip)
        return response

    def _leave(self, call: Call) -> None:
        if call.admitted:
            self._limits.leave(call.model)
        client_id, path = call.client_id or "", call.http.path
        self._counters.left(Seen(call.at, call.id, client_id, path, call.model, call.attempt, call.outcome))


def make_app(
    settings: Settings, counters: Counters | None = None, wall: Callable[[], float] = time.time
) -> web.Application:
    """The simulator as an application; `app[COUNTERS]` tells what happened. Raises UsageError on bad settings."""
    check(settings)
    app = web.Application(client_max_size=MAX_BODY)
    app[COUNTERS] = counters or Counters()
    simulator = Simulator(settings, app[COUNTERS], wall)
    app.on_shutdown.append(simulator.close)
    for base in BASES:
        for path, endpoint in ENDPOINTS.items():
            app.router.add_post(base + path, _handler(simulator, endpoint))
    app.router.add_route("*", "/{rest:.*}", _no_such_path)
    return app


@asynccontextmanager
async def serve(
    settings: Settings,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    counters: Counters | None = None,
    wall: Callable[[], float] = time.time,
) -> AsyncIterator[str]:
    """Serves while the context is open and yields the base URL, without a slash at its end. Port 0 means any free one.

    Raises UsageError on bad settings and OSError when the address cannot be bound.
    """
    runner = web.AppRunner(
        make_app(settings, counters, wall),
        access_log=None,
        handler_cancellation=True,  # a call whose client has gone must not sleep on, and counts as gone
        keepalive_timeout=settings.keepalive,
        shutdown_timeout=1.0,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        bound = runner.addresses[0][1]
        name = f"[{host}]" if ":" in host else host
        yield f"http://{name}:{bound}{BASES[0]}"
    finally:
        await runner.cleanup()


def _handler(simulator: Simulator, endpoint: Endpoint) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await simulator.handle(endpoint, request)

    return handle


async def _no_such_path(request: web.Request) -> web.Response:
    del request
    return web.Response(status=404, text="404 page not found", headers={"Server": "hertz"})
