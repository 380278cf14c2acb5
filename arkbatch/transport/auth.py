"""Provides the `Authorization` header, from an API key or an access key.

An access key never goes to the data plane. It signs a `GetApiKey` call to the control plane, whose answer is a
temporary key for one resource. That call is allowed only rarely, so a key is shared by all workers and requested once
at a time; it is renewed in the background long before it expires, and waited for only when it nearly has. The control
plane is passed in (`ControlPlane.call`), and so is the wall clock, since a key expires by the service's calendar. A
wall clock may be changed meanwhile, so the loop's clock counts too: a key is used while one of the two says that it is
valid; one that is not is refused, which costs one call. No key is ever part of a repr or a message.
"""

import asyncio
from asyncio import TaskGroup
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from msgspec import Struct

from arkbatch.core.calls import Break, Broken
from arkbatch.core.errors import Halted
from arkbatch.core.secret import Secret

LIFETIME_S = 7 * 86_400  # what we ask for; the service may give less

_ADVISORY_S = 1800.0  # renew in the background from here on, or in the last half of a shorter life
_MANDATORY_S = 600.0  # wait for the new key from here on, or in the last tenth
_PAUSE_S = 60.0  # between two attempts in the background
_YOUNG_S = 300.0  # a key that replaced a refused one and is refused itself so soon: not the key is at fault

Ask = Callable[[str, Mapping[str, Any]], Awaitable[dict[str, Any] | Broken]]
"""An action and its body, to the action's result."""


class Credentials(Protocol):
    """The source of a call's `Authorization` header."""

    async def header(self, model: str) -> str | Broken:
        """Return the value for a call to this model; `Broken` when there is none now.

        Raises `Halted`.
        """

    def refused(self, model: str, header: str) -> bool:
        """Note a 401 to this value; return whether a call with a fresh one is worth a try."""


class ApiKey:
    """One key for every model, which never expires."""

    def __init__(self, key: Secret) -> None:
        self._header = f"Bearer {key.reveal()}"

    async def header(self, model: str) -> str:  # noqa: ARG002 - the protocol's
        return self._header

    def refused(self, model: str, header: str) -> bool:  # noqa: ARG002 - the protocol's
        return False


class KeyElsewhere:
    """No `Authorization`, since the key stands in a header or query parameter of the job."""

    async def header(self, model: str) -> str:  # noqa: ARG002 - the protocol's
        return ""

    def refused(self, model: str, header: str) -> bool:  # noqa: ARG002 - the protocol's
        return False


class NoKey(ApiKey):
    """No key, for a server on this machine.

    If it needs one, the keys of other servers are not tried.
    """

    def __init__(self, stand_in: Secret, base_url: str) -> None:
        super().__init__(stand_in)
        self._base_url = base_url

    def refused(self, model: str, header: str) -> bool:  # noqa: ARG002 - the protocol's
        raise Halted(
            f"{self._base_url} wants an API key and got none, since a key is sent only to the address that it was "
            "given for: set OPENAI_API_KEY and OPENAI_BASE_URL, or ARK_API_KEY and ARK_BASE_URL, together for it"
        )


class _Moment(Struct, frozen=True):
    """The present time by two clocks: unix seconds, and the loop's."""

    wall: float
    loop: float


class _Key(Struct, frozen=True):
    """A temporary key; `expires` in unix seconds.

    replaces_refused: it was fetched because of a 401
    """

    header: str
    fetched: _Moment
    expires: float
    replaces_refused: bool

    def __repr__(self) -> str:
        return f"_Key(expires={self.expires})"

    @property
    def lifetime(self) -> float:
        return self.expires - self.fetched.wall

    def seconds_left(self, now: _Moment) -> float:
        """Return the seconds until it expires."""
        return max(self.expires - now.wall, self.lifetime - (now.loop - self.fetched.loop))

    def is_due(self, now: _Moment) -> bool:
        return self.seconds_left(now) < min(_ADVISORY_S, self.lifetime / 2)

    def is_nearly_over(self, now: _Moment) -> bool:
        return self.seconds_left(now) < min(_MANDATORY_S, self.lifetime / 10)


class AccessKeys:
    """Temporary keys by model, shared by all workers of a run.

    It is an async context manager, since it renews keys in the background.
    """

    def __init__(self, ask: Ask, wall: Callable[[], float], *, project: str = "") -> None:
        self._ask = ask
        self._wall = wall
        self._project = project
        self._keys: dict[str, _Key] = {}
        self._fetches: dict[str, asyncio.Task[_Key | Broken | Halted]] = {}
        self._quiet_until: dict[str, float] = {}
        self._refused: set[str] = set()
        self._background = TaskGroup()

    async def __aenter__(self) -> Self:
        await self._background.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for fetch in self._fetches.values():
            fetch.cancel()
        # An error of the body must not leave the group, which would wrap it.
        await self._background.__aexit__(None, None, None)

    async def header(self, model: str) -> str | Broken:
        key, now = self._keys.get(model), self._now()
        if key is not None and not key.is_nearly_over(now):
            if key.is_due(now) and now.loop >= self._quiet_until.get(model, 0.0):
                self._fetch(model)
            return key.header
        return _usable_header(await asyncio.shield(self._fetch(model)), key, self._now())

    def refused(self, model: str, header: str) -> bool:
        key = self._keys.get(model)
        if key is None or key.header != header:
            return True  # another worker has replaced the key
        if key.replaces_refused and self._now().loop - key.fetched.loop < _YOUNG_S:
            return False
        del self._keys[model]
        self._refused.add(model)
        return True

    def _now(self) -> _Moment:
        return _Moment(self._wall(), asyncio.get_running_loop().time())

    def _fetch(self, model: str) -> asyncio.Task[_Key | Broken | Halted]:
        """Return the fetch that is under way, or a new one.

        It is a task of its own: a worker that is cancelled does not cancel it.
        """
        if model not in self._fetches:
            self._fetches[model] = self._background.create_task(self._fetch_once(model))
        return self._fetches[model]

    async def _fetch_once(self, model: str) -> _Key | Broken | Halted:
        """Fetch a key; never raises, since a background task has nobody to raise to."""
        found: _Key | Broken | Halted
        try:
            found = await self._new_key(model)
        except Halted as halted:
            found = halted
        finally:
            del self._fetches[model]
        if isinstance(found, _Key):
            self._keys[model] = found
        else:
            self._quiet_until[model] = self._now().loop + _PAUSE_S
        return found

    async def _new_key(self, model: str) -> _Key | Broken:
        result = await self._ask("GetApiKey", _key_request(model, self._project))
        if isinstance(result, Broken):
            return result
        now = self._now()
        match result:
            case {"ApiKey": str(key), "ExpiredTime": int(expires)} if key and expires > now.wall:
                replaces_refused = model in self._refused
                self._refused.discard(model)
                return _Key(f"Bearer {key}", now, expires, replaces_refused)
        return Broken(Break.CONNECT, "GetApiKey gave no key that is still good, so nothing was sent")


def resource_type(model: str) -> str:
    """Return what the control plane calls the thing that a model's name stands for."""
    if model.startswith("ep-m-"):
        return "presetendpoint"
    if model.startswith("ep-"):
        return "endpoint"
    return "bot" if model.startswith("bot-") else "presetendpoint"


def needs_project(model: str) -> bool:
    """Whether an access key needs a project for this model.

    A plain model id is an endpoint that the service made for a project, so it needs both.
    """
    return resource_type(model) == "presetendpoint"


def _key_request(model: str, project: str) -> dict[str, Any]:
    if needs_project(model) and not project:
        raise Halted(
            f"an access key alone does not open {model}: name its project as well, "
            "or use an inference endpoint (ep-...), or an API key"
        )
    named = {"ProjectName": project} if project else {}
    return {
        "DurationSeconds": LIFETIME_S,
        **named,
        "ResourceIds": [model],
        "ResourceType": resource_type(model),
    }


def _usable_header(found: _Key | Broken | Halted, old: _Key | None, now: _Moment) -> str | Broken:
    match found:
        case _Key():
            return found.header
        case Halted():
            raise Halted(str(found))  # a new one for each waiter, since raising adds a traceback to it
        case Broken() if old is not None and old.seconds_left(now) > 0:
            return old.header
    return found
