"""Ark's batch inference jobs as a batch service: files in TOS, signed calls.

A file's id is its key in the bucket. One job at a time may be active for a key, and the refusal of a second one names
the first, which is adopted. Nothing of this was tried on the real service: actions, fields and phases are those of
volcenginesdkark 5.0.54 and of Ark's pages of 2025-12-19; what stands in neither is marked with "unverified".
"""

import re
from collections.abc import AsyncIterator, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from arkbatch.batch_jobs.provider_forms import FAILED, Form
from arkbatch.batch_jobs.reply_objects import object_in, seconds_of, table_in, text_of
from arkbatch.batch_jobs.service import BatchOrder, BatchState, RemoteFile, ServiceAway, ServiceRefused, checked_reply
from arkbatch.core.job import Job
from arkbatch.protocol.error_body import one_line
from arkbatch.transport.batch_http import HttpReply
from arkbatch.transport.control_plane import ControlPlane
from arkbatch.transport.tos_bucket import ObjectStoreHttp

_PAGE = 100
_MOST_PAGES = 1000
_CLOCK_STEP_SECONDS = 60.0
_JOB_ID = re.compile(r"bi-\d{14}-\w+")
_VERSION = re.compile(r"(.+)-(\d{6})")
_BAD_LINE = re.compile(r"第\s*(\d+)\s*行|line (\d+)", re.IGNORECASE)  # "第361行非json数据"
_LONGEST_NAME = 60  # unverified


class ArkJobService:
    """Jobs of one account over files in one bucket."""

    def __init__(self, control: ControlPlane, store: ObjectStoreHttp, form: Form, job: Job) -> None:
        self._control = control
        self._store = store
        self._form = form
        self._bucket = job.files.bucket
        self._folder = job.files.prefix.strip("/")
        self._project = job.project

    async def upload_file(self, file: Path, name: str, keep_seconds: int) -> RemoteFile:
        del keep_seconds  # how long objects live is a rule of the bucket
        key = self._key_of(name)
        reply = checked_reply(await self._store.put_object(key, file))
        return RemoteFile(key, name, None, _time_of_header(reply))

    def _key_of(self, name: str) -> str:
        return f"{self._folder}/{name}" if self._folder else name

    async def list_files(self, prefix: str) -> AsyncIterator[RemoteFile]:
        after, folder = "", self._key_of("")
        for _ in range(_MOST_PAGES):
            page = object_in(checked_reply(await self._store.list_keys(self._key_of(prefix), after)))
            for item in page.get("Contents") or ():
                if isinstance(item, dict) and isinstance(key := item.get("Key"), str):
                    size = item.get("Size")
                    made = seconds_of(item.get("LastModified"))
                    yield RemoteFile(key, key.removeprefix(folder), size if type(size) is int else None, made)
            after = page.get("NextContinuationToken") or ""
            if not page.get("IsTruncated") or not after:
                return

    async def order_batch(self, order: BatchOrder) -> BatchState:
        body = {
            "Name": order.name.removesuffix(".jsonl")[:_LONGEST_NAME],
            "ModelReference": _reference_of(order.model),
            "InputFileTosLocation": self._place_of(order.file_id),
            "OutputDirTosLocation": self._place_of(self._key_of("output/")),
            "CompletionWindow": order.window,
            "Tags": [
                {"Key": "arkbatch_run", "Value": order.run_id},
                {"Key": "arkbatch_parcel", "Value": str(order.parcel)},
            ],
            **self._in_project(),
        }
        try:
            result = await self._call_action("CreateBatchInferenceJob", body)
        except ServiceRefused as refused:
            active = await self._active_job(refused, order.file_id)
            if active is None:
                raise
            return active
        id_ = result.get("Id")
        if not isinstance(id_, str) or not id_:
            raise ServiceAway("a reply without an id", may_have_arrived=True)
        return BatchState(id_, self._form.state_of_word("Queued"), "Queued", order.file_id)

    def _place_of(self, key: str) -> dict[str, str]:
        return {"BucketName": self._bucket, "ObjectKey": key}

    def _in_project(self) -> dict[str, str]:
        return {"ProjectName": self._project} if self._project else {}

    async def _active_job(self, refused: ServiceRefused, key: str) -> BatchState | None:
        """The job that a refusal names, if it works on this file."""
        for id_ in _JOB_ID.findall(refused.reason):
            state = await self.look_at_batch(id_)
            if state.input_file_id == key:
                return state
        return None

    async def list_batches(self, since: float) -> AsyncIterator[BatchState]:
        for number in range(1, _MOST_PAGES):
            body = {
                "PageNumber": number,
                "PageSize": _PAGE,
                "SortBy": "CreateTime",
                "SortOrder": "Desc",
                **self._in_project(),
            }
            items = _items_in(await self._call_action("ListBatchInferenceJobs", body))
            for item in items:
                yield self._state_of(item)
            oldest = min((made for item in items if (made := seconds_of(item.get("CreateTime")))), default=0.0)
            if len(items) < _PAGE or (since and oldest and oldest < since - _CLOCK_STEP_SECONDS):
                return

    async def look_at_batch(self, batch_id: str) -> BatchState:
        """By the list with a filter: the SDK has no call for a single job."""
        body = {"PageNumber": 1, "PageSize": 10, "Filter": {"Ids": [batch_id]}, **self._in_project()}
        items = _items_in(await self._call_action("ListBatchInferenceJobs", body))
        found = next((item for item in items if item.get("Id") == batch_id), None)
        if found is None:
            raise ServiceRefused(404, "NotFound", f"there is no job {batch_id}")
        return self._state_of(found)

    async def cancel_batch(self, batch_id: str) -> None:
        try:
            await self._call_action("StopBatchInferenceJob", {"Id": batch_id})
        except ServiceRefused as refused:
            if refused.status not in {400, 404, 409}:  # it has ended meanwhile, which the next look shows
                raise

    async def fetch_file(self, file_id: str, target: Path) -> None:
        fresh = target.with_name(target.name + ".new")
        start = fresh.stat().st_size if fresh.exists() else 0
        reply = await self._store.get_object(file_id, fresh, start)
        if not (isinstance(reply, HttpReply) and reply.status == 416):  # else all of it was there already
            checked_reply(reply)
        fresh.touch()
        fresh.replace(target)

    async def delete_file(self, file_id: str) -> None:
        try:
            checked_reply(await self._store.delete_object(file_id))
        except ServiceRefused as refused:
            if refused.status not in {403, 404, 405}:
                raise

    async def _call_action(self, action: str, body: Mapping[str, Any]) -> dict[str, Any]:
        parsed = object_in(checked_reply(await self._control.ask_once(action, body)))
        result = parsed.get("Result")
        return result if isinstance(result, dict) else {}

    def _state_of(self, item: dict[str, Any]) -> BatchState:
        status = table_in(item, "Status")
        word, said = text_of(status.get("Phase")), one_line(text_of(status.get("Message")))
        counts = table_in(item, "RequestCounts")
        named = {"total": "Total", "completed": "Completed", "failed": "Failed"}
        numbers = {name: count for name, key in named.items() if type(count := counts.get(key)) is int}
        tags = [tag for tag in item.get("Tags") or () if isinstance(tag, dict)]
        id_, state = text_of(item.get("Id")), self._form.state_of_word(word)
        line = _BAD_LINE.search(said) if state == FAILED else None
        return BatchState(
            id=id_,
            state=state,
            word=word,
            input_file_id=text_of(table_in(item, "InputFileTosLocation").get("ObjectKey")),
            output_id=_output_of(item, "output/results.jsonl", numbers.get("completed", int(state != FAILED))),
            error_id=_output_of(item, "error/errors.jsonl", numbers.get("failed", 0)),
            counts=numbers,
            created_at=seconds_of(item.get("CreateTime")),
            expires_at=seconds_of(item.get("ExpireTime")),
            reason=said if state == FAILED else "",
            bad_lines={int(line[1] or line[2]): said} if line else {},
            metadata={text_of(tag.get("Key")): tag.get("Value") for tag in tags},
        )


def _output_of(item: Mapping[str, Any], name: str, rows: int) -> str:
    """The key of a file of answers, "" when the job counts none for it. Either file may be missing."""
    folder = text_of(table_in(item, "OutputDirTosLocation").get("ObjectKey")).rstrip("/")
    return f"{folder}/{text_of(item.get('Id'))}/{name}" if rows else ""


def _reference_of(model: str) -> dict[str, Any]:
    """How a job names a model: `doubao-seed-1-6-251015` is version 251015 of doubao-seed-1-6."""
    if model.startswith("cm-"):
        return {"CustomModelId": model}
    found = _VERSION.fullmatch(model)
    named = {"Name": found[1], "ModelVersion": found[2]} if found else {"Name": model}
    return {"FoundationModel": named}


def _items_in(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [item for item in result.get("Items") or () if isinstance(item, dict)]


def _time_of_header(reply: HttpReply) -> float:
    """What the clock of the storage says, 0 when it does not tell."""
    try:
        return parsedate_to_datetime(reply.headers.get("date", "")).timestamp()
    except (ValueError, TypeError):
        return 0.0
