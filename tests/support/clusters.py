"""Runs of several shards in virtual time: the simulator, real directories, and one coordinator for all workers."""

import asyncio

from msgspec.structs import replace
from runs import BEGAN
from virtual import run_virtual

from arkbatch.cluster.plan import plan_parts
from arkbatch.cluster.shard_attempt import begin_attempt, run_attempt
from arkbatch.core.job import answer_settings, job_tables
from arkbatch.core.secret import Secret
from arkbatch.journal.shard_files import ShardDirectory
from arkbatch.journal.shard_plan import PLAN_FORMAT, ShardPlan
from arkbatch.rows.job_diff import asked_digest
from arkbatch.simulator.server import Counters, Settings, serve


def plan_for(job, shard_bytes=400, inputs=None):
    """A plan with small shards."""
    parts, size = plan_parts(inputs or [job.input], lambda _: shard_bytes)
    said = answer_settings(job)
    return ShardPlan(
        PLAN_FORMAT, "run1", "2026-11-30T00:00:00+00:00", size, parts, job_tables(job), said, asked_digest(said)
    )


def planned(job, run_dir, shard_bytes=400, inputs=None):
    """The directory of a run that is planned so."""
    shards = ShardDirectory(run_dir)
    shards.write_plan(plan_for(job, shard_bytes, inputs))
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


async def cluster_of(job, url, shards, workers, *, limits=None, pace=None, meanwhile=None, core=None):
    """Workers and a coordinator over real HTTP on loopback, all in one loop. Returns the coordinator."""
    from arkbatch.cluster.coordinator import Coordinator
    from arkbatch.cluster.coordinator_address import CoordinatorAddress, new_token
    from arkbatch.cluster.service import CoordinatorClient, serve_coordinator
    from arkbatch.cluster.worker import Worker
    from arkbatch.limits.lease_core import LeaseCore
    from arkbatch.limits.lease_messages import SharedLimits

    loop = asyncio.get_running_loop()
    ready = replace(job, base_url=url, api_key=Secret("any-key"))
    limits = limits or SharedLimits(job.limits.concurrency)
    core = core or LeaseCore(limits, loop.time(), pace)
    coordinator = Coordinator(core, shards.read_plan().count)
    token = new_token()
    async with serve_coordinator(coordinator, token, clock=loop.time) as address:
        known = CoordinatorAddress(address, token)

        async def one(number):
            async with CoordinatorClient(lambda: known, loop.time) as client:
                worker = Worker(client, shards, ready, name=f"w{number}", wall=lambda: BEGAN + loop.time())
                return await worker.work()

        tasks = [asyncio.ensure_future(one(number)) for number in range(workers)]
        if meanwhile is not None:
            await meanwhile(coordinator, tasks)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
    return coordinator
