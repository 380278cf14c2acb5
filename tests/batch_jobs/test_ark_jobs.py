"""What only Ark's batch inference jobs over files in TOS have; `test_batch_session` shows what both lanes share."""

import asyncio

import orjson
import pytest
from batch_runs import MODEL, batched, check_all_recorded, parcels_of, rows
from msgspec.structs import replace
from runs import job_of, prompts
from sessions import failures, results

from arkbatch.batch_jobs.ark_job_service import ArkJobService
from arkbatch.batch_jobs.provider_forms import all_forms
from arkbatch.batch_jobs.service import BatchOrder, ServiceRefused
from arkbatch.cli.cancel import lanes_to_cancel
from arkbatch.core.errors import RunDirectoryError
from arkbatch.core.job_sections import Files
from arkbatch.protocol.endpoints.batch_lane import wrong_lane
from arkbatch.transport.batch_http import HttpReply


@pytest.fixture
def job(tmp_path):
    return lambda lines, **changes: replace(job_of(prompts(tmp_path, *lines)), lane="job", **changes)


def objects(ended):
    folder = ended.batches.store.folder / "objects/b"
    return sorted(path.name.replace("%", "/") for path in folder.iterdir())


def test_the_bucket_is_empty_at_the_end(job):
    asked = job(rows(8), files=Files(rows=4))
    ended = batched(asked, batch_seconds=60, batch_store=asked.run_dir + "-store")
    check_all_recorded(asked, ended, 8)
    assert objects(ended) == []


def test_files_are_kept_in_the_bucket_on_request(job):
    asked = job(rows(4), files=Files(keep_remote=True, prefix="night/runs"))
    ended = batched(asked, batch_seconds=60, batch_store=asked.run_dir + "-store")
    assert objects(ended)[0].startswith("night/runs/arkbatch-")
    assert len(objects(ended)) == 2


def test_a_lost_reply_to_the_creation_of_a_job_makes_no_second_one(job):
    asked = job(rows(12), files=Files(rows=4))
    ended = batched(asked, batch_seconds=60, batch_faults={"lost_create": 0.8})
    check_all_recorded(asked, ended, 12)
    assert ended.batches.calls["create"] == 3
    assert ended.batches.faults["lost_create"]


def test_embeddings_travel_in_jobs_and_responses_do_not(job):
    lines = [{"model": "doubao-embedding-large-text-250515", "input": "row 1"}]
    lines += [{"model": MODEL, "input": "row 2", "max_output_tokens": 9}, *rows(1)]
    asked = job(lines)
    batched(asked, batch_seconds=60)
    [failed] = failures(asked)
    assert (failed["row"], failed["error"]["kind"]) == (2, "bad_row")
    assert {line["endpoint"] for line in results(asked)} == {"chat", "embeddings"}


def test_images_in_the_row_itself_are_refused_since_a_job_takes_only_addresses_of_tos(job):
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    asked = job([{"model": MODEL, "messages": [{"role": "user", "content": [part]}]}, *rows(1)])
    batched(asked, batch_seconds=60)
    [failed] = failures(asked)
    assert "TOS" in failed["error"]["message"]


def test_a_wrong_secret_halts_at_once_with_the_reason(job):
    asked = job(rows(4))
    ended = batched(asked, access_keys={"AKLTsimulated": "another"})
    assert (ended.summary.ending, ended.batches.calls["create"]) == ("halted", 0)
    assert "SignatureDoesNotMatch" in ended.summary.halt.code


def test_an_endpoint_id_is_no_model_of_a_job():
    assert "model id" in wrong_lane("ep-20260101000000-abcde", "job")
    assert wrong_lane(MODEL, "job") is None


# ---- what the calls make of replies


class Control:
    """Scripted replies by action."""

    def __init__(self, **replies):
        self.replies, self.asked = replies, []

    async def ask_once(self, action, body):
        self.asked.append((action, body))
        status, reply = self.replies[action]
        return HttpReply(status, orjson.dumps(reply), {})


def service_with(tmp_path, **replies):
    job = replace(job_of(prompts(tmp_path, *rows(1))), files=Files(bucket="b"), project="p")
    control = Control(**replies)
    return ArkJobService(control, None, all_forms()["ark-job"], job), control


def item(**changes):
    place = {"BucketName": "b", "ObjectKey": "k"}
    status = {"Phase": "Running", "Message": ""}
    return {"Id": "bi-20260101000000-abcde", "InputFileTosLocation": place, "Status": status} | changes


def refusal(message):
    error = {"Code": "OperationDenied", "Message": message}
    return 400, {"ResponseMetadata": {"RequestId": "r", "Error": error}}


def order_of(model=MODEL):
    return BatchOrder("k", "", model, "1d", "run", 1, "arkbatch-run-p0001-abc.jsonl")


def test_the_active_job_that_a_refusal_names_is_adopted(tmp_path):
    listed = 200, {"Result": {"Items": [item()]}}
    said = refusal("The job bi-20260101000000-abcde is active for this object.")
    service, _ = service_with(tmp_path, CreateBatchInferenceJob=said, ListBatchInferenceJobs=listed)
    assert asyncio.run(service.order_batch(order_of())).id == "bi-20260101000000-abcde"


def test_a_job_of_another_file_that_a_refusal_names_is_not(tmp_path):
    other = item(InputFileTosLocation={"BucketName": "b", "ObjectKey": "other"})
    listed = 200, {"Result": {"Items": [other]}}
    said = refusal("The quota is used up, see bi-20260101000000-abcde.")
    service, _ = service_with(tmp_path, CreateBatchInferenceJob=said, ListBatchInferenceJobs=listed)
    with pytest.raises(ServiceRefused, match="quota"):
        asyncio.run(service.order_batch(order_of()))


@pytest.mark.parametrize(
    ("model", "reference"),
    [
        (MODEL, {"FoundationModel": {"Name": "doubao-seed-1-6", "ModelVersion": "251015"}}),
        ("my-model", {"FoundationModel": {"Name": "my-model"}}),
        ("cm-20260101-abc", {"CustomModelId": "cm-20260101-abc"}),
    ],
)
def test_a_model_id_is_named_as_jobs_have_it(tmp_path, model, reference):
    service, control = service_with(tmp_path, CreateBatchInferenceJob=(200, {"Result": {"Id": "bi-1"}}))
    asyncio.run(service.order_batch(order_of(model)))
    assert control.asked[0][1]["ModelReference"] == reference
    assert control.asked[0][1]["ProjectName"] == "p"


def test_phases_times_and_counts_are_read_and_a_phase_that_nobody_knows_is_waited_for(tmp_path):
    counts = {"Total": 4, "Completed": 3, "Failed": 1}
    found = item(
        Status={"Phase": "Terminated"},
        RequestCounts=counts,
        OutputDirTosLocation={"ObjectKey": "out/"},
        CreateTime="2026-01-01T00:00:00Z",
        ExpireTime="2026-01-02T00:00:00",
    )
    service, _ = service_with(tmp_path, ListBatchInferenceJobs=(200, {"Result": {"Items": [found]}}))
    state = asyncio.run(service.look_at_batch("bi-20260101000000-abcde"))
    assert (state.state, state.counts["failed"]) == ("cancelled", 1)
    assert state.output_id == "out/bi-20260101000000-abcde/output/results.jsonl"
    assert (state.created_at, state.expires_at) == (1767225600.0, 0.0), "a time without a zone is not guessed"
    service, _ = service_with(
        tmp_path, ListBatchInferenceJobs=(200, {"Result": {"Items": [item(Status={"Phase": "Initializing"})]}})
    )
    assert not asyncio.run(service.look_at_batch("bi-20260101000000-abcde")).has_ended


def test_batches_of_another_lane_are_left_alone_and_cancelled_on_their_own(job):
    asked = job(rows(8), files=Files(rows=4))
    batched(asked, {"detach": True}, batch_seconds=600)
    with pytest.raises(RunDirectoryError, match="were ordered with --lane job"):
        batched(replace(asked, lane="files"), batch_seconds=600)
    parcels = parcels_of(asked).open_parcels
    assert lanes_to_cancel(parcels) == {"job": {1, 2}}
    files = [replace(each, cut=replace(each.cut, form="openai")) for each in parcels[:1]]
    assert lanes_to_cancel([*files, *parcels[1:]]) == {"files": {1}, "job": {2}}
