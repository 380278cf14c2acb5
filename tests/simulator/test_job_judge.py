"""The official packages as judges of jobs and object storage: `tos` and `volcenginesdkark` find what they expect."""

import asyncio
import time

import pytest

pytest.importorskip("tos", reason="the official package is not installed: pip install -e '.[judge]'")

import tos
from judge import here, home
from tos.auth import Auth, _canonical_request

from arkbatch.core.secret import Access, Secret
from arkbatch.simulator.settings import ACCESS_KEY
from arkbatch.transport.tos_bucket import open_object_store

__all__ = ["here", "home"]  # fixtures


def storage(site, secret=ACCESS_KEY[1]):
    """As for a domain of one's own: the package would put the bucket before 127.0.0.1."""
    return tos.TosClientV2(
        ACCESS_KEY[0],
        secret,
        site.url.removesuffix("/api/v3"),
        "cn-beijing",
        max_retry_count=0,
        dns_cache_time=0,
        enable_crc=False,
        is_custom_domain=True,
    )


def test_the_official_package_puts_and_gets_objects(here):
    client = storage(here)
    client.put_object("bucket", "bucket/folder/in.jsonl", content=b"one\ntwo\n")
    assert client.get_object("bucket", "bucket/folder/in.jsonl").read() == b"one\ntwo\n"
    client.delete_object("bucket", "bucket/folder/in.jsonl")
    with pytest.raises(tos.exceptions.TosServerError) as caught:
        client.get_object("bucket", "bucket/folder/in.jsonl")
    assert caught.value.code == "NoSuchKey"


def test_a_wrong_secret_is_found_out(here):
    with pytest.raises(tos.exceptions.TosServerError) as caught:
        storage(here, "another").put_object("bucket", "bucket/k", content=b"x")
    assert caught.value.code == "SignatureDoesNotMatch"


def test_arkbatch_signs_as_the_official_package_does(here, tmp_path):
    """The same request, signed by the package: its signature must be the one that arkbatch sent."""
    (tmp_path / "in.jsonl").write_bytes(b"{}\n")
    root = here.url.removesuffix("/api/v3")
    access = Access(Secret(ACCESS_KEY[0]), Secret(ACCESS_KEY[1]), root, storage=root, region="cn-beijing")

    async def put():
        async with open_object_store(access, "bucket", time.time, 5.0) as store:
            return (await store.put_object("ein ~ key.jsonl", tmp_path / "in.jsonl")).status

    assert asyncio.run(put()) == 200
    sent = here.tap.requests[-1]
    headers = {name.lower(): value for name, value in dict(sent.headers).items()}
    auth = Auth(*ACCESS_KEY, "cn-beijing")
    auth.credential = auth.credentials_provider.get_credentials()

    class Request:
        method, path, params = "PUT", "/bucket/ein ~ key.jsonl", {}

    Request.headers = {name: headers[name] for name in ("host", "content-type", "x-tos-date", "x-tos-content-sha256")}
    signed = sorted(Request.headers.items())
    date = headers["x-tos-date"]
    signature = auth._signature(auth._string_to_sign(_canonical_request(Request, signed), date), date)
    assert headers["authorization"] == auth._inject_signature_to_request(signature, date, signed)


def test_the_official_package_creates_and_lists_jobs(here):
    ark = pytest.importorskip("volcenginesdkark")
    core = pytest.importorskip("volcenginesdkcore")
    storage(here).put_object(
        "bucket", "bucket/in.jsonl", content=b'{"custom_id":"1","body":{"messages":[{"role":"user","content":"a"}]}}\n'
    )
    configuration = core.Configuration()
    configuration.ak, configuration.sk = ACCESS_KEY
    configuration.region, configuration.auto_retry = "cn-beijing", False
    configuration.host, configuration.scheme = here.url.removeprefix("http://").removesuffix("/api/v3"), "http"
    api = ark.ARKApi(core.ApiClient(configuration))
    made = api.create_batch_inference_job(
        ark.CreateBatchInferenceJobRequest(
            name="night",
            completion_window="1d",
            model_reference=ark.ModelReferenceForCreateBatchInferenceJobInput(
                foundation_model=ark.FoundationModelForCreateBatchInferenceJobInput("251015", "doubao-seed-1-6")
            ),
            input_file_tos_location=ark.InputFileTosLocationForCreateBatchInferenceJobInput("bucket", "in.jsonl"),
            output_dir_tos_location=ark.OutputDirTosLocationForCreateBatchInferenceJobInput("bucket", "out/"),
        )
    )
    listed = api.list_batch_inference_jobs(ark.ListBatchInferenceJobsRequest(page_number=1, page_size=10))
    [job] = listed.items
    assert (job.id, job.name, job.request_counts.total) == (made.id, "night", 1)
    assert job.status.phase == "Completed"
    assert storage(here).get_object("bucket", f"bucket/out/{job.id}/output/results.jsonl").read().count(b"\n") == 1
