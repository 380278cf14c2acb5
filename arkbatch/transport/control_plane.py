"""Ark's control plane: the few signed calls that fetch temporary keys and certificates.

Calls are signed with the access key, and repeated after temporary errors. An error that waiting does not fix is a
`Halted` that says what to do; any other is a `Broken`, as if the row's own call had found no connection, since nothing
of it was sent. The wall clock is passed in, because a signature is dated. `transport.auth` decides how long a key is
kept. Neither key nor secret is ever part of a message.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import orjson
from yarl import URL

from arkbatch.core.calls import Break, Broken
from arkbatch.core.errors import Halted
from arkbatch.protocol.error_body import read_complaint
from arkbatch.protocol.signing import AccessKey, Realm, Request, canonical_query, sign_request
from arkbatch.transport.batch_http import HttpReply, lower_names
from arkbatch.transport.transport_errors import break_of_error, error_detail

CONTROL_PLANE = "https://open.volcengineapi.com"
VERSION = "2024-01-01"
_TIMEOUT_S = 30.0
_BACKOFF_S = (1.0, 2.0, 4.0, 8.0)  # between the tries of one fetch

_ADVICE = {
    "InvalidTimestamp": "this machine's clock is wrong; set it, for instance with NTP",
    "InvalidAccessKey": (
        "the access key is not known; check VOLC_ACCESSKEY, that the key is enabled, "
        "and VOLC_SESSION_TOKEN if it is a temporary one"
    ),
    "SignatureDoesNotMatch": "the secret does not belong to the access key; check VOLC_SECRETKEY",
    "InvalidSecretToken": (
        "the access key is a temporary one whose token is wrong or has run out; "
        "set a new VOLC_ACCESSKEY, VOLC_SECRETKEY and VOLC_SESSION_TOKEN together, or use a permanent access key"
    ),
    "InvalidAuthorization": "check VOLC_ACCESSKEY and VOLC_SECRETKEY for stray characters",
    "InvalidCredential": "check VOLC_ACCESSKEY and VOLC_SECRETKEY, and the region",
    "AccessDenied": "the key's user lacks the right; grant ArkFullAccess or the action itself in the IAM console",
    "InvalidActionOrVersion": "the control plane does not know the action; check its address",
}


class ControlPlane:
    """Signed calls to Ark's management API."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        key: AccessKey,
        wall: Callable[[], float],
        *,
        url: str = CONTROL_PLANE,
        realm: Realm | None = None,
        proxy: str | None = None,
    ) -> None:
        self._session = session
        self._key = key
        self._wall = wall
        self._url = URL(url).origin()
        self._realm = realm or Realm()
        self._proxy = proxy
        self._turn = asyncio.Lock()  # the API is meant for few calls; many models ask one after the other

    async def call(self, action: str, body: Mapping[str, Any]) -> dict[str, Any] | Broken:
        """Return the `Result`; `Broken` after retries of about a quarter of a minute."""
        answer = await self._try_once(action, body)
        for pause in _BACKOFF_S:
            if not isinstance(answer, Broken):
                break
            await asyncio.sleep(pause)
            answer = await self._try_once(action, body)
        return answer

    async def ask_once(self, action: str, body: Mapping[str, Any]) -> HttpReply | Broken:
        """The reply to one call, good or bad. A call that was cut off says whether it may have arrived."""
        try:
            async with self._turn, asyncio.timeout(_TIMEOUT_S), self._post(action, orjson.dumps(body)) as reply:
                return HttpReply(reply.status, await reply.read(), lower_names(reply.headers))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Broken(break_of_error(error), error_detail(error))

    async def _try_once(self, action: str, body: Mapping[str, Any]) -> dict[str, Any] | Broken:
        try:
            async with self._turn, asyncio.timeout(_TIMEOUT_S), self._post(action, orjson.dumps(body)) as reply:
                return self._read_result(action, reply, await reply.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return _no_answer(action, error_detail(error))

    def _post(self, action: str, body: bytes) -> Any:
        query = {"Action": action, "Version": VERSION}
        content = {"Content-Type": "application/json", "Accept": "application/json"}
        request = Request("POST", "/", query, content, body)
        headers = sign_request(request, self._url.authority, self._key, self._realm, self._now())
        url = URL(f"{self._url}/?{canonical_query(query)}", encoded=True)
        return self._session.post(url, data=body, headers=headers, proxy=self._proxy, allow_redirects=False)

    def _read_result(self, action: str, reply: aiohttp.ClientResponse, body: bytes) -> dict[str, Any] | Broken:
        result = _result_of(body) if reply.status == 200 else None
        if result is not None:
            return result
        said = read_complaint(body)
        message = f"{said.code or f'HTTP {reply.status}'}: {said.message}".replace(self._key.id, "***")
        if self._key.token:
            message = message.replace(self._key.token, "***")
        if reply.status in {200, 429} or reply.status >= 500:
            return _no_answer(action, message)
        advice = _ADVICE.get(said.code, "check the access key, its rights and the address of the control plane")
        if said.code == "InvalidTimestamp":
            advice = f"{self._clock_skew(reply.headers.get('Date', ''))}{advice}"
        raise Halted(f"{action} was refused ({message}); {advice}")

    def _clock_skew(self, date: str) -> str:
        """Return how far our clock is from the server's, when the reply has its time."""
        try:
            seconds = (self._now() - parsedate_to_datetime(date)).total_seconds()
        except (ValueError, TypeError):
            return ""
        return f"our clock is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} the service's: "

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._wall(), UTC)


async def fetch_certificate(control: ControlPlane, model: str, *, confidential: bool = False) -> str | Broken:
    """Return the text of the certificate for this endpoint id; raises `Halted`."""
    kind = {"Type": "AICCv0.1"} if confidential else {}
    result = await control.call("GetEndpointCertificate", {"Id": model, **kind})
    match result:
        case Broken():
            return result
        case {"PCAInstanceCertificate": str(pem)}:
            return pem
    return _no_answer("GetEndpointCertificate", "the answer has no certificate in it")


def _result_of(body: bytes) -> dict[str, Any] | None:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    match parsed:
        case {"Result": dict(result)}:
            return result
    return None


def _no_answer(action: str, detail: str) -> Broken:
    return Broken(Break.CONNECT, f"{action} failed, so nothing was sent: {detail}")
