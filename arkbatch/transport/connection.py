"""Opens the connection of a job, with credentials and wrappers.

Encryption is imported only when it is used, because it needs an optional library.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import aiohttp
import msgspec

from arkbatch.core.calls import Call, Reply, Response
from arkbatch.core.job import Job
from arkbatch.core.secret import NO_KEY, Access
from arkbatch.protocol.signing import AccessKey
from arkbatch.protocol.vectors import with_base64
from arkbatch.transport.auth import AccessKeys, ApiKey, Credentials, KeyElsewhere, NoKey
from arkbatch.transport.connection_slots import ConnectionSlots
from arkbatch.transport.control_plane import ControlPlane, fetch_certificate
from arkbatch.transport.fd_limit import allowed_connections
from arkbatch.transport.proxies import proxy_for
from arkbatch.transport.transport import Transport, open_transport


@asynccontextmanager
async def open_connection(
    job: Job, wall: Callable[[], float], slots: ConnectionSlots, note: Callable[[str], None] = lambda _: None
) -> AsyncIterator[Transport]:
    """Open the transport of a session.

    wall: unix time, because keys expire by the calendar
    slots: changes the number of connections
    note: called with the path that the calls take
    """
    async with AsyncExitStack() as stack:
        credentials: Credentials = ApiKey(job.api_key)
        if job.additions.has_key:
            credentials = KeyElsewhere()
        elif job.api_key == NO_KEY and not job.simulated:
            credentials = NoKey(job.api_key, job.base_url)
        control = None
        if job.access is not None:
            control = await stack.enter_async_context(open_control_plane(job.access, wall))
            credentials = await stack.enter_async_context(AccessKeys(control.call, wall, project=job.project))
        calls = allowed_connections(job.limits.concurrency)
        opened = open_transport(
            job.base_url, credentials, job.timeouts, calls, slots, additions=job.additions, note=note
        )
        transport: Transport = await stack.enter_async_context(opened)
        if job.embeddings.vectors == "base64":
            transport = PackedVectors(transport)
        yield _with_encryption(transport, job, control, wall) if job.encrypt else transport


class PackedVectors:
    """A transport wrapper that stores the vectors of replies in base64.

    A server may not know `encoding_format`, or a row may have asked for numbers; the record is small in both cases.
    Nothing else of a reply is changed. No array file is written during a run: the record is the only truth about a row,
    so no crash can leave two files that differ, and `arkbatch vectors` makes array files from the records.
    """

    def __init__(self, inner: Transport) -> None:
        self._inner = inner

    async def send(self, call: Call) -> Response:
        response = await self._inner.send(call)
        if isinstance(response, Reply) and response.status == 200:
            packed = with_base64(response.body)
            if packed is not response.body:
                return msgspec.structs.replace(response, body=packed)
        return response


def _with_encryption(
    transport: Transport, job: Job, control: ControlPlane | None, wall: Callable[[], float]
) -> Transport:
    """Wrap a transport in encryption, with the named certificate or one that the service sends."""
    from arkbatch.transport import encrypting as sealed

    if job.certificate:
        certificate_of = sealed.from_text(job.certificate)
    elif control is not None:
        certificate_of = partial(fetch_certificate, control, confidential=job.confidential)
    else:
        certificate_of = sealed.from_service(transport, confidential=job.confidential)
    return sealed.SealedTransport(transport, certificate_of, wall, confidential=job.confidential)


@asynccontextmanager
async def open_control_plane(access: Access, wall: Callable[[], float]) -> AsyncIterator[ControlPlane]:
    """Ark's management API over a session of its own: another host, which must not wait for a place among the calls."""
    key = AccessKey(access.id.reveal(), access.secret.reveal(), access.token.reveal())
    async with aiohttp.ClientSession(headers={"User-Agent": "arkbatch"}) as session:
        yield ControlPlane(session, key, wall, url=access.control_plane, proxy=proxy_for(access.control_plane))
