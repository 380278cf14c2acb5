"""Whole runs of rows that name files: what leaves is the file, what is recorded is its name."""

import base64

import orjson
import pytest
from fakes import SCRIPT, FakeTransport, answer
from media_parts import PNG, as_url, shows
from msgspec.structs import replace
from runs import job_of, prompts
from sealed_runs import ran
from sessions import failures, results, scripted, worked
from virtual import run_virtual

from arkbatch.config.resolve import resolve_job
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.resume_check import ResumeOptions
from arkbatch.engine.retry_run import RetryRun, RetrySelection, chosen_kinds
from arkbatch.engine.session import Session
from arkbatch.reports.status.show import find_rows
from arkbatch.rows.media_files import Images
from arkbatch.simulator.server import Settings, serve


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "photos" / name).write_bytes(PNG + name.encode())
    return tmp_path


def seen(*urls, **more):
    parts = [shows(url) for url in urls]
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, *parts]}], **more}


def job_with(folder, *rows, **flags):
    return job_of(prompts(folder, *rows), images=str(folder / "photos"), **flags)


def urls_in(body):
    return [part["image_url"]["url"] for part in body["messages"][0]["content"] if "image_url" in part]


def sent(transport):
    return [urls_in(orjson.loads(call.body)) for call in transport.calls]


def content(folder, name):
    return as_url("image/png", (folder / "photos" / name).read_bytes())


def test_files_are_sent_and_addresses_pass(folder, monkeypatch):
    data = as_url("image/png", b"mine")
    job = job_with(folder, seen("a.png", "https://x/y.png", data), seen("file:b.png"), concurrency=1)
    transport = FakeTransport()
    assert scripted(job, transport, monkeypatch).summary.succeeded == 2
    assert sent(transport) == [[content(folder, "a.png"), "https://x/y.png", data], [content(folder, "b.png")]]


def test_without_a_directory_addresses_pass_and_files_are_bad_rows(folder, monkeypatch):
    transport = FakeTransport()
    job = job_of(prompts(folder, seen("https://x/y.png", "data:image/png;base64,AA=="), seen("a.png")))
    scripted(job, transport, monkeypatch)
    assert sent(transport) == [["https://x/y.png", "data:image/png;base64,AA=="]]
    (failure,) = failures(job)
    assert (failure["row"], failure["error"]["kind"]) == (2, "bad_row")
    assert "--images DIR" in failure["error"]["message"]


def test_records_hold_the_name_and_never_the_image(folder):
    job = job_with(folder, seen("a.png"), seen("b.png", top_p=0.5, user="[[fault:refuse]]"), seen("gone.png"))
    worked(job)
    for line in results(job) + failures(job):
        assert base64.b64encode(PNG)[:40] not in orjson.dumps(line)
    assert find_rows(job.run_dir, "1").rows[0].request.body["messages"][0]["content"][1] == shows("a.png")


def test_what_cannot_be_read_fails_with_its_row_before_a_byte_is_sent(folder, monkeypatch):
    (folder / "photos" / "text.png").write_text("no image")
    transport = FakeTransport()
    job = job_with(folder, seen("gone.png"), seen("a.png"), seen("text.png"))
    assert scripted(job, transport, monkeypatch).summary.failed == 2
    assert sent(transport) == [[content(folder, "a.png")]]
    gone, text = sorted(failures(job), key=lambda line: line["row"])
    assert (gone["row"], gone["error"]["kind"], gone["attempts"], gone["response"]) == (1, "bad_file", 0, None)
    assert 'image "gone.png": there is no such file' in gone["error"]["message"]
    assert (text["row"], text["request"]["body"]["messages"][0]["content"][1]) == (3, shows("text.png"))


def test_a_file_that_goes_away_behind_the_look_fails_its_row_as_well(folder, monkeypatch):
    monkeypatch.setattr(Images, "why_unfit", lambda *_: None)
    transport = FakeTransport()
    job = job_with(folder, seen("gone.png"), seen("a.png"), concurrency=1)
    summary = scripted(job, transport, monkeypatch).summary
    assert (summary.succeeded, summary.failed, len(transport.calls)) == (1, 1, 1)
    assert failures(job)[0]["error"]["kind"] == "bad_file"


def test_it_takes_nothing_of_a_budget(folder, monkeypatch):
    monkeypatch.setattr(Images, "why_unfit", lambda *_: None)
    job = job_with(folder, *[seen("gone.png")] * 5, seen("a.png"), concurrency=1, max_tokens=12_000)
    assert scripted(job, FakeTransport(), monkeypatch).summary.succeeded == 1


def test_a_line_of_the_failures_is_itself_an_input(folder, monkeypatch):
    job = job_with(folder, seen("later.png"))
    scripted(job, FakeTransport(), monkeypatch)
    (folder / "photos" / "later.png").write_bytes(PNG)
    again = job_of(folder / "a.run" / "failures.jsonl", images=str(folder / "photos"), run_dir=str(folder / "b.run"))
    transport = FakeTransport()
    assert scripted(again, transport, monkeypatch).summary.succeeded == 1
    assert sent(transport) == [[content(folder, "later.png")]]


def test_a_file_that_was_put_into_its_place_is_sent_by_a_retry(folder):
    job = job_with(folder, seen("later.png"), seen("a.png"))

    async def main():
        async with serve(Settings()) as url:
            ready = replace(job, base_url=url)
            with OpenRun(ready, wall=lambda: 0.0) as run:
                assert (await Session(run).work()).failures == {"bad_file": 1}
            (folder / "photos" / "later.png").write_bytes(PNG)
            with RetryRun(ready, RetrySelection(chosen_kinds("bad_file")), wall=lambda: 0.0) as again:
                return await Session(again).work_again(again.rows())

    summary = run_virtual(main())
    assert (summary.succeeded, summary.failed) == (2, 0)


def test_an_attempt_that_is_repeated_reads_the_file_anew(folder, monkeypatch):
    def once(call, attempt):
        (folder / "photos" / "a.png").write_bytes(PNG + b"new")
        return answer() if len(transport.calls) > 1 else SCRIPT["server_error"]

    transport = FakeTransport(once)
    old = content(folder, "a.png")
    assert scripted(job_with(folder, seen("a.png")), transport, monkeypatch).summary.succeeded == 1
    assert sent(transport) == [[old], [content(folder, "a.png")]]


def test_a_resumed_and_a_rebased_run_read_no_image_of_a_recorded_row(folder, monkeypatch):
    job = job_with(folder, seen("a.png"), seen("b.png"))
    scripted(job, FakeTransport(), monkeypatch)
    (folder / "photos" / "a.png").unlink()
    prompts(folder, seen("b.png"), seen("a.png"))
    transport = FakeTransport()
    assert scripted(job, transport, monkeypatch, wishes=ResumeOptions(rebase=True)).summary.succeeded == 2
    assert transport.calls == []


def test_a_run_may_find_its_images_elsewhere_the_next_time(folder, monkeypatch):
    """As with the input, where they are is no parameter of the request."""
    job = job_with(folder, seen("a.png"))
    scripted(job, FakeTransport(lambda *_: SCRIPT["overdue"]), monkeypatch)
    (folder / "photos").rename(folder / "moved")
    assert scripted(replace(job, images=str(folder / "moved")), FakeTransport(), monkeypatch).summary.succeeded == 1


def test_a_sealed_run_sends_its_images_sealed(folder):
    name = base64.b64encode(PNG)[:40]
    summary, heard = ran(folder, seen("a.png"), images=str(folder / "photos"))[:2]
    assert summary.succeeded == 1
    assert name not in heard


def test_multimodal_embeddings_take_files_too(folder, monkeypatch):
    reply = answer()
    body = {"model": "e", "data": {"embedding": [0.5]}, "usage": {"prompt_tokens": 9}}
    transport = FakeTransport(lambda *_: replace(reply, body=orjson.dumps(body)))
    (folder / "photos" / "clip.mp4").write_bytes(b"\0\0\0\x20ftypisom")
    job = job_with(folder, {"input": [shows("a.png"), shows("clip.mp4", "video_url")]})
    assert scripted(job, transport, monkeypatch).summary.succeeded == 1
    (call,) = transport.calls
    image, video = orjson.loads(call.body)["input"]
    assert image["image_url"]["url"] == content(folder, "a.png")
    assert video["video_url"]["url"] == as_url("video/mp4", b"\0\0\0\x20ftypisom")


@pytest.mark.parametrize("name", ["images", "multimodal"])
def test_the_example_jobs_run_on_the_simulator(pytestconfig, tmp_path, name):
    file = pytestconfig.rootpath / "jobs" / f"{name}.toml"
    job = resolve_job(str(file), {"simulate": True, "run_dir": str(tmp_path / "a.run")}, {}, tmp_path)
    summary = worked(job).summary
    assert (summary.failed, summary.left) == (0, 0)
