"""Plain HTTP for batch services: small JSON calls, and large files.

It tries nothing twice. A call that was cut off says whether it may have arrived, since a batch that is ordered twice is
paid twice.
"""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from msgspec import Struct

from arkbatch.core.calls import Break, Broken
from arkbatch.core.disk_errors import explain_disk_errors
from arkbatch.core.job import Job
from arkbatch.transport.proxies import proxy_for
from arkbatch.transport.transport_errors import break_of_error, error_detail

_SILENCE_SECONDS = 300.0
_PIECE = 1 << 18


class HttpReply(Struct, frozen=True):
    """What came back. `headers` has lower-case names."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    def json(self) -> Any:
        """The parsed body; None when it is no JSON."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None


class BatchHttp:
    """Calls below one base URL, with one key."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self._session = session
        self._base_url = base_url
        self._proxy = proxy_for(base_url)

    async def send_json(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, body: Any = None
    ) -> HttpReply | Broken:
        """One small call; `body` is sent as JSON."""
        data = None if body is None else orjson.dumps(body)
        headers = {"Content-Type": "application/json"} if data is not None else {}
        return await self._exchange(method, path, params=params, data=data, headers=headers)

    async def upload(self, path: str, fields: Mapping[str, str], name: str, file: Path) -> HttpReply | Broken:
        """Send a file as a form, field by field in the order that the official SDK has, the file last."""
        with file.open("rb") as opened:
            form = aiohttp.FormData()
            for key, value in fields.items():
                form.add_field(key, value)
            form.add_field("file", opened, filename=name, content_type="application/octet-stream")
            return await self._exchange("POST", path, data=form)

    async def download(self, path: str, target: Path, start: int = 0) -> HttpReply | Broken:
        """Append a file's content to `target`, from byte `start` on. The body of a good reply is not returned."""
        headers = {"Accept": "application/binary"} | range_from(start)
        return await save_body(
            self._session.get(self._base_url + path, headers=headers, proxy=self._proxy), target, start
        )

    async def _exchange(self, method: str, path: str, **how_to: Any) -> HttpReply | Broken:
        try:
            async with self._session.request(
                method, self._base_url + path, proxy=self._proxy, allow_redirects=False, **how_to
            ) as response:
                return HttpReply(response.status, await response.read(), lower_names(response.headers))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Broken(break_of_error(error), error_detail(error))


def range_from(start: int) -> dict[str, str]:
    """The header that asks for what follows a byte, none for a whole file."""
    return {"Range": f"bytes={start}-"} if start else {}


async def save_body(
    request: AbstractAsyncContextManager[aiohttp.ClientResponse], target: Path, start: int
) -> HttpReply | Broken:
    """Append what a request brings to a file that has `start` bytes. The body of a good reply is not returned."""
    try:
        async with request as response:
            if response.status not in (200, 206):
                return HttpReply(response.status, await response.read(), lower_names(response.headers))
            if response.status == 206 and not _begins_at(response.headers.get("Content-Range", ""), start):
                os.truncate(target, 0)
                return Broken(Break.GARBLED, "the server sent another part of the file than the one asked for")
            with target.open("ab" if response.status == 206 else "wb") as file:
                async for piece in response.content.iter_chunked(_PIECE):
                    with explain_disk_errors(target):  # not around the reading: a broken connection is no full disk
                        file.write(piece)
                with explain_disk_errors(target):
                    file.flush()
                    os.fsync(file.fileno())
            return HttpReply(200, b"", lower_names(response.headers))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return Broken(break_of_error(error), error_detail(error))


def may_have_arrived(broken: Broken) -> bool:
    """Whether a call that was cut off may have been carried out."""
    return broken.how is not Break.CONNECT


def _begins_at(content_range: str, start: int) -> bool:
    """Whether a `Content-Range` is of the part that was asked for; a server that leaves it out is believed."""
    return not content_range or content_range.startswith(f"bytes {start}-")


def lower_names(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of a reply by their names in small letters."""
    return {name.lower(): value for name, value in headers.items()}


@asynccontextmanager
async def open_batch_http(job: Job) -> AsyncIterator[BatchHttp]:
    """With the job's API key and its time for a connection."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=job.timeouts.connect, sock_read=_SILENCE_SECONDS)
    headers = {"User-Agent": "arkbatch", "Authorization": f"Bearer {job.api_key.reveal()}"}
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
        yield BatchHttp(session, job.base_url)
