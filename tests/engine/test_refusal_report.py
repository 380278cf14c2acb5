"""While every call is refused, whoever looks is told with what, how often and since when."""

import asyncio

import pytest
from fakes import FakeTransport, answer, refusal
from msgspec.structs import replace
from runs import BEGAN, job_of, numbered, prompts
from sessions import results, scripted

from arkbatch.core.calls import Again, Cause, Done, Kind, Reply, Scope
from arkbatch.core.job_sections import RetryPolicy
from arkbatch.engine.refusal_report import RefusalReport
from arkbatch.monitor.observer import Observer
from arkbatch.monitor.progress_bar import progress_text
from arkbatch.reports.status.status import read_status
from arkbatch.reports.status.status_text import status_text

TOO_MANY = "concurrency of this account is too high"


class Looks(Observer):
    """Keeps what the bar would show."""

    def __init__(self):
        self.shown = []

    def progressed(self, standing):
        self.shown.append(progress_text(standing))


def test_bar_and_status_show_what_all_calls_are_refused_with(tmp_path, monkeypatch):
    job = replace(job_of(prompts(tmp_path, *numbered(6))), retry=RetryPolicy(first_delay=0.2))
    seen, looks, open_again = [], Looks(), []

    async def look(session, work):
        await asyncio.sleep(30)
        status = read_status(job.run_dir, lambda: BEGAN)
        seen.append((status.refused, status_text(status)))
        open_again.append(True)
        await asyncio.wait([work])

    def script(call, attempt):
        return answer() if open_again else refusal(429, "1302", TOO_MANY)

    scripted(job, FakeTransport(script), monkeypatch, meanwhile=look, observer=looks)
    ((refused, text),) = seen
    assert refused.endswith(f"429 1302: {TOO_MANY}")
    assert "times since" in refused
    assert refused in text
    assert any(TOO_MANY in line and "times since" in line for line in looks.shown)
    assert len(results(job)) == 6
    assert TOO_MANY not in looks.shown[-1]


def told(verdict, status=429):
    return (None, "id", Reply(status, b"{}", {}, 0.1), verdict)


LIMITED = Again(Cause(Kind.RATE_LIMITED, "tpm", "slow down"), Scope.RATE, 60.0)


def test_one_refusal_or_one_row_s_own_is_nothing_to_tell():
    watch = RefusalReport(lambda: BEGAN, lambda: None)
    watch.answered(*told(LIMITED))
    watch.answered(*told(Again(Cause(Kind.TIMEOUT, "x", "")), 408))
    assert watch.refusals is None
    watch.answered(*told(LIMITED))
    assert (watch.refusals.count, watch.refusals.until) == (2, BEGAN + 60)
    assert "asked to wait until" in watch.refusals.full_text
    watch.answered(*told(Done({})))
    assert watch.refusals is None


@pytest.mark.parametrize("length", [0, 1_000])
def test_the_words_are_bounded(length):
    watch = RefusalReport(lambda: BEGAN, lambda: None)
    for _ in range(3):
        watch.answered(*told(Again(Cause(Kind.OVERLOADED, "busy", "x" * length), Scope.CONCURRENCY)))
    assert watch.refusals.words.startswith("429 busy")
    assert len(watch.refusals.words) <= 120


def test_it_is_written_when_it_begins_now_and_then_and_when_it_ends():
    written = []
    watch = RefusalReport(lambda: BEGAN, lambda: written.append(len(written)))
    watch.tick(0.0)
    for _ in range(2):
        watch.answered(*told(LIMITED))
    for now in range(1, 30):
        watch.tick(float(now))
    assert len(written) == 2
    watch.answered(*told(Done({})))
    watch.tick(30.0)
    watch.tick(31.0)
    assert len(written) == 3
