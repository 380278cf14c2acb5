"""`arkbatch ctl` on a run with several workers: what it changes, and what it keeps."""

import asyncio
from pathlib import Path

import pytest
from clusters import cluster_of, in_cluster, planned
from runs import BEGAN, job_of, numbered, prompts

from arkbatch.cluster.cluster_commands import ClusterCommands
from arkbatch.cluster.driver import ClusterProgress, shared_limits
from arkbatch.cluster.merge import merge
from arkbatch.core.errors import RunLocked, UsageError
from arkbatch.core.job_sections import Limits
from arkbatch.engine.session_parts import build_pace
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.journal.shard_sessions import LedSession
from arkbatch.limits.lease_messages import SharedLimits
from arkbatch.limits.shared_pace import SharedPace
from arkbatch.monitor.commands import parse_command
from arkbatch.monitor.observer import Observer


class Told(Observer):
    def __init__(self):
        self.changes = []

    def settings_changed(self, steered):
        self.changes.append(steered.did)


def commanding(job, session, shards, coordinator, pace, told):
    clock = asyncio.get_running_loop().time
    progress = ClusterProgress(coordinator, shards, shards.read_plan(), told, clock())
    return ClusterCommands(
        coordinator,
        job,
        session,
        pace=pace,
        progress=lambda: progress.progress(clock()),
        observer=told,
        clock=clock,
        wall=lambda: BEGAN + clock(),
    )


def run_with(tmp_path, rows, script, **limits):
    """Run two workers while `script(say, counters)` gives commands. Returns what the script returned, and the job."""
    job = job_of(prompts(tmp_path, *numbered(rows)), **limits)
    shards, told, seen = planned(job, Path(job.run_dir), shard_bytes=2_000), Told(), []

    async def main(url, counters):
        loop = asyncio.get_running_loop()
        pace = SharedPace(build_pace(job, loop.time()))

        async def meanwhile(coordinator, tasks):
            session = LedSession(shards, "arkbatch shard serve a.run", began=BEGAN, version="1", limits=job.limits)
            commands = commanding(job, session, shards, coordinator, pace, told)
            seen.append(
                await script(lambda *words: commands.handle(parse_command(words[0], words[1:], "why")), counters)
            )

        return await cluster_of(job, url, shards, 2, limits=shared_limits(job.limits), pace=pace, meanwhile=meanwhile)

    in_cluster(main, latency=0.2)
    return seen[0], job, told


def test_a_pause_holds_all_workers_and_the_run_goes_on_after_it(tmp_path):
    async def script(say, counters):
        await asyncio.sleep(8.0)
        said = say("pause").said
        await asyncio.sleep(3.0)
        held = counters.outcomes["ok"]
        await asyncio.sleep(30.0)
        assert counters.outcomes["ok"] == held
        assert "Paused for 33" in say("status").said
        assert say("status").state.held
        say("resume")
        return said

    said, job, told = run_with(tmp_path, 400, script, rpm=1_200)
    assert said.startswith("Paused: workers begin no call within two seconds")
    assert told.changes == ["paused", "went on after 33 s"]
    merged = merge(Path(job.run_dir), lambda: BEGAN)
    assert merged.done == 400
    kept = RunDirectory(Path(job.run_dir)).read_info().sessions[0].steered
    assert [(each.do, each.reason) for each in kept] == [("pause", "why"), ("resume", "why")]


def test_another_rate_holds_for_all_workers_together(tmp_path):
    async def script(say, counters):
        await asyncio.sleep(5.0)
        said = say("set", "rpm=120", "concurrency=4").said
        await asyncio.sleep(65.0)  # the minute before keeps to the new limit
        before = counters.outcomes["ok"]
        await asyncio.sleep(60.0)
        slow = counters.outcomes["ok"] - before
        say("drain")
        return said, slow

    (said, slow), _, _ = run_with(tmp_path, 2_000, script, rpm=600)
    assert "rpm 600 -> 120, for all workers together" in said
    assert 100 <= slow <= 120


def test_a_command_that_cannot_be_done_changes_nothing(tmp_path):
    async def script(say, counters):
        with pytest.raises(UsageError, match="began without a budget"):
            say("set", "max_cost=5")
        assert say("set", "rpm=600").said.startswith("Nothing to change")
        assert say("resume").said == "It is not paused."
        say("drain")
        with pytest.raises(UsageError, match="is ending"):
            say("pause")

    _, _, told = run_with(tmp_path, 50, script, rpm=600)
    assert told.changes == ["stopped"]


def test_only_the_last_changes_are_kept_and_none_of_their_limits_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr("arkbatch.monitor.command_replies.MAX_CHANGES_KEPT", 3)

    async def script(say, counters):
        await asyncio.sleep(1.5)
        for words in (("set", "rpm=700"), ("pause",), ("resume",), ("pause",), ("resume",)):
            say(*words)

    _, job, _ = run_with(tmp_path, 50, script, rpm=600)
    merge(Path(job.run_dir), lambda: BEGAN)
    session = RunDirectory(Path(job.run_dir)).read_info().sessions[0]
    assert ([each.do for each in session.steered], session.limits["rpm"]) == (["resume", "pause", "resume"], 700.0)


def test_a_second_coordinator_is_refused(tmp_path):
    job = job_of(prompts(tmp_path, *numbered(5)))
    shards = planned(job, Path(job.run_dir))
    with (
        shards.hold_lock(lambda: BEGAN),
        pytest.raises(RunLocked, match="is led by process"),
        shards.hold_lock(lambda: BEGAN),
    ):
        pass
    with shards.hold_lock(lambda: BEGAN):
        assert RunDirectory(shards.run).who_writes().startswith("process ")
    assert RunDirectory(shards.run).who_writes() is None


def test_two_budgets_at_once_are_refused():
    assert shared_limits(Limits(rpm=60.0)) == SharedLimits(Limits().concurrency, requests_per_minute=60.0)
    with pytest.raises(UsageError, match="one budget"):
        shared_limits(Limits(max_cost=1.0, max_total_tokens=10))
