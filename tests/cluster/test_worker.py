"""Several workers with one coordinator: shared limits are kept, each row comes out once, and a lost worker is replaced."""

import asyncio
from pathlib import Path

from clusters import cluster_of, in_cluster, planned
from msgspec.structs import replace
from runs import BEGAN, job_of, numbered, prompts
from sessions import lines_of

from arkbatch.cluster.merge import merge
from arkbatch.journal.run_directory import RESULTS
from arkbatch.limits.lease_messages import SharedLimits


def job_with(tmp_path, rows=60, **flags):
    return job_of(prompts(tmp_path, *numbered(rows)), **flags)


def test_two_workers_bring_home_each_row_once(tmp_path):
    job = job_with(tmp_path)
    shards = planned(job, Path(job.run_dir))

    async def main(url, counters):
        return await cluster_of(job, url, shards, 2)

    coordinator, counters = in_cluster(main)
    merged = merge(Path(job.run_dir), lambda: BEGAN)
    assert merged.is_complete
    assert merged.done == counters.outcomes["ok"] == 60
    assert coordinator.state().is_over
    assert coordinator.state().counts.done == 60
    assert [line["row"] for line in lines_of(Path(job.run_dir), RESULTS)] == list(range(1, 61))


def test_four_workers_keep_one_limit_and_use_nearly_all_of_it(tmp_path):
    job = job_with(tmp_path, 1_500, concurrency=64)
    shards = planned(job, Path(job.run_dir), shard_bytes=5_000)
    assert shards.read_plan().count > 10

    async def main(url, counters):
        loop = asyncio.get_running_loop()
        began = loop.time()
        await cluster_of(job, url, shards, 4, limits=SharedLimits(64, requests_per_minute=600.0))
        return loop.time() - began

    seconds, counters = in_cluster(main, rpm=600, latency=0.3)
    assert counters.outcomes == {"ok": 1_500}
    assert seconds <= 1.08 * 1_500 / 10


def test_a_worker_begins_the_next_shard_while_the_last_calls_of_one_are_in_flight(tmp_path):
    job = job_with(tmp_path, 60, concurrency=64)
    shards = planned(job, Path(job.run_dir))
    at_work = []

    async def look(coordinator, tasks):
        while not coordinator.is_over:
            at_work.append(coordinator.state().working)
            await asyncio.sleep(1.0)

    async def main(url, counters):
        await cluster_of(job, url, shards, 1, meanwhile=look)

    _, counters = in_cluster(main, latency=10.0)
    assert counters.outcomes == {"ok": 60}
    assert at_work.count(2) > 0.5 * len(at_work)
    assert max(at_work) == 2


def test_two_shards_of_a_worker_together_keep_to_its_calls_at_once(tmp_path):
    job = job_with(tmp_path, 120, concurrency=5)
    shards = planned(job, Path(job.run_dir))

    async def main(url, counters):
        loop = asyncio.get_running_loop()
        began = loop.time()
        await cluster_of(job, url, shards, 1)
        return loop.time() - began

    seconds, counters = in_cluster(main, latency=10.0, max_inflight=5)
    assert counters.outcomes == {"ok": 120}
    assert seconds <= 1.15 * 120 / 5 * 10.0


def test_a_worker_that_is_killed_loses_its_shard_to_another_and_no_row_is_lost(tmp_path):
    job = job_with(tmp_path, 200)
    shards = planned(job, Path(job.run_dir), shard_bytes=3_000)

    async def kill_one(coordinator, tasks):
        await asyncio.sleep(3.0)
        tasks[0].cancel()
        await asyncio.wait([tasks[0]])

    async def main(url, counters):
        return await cluster_of(
            job, url, shards, 3, limits=SharedLimits(16, requests_per_minute=600.0), meanwhile=kill_one
        )

    coordinator, counters = in_cluster(main, latency=0.5)
    merged = merge(Path(job.run_dir), lambda: BEGAN)
    assert merged.is_complete
    assert merged.done == 200
    assert counters.outcomes.total() <= 200 + 16
    assert any("not heard" in trouble for trouble in coordinator.troubles)


def test_workers_together_never_pass_a_budget_of_tokens(tmp_path):
    job = job_with(tmp_path, 400, max_tokens=15_000, set=["max_tokens=50"])
    shards = planned(job, Path(job.run_dir), shard_bytes=1_500)

    async def main(url, counters):
        return await cluster_of(job, url, shards, 3, limits=SharedLimits(16, budget=15_000))

    coordinator, counters = in_cluster(main, latency=0.5)
    merged = merge(Path(job.run_dir), lambda: BEGAN)
    assert coordinator.halt is not None
    assert coordinator.halt.code == "max_tokens"
    assert sum(counters.usage.values()) <= 15_000
    assert sum(counters.usage.values()) >= 8_000
    assert merged.left


def test_a_run_that_is_drained_ends_its_calls_and_goes_on_later(tmp_path):
    job = job_with(tmp_path, 300)
    shards = planned(job, Path(job.run_dir), shard_bytes=3_000)
    limits = SharedLimits(16, requests_per_minute=600.0)

    async def drain(coordinator, tasks):
        await asyncio.sleep(8.0)
        coordinator.drain()

    async def main(url, counters):
        await cluster_of(job, url, shards, 2, limits=limits, meanwhile=drain)
        first = counters.outcomes["ok"]
        await cluster_of(job, url, shards, 2, limits=limits)
        return first

    first, counters = in_cluster(main, latency=0.5)
    assert 0 < first < 300
    assert counters.outcomes == {"ok": 300}
    assert merge(Path(job.run_dir), lambda: BEGAN).is_complete


def test_a_halt_that_one_worker_meets_ends_the_run(tmp_path):
    job = job_with(tmp_path, 100)
    shards = planned(job, Path(job.run_dir), shard_bytes=1_500)

    async def main(url, counters):
        return await cluster_of(replace(job, model="missing-model"), url, shards, 2)

    coordinator, _ = in_cluster(main, keys=["another-key"])
    assert coordinator.halt is not None
    assert coordinator.state().is_over
