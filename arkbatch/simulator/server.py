"""The simulator as an aiohttp application: its routes, and how it is served."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from arkbatch.simulator.batch_routes import BatchRoutes
from arkbatch.simulator.counters import Counters
from arkbatch.simulator.endpoints import ENDPOINTS, SimulatedEndpoint
from arkbatch.simulator.inference_jobs import InferenceJobs
from arkbatch.simulator.object_routes import ObjectRoutes
from arkbatch.simulator.service import Simulator
from arkbatch.simulator.settings import Settings, check_settings

__all__ = ["COUNTERS", "Counters", "Settings", "make_app", "serve"]

COUNTERS = web.AppKey("counters", Counters)
BATCHES = web.AppKey("batches", BatchRoutes)
BASES = ("/api/v3", "/v1")
MAX_BODY = 64 * 1024 * 1024


def make_app(
    settings: Settings, counters: Counters | None = None, wall: Callable[[], float] = time.time
) -> web.Application:
    """Return the simulator as an application; `app[COUNTERS]` counts what happens.

    Raises UsageError on bad settings.
    """
    check_settings(settings)
    app = web.Application(client_max_size=MAX_BODY)
    app[COUNTERS] = counters or Counters()
    batches = BatchRoutes(settings, wall)
    objects = ObjectRoutes(settings, batches.store, wall)
    jobs = InferenceJobs(batches, objects, wall)
    simulator = Simulator(settings, app[COUNTERS], wall, jobs)
    app[BATCHES] = app[COUNTERS].batches = batches
    app.on_shutdown.append(simulator.close)
    app.on_cleanup.append(_close_batches(batches))
    for base in BASES:
        batches.add_to(app, base)
        for path, endpoint in ENDPOINTS.items():
            app.router.add_post(base + path, _make_handler(simulator, endpoint))
        app.router.add_post(base + "/e2e/get/certificate", simulator.handle_certificate)
    app.router.add_post("/", simulator.handle_control)
    app.router.add_route("*", "/{rest:.*}", objects.handle_or(_no_such_path))
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
    """Serve while the context is open; it yields the base URL without a final slash.

    port: 0 means any free one
    Raises UsageError on bad settings, and OSError when the address cannot be bound.
    """
    runner = web.AppRunner(
        make_app(settings, counters, wall),
        access_log=None,
        handler_cancellation=True,  # stops the handler of a call whose client has disconnected
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


def _make_handler(
    simulator: Simulator, endpoint: SimulatedEndpoint
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await simulator.handle_call(endpoint, request)

    return handle


def _close_batches(batches: BatchRoutes) -> Callable[[web.Application], Awaitable[None]]:
    async def close(app: web.Application) -> None:
        del app
        batches.store.close()

    return close


async def _no_such_path(request: web.Request) -> web.Response:
    del request
    return web.Response(status=404, text="404 page not found", headers={"Server": "hertz"})
