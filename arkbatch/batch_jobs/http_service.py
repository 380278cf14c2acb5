"""Files and batches at a provider of OpenAI's form over HTTP, as far as its `Form` says otherwise."""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from arkbatch.batch_jobs.provider_forms import Form
from arkbatch.batch_jobs.service import BatchState, Order, RemoteFile, ServiceAway, ServiceRefused, checked_reply
from arkbatch.protocol.error_body import one_line
from arkbatch.transport.batch_http import BatchHttp, HttpReply

_PAGE = 100
_MOST_PAGES = 1000
_MOST_BAD_LINES = 1000
_CLOCK_STEP_SECONDS = 60.0  # providers stamp files and batches on different machines


class HttpBatchService:
    """A provider whose files and batches are spoken to as OpenAI's are."""

    def __init__(self, http: BatchHttp, form: Form) -> None:
        self._http = http
        self._form = form

    async def upload(self, file: Path, name: str, keep_seconds: int) -> RemoteFile:
        fields = {"purpose": self._form.purpose}
        if self._form.expires and keep_seconds:
            fields |= {"expires_after[anchor]": "created_at", "expires_after[seconds]": str(keep_seconds)}
        return _file_of(_object_in(checked_reply(await self._http.upload("/files", fields, name, file))))

    async def list_files(self, prefix: str) -> AsyncIterator[RemoteFile]:
        async for page in self._pages("/files", {"purpose": self._form.purpose}):
            for item in page:
                file = _file_of(item)
                if file.name.startswith(prefix):
                    yield file

    async def order(self, order: Order) -> BatchState:
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
            body["completion_window"] = _hours_in(order.window)
        body = {form.create_keys.get(key, key): value for key, value in body.items()} | form.create_extra
        return self._state_in(checked_reply(await self._http.send_json("POST", form.batches, body=body)))

    async def list_batches(self, since: float) -> AsyncIterator[BatchState]:
        async for page in self._pages(self._form.batches, {}):
            states = [self._state_of(item) for item in page]
            for state in states:
                yield state
            if since and _is_older_from_here(states, since - _CLOCK_STEP_SECONDS):
                return

    async def look(self, batch_id: str) -> BatchState:
        return self._state_in(checked_reply(await self._http.send_json("GET", f"{self._form.batches}/{batch_id}")))

    async def cancel(self, batch_id: str) -> None:
        try:
            checked_reply(await self._http.send_json("POST", f"{self._form.batches}/{batch_id}/cancel"))
        except ServiceRefused as refused:
            if refused.status not in {400, 404, 409, 410}:  # it has ended meanwhile, which the next look shows
                raise

    async def fetch(self, file_id: str, target: Path) -> None:
        fresh = target.with_name(target.name + ".new")
        start = fresh.stat().st_size if fresh.exists() else 0
        reply = await self._http.download(f"/files/{file_id}/content", fresh, start)
        if isinstance(reply, HttpReply) and reply.status == 416:  # all of it was there already
            reply = HttpReply(200, b"", reply.headers)
        checked_reply(reply)
        if not fresh.exists():
            fresh.touch()
        fresh.replace(target)

    async def delete(self, file_id: str) -> None:
        try:
            checked_reply(await self._http.send_json("DELETE", f"/files/{file_id}"))
        except ServiceRefused as refused:
            if refused.status not in {400, 403, 404, 405, 410}:
                raise

    async def _pages(self, path: str, params: Mapping[str, str]) -> AsyncIterator[Sequence[dict[str, Any]]]:
        """The items of a list, page by page. A server that ignores `after` gives its first page again and again."""
        after: dict[str, str] = {}
        seen: set[str] = set()
        for _ in range(_MOST_PAGES):
            asked = {"limit": str(_PAGE), **params, **after}
            page = _object_in(checked_reply(await self._http.send_json("GET", path, params=asked)))
            items = [item for item in page.get("data") or () if isinstance(item, dict)]
            fresh = [item for item in items if str(item.get("id")) not in seen]
            yield fresh
            if not fresh or not page.get("has_more", len(items) >= _PAGE):
                return
            seen |= {str(item.get("id")) for item in fresh}
            after = {"after": str(items[-1].get("id", ""))}

    def _state_in(self, reply: HttpReply) -> BatchState:
        return self._state_of(_object_in(reply))

    def _state_of(self, item: dict[str, Any]) -> BatchState:
        """A batch as this form writes it, possibly in an envelope."""
        form = self._form
        batch = item[form.envelope] if form.envelope and isinstance(item.get(form.envelope), dict) else item
        word = batch.get("status")
        errors = _errors_in(batch.get("errors"))
        first = errors[0] if errors else {}
        given = batch.get(form.create_keys.get("input_file_id", "input_file_id"))
        return BatchState(
            id=_id_of(batch),
            state=form.state(word, is_completed=bool(_seconds_of(batch.get("completed_at")))),
            word=word if isinstance(word, str) else "",
            input_file_id=_text_of(given[0] if isinstance(given, list) and given else given),
            output_id=_text_of(batch.get(form.output_key)),
            error_id=_text_of(batch.get(form.error_key)),
            counts=_counts_in(batch.get("request_counts")),
            created_at=_seconds_of(batch.get("created_at")),
            expires_at=_seconds_of(batch.get("expires_at")),
            code=_text_of(first.get("code")),
            reason=one_line(_text_of(first.get("message"))),
            bad_lines={
                line: one_line(_text_of(error.get("message")))
                for error in errors[:_MOST_BAD_LINES]
                if type(line := error.get("line")) is int and line > 0
            },
            usage=_usage_in(batch.get("usage")),
            metadata=batch["metadata"] if isinstance(batch.get("metadata"), dict) else {},
        )


def _is_older_from_here(states: Sequence[BatchState], since: float) -> bool:
    """Whether a list is sorted from new to old, as far as one sees, and what follows was made before that time."""
    times = [state.created_at for state in states]
    is_sorted = len(times) > 1 and times[0] > times[-1] > 0 and times == sorted(times, reverse=True)
    return is_sorted and times[-1] < since


def _object_in(reply: HttpReply) -> dict[str, Any]:
    parsed = reply.json()
    if not isinstance(parsed, dict) or parsed.get("error"):
        raise ServiceAway(f"a reply that is no JSON object: {reply.body[:200]!r}", may_have_arrived=True)
    return parsed


def _file_of(item: Mapping[str, Any]) -> RemoteFile:
    size = item.get("bytes")
    return RemoteFile(
        _id_of(item),
        _text_of(item.get("filename")),
        size if type(size) is int else None,
        _seconds_of(item.get("created_at")),
    )


def _id_of(item: Mapping[str, Any]) -> str:
    id_ = item.get("id")
    if not isinstance(id_, str) or not id_:
        raise ServiceAway("a reply without an id", may_have_arrived=True)
    return id_


def _text_of(value: object) -> str:
    return value if isinstance(value, str) else ""


def _seconds_of(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def _counts_in(value: object) -> dict[str, int]:
    return {name: count for name, count in value.items() if type(count) is int} if isinstance(value, dict) else {}


def _usage_in(value: object) -> dict[str, int]:
    """Input and output tokens. Some servers send the names of both APIs, and zeros under one of them."""
    counts = _counts_in(value)
    given = max(counts.get("input_tokens", 0), counts.get("prompt_tokens", 0))
    answered = max(counts.get("output_tokens", 0), counts.get("completion_tokens", 0))
    return {"input": given, "output": answered} if given or answered else {}


def _errors_in(errors: object) -> list[dict[str, Any]]:
    found = errors.get("data") if isinstance(errors, dict) else errors
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _hours_in(window: str) -> int:
    """`24h` or `7d` as a number of hours."""
    number = int("".join(each for each in window if each.isdigit()) or 24)
    return number * 24 if window.endswith("d") else number
