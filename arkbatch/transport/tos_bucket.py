"""Objects in one bucket of TOS over plain HTTP, each call signed.

A bucket stands in the host name. On this machine, where a simulator takes TOS's place, it stands in the path.
"""

import ipaddress
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from arkbatch.core.calls import Broken
from arkbatch.core.secret import Access
from arkbatch.protocol.signing import AccessKey
from arkbatch.protocol.tos_signing import StorageRequest, sign_storage
from arkbatch.transport.batch_http import HttpReply, lower_names, range_from, save_body
from arkbatch.transport.proxies import proxy_for
from arkbatch.transport.transport_errors import break_of_error, error_detail

REGION = "cn-beijing"
_SILENCE_SECONDS = 300.0


class ObjectStoreHttp:
    """One bucket. endpoint: the address of TOS, such as https://tos-cn-beijing.volces.com."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        key: AccessKey,
        bucket: str,
        *,
        endpoint: str,
        region: str,
        wall: Callable[[], float],
    ) -> None:
        self._session = session
        self._key = key
        self._region = region
        self._wall = wall
        base = URL(endpoint)
        in_path = _is_in_path(base.host or "")
        self._origin = base.origin() if in_path else base.origin().with_host(f"{bucket}.{base.host}")
        self._folder = f"/{bucket}/" if in_path else "/"
        self._proxy = proxy_for(str(self._origin))

    async def put_object(self, name: str, file: Path) -> HttpReply | Broken:
        """Put a file there under this key; it is read while it is sent."""
        with file.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            content = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
            return await self._exchange("PUT", name, headers=content, data=opened)

    async def delete_object(self, name: str) -> HttpReply | Broken:
        return await self._exchange("DELETE", name)

    async def list_keys(self, prefix: str, after: str) -> HttpReply | Broken:
        """One page of the objects whose keys begin so, as JSON. after: the token that the page before named."""
        query = {"list-type": "2", "prefix": prefix, "max-keys": "1000"}
        return await self._exchange("GET", "", query | ({"continuation-token": after} if after else {}))

    async def get_object(self, name: str, target: Path, start: int = 0) -> HttpReply | Broken:
        """Append an object to a file that has `start` bytes of it."""
        url, headers = self._sign_request("GET", name, {}, range_from(start))
        return await save_body(self._session.get(url, headers=headers, proxy=self._proxy), target, start)

    async def _exchange(
        self,
        method: str,
        name: str,
        query: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        data: Any = None,
    ) -> HttpReply | Broken:
        url, signed = self._sign_request(method, name, query or {}, headers or {})
        try:
            async with self._session.request(
                method, url, headers=signed, data=data, proxy=self._proxy, allow_redirects=False
            ) as response:
                return HttpReply(response.status, await response.read(), lower_names(response.headers))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return Broken(break_of_error(error), error_detail(error))

    def _sign_request(
        self, method: str, name: str, query: Mapping[str, str], headers: Mapping[str, str]
    ) -> tuple[URL, dict[str, str]]:
        path = quote(self._folder + name, safe="/~")
        request = StorageRequest(method, path, query, headers)
        now = datetime.fromtimestamp(self._wall(), UTC)
        asked = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in sorted(query.items()))
        url = URL(f"{self._origin}{path}{'?' + asked if asked else ''}", encoded=True)
        return url, sign_storage(request, self._origin.authority, self._key, self._region, now)


def _is_in_path(host: str) -> bool:
    """Whether a host cannot have a bucket in front of it."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


@asynccontextmanager
async def open_object_store(
    access: Access, bucket: str, wall: Callable[[], float], connect_seconds: float
) -> AsyncIterator[ObjectStoreHttp]:
    """A bucket with the access key, over a session of its own."""
    key = AccessKey(access.id.reveal(), access.secret.reveal(), access.token.reveal())
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds, sock_read=_SILENCE_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, headers={"User-Agent": "arkbatch"}) as session:
        yield ObjectStoreHttp(session, key, bucket, endpoint=access.storage, region=access.region, wall=wall)
