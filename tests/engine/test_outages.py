"""A service that goes away for a while costs that while, and no row."""

import asyncio
from contextlib import nullcontext
from itertools import islice

import pytest
from fakes import SCRIPT, FakeTransport
from msgspec.structs import replace
from nights import Looks, Proxy, job_for, night, recorded, records, session_of, simulated
from runs import failed, numbered, prompts, worked_off
from virtual import run_virtual

from arkbatch.core.calls import Break, Broken, Kind
from arkbatch.core.errors import RunDamaged
from arkbatch.engine import periodic_sync as durable
from arkbatch.engine import session as run_module
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.retry_run import RetryRun, RetrySelection
from arkbatch.engine.session import Session
from arkbatch.journal.run_directory import RESULTS
from arkbatch.monitor.progress import seconds_left

MINUTE = 60.0


@pytest.fixture(scope="module", autouse=True)
def few_syncs():
    """A night of virtual time would be ten thousand real waits for the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(durable, "SYNC_SECONDS", 30.0)
        yield


def night_with_outage(job, minutes, *observers, after=15.0, **settings):
    """A session through a proxy that stops after some seconds, for so many minutes."""

    async def main():
        async with simulated(latency=0.5, **settings) as (url, counters):
            proxy = Proxy(url)
            await proxy.start()

            async def pull_the_plug():
                await asyncio.sleep(after)
                await proxy.stop()
                await asyncio.sleep(minutes * MINUTE)
                await proxy.start()

            plug = asyncio.create_task(pull_the_plug())
            try:
                return await session_of(replace(job, base_url=proxy.url), *observers), counters
            finally:
                plug.cancel()
                await asyncio.gather(plug, return_exceptions=True)
                await proxy.stop()

    return run_virtual(main())


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Seconds that the rows take without an outage."""
    job = job_for(tmp_path_factory.mktemp("plain"), 1600, concurrency=16)
    return night_with_outage(job, 1, after=100_000)[0].seconds


def test_twenty_minutes_without_network_cost_twenty_minutes_and_nothing_else(tmp_path, plain):
    """Also where a row may fail but once."""
    looks = Looks()
    job = job_for(tmp_path, 1600, concurrency=16, max_attempts=1)
    summary, counters = night_with_outage(job, 20, looks)
    assert (summary.succeeded, summary.failed, summary.left) == (1600, 0, 0)
    assert recorded(tmp_path) == [list(range(1, 1601)), []]
    assert plain + 20 * MINUTE < summary.seconds < plain + 21.5 * MINUTE
    assert 20 * MINUTE - 1 <= summary.session["seconds_away"] < 21.5 * MINUTE
    assert sum(counters.outcomes.values()) <= 1600 + 16  # paid twice: at most what was in flight
    assert [text.split(":")[0].split(" after")[0] for text in looks.notes] == [
        "the service is away",
        "the service is back",
    ]
    assert {seconds_left(each) for each in looks.standings if "is away" in each.bound_by} == {None}


def test_few_probes_are_sent_into_an_outage(tmp_path):
    night_with_outage(job_for(tmp_path, 1000, concurrency=16), 20)
    calls = [line["attempts"] for line in records(tmp_path, RESULTS)]
    assert sum(calls) - len(calls) < 16 * 2 + 80


def test_a_service_that_is_away_for_longer_than_is_waited_for_halts_the_run_and_leaves_the_rows(tmp_path):
    looks = Looks()
    job = job_for(tmp_path, 1000, concurrency=16, give_up_after=600.0)
    summary, _ = night_with_outage(job, 20, looks)
    assert summary.ending == "halted"
    assert summary.failed == 0 < summary.left
    assert "has been away for 10 min" in summary.halt.message
    assert len(looks.halts) == 1


def test_what_could_not_be_sent_uses_no_tokens(tmp_path):
    looks = Looks()
    run_virtual(session_of(job_for(tmp_path, 100), looks))
    assert {standing.tpm for standing in looks.standings} == {0.0}


def test_a_server_that_never_answered_is_given_up_after_minutes(tmp_path):
    looks = Looks()
    summary = run_virtual(session_of(job_for(tmp_path, 100), looks))
    assert (summary.ending, summary.left) == ("halted", 100)
    assert 300 <= summary.seconds < 302
    assert "has not answered" in summary.halt.message


@pytest.mark.parametrize("fault", ["server_error", "bad_gateway", "drop_before", "garbled"])
def test_an_outage_with_other_symptoms_costs_no_row_either(tmp_path, fault):
    async def main():
        async with simulated(latency=0.5) as (good, _), simulated(latency=0.5, faults={fault: 1.0}) as (bad, _):
            proxy, broken = Proxy(good), Proxy(bad)
            await proxy.start()
            broken.port = proxy.port

            async def change_over():
                await asyncio.sleep(15)
                await proxy.stop()
                await broken.start()
                await asyncio.sleep(10 * MINUTE)
                await broken.stop()
                await proxy.start()

            plug = asyncio.create_task(change_over())
            summary = await session_of(replace(job, base_url=proxy.url))
            await plug
            await proxy.stop()
            return summary

    job = job_for(tmp_path, 1000, concurrency=16, max_attempts=1)
    summary = run_virtual(main())
    assert (summary.succeeded, summary.failed) == (1000, 0)
    assert 10 * MINUTE < summary.session["seconds_away"] < 12 * MINUTE


def test_connections_that_hang_keep_only_their_own_rows_waiting(tmp_path, monkeypatch):
    """A network that is gone refuses new calls at once, and tells nothing of those that were under way."""

    def script(call, attempt):
        if not 1_010 <= asyncio.get_running_loop().time() < 1_040:
            return SCRIPT[""]
        hangs = call.client_id.endswith(("4-1", "8-1"))
        return Broken(Break.TIMEOUT, "silence", 600.0) if hangs else SCRIPT["bad_gateway"]

    job, transport = job_for(tmp_path, 4000, concurrency=16), FakeTransport(script)
    monkeypatch.setattr(run_module, "open_connection", lambda *_: nullcontext(transport))
    summary = run_virtual(session_of(job))
    assert (summary.succeeded, summary.failed) == (4000, 0)
    assert sum(began > 1_200 for began in transport.began) <= 16  # of 2,400 after the outage


def test_one_failure_in_twenty_is_no_outage(tmp_path):
    async def main():
        async with simulated(latency=0.2, faults={"server_error": 0.03, "drop_inside": 0.02}) as (url, _):
            return await session_of(replace(job, base_url=url))

    job = job_for(tmp_path, 2000, concurrency=32)
    summary = run_virtual(main())
    assert (summary.succeeded, summary.failed) == (2000, 0)
    assert "seconds_away" not in summary.session


def test_rows_that_break_the_server_do_not_hold_up_a_run_for_a_night(tmp_path):
    """The last rows all end in a 500 and nobody is left to prove that the service lives."""
    poison = [{"custom_id": f"p{n}", "prompt": f"[[fault:server_error]] {n}"} for n in range(17)]
    prompts(tmp_path, *numbered(50), *poison)
    summary, _ = night(job_for(tmp_path, concurrency=16), latency=0.5)
    assert (summary.succeeded, summary.failed) == (50, 17)
    assert summary.seconds < 15 * MINUTE


@pytest.mark.parametrize("readable", [10, 11])
def test_an_input_that_cannot_be_read_on_costs_no_answer_of_an_outage(tmp_path, monkeypatch, readable):
    """Rows are read to be sent ahead when an answer has come: that is recorded all the same."""
    answers = []

    async def send(call):
        await asyncio.sleep(0.1)
        if asyncio.get_running_loop().time() < 1_010:
            return SCRIPT["bad_gateway"]
        answers.append(call.client_id)
        return SCRIPT[""]

    def rows(run):
        yield from islice(run.rows(), readable)
        raise RunDamaged("the disk is gone")

    async def main():
        with OpenRun(job, wall=lambda: 0.0) as run, pytest.raises(RunDamaged):
            await Session(run, chance=lambda: 0.5).work_again(rows(run))

    job, transport = job_for(tmp_path, 20, concurrency=4), FakeTransport()
    transport.send = send
    monkeypatch.setattr(run_module, "open_connection", lambda *_: nullcontext(transport))
    run_virtual(main())
    ids = [line["calls"][-1]["id"] for line in records(tmp_path, RESULTS)]
    assert sorted(ids) == sorted(answers)


def test_a_stretch_of_rows_that_break_the_server_does_not_hold_up_the_others(tmp_path):
    """All workers have such a row, and nothing but rows that never failed could show that the service is there."""
    poison = [{"custom_id": f"p{n}", "prompt": f"[[fault:bad_gateway]] {n}"} for n in range(16)]
    prompts(tmp_path, *numbered(50), *poison, *numbered(2050)[50:])
    summary, _ = night(job_for(tmp_path, concurrency=16), latency=0.5)
    assert (summary.succeeded, summary.failed) == (2050, 16)
    assert summary.seconds < 10 * MINUTE


def test_a_retry_of_rows_that_break_the_server_as_they_did_is_no_outage(tmp_path):
    prompts(tmp_path, *({"prompt": f"[[fault:bad_gateway]] {number}"} for number in range(60)))
    job = job_for(tmp_path, concurrency=16)
    worked_off(job, lambda row: failed(row, kind=Kind.SERVER_ERROR, code="http_502"))

    async def main():
        async with simulated(latency=0.5) as (url, _):
            with RetryRun(replace(job, base_url=url), RetrySelection(), wall=lambda: 0.0) as again:
                return await Session(again, chance=lambda: 0.5).work_again(again.rows())

    summary = run_virtual(main())
    assert (summary.ending, summary.failed, summary.left) == ("finished", 60, 0)
    assert summary.seconds < 10 * MINUTE
