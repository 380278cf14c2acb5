"""The HTTP routes of files and batches, as the official `openai` package expects them.

`batch_store` knows the state of a batch. Faults of calls are drawn here, one for each call.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import orjson
from aiohttp import web
from aiohttp.multipart import BodyPartReader

from arkbatch.simulator import broken_connections
from arkbatch.simulator.batch_store import BatchStore
from arkbatch.simulator.endpoints import ENDPOINTS
from arkbatch.simulator.settings import Settings
from arkbatch.simulator.stored_batch import ENDED, Batch, StoredFile

_LATE_FILE_SECONDS = 5.0
_SLOW_LIST_SECONDS = 90.0
_LATE_OUTPUT_SECONDS = 150.0
_DAY = 86_400
_PIECE = 1 << 16

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class BatchRoutes:
    """The handlers of files and batches.

    calls: how often each was carried out; faults: how often each struck
    """

    def __init__(self, settings: Settings, wall: Callable[[], float]) -> None:
        self.store = BatchStore(settings, wall)
        self._settings = settings
        self._wall = wall
        self._chance = Random(settings.seed)
        self.calls: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()

    def add_to(self, app: web.Application, base: str) -> None:
        """Add the routes below one base path."""
        add = app.router.add_route
        add("POST", base + "/files", self._with_key(self._upload_file))
        add("GET", base + "/files", self._with_key(self._list_files))
        add("GET", base + "/files/{id}", self._with_key(self._get_file))
        add("GET", base + "/files/{id}/content", self._with_key(self._get_content))
        add("DELETE", base + "/files/{id}", self._with_key(self._delete_file))
        add("POST", base + "/batches", self._with_key(self._create_batch))
        add("GET", base + "/batches", self._with_key(self._list_batches))
        add("GET", base + "/batches/{id}", self._with_key(self._get_batch))
        add("POST", base + "/batches/{id}/cancel", self._with_key(self._cancel_batch))

    def _with_key(self, handler: Handler) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            if not request.headers.get("Authorization", "").startswith("Bearer "):
                return _error_response(401, "invalid_api_key", "You did not provide an API key.")
            return await handler(request)

        return handle

    def strikes(self, fault: str) -> bool:
        """Whether a fault strikes this call."""
        struck = self._chance.random() < self._settings.batch_faults.get(fault, 0.0)
        self.faults[fault] += struck
        return struck

    async def _upload_file(self, request: web.Request) -> web.StreamResponse:
        fields: dict[str, str] = {}
        id_, name = "", ""
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                continue
            if part.name == "file":
                id_, name = self.store.new_id("file"), part.filename or "upload.jsonl"
                with self.store.path_of(id_).open("wb") as file:
                    while piece := await part.read_chunk(_PIECE):
                        file.write(piece)
            else:
                fields[part.name or ""] = await part.text()
        if id_ and self.store.path_of(id_).stat().st_size > (self._settings.upload_bytes or 1 << 62):
            self.store.path_of(id_).unlink()
            return broken_connections.file_too_large()
        if not id_ or not fields.get("purpose"):
            return _error_response(400, "invalid_request_error", "A file and its purpose are required.")
        expires = fields.get("expires_after[seconds]")
        file_ = self.store.add_file(id_, name, fields["purpose"], int(expires) if expires else None)
        self.store.save_state()
        self.calls["upload"] += 1
        return (
            broken_connections.hang_up(request)
            if self.strikes("lost_upload")
            else web.json_response(_file_object(file_))
        )

    async def _list_files(self, request: web.Request) -> web.StreamResponse:
        if self.strikes("poll_502"):
            return broken_connections.bad_gateway()
        purpose = request.query.get("purpose")
        files = [file for file in self.store.state.files.values() if purpose in (None, file.purpose)]
        return _list_page(request, [_file_object(file) for file in reversed(files)])

    async def _get_file(self, request: web.Request) -> web.StreamResponse:
        file = self.store.state.files.get(request.match_info["id"])
        return _no_such("file") if file is None else web.json_response(_file_object(file))

    async def _get_content(self, request: web.Request) -> web.StreamResponse:
        file = self.store.state.files.get(request.match_info["id"])
        if file is None or self._is_late_output(file):
            return _no_such("file")
        if self.strikes("web_page"):
            return broken_connections.login_page()
        data = self.store.path_of(file.id).read_bytes()
        start = _start_of(request.headers.get("Range", ""))
        if start and start >= len(data):
            return web.Response(status=416)
        headers = {"Content-Type": "application/octet-stream"}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        status = 206 if start else 200
        data = data[start:]
        if data and self.strikes("torn_content"):
            response = await broken_connections.send_half(request, data, headers, status)
            broken_connections.close_connection(request)
            return response
        if data and self.strikes("cut_content"):  # a proxy that cuts the content and reports no error
            data = data[: len(data) * 2 // 3]
        return web.Response(body=data, status=status, headers=headers)

    async def _delete_file(self, request: web.Request) -> web.StreamResponse:
        id_ = request.match_info["id"]
        if not self.store.delete_file(id_):
            return _no_such("file")
        return web.json_response({"id": id_, "object": "file", "deleted": True})

    async def _create_batch(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        file = self.store.state.files.get(body.get("input_file_id"))
        if file is None or self._is_late(file):
            said = f"Invalid 'input_file_id': cannot find file {body.get('input_file_id')}."
            return _error_response(400, "invalid_request_error", said, "file_id")
        endpoint = body.get("endpoint")
        if not isinstance(endpoint, str) or endpoint.removeprefix("/v1") not in ENDPOINTS:
            return _error_response(400, "invalid_request_error", f"Invalid endpoint: {endpoint}.", "endpoint")
        if not isinstance(body.get("completion_window"), str):
            return _error_response(400, "invalid_request_error", "completion_window is required.", "completion_window")
        batch = self.store.create_batch(file.id, endpoint, body["completion_window"], body.get("metadata"))
        self.calls["create"] += 1
        return (
            broken_connections.hang_up(request)
            if self.strikes("lost_create")
            else web.json_response(self._batch_object(batch))
        )

    def _is_late(self, file: StoredFile) -> bool:
        is_struck = self._settings.batch_faults.get("late_file", 0.0) > Random(file.id).random()
        return is_struck and self._wall() < file.created_at + _LATE_FILE_SECONDS

    def _is_late_output(self, file: StoredFile) -> bool:
        is_struck = self._settings.batch_faults.get("late_output", 0.0) > Random(file.id).random()
        is_output = file.purpose == "batch_output"
        return is_output and is_struck and self._wall() < file.created_at + _LATE_OUTPUT_SECONDS

    async def _list_batches(self, request: web.Request) -> web.StreamResponse:
        if self.strikes("poll_502"):
            return broken_connections.bad_gateway()
        seen_before = self._wall() - _SLOW_LIST_SECONDS
        batches = [
            batch
            for batch in self.store.state.batches.values()
            if not {"slow_list", "late_batch"} & set(batch.faults) or batch.created_at < seen_before
        ]
        if not self._settings.batch_faults.get("oldest_first"):
            batches.reverse()
        objects = [self._batch_object(self.store.find_batch(batch.id) or batch) for batch in batches]
        return _list_page(request, objects, is_stuck=bool(self._settings.batch_faults.get("cut_list")))

    async def _get_batch(self, request: web.Request) -> web.StreamResponse:
        if self.strikes("poll_502"):
            return broken_connections.bad_gateway()
        batch = self.store.find_batch(request.match_info["id"])
        if batch is None or ("late_batch" in batch.faults and self._wall() < batch.created_at + _SLOW_LIST_SECONDS):
            return _no_such("batch")
        return web.json_response(self._batch_object(batch))

    async def _cancel_batch(self, request: web.Request) -> web.StreamResponse:
        batch = self.store.find_batch(request.match_info["id"])
        if batch is None:
            return _no_such("batch")
        if batch.status in ENDED:
            return _error_response(409, "invalid_request_error", f"Cannot cancel a batch with status '{batch.status}'.")
        self.store.cancel_batch(batch)
        return web.json_response(self._batch_object(batch))

    def _batch_object(self, batch: Batch) -> dict[str, Any]:
        expires_at = int(batch.created_at) + (-3 * _DAY if "early_expiry" in batch.faults else _DAY)
        times = 3 if "wrong_counts" in batch.faults else 1
        return {
            "id": batch.id,
            "object": "batch",
            "endpoint": batch.endpoint,
            "errors": {"object": "list", "data": batch.errors} if batch.status == "failed" else None,
            "input_file_id": batch.input_file_id,
            "completion_window": batch.window,
            "status": batch.status,
            "model": batch.model or None,
            "output_file_id": batch.output_file_id,
            "error_file_id": batch.error_file_id,
            "created_at": int(batch.created_at),
            "expires_at": expires_at,
            "completed_at": int(batch.ended_at) if batch.status == "completed" and batch.ended_at else None,
            "cancelling_at": int(batch.cancelled_at) if batch.cancelled_at else None,
            "request_counts": {"total": batch.rows, "completed": times * batch.completed, "failed": batch.failed},
            "metadata": batch.metadata,
            "usage": _usage_object(batch.usage, 1 if "wrong_usage" in batch.faults else 0),
        }


def _usage_object(counted: dict[str, int], too_many: int) -> dict[str, Any]:
    given = too_many + counted.get("prompt_tokens", 0) + counted.get("input_tokens", 0)
    answered = counted.get("completion_tokens", 0) + counted.get("output_tokens", 0)
    return {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": answered,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": given + answered,
    }


def _file_object(file: StoredFile) -> dict[str, Any]:
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": int(file.created_at),
        "expires_at": None if file.expires_at is None else int(file.expires_at),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
    }


def _list_page(request: web.Request, items: list[dict[str, Any]], *, is_stuck: bool = False) -> web.Response:
    """Return one page of a list. is_stuck: always the first entry, whatever the request says."""
    limit = 1 if is_stuck else min(int(request.query.get("limit", "20")), 10_000)
    after = None if is_stuck else request.query.get("after")
    if after is not None:
        place = next((number for number, item in enumerate(items) if item["id"] == after), -1)
        items = items[place + 1 :] if place >= 0 else []
    page = items[:limit]
    return web.json_response(
        {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": len(items) > limit,
        }
    )


def _error_response(status: int, code: str, message: str, param: str | None = None) -> web.Response:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return web.json_response({"error": error}, status=status)


def _no_such(what: str) -> web.Response:
    return _error_response(404, "not_found", f"No such {what}.")


def _start_of(ranges: str) -> int:
    """Return the first byte of a range `bytes=N-`."""
    number = ranges.removeprefix("bytes=").partition("-")[0]
    return int(number) if number.isdecimal() else 0
