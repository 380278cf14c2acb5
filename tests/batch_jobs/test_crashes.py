"""A process that dies at any step loses no row, orders nothing twice, and counts every token that was billed."""

import asyncio

import pytest
from batch_runs import (
    BEGAN,
    batch_cost,
    billed_usage,
    one_session,
    rows,
    rows_with_records,
    usage_of_results,
)
from msgspec.structs import replace
from runs import job_of, prompts
from virtual import run_virtual

from arkbatch.batch_jobs import parcel_rows
from arkbatch.batch_jobs.parcel_journal import ParcelJournal
from arkbatch.core.job import Files, RetryPolicy, Secret
from arkbatch.journal.journal import Journal
from arkbatch.simulator.server import Counters, Settings, serve
from arkbatch.transport.batch_http import BatchHttp


class Crash(BaseException):
    """The process is gone: nothing that follows is carried out."""


class Killer:
    """Counts the points before and after each write and each request, and crashes at one of them."""

    def __init__(self):
        self.at, self.points = 0, 0

    def point(self):
        self.points += 1
        if self.points == self.at:
            raise Crash

    def wrap(self, monkeypatch, owner, name):
        inner = getattr(owner, name)

        def plain(*given, **named):
            self.point()
            result = inner(*given, **named)
            self.point()
            return result

        async def awaited(*given, **named):
            self.point()
            result = await inner(*given, **named)
            self.point()
            return result

        monkeypatch.setattr(owner, name, awaited if asyncio.iscoroutinefunction(inner) else plain)


@pytest.fixture
def killer(monkeypatch):
    killer = Killer()
    monkeypatch.setattr("os.fsync", lambda _: None)  # a process that dies in memory keeps what it wrote
    for owner, name in (
        (ParcelJournal, "write"),
        (ParcelJournal, "remove_files"),
        (BatchHttp, "ask"),
        (BatchHttp, "upload"),
        (BatchHttp, "download"),
        (Journal, "record"),
        (Journal, "sync"),
        (Journal, "close"),
        (parcel_rows._ParcelDraft, "finish"),
    ):
        killer.wrap(monkeypatch, owner, name)
    return killer


def killed_and_resumed(job, killer, at, **settings):
    """One run that is killed at a point, and again at the same count, until a session comes to its end."""
    counters, crashes = Counters(), 0

    async def main():
        nonlocal crashes
        loop = asyncio.get_running_loop()

        def wall():
            return BEGAN + loop.time()

        async with serve(Settings(**settings), counters=counters, wall=wall) as url:
            ready = replace(job, base_url=url.replace("/api/v3", "/v1"), api_key=Secret("any"), at_ark=False)
            killer.at, killer.points = at, 0
            while True:
                try:
                    return await one_session(ready, wall=wall)
                except Crash:
                    crashes += 1
                    killer.at = 0  # the next one lives

    summary, said = run_virtual(main())
    return summary, counters.batches, crashes, said


FAULTS = {"doubled_lines": 0.5, "missing_lines": 0.5, "failed_lines": 0.5, "misplaced_lines": 0.5, "expired": 0.3}
LANES = 2


def job_at(folder, count=12):
    folder.mkdir()
    job = job_of(prompts(folder, *rows(count)))
    return replace(job, lane="files", files=Files(rows=4), retry=RetryPolicy(max_attempts=4))


def check(job, batches, summary, count=12):
    assert summary.ending == "finished"
    assert rows_with_records(job) == list(range(1, count + 1))
    assert usage_of_results(job) == billed_usage(batches)
    assert summary.cost.amounts["CNY"] == batch_cost(job, batches)
    files = [batch.input_file_id for batch in batches.store.state.batches.values()]
    assert len(files) == len(set(files)), "a file was ordered twice"


@pytest.mark.parametrize("share", range(LANES))
def test_a_kill_at_any_point_loses_nothing_and_orders_nothing_twice(tmp_path, killer, share):
    """Every point before and after a write or a request, over three parcels; each share takes half of them."""
    at = share + 1
    while True:
        job = job_at(tmp_path / str(at))
        summary, batches, crashes, _ = killed_and_resumed(job, killer, at, batch_seconds=60)
        check(job, batches, summary)
        if not crashes:
            break
        at += LANES
    assert at > 100


@pytest.mark.parametrize("share", range(LANES))
def test_the_same_holds_with_every_fault_of_batches(tmp_path, killer, share):
    for at in range(share + 1, 160, 5 * LANES):
        job = job_at(tmp_path / str(at))
        faults = {**FAULTS, "slow_list": 0.5}
        summary, batches, _, _ = killed_and_resumed(job, killer, at, batch_seconds=60, batch_faults=faults, seed=at)
        check(job, batches, summary)


@pytest.mark.parametrize("fault", ["lost_upload", "lost_create", "poll_502", "torn_content", "late_file"])
def test_a_reply_that_is_lost_at_each_call_orders_nothing_twice(tmp_path, killer, fault):
    struck = 0
    for seed in range(3):
        job = job_at(tmp_path / str(seed))
        faults = {fault: 0.7}
        summary, batches, _, _ = killed_and_resumed(job, killer, 0, batch_seconds=60, batch_faults=faults, seed=seed)
        check(job, batches, summary)
        struck += batches.faults[fault]
    assert struck or fault == "late_file"
