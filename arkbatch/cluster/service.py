"""The coordinator as a small HTTP service, and how a worker reaches it.

Every request carries a token, which is compared in constant time and stands in no log.
"""

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Self, TypeVar

import aiohttp
import msgspec
from aiohttp import web

from arkbatch.cluster.coordinator import ClusterState, Coordinator
from arkbatch.cluster.coordinator_address import TOKEN_VARIABLE, CoordinatorAddress
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
from arkbatch.core.errors import ArkbatchError, RunLocked, UsageError
from arkbatch.limits.lease_messages import Lease, LeaseRequest
from arkbatch.limits.leased_rates import CoordinatorLost

LOOPBACK = "127.0.0.1"
SHORTEST_TOKEN = 16  # characters
CALL_SECONDS = 5.0
LOOK_FOR_SECONDS = 2.0  # in which a coordinator that was there before may answer
LONGEST_MESSAGE = 4 << 20
GIVE_UP_AFTER = 900.0  # s without a coordinator, after which a worker goes home
REFUSED = (
    "The coordinator at {} refused the token. Set ARKBATCH_COORDINATOR_TOKEN to the token in "
    "RUN_DIR/shards/coordinator.json, as it stands on the coordinator's machine."
)
R = TypeVar("R")


class CoordinatorGone(ArkbatchError):
    """No coordinator was there for so long that the worker ended."""


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
        return coordinator.next_shard(clock(), message.worker, message.holds)

    def begun(message: AttemptBegan) -> MessageTaken:
        coordinator.attempt_began(clock(), message)
        return MessageTaken()

    def beat(message: Heartbeat) -> MessageTaken:
        coordinator.heartbeat(clock(), message)
        return MessageTaken()

    def ended(message: AttemptEnded) -> MessageTaken:
        coordinator.attempt_ended(clock(), message)
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
        except (msgspec.DecodeError, RecursionError):
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


def _reason_of(error: Exception) -> str:
    """Return in a few words why a message did not come through."""
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.strerror or "it cannot be reached"
    if isinstance(error, TimeoutError):
        return f"no answer within {CALL_SECONDS:.0f} s"
    return str(error) or type(error).__name__


async def refuse_second_coordinator(known: CoordinatorAddress | None) -> None:
    """Raise RunLocked if the coordinator answers that left this address, on whatever machine it is."""
    if known is None:
        return
    async with CoordinatorClient(lambda: known) as client:
        try:
            async with asyncio.timeout(LOOK_FOR_SECONDS):
                await client.send("/state", MessageTaken(), ClusterState)
        except (CoordinatorLost, UsageError, TimeoutError):
            return
    raise RunLocked(f"The run is led by the coordinator at {known.url}. Stop that one first, with Ctrl-C.")


class CoordinatorClient:
    """A worker's connection to the coordinator. Use it as a context manager.

    address: where it listens; read again after a message was lost, since it may have begun anew elsewhere
    note: is told when the coordinator does not answer, and when it is back
    """

    def __init__(
        self,
        address: Callable[[], CoordinatorAddress],
        clock: Callable[[], float] = time.monotonic,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._read_address = address
        self._address: CoordinatorAddress | None = None
        self._clock = clock
        self._note = note
        self._is_lost = False
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
            address = self._address = self._address or self._read_address()
            headers = {"Authorization": f"Bearer {address.token}"}
            body = msgspec.json.encode(message)
            async with self._session.post(address.url + path, data=body, headers=headers) as response:
                answer = await response.read()
                if response.status == 401:
                    self._refuse_token(address)
                if response.status != 200:
                    self._address = None
                    raise CoordinatorLost(f"HTTP {response.status}")
                message_taken = msgspec.json.decode(answer, type=kind)
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError) as error:
            self._lose(error)
            raise CoordinatorLost(_reason_of(error)) from error
        if self._is_lost:
            self._is_lost = False
            self._note("The coordinator answers again.")
        return message_taken

    def _refuse_token(self, address: CoordinatorAddress) -> None:
        """Another run's coordinator may listen where this run's did; then the address has changed meanwhile."""
        self._address = self._read_address()
        if self._address == address:
            raise UsageError(REFUSED.format(address.url))

    def _lose(self, error: Exception) -> None:
        if not self._is_lost and self._address is not None:
            self._is_lost = True
            self._note(
                f"The coordinator at {self._address.url} does not answer ({_reason_of(error)}). "
                f"Waiting for it, {GIVE_UP_AFTER / 60:.0f} minutes at most; meanwhile nothing is sent."
            )
        self._address = None

    async def send_patiently(self, path: str, message: Any, kind: type[R]) -> R:
        """The same, again and again. CoordinatorGone: after a quarter of an hour."""
        wait, until = 0.2, self._clock() + GIVE_UP_AFTER
        while True:
            try:
                return await self.send(path, message, kind)
            except CoordinatorLost as error:
                if self._clock() > until:
                    raise CoordinatorGone(
                        f"The coordinator did not answer for {GIVE_UP_AFTER / 60:.0f} minutes ({error}). "
                        f"Start it with `arkbatch shard serve RUN_DIR`, then run the same command again."
                    ) from error
            await asyncio.sleep(wait)
            wait = min(2 * wait, 2.0)

    async def lease(self, request: LeaseRequest) -> Lease:
        """A lease alone, for whoever needs nothing else."""
        return (await self.send("/lease", LeaseMessage(request), LeaseReply)).lease
