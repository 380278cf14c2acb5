"""Runs that connect otherwise than with an API key, against the simulator."""

from contextlib import asynccontextmanager

import pytest
from runs import ended, numbered, prompts
from servers import Raw, served, whole
from virtual import run_virtual

from arkbatch.config.resolve import resolve_job, resolve_retry
from arkbatch.core.errors import UsageError
from arkbatch.core.job import job_tables
from arkbatch.simulator.server import Counters, Settings, serve
from arkbatch.simulator.settings import ACCESS_KEY

EP = "ep-20260101000000-abcde"
ACCESS = {"VOLC_ACCESSKEY": ACCESS_KEY[0], "VOLC_SECRETKEY": ACCESS_KEY[1]}


@asynccontextmanager
async def job_at(folder, environ=ACCESS, rows=3, *, settings=(), **flags):
    path = prompts(folder, *numbered(rows))
    counters = Counters()
    async with serve(Settings(**dict(settings)), counters=counters) as url:
        environ = {"ARK_CONTROL_PLANE": url.removesuffix("/api/v3"), **environ}
        yield (
            resolve_job(str(path), {"model": EP, "base_url": url, "concurrency": 4, **flags}, environ, folder),
            counters,
        )


def ran(folder, *how, **more):
    async def main():
        async with job_at(folder, *how, **more) as (job, counters):
            return await ended(job), counters

    return run_virtual(main())


def test_rows_go_out_under_one_key_that_was_bought_with_the_access_key(tmp_path):
    summary, _ = ran(tmp_path, rows=20, settings={"keys": ("only-this-one",), "key_rpm": 1})
    assert (summary.succeeded, summary.failed, summary.halt) == (20, 0, None)


def test_neither_key_nor_secret_is_written_anywhere(tmp_path):
    ran(tmp_path)
    files = [file for file in (tmp_path / "in.run").iterdir() if file.is_file()]
    assert len(files) > 3
    for secret in (*ACCESS_KEY, "sim-temporary"):
        assert [file.name for file in files if secret.encode() in file.read_bytes()] == []


@pytest.mark.parametrize(
    ("environ", "settings", "said"),
    [
        ({"VOLC_SECRETKEY": "wrong"}, {}, "VOLC_SECRETKEY"),
        ({"VOLC_ACCESSKEY": "AKLTnobody"}, {}, "VOLC_ACCESSKEY"),
        ({}, {"powerless": (ACCESS_KEY[0],)}, "grant ArkFullAccess"),
    ],
)
def test_what_waiting_does_not_mend_halts_the_run_with_what_to_do_and_the_rows_stay_undone(
    tmp_path, environ, settings, said
):
    summary, _ = ran(tmp_path, {**ACCESS, **environ}, settings=settings)
    assert (summary.ending, summary.left, summary.failed) == ("halted", 3, 0)
    assert said in summary.halt.message + summary.halt.advice
    assert ACCESS_KEY[0] not in summary.halt.message


def test_a_plain_model_id_needs_its_project_and_says_so_before_the_first_call(tmp_path):
    with pytest.raises(UsageError, match=r"doubao-seed.*--project.*ep-.*ARK_API_KEY"):
        ran(tmp_path, model="doubao-seed-1-6-251015")
    summary, _ = ran(tmp_path, model="doubao-seed-1-6-251015", project="nightly")
    assert summary.succeeded == 3


def test_a_row_that_names_a_plain_model_halts_with_the_same_advice(tmp_path):
    async def main():
        async with job_at(tmp_path, rows=0) as (job, _):
            prompts(tmp_path, {"prompt": "a", "model": "doubao-seed-1-6-251015"})
            return await ended(job)

    assert "name its project" in run_virtual(main()).halt.message


def test_an_api_key_wins_over_an_access_key(tmp_path):
    path = prompts(tmp_path, {"prompt": "a"})
    job = resolve_job(str(path), {"model": EP}, {"ARK_API_KEY": "k", **ACCESS}, tmp_path)
    assert (job.api_key.reveal(), job.access) == ("k", None)


def test_without_an_api_key_the_access_key_is_for_ark_alone(tmp_path):
    path = str(prompts(tmp_path, {"prompt": "a"}))
    assert resolve_job(path, {"model": EP}, ACCESS, tmp_path).access.control_plane == "https://open.volcengineapi.com"
    assert resolve_job(path, {"model": EP, "base_url": "http://127.0.0.1:1"}, ACCESS, tmp_path).access is None
    assert resolve_job(path, {"model": EP, "simulate": True}, ACCESS, tmp_path).access is None
    with pytest.raises(UsageError, match=r"no API key for https://elsewhere\.example"):
        resolve_job(path, {"model": EP, "base_url": "https://elsewhere.example/v1"}, ACCESS, tmp_path)


def test_half_an_access_key_is_none(tmp_path):
    path = str(prompts(tmp_path, {"prompt": "a"}))
    with pytest.raises(UsageError, match="VOLC_ACCESSKEY is set and VOLC_SECRETKEY is not"):
        resolve_job(path, {"model": EP}, {"VOLC_ACCESSKEY": "AK"}, tmp_path)


def test_a_server_on_this_machine_that_wants_a_key_is_not_given_that_of_another_and_the_user_is_told(tmp_path):
    summary, _ = ran(tmp_path, {"ARK_API_KEY": "for-ark"}, settings={"keys": ("for-ark",)})
    assert (summary.left, summary.halt.kind) == (3, "auth")
    assert "wants an API key and got none" in summary.halt.message


def test_headers_and_query_of_a_job_go_out_and_its_secrets_reach_no_file(tmp_path):
    """Also those of a retry, which finds them by the names in `run.json`."""
    secret = "gateway-token-0123"
    server = Raw(whole(b'{"error":{"message":"you sent %s"}}' % secret.encode(), b"HTTP/1.1 400 Bad\r\n"))
    prompts(tmp_path, {"prompt": "a"})
    text = 'input = "in.jsonl"\nmodel = "m"\nheaders.api-key = "env:TOKEN"\nquery.v = "7"\nbase_url = "{}?w=8"\n'
    environ = {"TOKEN": secret, "ARK_API_KEY": "sk-of-ark-0123"}

    async def main():
        async with served(server) as url:
            (tmp_path / "job.toml").write_text(text.format(url))
            job = resolve_job("job.toml", {}, environ, tmp_path)
            await ended(job)
            again = resolve_retry(job_tables(job), {}, environ, [tmp_path], input_path=job.input, run_dir=job.run_dir)
            return job, again

    job, again = run_virtual(main())
    assert again.additions == job.additions
    head = server.heard[0][0]
    assert head.startswith("POST /v1/chat/completions?w=8&v=7 HTTP/1.1\r\n")
    assert f"\r\napi-key: {secret}\r\n" in head
    assert "authorization" not in head.lower()
    files = [file for file in (tmp_path / "job.run").rglob("*") if file.is_file()]
    assert len(files) > 3
    assert [file.name for file in files if secret.encode() in file.read_bytes()] == []
