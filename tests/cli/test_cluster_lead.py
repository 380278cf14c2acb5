"""The process that leads a run on several workers: what it says at the end, and what is read meanwhile."""

import asyncio
import json
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner
from runs import numbered, prompts

from arkbatch.cli import arkbatch, cluster_lead
from arkbatch.cli.cluster_plan import job_of_run
from arkbatch.cli.cluster_worker import run_worker
from arkbatch.cli.live_and_metrics import Serving
from arkbatch.cluster import driver
from arkbatch.cluster.coordinator_address import known_address, token_for
from arkbatch.core.errors import RunLocked, UsageError
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.journal.shard_files import ShardDirectory

MODEL = ["--model", "doubao-seed-1-6-251015", "--simulate", "--fixed"]


@pytest.fixture(autouse=True)
def _quick(tmp_path, monkeypatch):
    monkeypatch.setattr("arkbatch.api.jobs.SIMULATED_LATENCY", 0.0)
    monkeypatch.setattr(driver, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr("sys.argv", ["arkbatch", "shard", "serve", "a.run"])
    monkeypatch.chdir(tmp_path)
    prompts(tmp_path, *numbered(30), b"{oops\n")


def call(*words):
    result = CliRunner().invoke(arkbatch, list(words), standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.output


def led(meanwhile, capsys, *, is_drained=False):
    """Lead one worker. `meanwhile` is called when it has begun. Returns the exit code, and the summary."""
    shards = ShardDirectory(Path("a.run"))
    job = job_of_run(shards, {})

    async def main():
        async with cluster_lead.leading(job, shards, Serving()) as lead:
            if is_drained:
                lead.stop()
            worker = asyncio.create_task(run_worker("a.run", "w1"))
            await driver.until_over(lead.coordinator, lead.progress, asyncio.get_running_loop().time)
            await worker
            await asyncio.to_thread(meanwhile)
            return cluster_lead.finish_run(job, shards, lead, "a.run", as_json=True)

    code = asyncio.run(main())
    return code, json.loads(capsys.readouterr().out)


def test_the_summary_tells_cost_and_duration_of_calls_as_that_of_one_machine_does(capsys):
    call("shard", "plan", "in.jsonl", "-o", "a.run", "--shards", "3", *MODEL)
    seen = []
    code, summary = led(lambda: seen.append(call("status", "a.run")), capsys)
    assert code == 3
    assert (summary["succeeded"], summary["failed"], summary["left"], summary["ending"]) == (30, 1, 0, "finished")
    assert float(summary["cost"]["amounts"]["CNY"]) > 0
    assert summary["p50"] is not None
    assert summary["p95"] >= summary["p50"]
    assert summary["session"] == {"recorded": 31, "retried": 0}
    assert "a.run: running (process" in seen[0]
    assert "30 done, 1 failed, 0 left of 31" in seen[0]
    assert "CNY" in seen[0]
    (session,) = RunDirectory(Path("a.run")).read_info().sessions
    assert (session.command, session.ending) == ("arkbatch shard serve a.run", "finished")
    assert "CNY" in call("cost", "a.run")
    Path("in.jsonl").write_bytes(Path("in.jsonl").read_bytes().replace(b"{oops", b'{"prompt": "corrected"}'))
    call("run", "in.jsonl", "-o", "a.run", "--rebase", *MODEL)
    assert "31 done, 0 failed" in call("status", "a.run")


def test_each_process_that_leads_is_a_session_and_those_before_the_shards_stay(capsys):
    call("run", "in.jsonl", "-o", "a.run", "--limit", "5", *MODEL)
    call("shard", "plan", "in.jsonl", "-o", "a.run", "--shards", "3", *MODEL)
    code, summary = led(lambda: None, capsys, is_drained=True)
    assert (code, summary["ending"]) == (130, "stopped")
    led(lambda: None, capsys)
    sessions = RunDirectory(Path("a.run")).read_info().sessions
    assert [(each.number, each.ending) for each in sessions] == [(1, "finished"), (2, "stopped"), (3, "finished")]


def test_commands_that_merge_first_leave_a_run_at_work_alone(capsys):
    call("shard", "plan", "in.jsonl", "-o", "a.run", "--shards", "3", *MODEL)
    read = []

    commands = ["answers a.run", "show a.run 3", "report a.run", "cost a.run --by day"]

    def meanwhile():
        read.extend(call(*words.split()) for words in commands)

    code, summary = led(meanwhile, capsys)
    assert code == 3
    assert (summary["succeeded"], summary["left"], summary["ending"]) == (30, 0, "finished")
    assert read[0].count('"answer"') == 31
    assert "Row 3" in read[1]


def test_the_last_merge_waits_for_a_command_that_merges(capsys, monkeypatch):
    call("shard", "plan", "in.jsonl", "-o", "a.run", "--shards", "3", *MODEL)
    reader = ExitStack()
    monkeypatch.setattr(cluster_lead.time, "sleep", lambda _: reader.close())
    code, summary = led(lambda: reader.enter_context(RunDirectory(Path("a.run")).hold_lock(lambda: 0.0)), capsys)
    assert code == 3
    assert summary["left"] == 0


def test_a_second_coordinator_is_refused_on_whatever_machine_it_is(capsys):
    call("shard", "plan", "in.jsonl", "-o", "a.run", "--shards", "3", *MODEL)
    shards = ShardDirectory(Path("a.run"))

    async def main():
        async with cluster_lead.leading(job_of_run(shards, {}), shards, Serving()):
            (shards.path / "lock").unlink()  # as another machine sees it whose file system has no locks
            with pytest.raises(RunLocked, match="is led by the coordinator at http"):
                async with cluster_lead.leading(job_of_run(shards, {}), shards, Serving()):
                    pass

    asyncio.run(main())


def test_a_coordinator_that_ended_in_order_is_not_waited_for_and_leaves_its_token(capsys):
    call("shard", "plan", "in.jsonl", "-o", "a.run", "--shards", "2", *MODEL)
    shards = ShardDirectory(Path("a.run"))
    tokens = []
    led(lambda: tokens.append(known_address(shards).token), capsys, is_drained=True)
    assert known_address(shards) is None
    assert token_for(shards, {}) == tokens[0]
    with pytest.raises(UsageError, match="Give --index I"):
        call("shard", "run", "a.run")
