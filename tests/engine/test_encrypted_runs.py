"""Whole encrypted runs with a tap on the wire: whatever goes wrong, no prompt is among the bytes that left."""

import sys
import time

import orjson
import pytest
from msgspec.structs import replace
from runs import prompts
from sealed_runs import EP, ROW, SECRET, ran

pytest.importorskip("cryptography")

from arkbatch.config.resolve import resolve_job, resolve_retry
from arkbatch.core.errors import JobError, RunChanged, UsageError
from arkbatch.core.job import job_tables
from arkbatch.engine.retry_run import read_run
from arkbatch.simulator.encryption import Vault
from arkbatch.simulator.settings import ACCESS_KEY


def content(folder):
    line = orjson.loads((folder / "in.run/results.jsonl").read_bytes().splitlines()[0])
    return line["response"]["body"]["choices"][0]["message"]["content"]


@pytest.mark.parametrize("flags", [{}, {"stream": True}])
@pytest.mark.parametrize("settings", [{}, {"blobs": 3}])
def test_an_encrypted_run_gets_readable_answers_and_sends_no_readable_prompt(tmp_path, flags, settings):
    summary, heard = ran(tmp_path, settings=settings, **flags)
    assert (summary.succeeded, summary.failed) == (1, 0)
    assert " " in content(tmp_path)
    assert b"x-is-encrypted: true" in heard
    assert SECRET.encode() not in heard


def test_with_an_access_key_the_certificate_comes_from_the_control_plane(tmp_path):
    access = dict(zip(("VOLC_ACCESSKEY", "VOLC_SECRETKEY"), ACCESS_KEY, strict=True))
    summary, heard = ran(tmp_path, environ=access)
    assert summary.succeeded == 1
    assert b"Action=GetEndpointCertificate" in heard
    assert SECRET.encode() not in heard


@pytest.mark.parametrize("fault", ["reply_in_clear", "wrong_seal"])
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_in_clear_or_under_another_key_is_an_error_and_never_an_empty_success(tmp_path, fault, stream):
    summary, _ = ran(tmp_path, settings={"faults": {fault: 1.0}}, stream=stream)
    assert (summary.succeeded, summary.failures) == (0, {"bad_reply": 1})


UNSEALABLE = {
    "sound": {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": SECRET}}]}]},
    "an address that is none": {
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"tos://{SECRET}"}}]}]
    },
    "an embedding": {
        "custom_id": "e",
        "method": "POST",
        "url": "/v1/embeddings",
        "body": {"model": EP, "input": SECRET},
    },
}


@pytest.mark.parametrize("row", UNSEALABLE.values(), ids=UNSEALABLE)
def test_a_row_that_cannot_be_encrypted_fails_and_nothing_of_it_is_sent(tmp_path, row):
    summary, heard = ran(tmp_path, {"prompt": "a"}, row)
    assert (summary.succeeded, summary.failures) == (1, {"invalid_request": 1})
    assert SECRET.encode() not in heard
    assert b"NotEncryptable" in (tmp_path / "in.run/failures.jsonl").read_bytes()


def test_a_run_that_began_encrypted_does_not_go_on_in_clear_by_a_forgotten_flag(tmp_path):
    ran(tmp_path, ROW)
    with pytest.raises(RunChanged, match="encrypt"):
        ran(tmp_path, ROW, {"prompt": "b"}, encrypt=None)


def test_a_retry_is_encrypted_because_the_run_was(tmp_path):
    job = resolve_job(str(prompts(tmp_path, ROW)), {"model": EP, "encrypt": True}, {"ARK_API_KEY": "k"}, tmp_path)
    again = resolve_retry(
        job_tables(job), {}, {"ARK_API_KEY": "k"}, [tmp_path], input_path=job.input, run_dir=job.run_dir
    )
    assert again.encrypt
    assert replace(again, model=EP).confidential is False


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"base_url": "https://api.openai.com/v1"}, r"Ark's own, and https://api\.openai\.com"),
        ({"endpoint": "embeddings"}, "works for chat only"),
        ({"encrypt": None, "certificate": "a.pem"}, "give --encrypt as well"),
        ({"certificate": "absent.pem"}, r"--certificate absent\.pem cannot be read"),
    ],
)
def test_what_cannot_be_encrypted_is_refused_before_a_run_begins(tmp_path, flags, said):
    path = str(prompts(tmp_path, ROW))
    keys = {"ARK_API_KEY": "k", "OPENAI_API_KEY": "k"}
    with pytest.raises(UsageError, match=said):
        resolve_job(path, {"model": EP, "encrypt": True, **flags}, keys, tmp_path)


def pem(folder, name="own.pem"):
    """The simulator's certificate, as a file."""
    text = Vault(0, "good").make_certificate(time.time(), confidential=False)
    (folder / name).write_text(text)
    return text


CHOSEN = {
    "a flag": ({"certificate": "own.pem"}, {}),
    "the variable of the SDK": ({}, {"E2E_CERTIFICATE_PATH": "own.pem"}),
}


@pytest.mark.parametrize(("flags", "environ"), CHOSEN.values(), ids=CHOSEN)
def test_a_certificate_that_is_named_is_used_and_nobody_is_asked_for_one(tmp_path, flags, environ):
    pem(tmp_path)
    summary, heard = ran(tmp_path, settings={"certificate": "refused"}, environ=environ, **flags)
    assert summary.succeeded == 1
    assert b"certificate" not in heard


def test_a_job_file_may_name_it_relative_to_itself(tmp_path):
    prompts(tmp_path, ROW)
    text = pem(tmp_path)
    (tmp_path / "job.toml").write_text(f'input = "in.jsonl"\nmodel = "{EP}"\nencrypt = true\ncertificate = "own.pem"\n')
    assert resolve_job(str(tmp_path / "job.toml"), {}, {"ARK_API_KEY": "k"}, "/").certificate == text


def test_a_flag_goes_before_the_variable_and_that_before_the_job_file(tmp_path):
    prompts(tmp_path, ROW)
    (tmp_path / "job.toml").write_text('input = "in.jsonl"\nencrypt = true\nmodel = "m"\ncertificate = "c.pem"\n')
    texts = {name: pem(tmp_path, f"{name}.pem") + name for name in "abc"}
    for name, text in texts.items():
        (tmp_path / f"{name}.pem").write_text(text)
    environ = {"ARK_API_KEY": "k", "E2E_CERTIFICATE_PATH": "b.pem"}
    chosen = [
        resolve_job(str(tmp_path / "job.toml"), flags, said, tmp_path).certificate
        for flags, said in (({"certificate": "a.pem"}, environ), ({}, environ), ({}, {"ARK_API_KEY": "k"}))
    ]
    assert chosen == list(texts.values())


def test_a_retry_uses_the_certificate_of_the_run_though_its_file_is_gone(tmp_path):
    text = pem(tmp_path)
    ran(tmp_path, settings={"faults": {"refuse": 1.0}}, certificate="own.pem")
    (tmp_path / "own.pem").unlink()
    job = read_run(str(tmp_path / "in.run")).job
    where = {"input_path": "in.jsonl", "run_dir": "in.run"}
    assert resolve_retry(job, {}, {"ARK_API_KEY": "k"}, [tmp_path], **where).certificate == text
    other = tmp_path / "other.pem"
    other.write_text(text + "other")
    again = resolve_retry(job, {"certificate": str(other)}, {"ARK_API_KEY": "k"}, [tmp_path], **where)
    assert again.certificate == text + "other"


@pytest.mark.parametrize(
    ("flags", "environ", "said"),
    [
        ({"certificate": ""}, {}, "--certificate  cannot be read"),
        ({}, {"E2E_CERTIFICATE_PATH": "absent.pem"}, r"E2E_CERTIFICATE_PATH = absent\.pem cannot be read"),
        ({}, {"E2E_CERTIFICATE_PATH": "in.jsonl"}, "holds no certificate"),
        ({"encrypt": None}, {"VOLC_ARK_ENCRYPTION": "AICC"}, "the job is not encrypted"),
        ({"encrypt": None}, {"VOLC_ARK_ENCRYPTION": "acci"}, "is not a way to encrypt"),
    ],
)
def test_whoever_believes_to_be_protected_and_is_not_is_told_before_a_run_begins(tmp_path, flags, environ, said):
    path = str(prompts(tmp_path, ROW))
    with pytest.raises(UsageError, match=said):
        resolve_job(path, {"model": EP, "encrypt": True, **flags}, {"ARK_API_KEY": "k", **environ}, tmp_path)


@pytest.mark.parametrize("stream", [False, True])
def test_a_whole_run_in_confidential_computing(tmp_path, stream):
    summary, heard = ran(tmp_path, environ={"VOLC_ARK_ENCRYPTION": "AICC"}, stream=stream)
    assert (summary.succeeded, summary.failed) == (1, 0)
    assert " " in content(tmp_path)
    assert b'"type":"AICCv0.1"' in heard
    assert b'"Version": "AICCv0.1", "KeyID": "simulated-key", "RingID": "simulated-ring"' in heard
    assert SECRET.encode() not in heard


def test_without_the_library_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "arkbatch.transport.encrypting", raising=False)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    with pytest.raises(UsageError, match=r"pip install 'arkbatch\[seal\]'"):
        resolve_job(str(prompts(tmp_path, ROW)), {"model": EP, "encrypt": True}, {"ARK_API_KEY": "k"}, tmp_path)


def test_confidential_alone_is_a_mistake(tmp_path):
    prompts(tmp_path, ROW)
    (tmp_path / "job.toml").write_text(f'input = "in.jsonl"\nmodel = "{EP}"\nconfidential = true\n')
    with pytest.raises(JobError, match="encrypt = true as well"):
        resolve_job(str(tmp_path / "job.toml"), {}, {"ARK_API_KEY": "k"}, tmp_path)
