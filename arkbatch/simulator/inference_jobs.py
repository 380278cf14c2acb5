"""Batch inference jobs of the simulated control plane.

A job is worked out as a batch of the same rows is, with the same faults; its answers are put into the bucket when it
has ended. One job at a time may be active for an object, as Ark has it.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from msgspec import Struct

from arkbatch.simulator.batch_routes import BatchRoutes
from arkbatch.simulator.control_actions import Action, Body, ControlError, Result, missing_parameter, wrong_parameter
from arkbatch.simulator.object_routes import ObjectRoutes
from arkbatch.simulator.stored_batch import ENDED, Batch

_PHASES = {
    "validating": "Queued",
    "in_progress": "Running",
    "crunching": "Crunching",
    "cancelling": "Terminating",
    "completed": "Completed",
    "failed": "Failed",
    "expired": "Terminated",
    "cancelled": "Terminated",
}
_DAY = 86_400
_MOST_ON_A_PAGE = 100
_CHAT = "/v1/chat/completions"


class _Location(Struct, frozen=True):
    bucket: str
    key: str


class InferenceJobs:
    """The actions of the control plane that concern jobs. What was asked is kept with the batch, as its metadata."""

    def __init__(self, batches: BatchRoutes, objects: ObjectRoutes, wall: Callable[[], float]) -> None:
        self._batches = batches
        self._store = batches.store
        self._objects = objects
        self._wall = wall

    @property
    def actions(self) -> Mapping[str, Action]:
        return {
            "CreateBatchInferenceJob": self._create_job,
            "ListBatchInferenceJobs": self._list_jobs,
            "StopBatchInferenceJob": self._stop_job,
        }

    def loses_reply(self, action: str) -> bool:
        """Whether the reply to an action is lost that was carried out."""
        return action == "CreateBatchInferenceJob" and self._batches.strikes("lost_create")

    def _create_job(self, body: Body, now: float) -> Result | ControlError:
        place, folder = _location_in(body, "InputFileTosLocation"), _location_in(body, "OutputDirTosLocation")
        model = _model_in(body.get("ModelReference"))
        if place is None or folder is None:
            return missing_parameter("InputFileTosLocation" if place is None else "OutputDirTosLocation")
        if not model or not body.get("Name"):
            return missing_parameter("Name" if model else "ModelReference")
        source = self._objects.path_of(place.bucket, place.key)
        if not source.is_file():
            return ControlError(400, None, "OperationDenied.InputFileTosLocation", "The input file does not exist.")
        for batch in self._all_jobs():
            if _asked_of(batch)["key"] == place.key and self._looked_at(batch).status not in ENDED:
                said = f"The batch inference job {_asked_of(batch)['id']} is active for the object {place.key}."
                return ControlError(400, None, "OperationDenied.DuplicateJob", said)
        file_id, bad_lines = self._store.new_id("file"), list[int]()
        with source.open("rb") as read, self._store.path_of(file_id).open("wb") as write:
            endpoint = ""
            for number, line in enumerate(read, 1):
                if line.isspace():
                    continue
                try:
                    parsed = orjson.loads(line)
                    endpoint = endpoint or _endpoint_of(parsed["body"])
                    whole = parsed | {"url": endpoint, "body": {"model": model, **parsed["body"]}}
                except (orjson.JSONDecodeError, KeyError, TypeError):
                    bad_lines.append(number)
                    continue
                write.write(orjson.dumps(whole) + b"\n")
        self._store.add_file(file_id, place.key, "job")
        id_ = f"bi-{datetime.fromtimestamp(now, UTC):%Y%m%d%H%M%S}-{self._store.state.count:05x}"
        asked = {
            "id": id_,
            "name": str(body["Name"]),
            "bucket": place.bucket,
            "key": place.key,
            "folder": folder.key,
            "tags": orjson.dumps(body.get("Tags") or []).decode(),
        }
        batch = self._store.create_batch(file_id, endpoint or _CHAT, str(body.get("CompletionWindow")), asked)
        batch.errors += [{"code": "", "message": "非json数据", "line": number} for number in bad_lines]
        self._batches.calls["create"] += 1
        return {"Id": id_}

    def _all_jobs(self) -> list[Batch]:
        return [batch for batch in self._store.state.batches.values() if (batch.metadata or {}).get("bucket")]

    def _looked_at(self, batch: Batch) -> Batch:
        """The job as it stands, with its answers in the bucket once it has ended."""
        looked = self._store.find_batch(batch.id) or batch
        asked = _asked_of(looked)
        for file_id, name in (
            (looked.output_file_id, "output/results.jsonl"),
            (looked.error_file_id, "error/errors.jsonl"),
        ):
            if file_id and file_id in self._store.state.files:
                target = self._objects.path_of(asked["bucket"], f"{asked['folder'].rstrip('/')}/{asked['id']}/{name}")
                target.parent.mkdir(parents=True, exist_ok=True)
                self._store.path_of(file_id).replace(target)
                self._store.delete_file(file_id)
        return looked

    def _list_jobs(self, body: Body, now: float) -> Result | ControlError:
        del now
        chosen = body.get("Filter") or {}
        size, number = body.get("PageSize", 10), body.get("PageNumber", 1)
        if not isinstance(size, int) or not 0 < size <= _MOST_ON_A_PAGE or not isinstance(number, int):
            return wrong_parameter(f"PageSize is at most {_MOST_ON_A_PAGE}")
        ids = chosen.get("Ids")
        found = [batch for batch in reversed(self._all_jobs()) if not ids or _asked_of(batch)["id"] in ids]
        page = found[(number - 1) * size : number * size]
        return {
            "Items": [self._item_of(self._looked_at(batch)) for batch in page],
            "TotalCount": len(found),
            "PageNumber": number,
            "PageSize": size,
        }

    def _stop_job(self, body: Body, now: float) -> Result | ControlError:
        del now
        batch = next((batch for batch in self._all_jobs() if _asked_of(batch)["id"] == body.get("Id")), None)
        if batch is None:
            return ControlError(404, None, "NotFound.BatchInferenceJob", "The job does not exist.")
        if self._looked_at(batch).status in ENDED:
            return ControlError(400, None, "OperationDenied.Phase", "The job has ended.")
        self._store.cancel_batch(batch)
        return {}

    def _item_of(self, batch: Batch) -> dict[str, Any]:
        asked = _asked_of(batch)
        refused = f"第{batch.errors[0]['line']}行: {batch.errors[0]['message']}" if batch.errors else ""
        return {
            "Id": asked["id"],
            "Name": asked["name"],
            "InputFileTosLocation": {"BucketName": asked["bucket"], "ObjectKey": asked["key"]},
            "OutputDirTosLocation": {"BucketName": asked["bucket"], "ObjectKey": asked["folder"]},
            "CompletionWindow": batch.window,
            "Status": {"Phase": _PHASES[batch.status], "Message": refused, "PhaseTime": ""},
            "RequestCounts": {"Total": batch.rows, "Completed": batch.completed, "Failed": batch.failed},
            "CreateTime": _shown_time(batch.created_at),
            "UpdateTime": _shown_time(self._wall()),
            "ExpireTime": _shown_time(batch.created_at + _DAY),
            "Tags": orjson.loads(asked["tags"]),
        }


def _asked_of(batch: Batch) -> dict[str, str]:
    return batch.metadata or {}


def _location_in(body: Body, name: str) -> _Location | None:
    match body.get(name):
        case {"BucketName": str(bucket), "ObjectKey": str(key)} if bucket and key:
            return _Location(bucket, key)
    return None


def _model_in(reference: object) -> str:
    match reference:
        case {"FoundationModel": {"Name": str(name), "ModelVersion": str(version)}}:
            return f"{name}-{version}"
        case {"FoundationModel": {"Name": str(name)}} | {"CustomModelId": str(name)}:
            return name
    return ""


def _endpoint_of(body: Mapping[str, Any]) -> str:
    """The API that a row of a job is for, which its line does not say."""
    if "messages" in body:
        return _CHAT
    given = body.get("input")
    is_multimodal = isinstance(given, list) and bool(given) and isinstance(given[0], dict)
    return "/v1/embeddings/multimodal" if is_multimodal else "/v1/embeddings"


def _shown_time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
