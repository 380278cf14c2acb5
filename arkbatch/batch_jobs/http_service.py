"""Files and batches over HTTP at a provider of OpenAI's form."""

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from arkbatch.batch_jobs.provider_forms import Form
from arkbatch.batch_jobs.reply_objects import batch_of, file_of, id_of, object_in
from arkbatch.batch_jobs.service import (
    CUT_LIST,
    BatchOrder,
    BatchState,
    RemoteFile,
    ServiceAway,
    ServiceRefused,
    checked_reply,
)
from arkbatch.transport.batch_http import BatchHttp, HttpReply

_PAGE = 100
_MOST_PAGES = 1000
_CLOCK_STEP_SECONDS = 60.0  # providers stamp files and batches on different machines


class HttpBatchService:
    """A provider whose files and batches are spoken to as OpenAI's are."""

    def __init__(self, http: BatchHttp, form: Form) -> None:
        self._http = http
        self._form = form

    async def upload_file(self, file: Path, name: str, keep_seconds: int) -> RemoteFile:
        fields = {"purpose": self._form.purpose}
        if self._form.expires and keep_seconds:
            fields |= {"expires_after[anchor]": "created_at", "expires_after[seconds]": str(keep_seconds)}
        sent = file_of(object_in(checked_reply(await self._http.upload("/files", fields, name, file))))
        if not sent.id:
            raise ServiceAway("the reply has no id of a file", may_have_arrived=True)
        return sent

    async def list_files(self, prefix: str) -> AsyncIterator[RemoteFile]:
        async for page in self._list_pages("/files", {"purpose": self._form.purpose}):
            for item in page:
                file = file_of(item)
                if file.name.startswith(prefix):
                    yield file

    async def order_batch(self, order: BatchOrder) -> BatchState:
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
        return self._batch_in(checked_reply(await self._http.send_json("POST", form.batches, body=body)))

    async def list_batches(self, since: float) -> AsyncIterator[BatchState]:
        async for page in self._list_pages(self._form.batches, {}):
            states = [batch_of(item, self._form) for item in page]
            for state in states:
                yield state
            if since and _is_older_from_here(states, since - _CLOCK_STEP_SECONDS):
                return

    async def look_at_batch(self, batch_id: str) -> BatchState:
        return self._batch_in(checked_reply(await self._http.send_json("GET", f"{self._form.batches}/{batch_id}")))

    async def cancel_batch(self, batch_id: str) -> None:
        try:
            checked_reply(await self._http.send_json("POST", f"{self._form.batches}/{batch_id}/cancel"))
        except ServiceRefused as refused:
            if refused.status not in {400, 404, 409, 410}:  # it has ended meanwhile, which the next look shows
                raise

    async def fetch_file(self, file_id: str, target: Path) -> None:
        fresh = target.with_name(target.name + ".new")
        start = fresh.stat().st_size if fresh.exists() else 0
        reply = await self._http.download(f"/files/{file_id}/content", fresh, start)
        if isinstance(reply, HttpReply) and reply.status == 416:  # all of it was there already
            reply = HttpReply(200, b"", reply.headers)
        checked_reply(reply)
        if not fresh.exists():
            fresh.touch()
        fresh.replace(target)

    async def delete_file(self, file_id: str) -> None:
        try:
            checked_reply(await self._http.send_json("DELETE", f"/files/{file_id}"))
        except ServiceRefused as refused:
            if refused.status not in {400, 403, 404, 405, 410}:
                raise

    async def _list_pages(self, path: str, params: Mapping[str, str]) -> AsyncIterator[Sequence[dict[str, Any]]]:
        """The items of a list, page by page; those without an id are passed over.

        ServiceRefused: the server has more, and gives the items that it gave before.
        """
        place: dict[str, str] = {"page": "0"} if self._form.numbered_pages else {}
        size = {"page_size" if self._form.numbered_pages else "limit": str(_PAGE)}
        seen: set[str] = set()
        for number in range(1, _MOST_PAGES):
            page = object_in(checked_reply(await self._http.send_json("GET", path, params={**size, **params, **place})))
            items = [item for item in page.get("data") or () if isinstance(item, dict) and id_of(item)]
            fresh = [item for item in items if id_of(item) not in seen]
            yield fresh
            seen |= {id_of(item) for item in fresh}
            if not _has_more(page, len(seen), len(items)):
                return
            if not fresh:
                said = f"the list {path} says that it goes on, and repeats what it gave before"
                raise ServiceRefused(200, CUT_LIST, said)
            place = {"page": str(number)} if self._form.numbered_pages else {"after": id_of(items[-1])}

    def _batch_in(self, reply: HttpReply) -> BatchState:
        state = batch_of(object_in(reply), self._form)
        if not state.id:
            raise ServiceAway("the reply has no id of a batch", may_have_arrived=True)
        return state


def _has_more(page: Mapping[str, Any], seen: int, on_page: int) -> bool:
    """Whether a list goes on behind this page, where the server says it or where the page is full."""
    total = page.get("total")
    if type(total) is int:
        return on_page > 0 and seen < total
    said = page.get("has_more")
    return said if isinstance(said, bool) else on_page >= _PAGE


def _is_older_from_here(states: Sequence[BatchState], since: float) -> bool:
    """Whether a list is sorted from new to old, as far as one sees, and what follows was made before that time."""
    times = [state.created_at for state in states]
    is_sorted = len(times) > 1 and times[0] > times[-1] > 0 and times == sorted(times, reverse=True)
    return is_sorted and times[-1] < since


def _hours_in(window: str) -> int:
    """`24h` or `7d` as a number of hours."""
    number = int("".join(each for each in window if each.isdigit()) or 24)
    return number * 24 if window.endswith("d") else number
