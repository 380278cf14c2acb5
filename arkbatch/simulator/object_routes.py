"""The object storage (TOS) of the simulated service.

Requests are told from others by their signature, which is really verified. Every bucket exists.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import formatdate
from pathlib import Path

from aiohttp import web

from arkbatch.protocol.tos_signing import ALGORITHM, StorageRequest, is_genuine_storage, storage_signer
from arkbatch.simulator.batch_store import BatchStore
from arkbatch.simulator.settings import Settings

_PIECE = 1 << 16
_SKEW_SECONDS = 900
_MOST_KEYS = 1000

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ObjectRoutes:
    """The calls of a bucket. Objects lie in the folder of the batches, so that they outlive the process with them."""

    def __init__(self, settings: Settings, store: BatchStore, wall: Callable[[], float]) -> None:
        self._settings = settings
        self._store = store
        self._wall = wall

    def handle_or(self, other: Handler) -> Handler:
        """A handler of signed requests that passes on all others."""

        async def handle(request: web.Request) -> web.StreamResponse:
            if not request.headers.get("Authorization", "").startswith(ALGORITHM):
                return await other(request)
            return await self._handle_signed(request)

        return handle

    def path_of(self, bucket: str, key: str) -> Path:
        """Where the bytes of an object lie."""
        return self._store.folder / "objects" / bucket / key.replace("/", "%")

    async def _handle_signed(self, request: web.Request) -> web.StreamResponse:
        if (refusal := self._refusal_of(request)) is not None:
            return refusal
        bucket, _, key = request.path.lstrip("/").partition("/")
        path = self.path_of(bucket, key)
        match request.method:
            case "PUT":
                return await self._put_object(request, path)
            case "GET" if not key:
                return self._list_objects(request, bucket)
            case "GET" | "HEAD" if not path.is_file():
                return _error_reply(404, "NoSuchKey", "The specified key does not exist.")
            case "HEAD":
                return web.Response(headers={"Content-Length": str(path.stat().st_size)} | self._dated_headers(path))
            case "GET":
                return self._get_object(request, path)
            case "DELETE":
                path.unlink(missing_ok=True)
                return web.Response(status=204)
            case _:
                return _error_reply(405, "MethodNotAllowed", "The method is not allowed.")

    def _refusal_of(self, request: web.Request) -> web.Response | None:
        claim = storage_signer(request.headers.get("Authorization", ""))
        secret = self._settings.access_keys.get(claim[0]) if claim else None
        if claim is None or secret is None:
            return _error_reply(403, "InvalidAccessKeyId", "The access key does not exist.")
        raw = request.rel_url.raw_path
        if not is_genuine_storage(StorageRequest(request.method, raw, request.query, request.headers), secret):
            return _error_reply(403, "SignatureDoesNotMatch", "The signature that was calculated does not match.")
        made = datetime.strptime(request.headers["x-tos-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        if abs(made - self._wall()) > _SKEW_SECONDS:
            return _error_reply(403, "RequestTimeTooSkewed", "The request time differs too much from the server's.")
        return None

    async def _put_object(self, request: web.Request, path: Path) -> web.StreamResponse:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(path.name + ".new")
        with fresh.open("wb") as file:
            async for piece in request.content.iter_chunked(_PIECE):
                file.write(piece)
        fresh.replace(path)
        return web.Response(headers=self._dated_headers(path))

    def _get_object(self, request: web.Request, path: Path) -> web.StreamResponse:
        data = path.read_bytes()
        number = request.headers.get("Range", "").removeprefix("bytes=").partition("-")[0]
        start = int(number) if number.isdecimal() else 0
        if start and start >= len(data):
            return _error_reply(416, "InvalidRange", "The requested range cannot be satisfied.")
        headers = self._dated_headers(path)
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        return web.Response(body=data[start:], status=206 if start else 200, headers=headers)

    def _list_objects(self, request: web.Request, bucket: str) -> web.Response:
        prefix, after = request.query.get("prefix", ""), request.query.get("continuation-token", "")
        folder = self.path_of(bucket, "x").parent
        keys = sorted(path.name.replace("%", "/") for path in folder.iterdir()) if folder.exists() else []
        found = [key for key in keys if key.startswith(prefix) and key > after]
        page = found[:_MOST_KEYS]
        more = {"NextContinuationToken": page[-1]} if len(found) > len(page) else {}
        contents = [
            {"Key": key, "Size": self.path_of(bucket, key).stat().st_size, "LastModified": self._shown_now()}
            for key in page
        ]
        return web.json_response({"Name": bucket, "Contents": contents, "IsTruncated": bool(more), **more})

    def _shown_now(self) -> str:
        return datetime.fromtimestamp(self._wall(), UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")

    def _dated_headers(self, path: Path) -> dict[str, str]:
        return {"Date": formatdate(self._wall(), usegmt=True), "ETag": f'"{path.stat().st_size:x}"'}


def _error_reply(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"Code": code, "Message": message, "RequestId": "simulated"}, status=status)
