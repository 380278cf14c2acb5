"""A session keeps to its hours through nights, jumps of the clock and restarts, and says whether it will be in time."""

import asyncio
import datetime as dt
import signal

import pytest
from msgspec.structs import replace
from nights import KEY, Looks, Proxy, job_for, recorded, records, simulated
from processes import arkbatch, started
from runs import prompts
from virtual import run_virtual

from arkbatch.config.resolve import resolve_job
from arkbatch.core.errors import UsageError
from arkbatch.core.job import job_tables
from arkbatch.core.job_sections import Schedule
from arkbatch.core.secret import Secret
from arkbatch.core.text import printable_text
from arkbatch.engine import periodic_sync as durable
from arkbatch.engine import ticker as telling
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.session import Session
from arkbatch.journal.run_directory import RESULTS
from arkbatch.reports.status.status import read_status
from arkbatch.reports.status.status_text import status_text

HOUR = 3600.0
TEN_AT_NIGHT = dt.datetime(2026, 11, 21, 22, tzinfo=dt.UTC).timestamp()
NIGHT = "22:00-08:00 UTC"


@pytest.fixture(autouse=True)
def few_ticks(monkeypatch):
    """Nights of virtual time would be a million looks."""
    monkeypatch.setattr(durable, "SYNC_SECONDS", 600.0)
    monkeypatch.setattr(telling, "TICK_SECONDS", 30.0)


class Wall:
    """A clock on the wall that goes with the loop's, and can be set."""

    def __init__(self, begin):
        self.ahead = begin - asyncio.get_running_loop().time()

    def __call__(self):
        return asyncio.get_running_loop().time() + self.ahead


def nights(job, begin, looks=None, *, meanwhile=None, **settings):
    """One session that begins at unix time `begin`; its summary, and the times in hours after it of all calls."""

    async def main():
        async with simulated(**settings) as (url, counters):
            wall, looks_ = Wall(begin), looks or Looks()
            ready = replace(job, base_url=url, api_key=Secret(KEY))
            with OpenRun(ready, wall=wall) as opened:
                session = Session(opened, [looks_], chance=lambda: 0.5)
                beside = asyncio.ensure_future(meanwhile(session, wall)) if meanwhile else None
                summary = await session.work()
                if beside:
                    await beside
            return summary, counters

    return run_virtual(main())


def test_three_nights_pass_and_every_row_ends_within_the_hours(tmp_path):
    """Rows that take half an hour and more, three at once."""
    looks = Looks()
    job = replace(job_for(tmp_path, 180, concurrency=3, timeout=20_000.0), hours=Schedule(NIGHT))
    summary, _ = nights(job, TEN_AT_NIGHT, looks, latency=1800.0)
    assert (summary.ending, summary.succeeded, summary.failed) == ("finished", 180, 0)
    assert recorded(tmp_path) == [list(range(1, 181)), []]
    for line in records(tmp_path, RESULTS):
        ended = dt.datetime.fromisoformat(line["finished_at"]).timestamp()
        assert (ended - TEN_AT_NIGHT) % (24 * HOUR) <= 11 * HOUR  # begun before eight
    assert 48 * HOUR < summary.seconds < 60 * HOUR
    waits = [text for text in looks.notes if text.startswith("outside its hours")]
    assert len(waits) == 2
    assert "waiting for 22:00 UTC, in 14 h 00 min; 3 calls in flight end first" in waits[0]


def test_a_start_outside_the_hours_waits_and_says_until_when(tmp_path):
    looks = Looks()
    job = replace(job_for(tmp_path, 40, concurrency=4), hours=Schedule(NIGHT))
    summary, _ = nights(job, TEN_AT_NIGHT - 3 * HOUR - 600, looks, latency=1.0)
    assert looks.notes == [
        "outside its hours (22:00-08:00 UTC): waiting for 22:00 UTC, in 3 h 10 min; --window always begins at once",
        "its hours have come: going on until 08:00 UTC",
    ]
    assert summary.succeeded == 40
    assert 3 * HOUR + 600 <= summary.seconds < 3 * HOUR + 700
    waiting = [standing for standing in looks.standings if standing.waiting]
    assert {standing.waiting for standing in waiting} == {"waiting for 22:00 UTC"}
    assert {standing.recorded for standing in waiting} == {0}


def test_a_stop_while_it_waits_ends_it_at_once(tmp_path):
    async def stop(session, _):
        await asyncio.sleep(100)
        session.stop()

    job = replace(job_for(tmp_path, 40), hours=Schedule(NIGHT))
    summary, _ = nights(job, TEN_AT_NIGHT - 6 * HOUR, meanwhile=stop)
    assert (summary.ending, summary.left) == ("stopped", 40)
    assert summary.seconds < 130


def test_a_clock_that_is_set_is_noticed_within_a_minute(tmp_path):
    """Forward as after a sleep, past the hours; then back into them."""
    looks = Looks()

    async def change(_, wall):
        await asyncio.sleep(600)
        wall.ahead += 12 * HOUR
        await asyncio.sleep(600)
        wall.ahead -= 12 * HOUR

    job = replace(job_for(tmp_path, 60, concurrency=1), hours=Schedule(NIGHT))
    summary, _ = nights(job, TEN_AT_NIGHT, looks, meanwhile=change, latency=30.0)
    assert summary.succeeded == 60
    assert len(looks.notes) == 2
    resting = [standing.seconds for standing in looks.standings if standing.waiting]
    assert 600 <= resting[0] <= 660
    assert 1140 <= resting[-1] <= 1200


def test_a_service_that_is_away_when_the_hours_end_is_not_given_up_for_the_time_in_between(tmp_path):
    looks = Looks()

    async def main():
        async with simulated(latency=60.0) as (url, _):
            proxy = Proxy(url)
            await proxy.start()
            job = job_for(tmp_path, 400, concurrency=4, give_up_after=6 * HOUR)
            ready = replace(job, base_url=proxy.url, api_key=Secret(KEY), hours=Schedule(NIGHT))

            async def plug():
                await asyncio.sleep(1.5 * HOUR)  # half past seven
                await proxy.stop()
                await asyncio.sleep(16 * HOUR)  # and half an hour before midnight
                await proxy.start()

            pulled = asyncio.ensure_future(plug())
            with OpenRun(ready, wall=Wall(TEN_AT_NIGHT + 8 * HOUR)) as opened:
                summary = await Session(opened, [looks], chance=lambda: 0.5).work()
            await pulled
            await proxy.stop()
            return summary

    summary = run_virtual(main())
    assert (summary.ending, summary.succeeded, summary.failed) == ("finished", 400, 0)
    assert summary.session["seconds_away"] < 3 * HOUR


def test_a_row_that_was_refused_when_the_hours_ended_has_not_waited_in_between(tmp_path):
    """It is refused again in the evening, and its patience is shorter than the day."""
    prompts(tmp_path, {"prompt": "[[fault:rate_rpm:2]] hello"})
    job = job_for(tmp_path, concurrency=2)
    job = replace(job, hours=Schedule(NIGHT), retry=replace(job.retry, patience=HOUR))
    summary, _ = nights(job, TEN_AT_NIGHT + 10 * HOUR - 1, latency=0.1)
    assert (summary.succeeded, summary.failed) == (1, 0)
    assert summary.seconds > 14 * HOUR


def test_a_run_that_will_be_late_says_so_with_what_would_help(tmp_path):
    looks = Looks()
    job = replace(job_for(tmp_path, 400, concurrency=4), hours=Schedule(None, "01:00 UTC"))
    summary, _ = nights(job, TEN_AT_NIGHT, looks, latency=200.0)
    assert summary.succeeded == 400
    late = looks.notes[0]
    assert late.startswith("will be late by 2 h ")
    command = f"arkbatch ctl {tmp_path}/a.run set concurrency=8"
    assert f"What would help: raise concurrency from 4 to about 8 ({command}); send fewer rows (--limit)" in late
    assert len(looks.notes) == 1


def test_what_is_due_can_be_read_while_it_works(tmp_path, monkeypatch):
    monkeypatch.setattr(durable, "SYNC_SECONDS", 120.0)
    seen = []

    async def look(_, wall):
        await asyncio.sleep(2 * HOUR)
        seen.append(read_status(str(tmp_path / "a.run"), wall))
        await asyncio.sleep(10 * HOUR)
        seen.append(read_status(str(tmp_path / "a.run"), wall))

    job = replace(job_for(tmp_path, 100, concurrency=1), hours=Schedule(NIGHT, "08:00"))
    nights(job, TEN_AT_NIGHT + HOUR, meanwhile=look, latency=600.0)
    working, resting = seen
    assert (working.waiting, working.outlook[:12]) == ("", "will be late")
    assert resting.waiting == "waiting for 22:00 UTC"
    assert "waiting for 22:00 UTC" in status_text(resting)
    assert "will be late" in status_text(working)


def test_the_hours_are_those_of_the_flags_or_the_job_file_and_stay_with_the_run(tmp_path):
    prompts(tmp_path, {"prompt": "a"})
    (tmp_path / "job.toml").write_text('input = "in.jsonl"\n[hours]\nwindow = "22:00-08:00 Asia/Shanghai"\n')

    def found(**flags):
        return resolve_job(str(tmp_path / "job.toml"), {"simulate": True, **flags}, {}, tmp_path)

    assert found().hours == Schedule("22:00-08:00 Asia/Shanghai")
    assert found(window="always", finish_by="07:30").hours == Schedule("always", "07:30")
    assert job_tables(found())["hours"]["window"] == "22:00-08:00 Asia/Shanghai"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"window": "nightly"}, "is not a window: write it as 22:00-08:00"),
        ({"window": "22:00-08:00 Shanghai"}, "did you mean Asia/Shanghai?"),
        ({"finish_by": "soon"}, "is not a time: write it as 08:00"),
        ({"finish_by": "08:00 Mars"}, "Mars is no place"),
    ],
)
def test_hours_that_cannot_be_meant_are_refused_in_one_line(tmp_path, flags, said):
    path = prompts(tmp_path, {"prompt": "a"})
    with pytest.raises(UsageError) as caught:
        resolve_job(str(path), {"simulate": True, **flags}, {}, tmp_path)
    assert said in str(caught.value)
    assert str(caught.value) == printable_text(str(caught.value))


def test_a_command_that_waits_for_its_hours_says_so_and_ends_at_ctrl_c(tmp_path):
    prompts(tmp_path, {"prompt": "a"})
    now = dt.datetime.now(dt.UTC)
    window = f"{now + dt.timedelta(hours=2):%H:%M}-{now + dt.timedelta(hours=4):%H:%M} UTC"
    process = started("run", "in.jsonl", "--simulate", "--window", window, cwd=tmp_path)
    for line in process.stderr:
        if b"waiting for" in line:
            break
    assert line.startswith(f"Outside its hours ({window}): waiting for ".encode())
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"--window '{window}'".encode() in said
    again = arkbatch("run", "in.jsonl", "--simulate", "--window", "always", cwd=tmp_path)
    assert again.returncode == 0
