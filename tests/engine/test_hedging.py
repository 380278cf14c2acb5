"""A slow call is made once more: the first answer wins, both are counted, and nothing is recorded twice."""

import asyncio

import pytest
from fakes import FakeTransport, answer, refusal
from msgspec.structs import replace
from runs import job_of, numbered, prompts
from sessions import failures, results, scripted, worked

from arkbatch.core.calls import Break, Broken
from arkbatch.core.errors import JobError, UsageError
from arkbatch.core.job_sections import RetryPolicy
from arkbatch.limits.slow_calls import HEDGED_SHARE
from arkbatch.monitor.observer import Observer

LAST = 200
SLOW = 100.0


def job(folder, *, rows=LAST, **flags):
    return job_of(prompts(folder, *numbered(rows)), **{"hedge": True, "concurrency": 10, **flags})


def transport(*second, first=None, slow=(LAST,)):
    """Each call takes a second, but for the first ones of the slow rows; `second` is what the second ones say."""
    slow_rows = [f'question {number}"'.encode() for number in slow]

    def script(call, attempt):
        if any(row in call.body for row in slow_rows):
            if attempt == 1:
                return first or answer("late", seconds=SLOW)
            return second[attempt - 2] if attempt - 2 < len(second) else answer("soon", seconds=1)
        return answer(seconds=1)

    return FakeTransport(script)


def of_row(number, records):
    (record,) = [record for record in records if record["row"] == number]
    return record


def said(record):
    return record["response"]["body"]["choices"][0]["message"]["content"]


def test_the_second_answer_is_recorded_and_the_first_counted_as_assumed(tmp_path, monkeypatch):
    ours = job(tmp_path)
    ended = scripted(ours, transport(), monkeypatch)
    record = of_row(LAST, results(ours))
    first, second = record["calls"]
    assert said(record) == "soon"
    assert (first["verdict"], second["verdict"], record["attempts"]) == ("outrun", "done", 2)
    assert [call["id"].rpartition("-")[2] for call in (first, second)] == ["1", "2"]
    assert first["tokens"] == {"input": 10, "output": 5, "assumed": 15} == record["discarded"]
    assert record["usage"] == {"input": 20, "output": 10, "assumed": 15}
    assert second["after"] == pytest.approx(first["seconds"] - second["seconds"], abs=0.1)
    assert ended.summary.usage["input"] == 10 * (LAST + 1)
    assert ended.summary.session["asked_again"] == ended.summary.session["second_won"] == 1
    assert ended.seconds < 0.5 * SLOW


def test_the_first_answer_wins_where_it_comes_after_all(tmp_path, monkeypatch):
    ours = job(tmp_path)
    scripted(ours, transport(answer("too late", seconds=SLOW), first=answer("first", seconds=20)), monkeypatch)
    record = of_row(LAST, results(ours))
    assert said(record) == "first"
    assert [call["verdict"] for call in record["calls"]] == ["outrun", "done"]
    assert record["calls"][0]["after"] > 0 == record["calls"][1].get("after", 0)
    assert len(results(ours)) == LAST


def test_two_answers_of_the_same_moment_are_both_counted_as_told(tmp_path, monkeypatch):
    ours, slow = job(tmp_path), transport(first=answer("late", seconds=20))

    async def send(call):
        if b'question 200"' in call.body:
            await asyncio.sleep(1_060 - asyncio.get_running_loop().time())
            return answer("same", seconds=20)
        return await FakeTransport.send(slow, call)

    monkeypatch.setattr(slow, "send", send)
    scripted(ours, slow, monkeypatch)
    record = of_row(LAST, results(ours))
    assert record["usage"] == {"input": 20, "output": 10}
    assert [call["verdict"] for call in record["calls"]] == ["outrun", "done"]


def test_without_it_a_slow_call_is_waited_for(tmp_path, monkeypatch):
    ours = job(tmp_path, hedge=None)
    ended = scripted(ours, transport(), monkeypatch)
    assert said(of_row(LAST, results(ours))) == "late"
    assert ended.seconds > SLOW
    assert "asked_again" not in ended.summary.session


@pytest.mark.parametrize("failure", [refusal(500, "InternalServiceError"), Broken(Break.DROPPED, "gone", 0.1)])
def test_a_second_call_that_fails_does_not_end_the_race(tmp_path, monkeypatch, failure):
    ours = job(tmp_path)
    scripted(ours, transport(failure), monkeypatch)
    record = of_row(LAST, results(ours))
    assert said(record) == "late"
    assert [call["verdict"] for call in record["calls"]][1] == "done"


def test_a_first_call_that_fails_leaves_the_second_to_win(tmp_path, monkeypatch):
    ours = job(tmp_path)
    gone = Broken(Break.DROPPED, "gone", 20.0)
    scripted(ours, transport(answer("second", seconds=60), first=gone), monkeypatch)
    record = of_row(LAST, results(ours))
    assert (said(record), [call["verdict"] for call in record["calls"]]) == ("second", ["connection", "done"])


def test_where_both_fail_the_row_is_tried_again(tmp_path, monkeypatch):
    ours = job(tmp_path)
    gone = Broken(Break.DROPPED, "gone", 20.0)
    scripted(ours, transport(refusal(500, "InternalServiceError"), answer("third"), first=gone), monkeypatch)
    record = of_row(LAST, results(ours))
    assert (said(record), record["attempts"]) == ("third", 3)


def test_a_row_that_is_refused_for_good_is_not_waited_for(tmp_path, monkeypatch):
    ours = job(tmp_path)
    ended = scripted(ours, transport(refusal(400, "InputTextSensitiveContentDetected")), monkeypatch)
    assert [call["verdict"] for call in failures(ours)[0]["calls"]] == ["outrun", "blocked"]
    assert ended.seconds < 0.5 * SLOW
    assert ended.summary.usage.get("assumed") is None


def test_a_key_that_is_refused_halts_after_the_call_that_may_still_answer(tmp_path, monkeypatch):
    ours = job(tmp_path)
    ended = scripted(ours, transport(refusal(403, "AccountOverdueError")), monkeypatch)
    assert ended.summary.succeeded == LAST
    assert said(of_row(LAST, results(ours))) == "late"


def test_a_service_that_is_slow_for_all_is_not_asked_twice_for_everything(tmp_path, monkeypatch):
    ours = job(tmp_path, rows=400)
    transport = FakeTransport(lambda call, attempt: answer(seconds=1 if len(transport.calls) <= 200 else SLOW))
    ended = scripted(ours, transport, monkeypatch)
    assert ended.summary.succeeded == 400
    assert len(transport.calls) <= 400 * (1 + HEDGED_SHARE)


def test_none_is_asked_again_soon_after_the_service_asked_for_fewer_calls(tmp_path, monkeypatch):
    busy = refusal(429, "ModelAccountRpmRateLimitExceeded", seconds=5)
    ours = job(tmp_path, rows=210)
    ours = replace(ours, retry=RetryPolicy(max_delay=4.0))

    def script(call, attempt):
        if b'question 200"' in call.body:
            return answer("late", seconds=SLOW)
        return busy if b"question 20" in call.body and attempt < 15 else answer(seconds=1)

    ended = scripted(ours, FakeTransport(script), monkeypatch)
    assert ended.summary.session["asked_again"] == 0


def test_a_budget_that_has_no_room_for_a_second_call_leaves_it_out(tmp_path, monkeypatch):
    rows = [{"prompt": f"question {number}", "max_tokens": 5} for number in range(1, LAST + 1)]
    path = prompts(tmp_path, *rows)
    most = {"max_tokens": 15 * (LAST - 1) + 800, "set": ['thinking={"type":"disabled"}']}
    ours = job_of(path, hedge=True, concurrency=10, **most)
    ended = scripted(ours, transport(), monkeypatch)
    assert (ended.summary.succeeded, ended.summary.session["asked_again"]) == (LAST, 0)
    roomy = job_of(
        path, hedge=True, concurrency=10, **most | {"max_tokens": 100_000, "run_dir": str(tmp_path / "b.run")}
    )
    assert scripted(roomy, transport(), monkeypatch).summary.session["asked_again"] == 1


def test_a_stop_waits_for_both_and_sends_no_more(tmp_path, monkeypatch):
    ours, slow = job(tmp_path), transport(slow=(150,))

    async def stop(session, task):
        await asyncio.sleep(19)
        assert any(b'question 150"' in call.body for call in slow.calls)
        session.stop()

    ended = scripted(ours, slow, monkeypatch, meanwhile=stop)
    assert ended.summary.ending == "stopped"
    assert said(of_row(150, results(ours))) == "late"
    assert scripted(ours, slow, monkeypatch).summary.succeeded == LAST
    assert len({record["row"] for record in results(ours)}) == len(results(ours)) == LAST


@pytest.mark.parametrize("moment", [14.0, 22.0, 30.0, 45.0])
def test_a_session_that_is_abandoned_in_a_race_is_resumed(tmp_path, monkeypatch, moment):
    ours, slow = job(tmp_path), transport(answer("second", seconds=20), slow=(100, 150, LAST))

    async def abandon(session, task):
        await asyncio.sleep(moment)
        task.cancel()

    assert scripted(ours, slow, monkeypatch, meanwhile=abandon).summary is None
    assert scripted(ours, slow, monkeypatch).summary.succeeded == LAST
    assert sorted(record["row"] for record in results(ours)) == list(range(1, LAST + 1))


class Turns(Observer):
    def __init__(self):
        self.most, self.last = 0, None

    def progressed(self, standing):
        self.most, self.last = max(self.most, standing.in_flight), standing


def test_second_calls_keep_to_the_concurrency_and_leave_their_place(tmp_path, monkeypatch):
    ours, turns = job(tmp_path, rows=400), Turns()
    ended = scripted(ours, transport(slow=(100, 200, 300)), monkeypatch, observer=turns)
    assert ended.summary.session["second_won"] == 3
    assert turns.most <= 10
    assert turns.last.in_flight == 0


def test_one_call_in_a_hundred_a_hundred_times_as_slow_costs_hardly_any_time(tmp_path):
    """Against the simulator; the answers are the same, nothing is recorded twice, usage is what the records say."""
    how = {"rows": 600, "concurrency": 20, "model": "doubao-1-5-pro-32k-250115"}
    plain = job(tmp_path, hedge=None, **how)
    slow = worked(plain, latency=1.0, faults={"slow": 0.01})
    (tmp_path / "b").mkdir()
    ours = job(tmp_path / "b", **how)
    quick = worked(ours, latency=1.0, faults={"slow": 0.01})
    assert quick.seconds < 0.5 * slow.seconds
    assert [len(results(each)) for each in (plain, ours)] == [600, 600]
    usage, again = quick.summary.usage, quick.summary.session["asked_again"]
    assert 3 <= again <= 600 * HEDGED_SHARE
    assert usage["input"] == sum(record["usage"]["input"] for record in results(ours))
    assert usage["assumed"] == sum(record["usage"].get("assumed", 0) for record in results(ours)) > 0
    assert quick.counters.outcomes.total() == 600 + again
    assert not quick.summary.cost.unpriced
    assert quick.summary.discarded_cost.amounts["CNY"] > 0


def test_calls_of_the_batch_lane_are_not_asked_twice(tmp_path):
    with pytest.raises((UsageError, JobError), match="held for hours by nature"):
        job(tmp_path, model="ep-bi-20260101-abcde", lane="batch")
