"""What a session shows of its slow calls, while they last."""

import asyncio
from pathlib import Path

from runs import BEGAN, job_of, numbered, prompts
from sessions import results, worked

from arkbatch.journal.run_directory import LOG
from arkbatch.monitor.observer import Observer
from arkbatch.reports.status.status import read_status
from arkbatch.reports.status.status_text import status_text

ONE_SLOW = [*numbered(200), {"prompt": "question 201 [[fault:slow:1]]"}]


class Looks(Observer):
    def __init__(self):
        self.said, self.bars = [], []

    def slow_call_noticed(self, text):
        self.said.append(text)

    def progressed(self, standing):
        self.bars.append(standing.stragglers)


def log_of(job):
    return (Path(job.run_dir) / LOG).read_text()


def test_a_slow_call_is_told_once_and_shown_while_it_lasts(tmp_path):
    job = job_of(prompts(tmp_path, *ONE_SLOW), concurrency=10)
    looks = Looks()
    worked(job, latency=1.0, observer=looks)
    assert [text.startswith("row 201 for ") for text in looks.said] == [True, False]
    assert looks.said[-1] == looks.bars[-1] == ""
    assert any(bar.startswith("1 straggler (row 201 for ") for bar in looks.bars)
    assert log_of(job).count("straggler, row 201") == 1


def test_status_tells_the_row_how_long_and_what_is_usual(tmp_path):
    job, seen = job_of(prompts(tmp_path, *ONE_SLOW), concurrency=10), []

    async def look(session, task):
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not task.done():
            await asyncio.sleep(10)
            seen.append(read_status(job.run_dir, lambda: BEGAN + loop.time()))
        assert loop.time() - began > 30

    worked(job, latency=1.0, meanwhile=look)
    said = [status for status in seen if status.straggling]
    assert said
    (straggler,) = said[-1].stragglers
    assert straggler.row == 201
    assert straggler.seconds > 10 * straggler.usual
    assert "slow calls  row 201 for " in status_text(said[-1])
    assert not read_status(job.run_dir, lambda: BEGAN).straggling


def test_a_streamed_answer_that_moves_is_not_shown(tmp_path):
    """A long answer in two hundred pieces, each of them soon after the last."""
    rows = [*numbered(200), {"prompt": "question 201 [[fault:slow:1]]"}]
    looks = Looks()
    ended = worked(
        job_of(prompts(tmp_path, *rows), concurrency=10, stream=True), latency=0.5, chunks=200, observer=looks
    )
    assert ended.seconds > 30
    assert len([text for text in looks.said if text]) <= 1  # before its first token it was slow indeed


def test_calls_of_the_batch_lane_are_held_for_hours_by_nature(tmp_path):
    job = job_of(prompts(tmp_path, *ONE_SLOW), concurrency=10, model="ep-bi-20260101-abcde", lane="batch")
    looks = Looks()
    worked(job, latency=1.0, observer=looks)
    assert looks.said == []
    assert len(results(job)) == 201
