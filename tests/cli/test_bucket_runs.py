"""A run of several machines in a bucket, by the commands that a user types."""

import json

import pytest
from buckets import serving_bucket
from click.testing import CliRunner
from runs import numbered, prompts

pytest.importorskip("obstore")

from arkbatch.cli import arkbatch
from arkbatch.core.errors import RunDirectoryError, UsageError

RUN = "s3://bucket/runs/a.run"
MODEL = ["--model", "doubao-seed-1-6-251015", "--simulate", "--fixed"]


@pytest.fixture(autouse=True)
def bucket(tmp_path, monkeypatch):
    monkeypatch.setattr("arkbatch.api.jobs.SIMULATED_LATENCY", 0.0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    monkeypatch.chdir(tmp_path)
    prompts(tmp_path, *numbered(30), b"{oops\n")
    with serving_bucket() as served:
        for name, value in served.environ.items():
            monkeypatch.setenv(name, value)
        yield served


def call(*words):
    result = CliRunner().invoke(arkbatch, list(words), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.output


def test_each_command_takes_the_address_of_a_run(bucket, tmp_path):
    (tmp_path / "job.toml").write_text(f'input = "in.jsonl"\nrun_dir = "{RUN}"\nmodel = "doubao-seed-1-6-251015"\n')
    assert "3 shards of 1 file, " in call("shard", "plan", "job.toml", "--shards", "3", "--simulate")
    call("shard", "run", RUN, "--index", "0", "--of", "2")
    early = json.loads(call("status", RUN, "--json"))
    assert early["run_dir"] == RUN
    assert 0 < early["done"] < 30
    assert len(call("answers", RUN, "--only", "done").splitlines()) == early["done"] + 1  # and what is not done yet
    assert f"arkbatch shard serve {RUN}" in call("status", RUN)
    assert "results.jsonl" not in {key.rpartition("/")[2] for key in bucket.objects}  # reading wrote nothing
    call("shard", "run", RUN, "--index", "1", "--of", "2")
    merged = json.loads(call("merge", RUN, "--json"))
    assert (merged["done"], merged["failed"], merged["left"]) == (30, 1, 0)
    first = dict(bucket.objects)
    assert json.loads(call("merge", RUN, "--json")) == merged
    assert bucket.objects == first
    assert json.loads(call("status", RUN, "--json"))["done"] == 30
    assert "Row 7" in call("show", RUN, "7")
    assert "CNY" in call("cost", RUN, "--by", "day")
    call("report", RUN)
    assert (tmp_path / "report.html").exists()
    call("answers", RUN, "-o", "s3://bucket/out/a.csv")
    assert bucket.objects["out/a.csv"].count(b"\n") == 32
    assert list((tmp_path / "scratch").glob("*/*")) == []  # nothing is left on this machine


def test_one_machine_does_not_replace_a_run_of_several_that_have_not_finished(bucket):
    call("shard", "plan", "in.jsonl", "-o", RUN, "--shards", "3", *MODEL)
    with pytest.raises(RunDirectoryError, match=r"0 of 3 shards of .* are finished"):
        call("run", "in.jsonl", "-o", RUN, *MODEL)


def test_one_machine_goes_on_with_what_several_have_finished(bucket, tmp_path):
    call("shard", "plan", "in.jsonl", "-o", RUN, "--shards", "3", *MODEL)
    call("shard", "run", RUN, "--index", "0", "--of", "1")
    call("merge", RUN)
    with (tmp_path / "in.jsonl").open("a") as file:
        file.write('{"prompt": "one more"}\n')
    assert '"recorded":1' in call("run", "in.jsonl", "-o", RUN, *MODEL)
    assert bucket.objects["runs/a.run/results.jsonl"].count(b"\n") == 31
    now = json.loads(call("status", RUN, "--json"))
    assert (now["done"], now["failed"], now["left"]) == (31, 1, 0)


def test_status_and_cost_read_no_records_that_a_ledger_knows(bucket):
    def objects_read(*words):
        bucket.requests.clear()
        said = call(*words)
        return said, [path.partition("?")[0] for command, path, _ in bucket.requests if command == "GET"]

    call("shard", "plan", "in.jsonl", "-o", RUN, "--shards", "3", *MODEL)
    call("shard", "run", RUN, "--index", "0", "--of", "1")
    statuses = []
    for _ in range(2):  # from the shards, and from what is merged
        said, read = objects_read("status", RUN, "--json")
        statuses.append(json.loads(said))
        assert not [path for path in read if path.endswith(".jsonl")]
        said, read = objects_read("cost", RUN)
        assert "CNY" in said
        assert not [path for path in read if path.endswith(".jsonl")]
        call("merge", RUN)
    assert [(each["done"], each["failed"], each["left"]) for each in statuses] == [(30, 1, 0)] * 2
    assert statuses[0]["cost"] == statuses[1]["cost"]


def failing_run(bucket):
    """A run of several machines in a bucket of which all rows were answered but one, which failed."""
    call("shard", "plan", "in.jsonl", "-o", RUN, "--shards", "3", *MODEL)
    call("shard", "run", RUN, "--index", "0", "--of", "1")
    assert json.loads(call("status", RUN, "--json"))["failed"] == 1


def test_retry_goes_on_with_a_run_of_several_machines_without_its_shards(bucket, tmp_path):
    failing_run(bucket)
    assert '"recorded":1' in call("retry", RUN)
    now = json.loads(call("status", RUN, "--json"))
    assert (now["done"], now["failed"], now["left"]) == (30, 1, 0)
    assert now["usage"] == json.loads(call("status", "a.run", "--json"))["usage"]
    assert not [key for key in bucket.objects if key.startswith(("runs/a.run/shards/", "runs/a.run/shards.json"))]
    assert [key for key in bucket.objects if key.startswith("runs/a.run/shards.merged.1/")]  # nothing is lost
    (tmp_path / "a.run").rename(tmp_path / "on the first machine")
    assert '"recorded":1' in call("retry", RUN)  # from another machine


def test_retry_does_not_replace_a_newer_run_by_an_older_copy(bucket, tmp_path):
    failing_run(bucket)
    call("retry", RUN)
    older = tmp_path / "older"
    (tmp_path / "a.run").rename(older)
    call("retry", RUN)
    (tmp_path / "a.run").rename(tmp_path / "newer")
    older.rename(tmp_path / "a.run")
    with pytest.raises(RunDirectoryError, match=r"a\.run is not the run that s3://bucket/runs/a\.run holds now"):
        call("retry", RUN)


def test_retry_waits_until_all_shards_are_finished(bucket):
    call("shard", "plan", "in.jsonl", "-o", RUN, "--shards", "3", *MODEL)
    call("shard", "run", RUN, "--index", "0", "--of", "3")
    before = dict(bucket.objects)
    with pytest.raises(RunDirectoryError, match=r"1 of 3 shards of s3://bucket/runs/a\.run are finished"):
        call("retry", RUN)
    assert bucket.objects == before


def test_a_run_is_cut_into_shards_again_after_a_retry(bucket, tmp_path):
    failing_run(bucket)
    call("retry", RUN)
    call("shard", "plan", "in.jsonl", "-o", RUN, "--shards", "2", *MODEL)
    status = json.loads(call("status", RUN, "--json"))
    assert (status["done"], status["failed"], status["left"]) == (30, 1, 0)


def test_another_machine_goes_on_with_a_run_that_one_has_uploaded(bucket, tmp_path):
    call("run", "in.jsonl", "-o", RUN, "--limit", "10", *MODEL)
    (tmp_path / "a.run").rename(tmp_path / "on the first machine")
    assert '"recorded":21' in call("run", "in.jsonl", "-o", RUN, *MODEL)
    assert bucket.objects["runs/a.run/results.jsonl"].count(b"\n") == 30


def test_an_input_in_a_bucket_is_joined_to_its_answers(bucket, tmp_path):
    first, second = (b"".join(b"%b\n" % json.dumps(row).encode() for row in numbered(count)) for count in (12, 8))
    bucket.objects |= {"in/a.jsonl": first, "in/b.jsonl": second}
    call("shard", "plan", "s3://bucket/in/*.jsonl", "-o", RUN, *MODEL)
    assert call("check", "s3://bucket/in/*.jsonl", *MODEL[:2]).startswith("s3://bucket/in/*.jsonl: 20 of 20 rows")
    call("shard", "run", RUN, "--index", "0", "--of", "1")
    assert "is in object storage" in call("show", RUN, "3")
    assert len(call("answers", RUN).splitlines()) == 20
    bucket.objects["in/a.jsonl"] = bucket.objects["in/a.jsonl"].replace(b"question 3", b"question 4")
    with pytest.raises(UsageError, match="has changed: row"):
        call("answers", RUN)
