"""A run of several shards read before the merge: the same counts, usage, failures and cost as after it."""

import asyncio
from pathlib import Path

import pytest
from clusters import in_cluster, planned, run_one
from msgspec.structs import replace
from runs import BEGAN, job_of, numbered, prompts

from arkbatch.cluster.merge import merge
from arkbatch.cluster.shard_attempt import count_quickly
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.journal.run_view import RunView
from arkbatch.reports.cost.cost import read_costs
from arkbatch.reports.status.status import read_status

SAME = ("done", "failed", "left", "rows", "usage", "discarded", "cost", "discarded_cost", "models", "finish_reasons")


@pytest.fixture
def job(tmp_path):
    rows = [*numbered(30), b"\n", b"{oops\n", *({"prompt": f"nameless {n}"} for n in range(10))]
    return job_of(prompts(tmp_path, *rows), model="doubao-seed-1-6-251015")


def compared(job):
    """What is told of a run before the merge, with a look at it after the merge."""
    before, costs = read_status(job.run_dir, lambda: BEGAN), read_costs([job.run_dir])
    assert not RunDirectory(Path(job.run_dir)).exists
    merge(Path(job.run_dir), lambda: BEGAN)
    after = read_status(job.run_dir, lambda: BEGAN)
    assert {name: getattr(before, name) for name in SAME} == {name: getattr(after, name) for name in SAME}
    assert [(each.kind, each.rows, each.sample_row) for each in before.failures] == [
        (each.kind, each.rows, each.sample_row) for each in after.failures
    ]
    assert costs.to_builtins() == read_costs([job.run_dir]).to_builtins()
    return before


def test_all_shards_are_added_up_as_the_merge_does(job):
    shards = planned(job, Path(job.run_dir))

    async def main(url, counters):
        for shard in shards.read_plan().all_shards():
            await run_one(job, url, shards, shard)

    in_cluster(main)
    status = compared(job)
    assert (status.done, status.failed, status.left) == (40, 1, 0)
    assert status.cost["amounts"]
    assert [session.ending for session in status.sessions] == ["finished"]


def test_rows_of_shards_that_nobody_began_are_counted_or_guessed(job):
    shards = planned(job, Path(job.run_dir))

    async def main(url, counters):
        for shard in list(shards.read_plan().all_shards())[::2]:
            await run_one(job, url, shards, shard)

    in_cluster(main)
    guessed = read_status(job.run_dir, lambda: BEGAN)
    assert guessed.rows_are_estimated
    assert 30 <= guessed.rows <= 52
    count_quickly(shards)
    counted = compared(job)
    assert not counted.rows_are_estimated
    assert counted.rows == 41
    assert counted.left > 0
    assert counted.go_on == f"Resume with:  arkbatch shard serve {job.run_dir}"


def test_what_two_attempts_billed_for_one_row_is_counted_twice_and_the_row_once(job):
    shards = planned(job, Path(job.run_dir), shard_bytes=10_000)
    shard = next(iter(shards.read_plan().all_shards()))

    async def main(url, counters):
        await asyncio.gather(run_one(job, url, shards, shard), run_one(job, url, shards, shard))

    in_cluster(main)
    status = compared(job)
    assert status.done == 40
    assert status.discarded["input"] == status.usage["input"] // 2


def test_an_attempt_that_was_abandoned_is_told_with_what_the_next_one_took_over(job):
    shards = planned(job, Path(job.run_dir), shard_bytes=10_000)
    shard = next(iter(shards.read_plan().all_shards()))

    async def main(url, counters):
        slow = replace(job, limits=replace(job.limits, concurrency=2))
        first = asyncio.ensure_future(run_one(slow, url, shards, shard))
        await asyncio.sleep(4.6)
        first.cancel()
        await asyncio.wait([first])
        assert 0 < read_status(job.run_dir, lambda: BEGAN).done < 40
        await run_one(job, url, shards, shard)

    in_cluster(main, latency=1.0)
    assert compared(job).done == 40


def test_after_the_merge_the_records_of_the_run_itself_are_read(job):
    shards = planned(job, Path(job.run_dir))

    async def main(url, counters):
        await run_one(job, url, shards, next(iter(shards.read_plan().all_shards())))

    in_cluster(main)
    merge(Path(job.run_dir), lambda: BEGAN)
    directory = RunDirectory(Path(job.run_dir))
    view = RunView(directory)
    assert [each.path for each in view.record_directories(BEGAN)] == [directory.path]
    assert view.read_info().input.rows == 41
