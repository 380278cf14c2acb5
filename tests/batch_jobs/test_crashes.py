"""A process that dies at any step loses no row, orders nothing twice, and counts every token that was billed."""

import asyncio
import re
from pathlib import Path

import pytest
from batch_runs import (
    BEGAN,
    batch_cost,
    billed_usage,
    one_session,
    ready_for,
    rows,
    rows_with_records,
    usage_of_results,
)
from msgspec.structs import replace
from runs import job_of, prompts
from virtual import run_virtual

from arkbatch.batch_jobs import parcel_cutter
from arkbatch.batch_jobs.parcel_journal import PARCELS, ParcelJournal
from arkbatch.core.job_sections import Files, RetryPolicy
from arkbatch.journal.journal import Journal
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.simulator.server import Counters, Settings, serve
from arkbatch.transport.batch_http import BatchHttp
from arkbatch.transport.control_plane import ControlPlane
from arkbatch.transport.tos_bucket import ObjectStoreHttp


class Crash(BaseException):
    """The process is gone: nothing that follows is carried out."""


class Killer:
    """Names the points before and after each write and each request, and crashes at one of them."""

    def __init__(self):
        self.at, self.points = 0, []

    def point(self, label):
        self.points.append(label)
        if len(self.points) == self.at:
            raise Crash

    def wrap(self, monkeypatch, owner, name):
        inner = getattr(owner, name)

        def plain(*given, **named):
            label = label_of(name, given)
            self.point(f"before {label}")
            result = inner(*given, **named)
            self.point(f"after {label}")
            return result

        async def awaited(*given, **named):
            label = label_of(name, given)
            self.point(f"before {label}")
            result = await inner(*given, **named)
            self.point(f"after {label}")
            return result

        monkeypatch.setattr(owner, name, awaited if asyncio.iscoroutinefunction(inner) else plain)


def label_of(name, given):
    """What is done, without the ids in it: `send_json GET /batches/ID`."""
    said = " ".join(str(word) for word in given[1:3] if isinstance(word, str))
    return f"{name} {re.sub(r'[a-z]+-[0-9a-f]{12,}', 'ID', said)}".strip()


def ends_of_each_kind(points):
    """The numbers, from 1, of the first and the last point of each kind."""
    first, last = {}, {}
    for number, label in enumerate(points, 1):
        first.setdefault(label, number)
        last[label] = number
    return sorted({*first.values(), *last.values()})


@pytest.fixture
def killer(monkeypatch):
    killer = Killer()
    monkeypatch.setattr("os.fsync", lambda _: None)  # a process that dies in memory keeps what it wrote
    for owner, name in (
        (ParcelJournal, "write_step"),
        (ParcelJournal, "remove_files"),
        (BatchHttp, "send_json"),
        (BatchHttp, "upload"),
        (BatchHttp, "download"),
        (ControlPlane, "ask_once"),
        (ObjectStoreHttp, "put_object"),
        (ObjectStoreHttp, "get_object"),
        (ObjectStoreHttp, "delete_object"),
        (Journal, "record"),
        (Journal, "sync"),
        (Journal, "close"),
        (parcel_cutter._ParcelDraft, "finish"),
    ):
        killer.wrap(monkeypatch, owner, name)
    return killer


def killed_and_resumed(job, killer, at, *, meanwhile=None, **settings):
    """One run that is killed at a point and started again. meanwhile: done to its directory between the two."""
    counters, crashes = Counters(), 0

    async def main():
        nonlocal crashes
        loop = asyncio.get_running_loop()

        def wall():
            return BEGAN + loop.time()

        async with serve(Settings(**settings), counters=counters, wall=wall) as url:
            ready = ready_for(job, url)
            killer.at, killer.points = at, []
            while True:
                try:
                    return await one_session(ready, wall=wall)
                except Crash:
                    crashes += 1
                    killer.at = 0  # the next one lives
                    if meanwhile is not None:
                        meanwhile(RunDirectory(Path(ready.run_dir)))

    summary, said = run_virtual(main())
    return summary, counters.batches, crashes, said


FAULTS = {"doubled_lines": 0.5, "missing_lines": 0.5, "failed_lines": 0.5, "misplaced_lines": 0.5, "expired": 0.3}


def job_at(folder, count=12, lane="files"):
    folder.mkdir()
    job = job_of(prompts(folder, *rows(count)))
    return replace(job, lane=lane, files=Files(rows=4), retry=RetryPolicy(max_attempts=4))


def check(job, batches, summary, count=12):
    assert summary.ending == "finished"
    assert rows_with_records(job) == list(range(1, count + 1))
    assert usage_of_results(job) == billed_usage(batches)
    assert summary.cost.amounts["CNY"] == batch_cost(job, batches)
    files = [(batch.metadata or {}).get("key") or batch.input_file_id for batch in batches.store.state.batches.values()]
    assert len(files) == len(set(files)), "a file was ordered twice"


def test_a_kill_before_or_after_any_write_or_request_loses_nothing_and_orders_nothing_twice(tmp_path, killer):
    """At the first and the last of each kind, over three parcels; `benchmarks/kills.py` kills at every single one."""
    killed_and_resumed(job_at(tmp_path / "0"), killer, 0, batch_seconds=60)
    places = ends_of_each_kind(killer.points)
    assert len(places) > 70
    for at in places:
        job = job_at(tmp_path / str(at))
        summary, batches, crashes, _ = killed_and_resumed(job, killer, at, batch_seconds=60)
        check(job, batches, summary)
        assert crashes == 1


def test_the_same_holds_with_every_fault_of_batches(tmp_path, killer):
    for at in range(3, 170, 12):
        job = job_at(tmp_path / str(at))
        faults = {**FAULTS, "slow_list": 0.5}
        summary, batches, _, _ = killed_and_resumed(job, killer, at, batch_seconds=60, batch_faults=faults, seed=at)
        check(job, batches, summary)


def test_the_same_holds_for_the_batch_inference_jobs_of_ark(tmp_path, killer):
    killed_and_resumed(job_at(tmp_path / "0", lane="job"), killer, 0, batch_seconds=60)
    places = ends_of_each_kind(killer.points)
    assert any("CreateBatchInferenceJob" in label for label in killer.points)
    for at in places[::3]:
        job = job_at(tmp_path / str(at), lane="job")
        meanwhile = lose if at % 2 else None
        summary, batches, crashes, _ = killed_and_resumed(job, killer, at, meanwhile=meanwhile, batch_seconds=60)
        check(job, batches, summary)
        assert crashes == 1


def lose(directory):
    (directory / PARCELS).unlink(missing_ok=True)


def damage(directory):
    """A byte in the middle of each second line is another one now."""
    path = directory / PARCELS
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    for number in range(0, len(lines), 2):
        lines[number] = lines[number].replace(b'"', b"\0", 1)
    path.write_bytes(b"".join(lines))


@pytest.mark.parametrize("harm", [lose, damage])
@pytest.mark.parametrize("fault", ["", "slow_list"])
def test_parcels_are_found_again_at_the_provider_when_their_file_is_lost_or_damaged(tmp_path, killer, harm, fault):
    """Whatever had been reached: nothing is ordered twice, and no paid answer is lost."""
    killed_and_resumed(job_at(tmp_path / "0"), killer, 0, batch_seconds=60)
    for at in range(5, len(killer.points) - 5, 9):
        job = job_at(tmp_path / str(at))
        summary, batches, crashes, _ = killed_and_resumed(
            job, killer, at, meanwhile=harm, batch_seconds=60, batch_faults={fault: 1.0} if fault else {}
        )
        check(job, batches, summary)
        assert crashes == 1


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
