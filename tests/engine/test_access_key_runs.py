"""Whole runs with an access key: its temporary keys are bought, renewed, replaced when refused, and never shown."""

import asyncio

import pytest
from nights import records
from runs import numbered, prompts
from virtual import run_virtual

from arkbatch.config.resolve import resolve_job
from arkbatch.engine import ticker as telling
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.session import Session
from arkbatch.simulator.server import Counters, Settings, serve
from arkbatch.simulator.settings import ACCESS_KEY

ENDPOINT = "ep-20260101000000-abcde"
BATCH = "ep-bi-20260101000000-abcde"
DAY = 86_400
BEGAN = 1_790_000_000.0


def ran(folder, *rows, settings=(), environ=(), **flags):
    """The summary, the server's counters and the virtual seconds of a run whose calendar goes with the loop's clock."""
    counters = Counters()

    async def main():
        loop = asyncio.get_running_loop()
        began, wall = loop.time(), lambda: BEGAN + loop.time()
        async with serve(Settings(keys=("no other",), **dict(settings)), counters=counters, wall=wall) as url:
            said = {"VOLC_ACCESSKEY": ACCESS_KEY[0], "VOLC_SECRETKEY": ACCESS_KEY[1], **dict(environ)}
            said |= {"ARK_CONTROL_PLANE": url.removesuffix("/api/v3")}
            given = {"model": ENDPOINT, "base_url": url, "run_dir": str(folder / "a.run"), **flags}
            job = resolve_job(str(prompts(folder, *rows)), given, said, folder)
            with OpenRun(job, wall=wall) as run:
                summary = await Session(run, [], chance=lambda: 0.5).work()
                return summary, loop.time() - began

    summary, seconds = run_virtual(main())
    return summary, counters, seconds


def test_a_week_on_the_batch_lane_with_a_new_key_each_day(tmp_path, monkeypatch):
    """Rows that are held for hours, more of them than places, and a line that is full from time to time."""
    monkeypatch.setattr(telling, "LONGEST_TICK_SECONDS", 3600.0)  # nobody watches
    settings = {"key_seconds": DAY, "batch_hold": 12 * 3600.0, "batch_slots": 10, "batch_queue": 10}
    summary, counters, seconds = ran(
        tmp_path, *numbered(138), settings=settings, model=BATCH, lane="batch", concurrency=20
    )
    assert seconds > 7 * DAY
    assert (summary.succeeded, summary.failed) == (138, 0)
    assert 7 <= counters.control["ok"] <= seconds / DAY + 2
    assert set(counters.control) == {"ok"}
    assert "AuthenticationError" not in counters.outcomes


def test_a_key_that_is_refused_is_replaced_and_the_call_made_again_without_spending_an_attempt(tmp_path):
    row = {"prompt": "[[fault:unauthorized:1]] why?"}
    summary, counters, _ = ran(tmp_path, row, max_attempts=1)
    assert (summary.succeeded, summary.failed) == (1, 0)
    assert counters.outcomes == {"AuthenticationError": 1, "ok": 1}
    assert counters.control["ok"] == 2
    assert [call["verdict"] for call in records(tmp_path, "results.jsonl")[0]["calls"]] == ["done"]


def test_a_key_that_is_refused_again_and_again_halts_the_run(tmp_path):
    summary, counters, _ = ran(tmp_path, {"prompt": "[[fault:unauthorized]] why?"})
    assert (summary.ending, summary.halt.code) == ("halted", "AuthenticationError")
    assert counters.control["ok"] == 2


@pytest.mark.parametrize("name", ["VOLC_SESSION_TOKEN", "VOLC_SESSIONTOKEN"])
def test_a_temporary_access_key_works_with_its_token(tmp_path, name):
    settings = {"session_tokens": {ACCESS_KEY[0]: "the-token"}}
    assert ran(tmp_path, {"prompt": "a"}, settings=settings, environ={name: "the-token"})[0].succeeded == 1


def test_a_temporary_access_key_without_its_token_halts_and_says_what_to_set(tmp_path):
    settings = {"session_tokens": {ACCESS_KEY[0]: "the-token"}}
    summary, _, _ = ran(tmp_path, {"prompt": "a"}, settings=settings, environ={"VOLC_SESSION_TOKEN": "an-old-token"})
    assert summary.ending == "halted"
    assert "VOLC_SESSION_TOKEN together" in summary.halt.message
    written = b"".join(path.read_bytes() for path in (tmp_path / "a.run").iterdir())
    assert b"an-old-token" not in written
    assert ACCESS_KEY[1].encode() not in written
