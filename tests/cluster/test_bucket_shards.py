"""Runs of several machines that share a bucket and no directory: segments, markers, and what a dead worker leaves."""

import asyncio
from pathlib import Path

import orjson
import pytest
from buckets import serving_bucket
from clusters import in_cluster, plan_for, run_one
from msgspec.structs import replace
from runs import BEGAN, job_of, numbered, prompts
from sessions import lines_of, worked

pytest.importorskip("obstore")

from arkbatch.cluster import bucket_shards, publishing
from arkbatch.cluster.bucket_shards import BucketShards
from arkbatch.cluster.merge import merge
from arkbatch.cluster.scratch_directory import publish_leftovers, scratch_directory
from arkbatch.core.errors import RunDamaged, RunDirectoryError, RunLocked
from arkbatch.journal.run_directory import FAILURES, RESULTS, RunDirectory
from arkbatch.rows.object_folder import ObjectFolder

ADDRESS = "s3://bucket/runs/a.run"
CHANGING = {"id", "calls", "seconds", "finished_at", "response"}


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with serving_bucket() as served:
        yield served


@pytest.fixture
def folder(bucket):
    return ObjectFolder(ADDRESS, bucket.environ)


@pytest.fixture
def job(tmp_path):
    return job_of(prompts(tmp_path, *numbered(30), b"{oops\n"))


@pytest.fixture
def machine(folder, tmp_path):
    """Makes the view that one machine has of the run."""
    return lambda name: BucketShards(folder, tmp_path / name / "a.run")


def comparable(lines):
    kept = [{key: value for key, value in line.items() if key not in CHANGING} for line in lines]
    return sorted(kept, key=lambda line: line["row"])


def work_off(job, *views, first=0, **settings):
    """Each machine works off the next shard in turn."""

    async def main(url, counters):
        plan = views[0].read_plan()
        for shard in list(plan.all_shards())[first:]:
            assert (await run_one(job, url, views[shard.index % len(views)], shard)).is_finished

    return in_cluster(main, **settings)[1]


def merged_of(view):
    view.fetch_all()
    return merge(view.run, lambda: BEGAN, view)


def test_machines_without_a_common_directory_bring_home_what_one_machine_does(job, machine, bucket, tmp_path):
    local = job_of(Path(job.input), run_dir=str(tmp_path / "local.run"))
    worked(local)
    one, two, reader = machine("one"), machine("two"), machine("reader")
    one.write_plan(plan_for(job))
    two.fetch_plan()
    reader.fetch_plan()
    work_off(job, one, two)
    assert merged_of(reader).is_complete
    for name in (RESULTS, FAILURES):
        assert comparable(lines_of(reader.run, name)) == comparable(lines_of(Path(local.run_dir), name))
    assert not [key for key in bucket.objects if key.endswith("results.jsonl")]  # nothing is appended


def test_what_was_fetched_of_a_shard_is_deleted_when_it_is_over(job, machine):
    one = machine("one")
    one.write_plan(plan_for(job, shard_bytes=10_000))
    work_off(job, one)
    assert not one.unpublished
    assert list(one.path.iterdir()) == []


def killed_after_segments(job, machine, monkeypatch, seconds):
    """A worker that is killed while it works on the only shard, and the number of lines that it had recorded."""
    monkeypatch.setattr(publishing, "PUBLISH_SECONDS", 1.5)
    one = machine("one")
    one.write_plan(plan_for(job, shard_bytes=10_000))
    slow = replace(job, limits=replace(job.limits, concurrency=2))

    async def main(url, counters):
        session = asyncio.ensure_future(run_one(slow, url, one, next(iter(one.read_plan().all_shards()))))
        await asyncio.sleep(seconds)
        session.cancel()
        with pytest.raises(asyncio.CancelledError):
            await session

    _, counters = in_cluster(main, latency=1.0)
    (attempt,) = one.unpublished
    return one, counters.outcomes.total(), len(lines_of(one.path / attempt, RESULTS))


def test_another_machine_goes_on_from_the_segments_of_a_lost_one(job, machine, monkeypatch):
    _, sent, recorded = killed_after_segments(job, machine, monkeypatch, seconds=8.6)
    two = machine("two")
    two.fetch_plan()
    more = work_off(job, two).outcomes.total()
    assert merged_of(two).is_complete
    rows = [line["row"] for line in lines_of(two.run, RESULTS)]
    assert len(rows) == len(set(rows)) == 30
    assert recorded > 8
    in_flight, last_segment = 2, 4  # two calls a second, a segment every 1.5 s
    assert sent + more <= 30 + in_flight + last_segment


def test_what_a_killed_worker_left_on_its_machine_is_uploaded_by_the_next_one(job, folder, monkeypatch):
    with scratch_directory(folder, lambda: BEGAN) as shards:
        one, _, recorded = killed_after_segments(job, lambda _: shards, monkeypatch, seconds=1.2)
        assert recorded
    assert [each.name for each in folder.list_objects("shards/") if "/results." in each.name] == []
    assert publish_leftovers(folder, lambda: BEGAN) == 1
    assert not one.run.exists()
    two = BucketShards(folder, one.run.with_name("two.run"))
    two.fetch_plan()
    assert work_off(job, two).outcomes.total() == 30 - recorded
    assert merged_of(two).is_complete


def test_a_scratch_directory_that_is_in_use_is_left_alone(folder):
    with scratch_directory(folder, lambda: BEGAN, "lead"):
        assert publish_leftovers(folder, lambda: BEGAN) == 0
        with pytest.raises(RunLocked), scratch_directory(folder, lambda: BEGAN, "lead"):
            pass


def test_a_store_that_creates_an_object_twice_loses_and_doubles_nothing(job, machine, bucket):
    bucket.keeps_conditions = False
    one, two = machine("one"), machine("two")
    one.write_plan(plan_for(job, shard_bytes=10_000))
    two.fetch_plan()
    shard = next(iter(one.read_plan().all_shards()))

    async def main(url, counters):
        return await asyncio.gather(run_one(job, url, one, shard), run_one(job, url, two, shard))

    (first, second), counters = in_cluster(main)
    assert first.attempt != second.attempt
    merged = merged_of(two)
    assert merged.is_complete
    assert merged.doubled_rows == counters.outcomes.total() - 30 == 30
    assert len(lines_of(two.run, RESULTS)) == 30


def test_two_plans_at_once_do_not_replace_each_other(job, machine):
    one, two = machine("one"), machine("two")
    one.write_plan(plan_for(job))
    with pytest.raises(RunLocked, match="planned by another process"):
        two.write_plan(plan_for(job, shard_bytes=900))


def test_an_attempt_counts_only_when_it_is_whole(job, machine, bucket):
    one, reader = machine("one"), machine("reader")
    one.write_plan(plan_for(job, shard_bytes=10_000))
    work_off(job, one)
    (taken,) = [key for key in bucket.objects if key.endswith(".taken.json")]
    del bucket.objects[taken]
    reader.fetch_plan()
    assert merged_of(reader).left == 31


def test_a_segment_that_is_gone_is_told(job, machine, bucket, monkeypatch):
    monkeypatch.setattr(bucket_shards, "SEGMENT_BYTES", 500)
    one, reader = machine("one"), machine("reader")
    one.write_plan(plan_for(job, shard_bytes=10_000))
    work_off(job, one)
    segments = sorted(key for key in bucket.objects if "/results." in key)
    assert len(segments) > 5
    del bucket.objects[next(key for key in segments if not key.endswith("results.0.jsonl"))]
    reader.fetch_plan()
    with pytest.raises(RunDamaged, match="the segment before it is not"):
        reader.fetch_all()


def test_a_store_that_is_overloaded_at_the_end_is_asked_again(job, machine, bucket):
    one = machine("one")
    one.write_plan(plan_for(job, shard_bytes=10_000))

    async def main(url, counters):
        attempt = asyncio.ensure_future(run_one(job, url, one, next(iter(one.read_plan().all_shards()))))
        await asyncio.sleep(0.001)
        bucket.refuses = [403, 403]  # which the library does not try again by itself
        return await attempt

    result, _ = in_cluster(main)
    assert result.is_finished
    assert not bucket.refuses
    reader = machine("reader")
    reader.fetch_plan()
    assert merged_of(reader).is_complete


def test_a_run_that_nobody_planned_is_told_with_the_command(machine):
    with pytest.raises(RunDirectoryError, match=r"arkbatch shard plan INPUT -o s3://bucket/runs/a\.run"):
        machine("one").fetch_plan()


def test_records_of_one_machine_go_on_in_a_bucket(job, machine, bucket, tmp_path):
    from arkbatch.cluster.earlier_records import hand_over_records

    one = machine("one")
    begun = replace(job, run_dir=str(one.run), row_limit=12)
    worked(begun)
    plan = plan_for(job, shard_bytes=400)
    hand_over_records(one, plan, RunDirectory(one.run).read_info().input)
    one.publish_seeds()
    one.write_plan(plan)
    two = machine("two")
    two.fetch_plan()
    assert work_off(job, two).outcomes.total() == 30 - 12
    assert merged_of(two).is_complete
    assert orjson.loads(bucket.objects["runs/a.run/shards.json"])["run_id"] == "run1"


def test_a_copy_that_a_killed_reader_left_replaces_nothing_in_the_bucket(job, machine, folder, bucket, monkeypatch):
    one = machine("one")
    one.write_plan(plan_for(job, shard_bytes=10_000))
    work_off(job, one)

    def killed_while_reading():
        with scratch_directory(folder, lambda: BEGAN) as reader:
            reader.fetch_plan()
            reader.fetch_all()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed_while_reading()
    (run_file,) = [key for key in bucket.objects if key.endswith("/run.json")]
    bucket.objects[run_file] = b"newer"
    assert publish_leftovers(folder, lambda: BEGAN) == 0
    assert bucket.objects[run_file] == b"newer"
