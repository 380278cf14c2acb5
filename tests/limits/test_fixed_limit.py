"""`[limits] mode = "fixed"`: calls go at the user's limits, refused or not, and `ctl set` changes these."""

import asyncio

from fakes import SCRIPT, FakeTransport, answer, refusal
from msgspec.structs import replace
from runs import job_of, numbered, prompts
from sessions import scripted

from arkbatch.monitor.commands import parse_command


def fixed(folder, count, **limits):
    job = job_of(prompts(folder, *numbered(count)), concurrency=limits.get("concurrency", 5))
    return replace(job, base_url="http://127.0.0.1:1/v1", limits=replace(job.limits, mode="fixed", **limits))


def tell(session, line):
    action, *words = line.split()
    return session.handle(parse_command(action, words, ""))


def test_a_rate_that_is_set_holds_and_is_left_again(tmp_path, monkeypatch):
    transport, told = FakeTransport(lambda *_: answer(seconds=0.5)), []

    async def meanwhile(session, task):
        await asyncio.sleep(30)
        told.append(tell(session, "set rpm=60").said)
        await asyncio.sleep(120)
        tell(session, "set rpm=none concurrency=20")

    ended = scripted(fixed(tmp_path, 1_000), transport, monkeypatch, meanwhile=meanwhile)
    began = [at - transport.began[0] for at in transport.began]
    assert told[0].startswith("Set rpm none -> 60")
    assert ended.summary.succeeded == 1_000
    assert sum(at < 30 for at in began) > 290
    assert sum(90 < at < 150 for at in began) <= 61
    assert began[-1] < 180


def test_refusals_hold_their_rows_and_not_the_others(tmp_path, monkeypatch):
    def script(call, attempt):
        is_refused = attempt < 3 and call.client_id.endswith("5-1")
        return refusal(429, "RateLimitExceeded.EndpointRPMExceeded", retry_after="10") if is_refused else answer()

    transport = FakeTransport(script)
    ended = scripted(fixed(tmp_path, 500), transport, monkeypatch)
    assert (ended.summary.succeeded, ended.summary.failed) == (500, 0)
    assert ended.seconds < 30


def test_fewer_calls_at_once_hold_at_once_while_calls_are_refused(tmp_path, monkeypatch):
    def script(call, attempt):
        return SCRIPT["overloaded"] if attempt < 2 and call.client_id.endswith("7-1") else answer(seconds=2)

    transport, seen = FakeTransport(script), []

    async def meanwhile(session, task):
        await asyncio.sleep(10)
        tell(session, "set concurrency=2")
        await asyncio.sleep(5)
        seen.append(tell(session, "status").state.in_flight)

    ended = scripted(fixed(tmp_path, 60, concurrency=8), transport, monkeypatch, meanwhile=meanwhile)
    assert (ended.summary.succeeded, seen[0] <= 2) == (60, True)
