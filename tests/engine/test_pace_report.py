"""A session finds the service's limit, shows it, and leaves it for the next one."""

import asyncio

from aiohttp import web
from aiohttp.test_utils import TestServer
from msgspec.structs import replace
from nights import Looks, job_for, night, recorded, session_of
from runs import numbered, prompts
from virtual import run_virtual

from arkbatch.config.resolve import resolve_job
from arkbatch.engine.session_parts import build_pace
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.limits.pace_file import read_pace
from arkbatch.reports.status.status import read_status
from arkbatch.reports.status.status_text import status_text

ARK = "https://ark.cn-beijing.volces.com/api/v3"


def test_at_ark_without_a_rate_the_pace_begins_with_the_published_limit_and_a_ramp(tmp_path):
    job = replace(job_for(tmp_path, 1), base_url=ARK, model="doubao-seed-2-1-pro-260628")
    pace = build_pace(job, 0.0)
    assert (round(pace.found.rpm), pace.reason) == (450, "500 calls a minute are published for the model")
    unknown = build_pace(replace(job, model="ep-2026-x"), 0.0)
    assert unknown.found.rpm == 600  # Ark's advice for a beginning


def test_elsewhere_and_with_a_given_rate_there_is_no_ramp(tmp_path):
    job = job_for(tmp_path, 1)
    assert build_pace(job, 0.0).found.rpm is None
    given = replace(job, base_url=ARK, limits=replace(job.limits, rpm=9000.0))
    assert build_pace(given, 0.0).found.rpm == 9000 * 0.995


def test_without_a_concurrency_ark_is_asked_as_much_at_once_as_it_takes(tmp_path):
    (tmp_path / "in.jsonl").write_text('{"prompt": "a"}\n')

    def width(base_url, **flags):
        given = {"model": "m", "base_url": base_url, "dry_run": True, **flags}
        return resolve_job("in.jsonl", given, {}, tmp_path).limits.concurrency

    assert (width(ARK), width(ARK, concurrency=3), width("https://other.example/v1")) == (512, 3, 32)


def test_the_limit_found_is_shown_logged_and_remembered(tmp_path):
    looks = Looks()
    job = replace(job_for(tmp_path, 1500, concurrency=64), simulated=True)
    summary, _ = night(job, looks, rpm=300, latency=0.5)
    assert (summary.succeeded, summary.failed) == (1500, 0)
    note = read_pace(RunDirectory(tmp_path / "a.run"))
    assert 270 < note.met_rpm < 330
    assert any("refused more than" in text for text in looks.reasons)
    assert 270 < looks.standings[-1].rpm_found < 330
    assert "the service refused more than" in status_text(read_status(str(tmp_path / "a.run"), lambda: 1.79e9))
    assert "pace: the service refused" in (tmp_path / "a.run" / "run.log").read_text()


def test_the_next_session_begins_at_the_limit_that_was_found(tmp_path):
    job = replace(job_for(tmp_path, 900, concurrency=64), simulated=True)
    night(job, rpm=300, latency=0.5)
    prompts(tmp_path, *numbered(1200))
    _, counters = night(job, rpm=300, latency=0.5)
    assert recorded(tmp_path)[0] == list(range(1, 1201))
    assert sum(counters.outcomes.values()) - 300 <= 6  # refusals


def test_what_was_found_for_another_model_is_not_used(tmp_path):
    looks, job = Looks(), replace(job_for(tmp_path, 600, concurrency=64), simulated=True)
    night(job, rpm=300, latency=0.5)
    prompts(tmp_path, *numbered(700))
    (tmp_path / "a.run" / "pace.json").write_bytes(
        (tmp_path / "a.run" / "pace.json").read_bytes().replace(b'"doubao"', b'"another"')
    )
    night(job, looks, rpm=300)
    assert looks.standings[0].reason == "no limit met so far"


def counting_server(per_minute, said):
    """Answers chat, and tells in headers what is left of the minute; `said` counts what it refused."""
    calls = []

    async def answer(request):
        now = asyncio.get_running_loop().time()
        window = int(now // 60)
        calls[:] = [call for call in calls if call == window] + [window]
        left = 60 - now % 60
        headers = {
            "x-ratelimit-limit-requests": str(per_minute),
            "x-ratelimit-remaining-requests": str(max(0, per_minute - len(calls))),
            "x-ratelimit-reset-requests": f"{left:.3f}s",
        }
        if len(calls) > per_minute:
            said.append(window)
            return web.json_response({"error": {"code": "rate_limit_exceeded", "message": "slow"}}, status=429)
        choice = {"message": {"content": "yes"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 3, "completion_tokens": 1}
        return web.json_response({"model": "m", "choices": [choice], "usage": usage}, headers=headers)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    return TestServer(app)


def test_a_server_that_tells_its_limits_in_headers_need_not_refuse(tmp_path):
    async def main():
        async with counting_server(100, refused) as server:
            job = job_for(tmp_path, 300, concurrency=4)
            return await session_of(replace(job, base_url=str(server.make_url("/v1"))))

    refused = []
    assert run_virtual(main()).succeeded == 300
    assert len(refused) <= 4
