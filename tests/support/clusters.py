"""Runs of several shards in virtual time: the simulator, real directories, and one coordinator for all workers."""

import asyncio

from msgspec.structs import replace
from runs import BEGAN
from virtual import run_virtual

from arkbatch.cluster.plan import plan_parts
from arkbatch.cluster.shard import begin_attempt, run_attempt
from arkbatch.core.job import Secret, asked, written
from arkbatch.journal.shard_files import PLAN_FORMAT, ShardDirectory, ShardPlan
from arkbatch.rows.job_diff import asked_digest
from arkbatch.simulator.server import Counters, Settings, serve


def planned(job, run_dir, shard_bytes=400, inputs=None):
    """A plan with small shards."""
    parts, size = plan_parts(inputs or [job.input], lambda _: shard_bytes)
    shards = ShardDirectory(run_dir)
    said = asked(job)
    shards.write_plan(
        ShardPlan(PLAN_FORMAT, "run1", "2026-11-30T00:00:00+00:00", size, parts, written(job), said, asked_digest(said))
    )
    return shards


def in_cluster(main, **settings):
    """Run `main(url, counters)` in virtual time beside a simulator."""
    counters = Counters()

    async def whole():
        async with serve(Settings(**settings), counters=counters) as url:
            return await main(url, counters)

    return run_virtual(whole()), counters


async def run_one(job, url, shards, shard, **more):
    loop = asyncio.get_running_loop()
    attempt = begin_attempt(shards, shard)
    ready = replace(job, base_url=url, api_key=Secret("any-key"))
    return await run_attempt(ready, shards, attempt, wall=lambda: BEGAN + loop.time(), **more)
