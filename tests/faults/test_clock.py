"""A wall clock that is set back or forward in the middle of a run changes what records say of the time, and no more."""

import asyncio
from datetime import datetime

import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from nights import Looks, job_for, recorded, records, simulated
from runs import BEGAN
from virtual import run_virtual

from arkbatch.engine import periodic_sync as durable
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.resume_check import ResumeOptions
from arkbatch.engine.session import Session
from arkbatch.journal.run_directory import RESULTS

HOUR = 3600.0
JUMPS = [-26 * HOUR, 400 * 24 * HOUR]


@pytest.fixture(autouse=True)
def few_syncs(monkeypatch):
    """Each is a real wait for the disk."""
    monkeypatch.setattr(durable, "SYNC_SECONDS", 30.0)


class SetClock:
    """Goes with the loop, and is set by so many seconds at a moment of the session. Made inside the loop."""

    def __init__(self, by, after):
        self._time = asyncio.get_running_loop().time
        self._by, self._began = by, self._time()
        self._at = self._began + after

    def __call__(self):
        now = self._time()
        return BEGAN + now - self._began + (self._by if now >= self._at else 0.0)


def session(job, by, *observers, after=10.0, **settings):
    """One session against the simulator, with the clock set after so many seconds."""

    async def main():
        async with simulated(**settings) as (url, _):
            return await on(replace(job, base_url=url), by, *observers)

    async def on(job, by, *observers):
        with OpenRun(job, ResumeOptions(mixed=True), wall=SetClock(by, after)) as opened:
            return await Session(opened, observers, chance=lambda: 0.5).work()

    return run_virtual(main() if settings else on(job, by, *observers))


@pytest.mark.parametrize("by", JUMPS)
def test_each_row_ends_once_with_the_time_that_the_clock_showed(tmp_path, by):
    faults = {"server_error": 0.05, "drop_inside": 0.05, "rate_rpm": 0.01}
    summary = session(job_for(tmp_path, 400, concurrency=8), by, latency=0.5, faults=faults)
    assert (summary.succeeded, summary.failed, summary.left) == (400, 0, 0)
    assert recorded(tmp_path) == [list(range(1, 401)), []]
    assert 25 < summary.seconds < 200
    times = [datetime.fromisoformat(line["finished_at"]).timestamp() for line in records(tmp_path, RESULTS)]
    assert {time - BEGAN > by / 2 if by > 0 else time - BEGAN < by / 2 for time in times} == {True, False}


@pytest.mark.parametrize("by", JUMPS)
def test_a_run_with_a_clock_that_was_set_can_be_looked_at_and_gone_on_with(tmp_path, by):
    job = job_for(tmp_path, 60, concurrency=4)
    session(replace(job, row_limit=40), by, after=2.0, latency=0.5)
    assert session(job, -by, after=1.0, latency=0.5).succeeded == 60
    assert recorded(tmp_path) == [list(range(1, 61)), []]
    for name in ("status", "cost", "report"):
        command = __import__(f"arkbatch.cli.{name}", fromlist=["command"]).command
        looked = CliRunner().invoke(command, [str(tmp_path / "a.run")], catch_exceptions=False, standalone_mode=False)
        assert looked.exit_code == 0, looked.output


@pytest.mark.parametrize("by", JUMPS)
def test_the_wait_for_a_service_that_is_away_is_measured_by_a_clock_that_nobody_sets(tmp_path, by):
    looks = Looks()
    summary = session(job_for(tmp_path, 40), by, looks)
    assert (summary.ending, summary.left) == ("halted", 40)
    assert 300 <= summary.seconds < 302


@pytest.mark.parametrize("by", JUMPS)
def test_the_patience_of_a_row_is_too(tmp_path, by):
    job = job_for(tmp_path, 2, concurrency=2)
    job = replace(job, retry=replace(job.retry, patience=600.0))
    summary = session(job, by, latency=0.1, faults={"rate_rpm": 1.0})
    assert summary.failed == 2
    assert 600 <= summary.seconds < 700
