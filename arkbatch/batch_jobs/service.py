"""Files and batches at a provider: seven calls, and what their replies mean for a parcel.

What a provider says no to, and what cannot be reached, are two exceptions, because they end a step of the engine at any
depth. `ServiceAway.may_have_arrived` is the reason why intents are written: after it nobody knows whether the file or
the batch exists.
"""

import math
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from arkbatch.batch_jobs.forms import DONE, FAILED, WAITING, Form
from arkbatch.batch_jobs.parcel import TOO_MANY_TOKENS
from arkbatch.core.types import Broken
from arkbatch.protocol.error_body import complaint, one_line
from arkbatch.transport.batch_http import BatchHttp, HttpReply, may_have_arrived

_PAGE = 100
_MOST_PAGES = 200
_LIMIT = re.compile(r"limit:?\s*([\d,]+)", re.IGNORECASE)
_AWAY = frozenset((408, 409, 425, 498, 529))
_NO_FILE_YET = re.compile(
    r"(cannot|can't|could not|not) (find|found).*file|file.*(not found|not ready|processing)", re.IGNORECASE
)


class ServiceAway(Exception):
    """No usable reply. may_have_arrived: the call may have been carried out; after: seconds that it asked to wait."""

    def __init__(self, reason: str, *, may_have_arrived: bool, after: float | None = None) -> None:
        super().__init__(reason)
        self.may_have_arrived = may_have_arrived
        self.after = after


class ServiceRefused(Exception):
    """The provider answered no. `limit`: enqueued tokens that it names; is_too_early: a file it cannot find yet."""

    def __init__(self, status: int, code: str, reason: str, *, is_too_early: bool = False) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code
        self.reason = reason
        self.is_too_early = is_too_early


class Order(Struct, frozen=True):
    """What a batch is ordered with."""

    file_id: str
    url: str
    model: str
    window: str
    run_id: str
    parcel: int


class BatchState(Struct, frozen=True):
    """A batch as the provider describes it. `state` is one of the words of `forms`, `word` the provider's own."""

    id: str
    state: str
    word: str
    input_file_id: str = ""
    output_id: str = ""
    error_id: str = ""
    counts: dict[str, int] = {}
    created_at: float = 0.0
    expires_at: float = 0.0
    code: str = ""
    reason: str = ""
    bad_line: int = 0
    metadata: Mapping[str, Any] = {}

    @property
    def has_ended(self) -> bool:
        return self.state != WAITING


class BatchService(Protocol):
    """What the engine needs of a provider. Each call raises ServiceAway or ServiceRefused."""

    async def put(self, file: Path, name: str, keep_seconds: int) -> str:
        """Upload a file; its id."""

    async def find_file(self, name: str, size: int) -> str | None:
        """The id of a file that was uploaded under this name, None when the list has none."""

    async def start(self, order: Order) -> BatchState:
        """Order a batch."""

    async def find_batch(self, file_id: str, since: float) -> BatchState | None:
        """The batch that was ordered from this file, None when the list has none. since: unix time of the intent."""

    async def look(self, batch_id: str) -> BatchState: ...

    async def stop(self, batch_id: str) -> None: ...

    async def fetch(self, file_id: str, target: Path) -> None:
        """Download a file to where it is to stand, whole or not at all."""

    async def forget(self, file_id: str) -> None:
        """Delete a file; one that is gone is fine."""


class HttpBatchService:
    """A provider of OpenAI's form, as far as `form` says otherwise."""

    def __init__(self, http: BatchHttp, form: Form) -> None:
        self._http = http
        self._form = form

    async def put(self, file: Path, name: str, keep_seconds: int) -> str:
        fields = {"purpose": self._form.purpose}
        if self._form.expires and keep_seconds:
            fields |= {"expires_after[anchor]": "created_at", "expires_after[seconds]": str(keep_seconds)}
        reply = _good(await self._http.upload("/files", fields, name, file))
        return _id_of(_object(reply))

    async def find_file(self, name: str, size: int) -> str | None:
        async for item in self._listed("/files", {"purpose": self._form.purpose}):
            if item.get("filename") == name and item.get("bytes") in (size, None):
                return _id_of(item)
        return None

    async def start(self, order: Order) -> BatchState:
        form = self._form
        body: dict[str, Any] = {
            "input_file_id": order.file_id,
            "endpoint": order.url,
            "completion_window": order.window,
        }
        if form.metadata:
            body["metadata"] = {"arkbatch_run": order.run_id, "arkbatch_parcel": str(order.parcel)}
        if form.bare_lines:
            body["model"] = order.model
            body["input_file_id"] = [order.file_id]
            body["completion_window"] = _hours(order.window)
        body = {form.create_keys.get(key, key): value for key, value in body.items()} | form.create_extra
        return self._state(_good(await self._http.ask("POST", form.batches, body=body)))

    async def find_batch(self, file_id: str, since: float) -> BatchState | None:
        async for item in self._listed(self._form.batches, {}):
            state = self._state_of(item)
            if state.input_file_id == file_id:
                return state
            if state.created_at and state.created_at < since:
                return None
        return None

    async def look(self, batch_id: str) -> BatchState:
        return self._state(_good(await self._http.ask("GET", f"{self._form.batches}/{batch_id}")))

    async def stop(self, batch_id: str) -> None:
        try:
            _good(await self._http.ask("POST", f"{self._form.batches}/{batch_id}/cancel"))
        except ServiceRefused as refused:
            if refused.status not in {400, 404, 409}:  # it has ended meanwhile, which the next look shows
                raise

    async def fetch(self, file_id: str, target: Path) -> None:
        fresh = target.with_name(target.name + ".new")
        start = fresh.stat().st_size if fresh.exists() else 0
        reply = await self._http.download(f"/files/{file_id}/content", fresh, start)
        if isinstance(reply, HttpReply) and reply.status == 416:  # all of it was there already
            reply = HttpReply(200, b"", reply.headers)
        _good(reply)
        if not fresh.exists():
            fresh.touch()
        fresh.replace(target)

    async def forget(self, file_id: str) -> None:
        try:
            _good(await self._http.ask("DELETE", f"/files/{file_id}"))
        except ServiceRefused as refused:
            if refused.status not in {404, 405, 403, 400}:
                raise

    async def _listed(self, path: str, params: Mapping[str, str]) -> AsyncIterator[dict[str, Any]]:
        """The items of a list, page by page, newest first."""
        after: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            page = _object(_good(await self._http.ask("GET", path, params={"limit": str(_PAGE), **params, **after})))
            items = [item for item in page.get("data") or () if isinstance(item, dict)]
            for item in items:
                yield item
            if not page.get("has_more") or not items:
                return
            after = {"after": str(items[-1].get("id", ""))}

    def _state(self, reply: HttpReply) -> BatchState:
        return self._state_of(_object(reply))

    def _state_of(self, item: dict[str, Any]) -> BatchState:
        """A batch as this form writes it, possibly in an envelope."""
        form = self._form
        batch = item[form.envelope] if form.envelope and isinstance(item.get(form.envelope), dict) else item
        word = batch.get("status")
        error = _first_error(batch.get("errors"))
        given = batch.get(form.create_keys.get("input_file_id", "input_file_id"))
        return BatchState(
            id=_id_of(batch),
            state=form.state(word),
            word=word if isinstance(word, str) else "",
            input_file_id=_text(given[0] if isinstance(given, list) and given else given),
            output_id=_text(batch.get(form.output_key)),
            error_id=_text(batch.get(form.error_key)),
            counts=_counts(batch.get("request_counts")),
            created_at=_seconds(batch.get("created_at")),
            expires_at=_seconds(batch.get("expires_at")),
            code=_text(error.get("code")),
            reason=one_line(_text(error.get("message"))),
            bad_line=line if type(line := error.get("line")) is int else 0,
            metadata=batch["metadata"] if isinstance(batch.get("metadata"), dict) else {},
        )


def limit_in(reason: str) -> int:
    """The limit of enqueued tokens that a message names, 0 when it names none."""
    found = _LIMIT.search(reason)
    return int(found[1].replace(",", "")) if found else 0


def is_token_limit(code: str, reason: str) -> bool:
    """Whether a batch was refused because too much waits already, so that the same file goes later."""
    return code == TOO_MANY_TOKENS or "enqueued token" in reason.lower()


def has_output(state: BatchState) -> bool:
    """Whether a batch that failed as a whole may have been worked on and billed."""
    return state.state == DONE or bool(state.output_id or state.error_id) or state.state != FAILED


def _good(reply: HttpReply | Broken) -> HttpReply:
    """The reply if it is one; ServiceAway and ServiceRefused else."""
    if isinstance(reply, Broken):
        raise ServiceAway(reply.detail or reply.how.value, may_have_arrived=may_have_arrived(reply))
    if reply.status < 300:
        return reply
    said = complaint(reply.body)
    reason = said.message or f"HTTP {reply.status} without a message"
    if reply.status == 429 and not is_token_limit(said.code, reason):
        raise ServiceAway(reason, may_have_arrived=False, after=_after(reply))
    if reply.status >= 500 or reply.status in _AWAY:
        raise ServiceAway(f"HTTP {reply.status}: {reason}", may_have_arrived=True, after=_after(reply))
    too_early = reply.status in {400, 404} and bool(_NO_FILE_YET.search(reason))
    raise ServiceRefused(reply.status, said.code or said.type, reason, is_too_early=too_early)


def _after(reply: HttpReply) -> float | None:
    try:
        seconds = float(reply.headers.get("retry-after", ""))
    except ValueError:
        return None
    return min(max(seconds, 0.0), 3600.0) if math.isfinite(seconds) else None


def _object(reply: HttpReply) -> dict[str, Any]:
    parsed = reply.json()
    if not isinstance(parsed, dict) or parsed.get("error"):
        raise ServiceAway(f"a reply that is no JSON object: {reply.body[:200]!r}", may_have_arrived=True)
    return parsed


def _id_of(item: Mapping[str, Any]) -> str:
    id_ = item.get("id")
    if not isinstance(id_, str) or not id_:
        raise ServiceAway("a reply without an id", may_have_arrived=True)
    return id_


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _seconds(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def _counts(value: object) -> dict[str, int]:
    return {name: count for name, count in value.items() if type(count) is int} if isinstance(value, dict) else {}


def _first_error(errors: object) -> dict[str, Any]:
    found = errors.get("data") if isinstance(errors, dict) else errors
    return found[0] if isinstance(found, list) and found and isinstance(found[0], dict) else {}


def _hours(window: str) -> int:
    """`24h` or `7d` as a number of hours."""
    number = int("".join(each for each in window if each.isdigit()) or 24)
    return number * 24 if window.endswith("d") else number
