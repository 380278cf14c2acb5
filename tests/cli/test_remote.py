"""Inputs from a bucket, answers and run directories that go to one, against a bucket on loopback."""

import asyncio
import json
import threading
from pathlib import Path

import pytest
from buckets import serving_bucket
from click.testing import CliRunner

pytest.importorskip("obstore")

from arkbatch.cli import arkbatch
from arkbatch.cli.remote import keep_uploaded
from arkbatch.core.errors import RunChanged, RunDirectoryError, UsageError
from arkbatch.rows.object_storage import RANGE_BYTES
from arkbatch.rows.remote_input import fetch_input

MODEL = ["--model", "doubao-seed-1-6-251015", "--simulate"]
ROWS = b"".join(b'{"prompt": "row %d"}\n' % number for number in range(12))


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    monkeypatch.setattr("arkbatch.api.jobs.SIMULATED_LATENCY", 0.0)
    monkeypatch.chdir(tmp_path)
    with serving_bucket() as bucket:
        for name, value in bucket.environ.items():
            monkeypatch.setenv(name, value)
        bucket.objects["in/rows.jsonl"] = ROWS
        yield bucket


def call(*words, code=0):
    result = CliRunner().invoke(arkbatch, list(words), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    assert (result.return_value or 0) == code, result.output
    return result


def test_a_run_reads_an_object_and_goes_on_with_its_copy(bucket):
    call("run", "s3://bucket/in/rows.jsonl", *MODEL, "--limit", "5")
    assert Path("rows.run/results.jsonl").read_bytes().count(b"\n") == 5
    assert Path("rows.run/input/rows.jsonl").read_bytes() == ROWS
    call("run", "s3://bucket/in/rows.jsonl", *MODEL)
    assert Path("rows.run/results.jsonl").read_bytes().count(b"\n") == 12
    reads = [path for command, path, _ in bucket.requests if command == "GET"]
    assert len(reads) == 1


def test_an_object_that_changed_since_the_run_began_is_refused(bucket):
    call("run", "s3://bucket/in/rows.jsonl", *MODEL)
    bucket.objects["in/rows.jsonl"] = ROWS + b'{"prompt": "more"}\n'
    with pytest.raises(RunChanged, match="changed since it was copied"):
        call("run", "s3://bucket/in/rows.jsonl", *MODEL)


def test_a_large_object_is_copied_in_the_right_order(bucket, tmp_path):
    data = b"".join(b"%015d\n" % number for number in range(5 * RANGE_BYTES // 32))
    bucket.objects["in/large.jsonl"] = data
    path = fetch_input("s3://bucket/in/large.jsonl", tmp_path / "large.run")
    assert Path(path).read_bytes() == data


def test_a_pattern_of_objects_is_one_input(bucket):
    bucket.objects |= {f"many/part-{number}.jsonl": ROWS for number in (1, 2)}
    call("run", "s3://bucket/many/part-*.jsonl", "-o", "many.run", *MODEL)
    assert Path("many.run/results.jsonl").read_bytes().count(b"\n") == 24


def test_answers_go_to_a_bucket_and_replace_nothing_without_force(bucket):
    call("run", "s3://bucket/in/rows.jsonl", *MODEL, "--answers", "s3://bucket/out/first.csv")
    assert bucket.objects["out/first.csv"].count(b"\n") >= 13
    said = call("answers", "rows.run", "-o", "s3://bucket/out/answers.jsonl").output
    assert "s3://bucket/out/answers.jsonl" in said
    assert bucket.objects["out/answers.jsonl"].count(b"\n") == 12
    with pytest.raises(UsageError, match="exists"):
        call("answers", "rows.run", "-o", "s3://bucket/out/answers.jsonl")
    call("answers", "rows.run", "-o", "s3://bucket/out/answers.jsonl", "--force")


def test_a_run_directory_goes_to_a_bucket_and_its_status_is_read_there(bucket):
    Path("in.jsonl").write_bytes(ROWS)
    call("run", "in.jsonl", "-o", "s3://bucket/runs/night.run", *MODEL)
    assert bucket.objects["runs/night.run/results.jsonl"] == Path("night.run/results.jsonl").read_bytes()
    said = call("status", "s3://bucket/runs/night.run").output
    assert said.startswith("s3://bucket/runs/night.run: ")
    assert "12 done" in said
    assert json.loads(call("status", "s3://bucket/runs/night.run", "--json").output)["done"] == 12
    with pytest.raises(RunDirectoryError, match=r"it has no run\.json"):
        call("status", "s3://bucket/runs/other.run")


def test_a_run_directory_is_uploaded_at_intervals_and_a_failed_upload_is_tried_again(bucket, tmp_path, monkeypatch):
    monkeypatch.setattr("arkbatch.cli.remote.UPLOAD_SECONDS", 0.01)
    (tmp_path / "a.run").mkdir()
    (tmp_path / "a.run" / "results.jsonl").write_bytes(b"{}\n")
    uploads, told, enough = [], [], threading.Event()

    def upload(run_dir, target):
        uploads.append(target)
        if len(uploads) == 1:
            raise UsageError("the store is away")
        if len(uploads) == 3:
            enough.set()

    monkeypatch.setattr("arkbatch.cli.remote.upload_run", upload)

    async def main():
        async with keep_uploaded("a.run", "s3://bucket/a.run", told.append):
            assert await asyncio.to_thread(enough.wait, 60)

    asyncio.run(main())
    assert told == ["The upload to s3://bucket/a.run failed and is tried again: the store is away"]


def test_estimate_and_check_read_an_object_and_leave_nothing(bucket, tmp_path):
    assert "12 rows" in call("check", "s3://bucket/in/rows.jsonl", "--model", "doubao-seed-1-6-251015").output
    assert "12 rows" in call("estimate", "s3://bucket/in/rows.jsonl", "--model", "doubao-seed-1-6-251015").output
    assert list(tmp_path.iterdir()) == []


def test_a_job_file_names_an_object_or_several_and_its_run_goes_on(bucket):
    bucket.objects |= {"a/rows.jsonl": ROWS, "b/rows.jsonl": ROWS}
    Path("one.toml").write_text('input = "s3://bucket/in/rows.jsonl"\n')
    call("run", "one.toml", *MODEL, "--limit", "5")
    call("run", "one.toml", *MODEL)
    assert Path("one.run/results.jsonl").read_bytes().count(b"\n") == 12
    Path("two.toml").write_text('input = ["s3://bucket/a/rows.jsonl", "s3://bucket/b/rows.jsonl"]\nrun_dir = "out"\n')
    call("run", "two.toml", *MODEL)
    assert Path("out/results.jsonl").read_bytes().count(b"\n") == 24


def test_estimate_and_check_read_several_objects_and_job_files_that_name_them(bucket, tmp_path):
    bucket.objects |= {"a/rows.jsonl": ROWS, "b/rows.jsonl": ROWS}
    Path("local.jsonl").write_bytes(ROWS)
    Path("job.toml").write_text('input = ["s3://bucket/a/rows.jsonl", "s3://bucket/b/rows.jsonl"]\n')
    model = ["--model", "doubao-seed-1-6-251015"]
    for command in ("check", "estimate"):
        assert "24 rows" in call(command, "job.toml", *model).output
        assert (
            "36 rows"
            in call(command, "local.jsonl", "s3://bucket/a/rows.jsonl", "s3://bucket/b/rows.jsonl", *model).output
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.toml", "local.jsonl"]
