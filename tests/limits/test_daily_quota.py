"""A quota of a day that is used up: the run waits for it, says so, and loses nothing."""

import asyncio

from fakes import FakeTransport, answer, refusal
from msgspec.structs import replace
from runs import job_of, numbered, prompts
from sessions import scripted

from arkbatch.monitor.commands import parse_command
from arkbatch.monitor.observer import Observer

SOON = 300  # s until the next day begins
SAID = "Rate limit reached for model: requests per day. Limit: 100, Used: 100."


class Reasons(Observer):
    def __init__(self):
        self.reasons = []

    def progressed(self, standing):
        self.reasons.append(standing.reason)


def used_up(transport, begin, end, after):
    """Between these times from the first call, all is refused until the next day."""

    def script(call, attempt):
        now = transport.began[-1] - transport.began[0]
        if begin <= now < end:
            return refusal(429, "rate_limit_exceeded", SAID, retry_after=after)
        return answer()

    return script


def job(folder, count):
    ours = job_of(prompts(folder, *numbered(count)), concurrency=4)
    return replace(ours, base_url="http://127.0.0.1:1/v1")


def test_it_is_waited_for_and_tried_now_and_then_and_the_bar_and_ctl_say_so(tmp_path, monkeypatch):
    transport, observer, told = FakeTransport(), Reasons(), []
    transport._script = used_up(transport, 1.0, SOON, str(SOON))

    async def meanwhile(session, task):
        await asyncio.sleep(SOON - 60)
        told.append(session.handle(parse_command("status", [], "")).said)
        told.append(observer.reasons[-1])

    ended = scripted(job(tmp_path, 60), transport, monkeypatch, meanwhile=meanwhile, observer=observer)
    for said in told:
        assert "the service refuses every call and said to wait 5 min 00 s" in said
    tries = [at for at in transport.began if 1.0 < at - transport.began[0] < SOON]
    assert (ended.summary.succeeded, ended.summary.failed, ended.summary.halt) == (60, 0, None)
    assert SOON <= ended.seconds < SOON + 120
    assert len(tries) < SOON / 5


def test_one_that_returns_in_a_day_stops_the_run_and_says_when(tmp_path, monkeypatch):
    transport = FakeTransport()
    transport._script = used_up(transport, 1.0, 86_400, "86400")
    ended = scripted(job(tmp_path, 200), transport, monkeypatch)
    assert (ended.summary.ending, ended.summary.failed, ended.seconds < 60) == ("halted", 0, True)
    assert "the quota is used up" in ended.summary.halt.advice
    assert "it resets in 1 day" in ended.summary.halt.advice
