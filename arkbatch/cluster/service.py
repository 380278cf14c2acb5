"""The coordinator as a small HTTP service, and how a worker reaches it.

Every request carries a token, which is compared in constant time and stands in no log. Address and token are in
`RUN/shards/coordinator.json`, which only the owner of the run may read, so workers that share the directory need no
argument that others could see.
"""

import asyncio
import hmac
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import aiohttp
import msgspec
from aiohttp import web
from msgspec import Struct

from arkbatch.cluster.coordinator import ClusterState, Coordinator
from arkbatch.cluster.messages import (
    AttemptBegan,
    AttemptEnded,
    Heartbeat,
    LeaseMessage,
    LeaseReply,
    MessageTaken,
    NextRequest,
    NextShard,
)
from arkbatch.core.errors import ArkbatchError, RunDirectoryError, UsageError
from arkbatch.journal.run_directory import replace_file
from arkbatch.journal.shard_files import ShardDirectory
from arkbatch.limits.lease_messages import Lease, LeaseRequest
from arkbatch.limits.leased_rates import CoordinatorLost

LOOPBACK = "127.0.0.1"
ADDRESS_FILE = "coordinator.json"  # beside the shards
TOKEN_VARIABLE = "ARKBATCH_COORDINATOR_TOKEN"  # noqa: S105 - its name
SHORTEST_TOKEN = 16  # characters
CALL_SECONDS = 5.0
LONGEST_MESSAGE = 4 << 20
GIVE_UP_AFTER = 900.0  # s without a coordinator, after which a worker goes home
R = TypeVar("R")


class CoordinatorAddress(Struct, frozen=True):
    """Where the coordinator of a run listens, and what it wants to be told by everyone."""

    url: str
    token: str


class CoordinatorGone(ArkbatchError):
    """No coordinator was there for so long that the worker ended."""


def new_token() -> str:
    return secrets.token_urlsafe(32)


def read_address(run: Path) -> CoordinatorAddress:
    """The address that the run's coordinator left. RunDirectoryError: there is none."""
    path = ShardDirectory(run).path / ADDRESS_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=CoordinatorAddress)
    except FileNotFoundError:
        raise RunDirectoryError(f"{run} has no coordinator. Start one with: arkbatch shard serve {run}") from None


def known_address(run: Path) -> CoordinatorAddress | None:
    """The same; None where there is none."""
    return read_address(run) if (ShardDirectory(run).path / ADDRESS_FILE).exists() else None


def write_address(run: Path, address: CoordinatorAddress) -> None:
    replace_file(ShardDirectory(run).path / ADDRESS_FILE, msgspec.json.encode(address) + b"\n")


def check_exposure(host: str, token: str) -> None:
    """UsageError: a service that other machines reach must not have a weak token."""
    if len(token) < SHORTEST_TOKEN:
        where = "" if host == LOOPBACK else f" beyond this machine ({host})"
        raise UsageError(
            f"The coordinator needs a token of {SHORTEST_TOKEN} characters or more{where}. "
            f"Leave {TOKEN_VARIABLE} unset to have one made."
        )


@asynccontextmanager
async def serve_coordinator(
    coordinator: Coordinator, token: str, *, host: str = LOOPBACK, port: int = 0, clock: Callable[[], float]
) -> AsyncIterator[str]:
    """Serve while the body runs; yields the URL. UsageError: it cannot listen there, or the token is weak."""
    check_exposure(host, token)
    app = web.Application(client_max_size=LONGEST_MESSAGE, middlewares=[_only_with(token)])
    for path, kind, answer in _routes(coordinator, clock):
        app.router.add_post(path, _handler(kind, answer))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port, reuse_address=True).start()
        except OSError as error:
            raise UsageError(f"Cannot listen on {host} port {port}: {error.strerror or error}.") from error
        bound = runner.addresses[0][1]
        yield f"http://{f'[{host}]' if ':' in host else host}:{bound}"
    finally:
        await runner.cleanup()


def _routes(coordinator: Coordinator, clock: Callable[[], float]) -> list[tuple[str, Any, Callable[[Any], Any]]]:
    def next_shard(message: NextRequest) -> NextShard:
        return coordinator.next_shard(clock(), message.worker)

    def begun(message: AttemptBegan) -> MessageTaken:
        coordinator.attempt_began(clock(), message)
        return MessageTaken()

    def beat(message: Heartbeat) -> MessageTaken:
        coordinator.heartbeat(clock(), message)
        return MessageTaken()

    def ended(message: AttemptEnded) -> MessageTaken:
        coordinator.attempt_ended(message)
        return MessageTaken()

    def state(message: MessageTaken) -> ClusterState:
        del message
        coordinator.check_workers(clock())
        return coordinator.state()

    def lease(message: LeaseMessage) -> LeaseReply:
        return coordinator.lease(clock(), message)

    return [
        ("/next", NextRequest, next_shard),
        ("/begun", AttemptBegan, begun),
        ("/beat", Heartbeat, beat),
        ("/lease", LeaseMessage, lease),
        ("/ended", AttemptEnded, ended),
        ("/state", MessageTaken, state),
    ]


def _handler(kind: Any, answer: Callable[[Any], Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
    decode = msgspec.json.Decoder(kind).decode

    async def handle(request: web.Request) -> web.Response:
        try:
            message = decode(await request.read())
        except msgspec.DecodeError:
            return web.Response(status=400, text="This is no message of arkbatch, or of another version of it.")
        return web.Response(body=msgspec.json.encode(answer(message)), content_type="application/json")

    return handle


def _only_with(token: str) -> Any:
    expected = f"Bearer {token}".encode()

    @web.middleware
    async def check(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Any:
        given = request.headers.get("Authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, expected):
            return web.Response(status=401, text="The token is missing or wrong.")
        return await handler(request)

    return check


class CoordinatorClient:
    """A worker's connection to the coordinator. Use it as a context manager.

    address: asked before each call, since a coordinator that began anew may listen elsewhere
    """

    def __init__(self, address: Callable[[], CoordinatorAddress], clock: Callable[[], float] = time.monotonic) -> None:
        self._address = address
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_SECONDS))
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, path: str, message: Any, kind: type[R]) -> R:
        """One message and its answer. CoordinatorLost: it did not come through. UsageError: the token is wrong."""
        assert self._session is not None
        try:
            address = self._address()
            headers = {"Authorization": f"Bearer {address.token}"}
            body = msgspec.json.encode(message)
            async with self._session.post(address.url + path, data=body, headers=headers) as response:
                answer = await response.read()
                if response.status == 401:
                    raise UsageError(f"The coordinator at {address.url} refused the token.")
                if response.status != 200:
                    raise CoordinatorLost(f"HTTP {response.status}")
                return msgspec.json.decode(answer, type=kind)
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError) as error:
            raise CoordinatorLost(str(error) or type(error).__name__) from error

    async def send_patiently(self, path: str, message: Any, kind: type[R]) -> R:
        """The same, again and again. CoordinatorGone: after a quarter of an hour."""
        wait, until = 0.2, self._clock() + GIVE_UP_AFTER
        while True:
            try:
                return await self.send(path, message, kind)
            except CoordinatorLost as error:
                if self._clock() > until:
                    raise CoordinatorGone(
                        f"The coordinator did not answer for {GIVE_UP_AFTER:.0f} s: {error}."
                    ) from error
            await asyncio.sleep(wait)
            wait = min(2 * wait, 2.0)

    async def lease(self, request: LeaseRequest) -> Lease:
        """A lease alone, for whoever needs nothing else."""
        return (await self.send("/lease", LeaseMessage(request), LeaseReply)).lease


def token_for(run: Path, environ: Mapping[str, str]) -> str:
    """The token of a run: the one in the environment, the one that it had before, or a new one."""
    if environ.get(TOKEN_VARIABLE):
        return environ[TOKEN_VARIABLE]
    before = known_address(run)
    return before.token if before is not None else new_token()
