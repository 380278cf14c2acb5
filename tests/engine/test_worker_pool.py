"""The engine as a session drives it: what is sent, what waits, what is recorded, and what is left undone."""

import asyncio
import itertools

import orjson
import pytest
from fakes import SCRIPT, FakeTransport, answer, refusal
from msgspec.structs import replace
from runs import job_of, numbered, prompts
from sessions import failures, results, scripted, worked

from arkbatch.core.errors import Halted
from arkbatch.core.job_sections import RetryPolicy, Timeouts
from arkbatch.engine import periodic_sync as durable
from arkbatch.engine import row_runner
from arkbatch.engine.backoff import Delay
from arkbatch.engine.fail_fast import ROWS_TO_STOP
from arkbatch.journal.journal import Journal
from arkbatch.monitor.observer import Observer

MODEL = "doubao-seed-1-6-251015"


@pytest.fixture(autouse=True)
def _syncs_are_rare(monkeypatch):
    """Each one is a real fsync, and a virtual hour has 3,600."""
    monkeypatch.setattr(durable, "SYNC_SECONDS", 120.0)


def job(folder, *rows, retry=None, timeouts=None, **flags):
    made = job_of(prompts(folder, *rows), model=MODEL, **flags)
    return replace(made, retry=retry or RetryPolicy(), timeouts=timeouts or Timeouts(read=30))


def asking(*texts):
    return [{"custom_id": f"id-{number}", "prompt": text} for number, text in enumerate(texts, 1)]


def struck(fault, count=1, times=""):
    """Rows that a fault strikes, each of them so many times."""
    mark = f"[[fault:{fault}{':' if times else ''}{times}]]"
    return [{"prompt": f"question {number} {mark}"} for number in range(1, count + 1)]


def once_each(job, count):
    """Every row has exactly one record, and the records' usage is their bodies' usage."""
    numbers = sorted(line["row"] for line in [*results(job), *failures(job)])
    return numbers == list(range(1, count + 1))


def test_every_row_is_sent_once_and_recorded_once(tmp_path):
    ours = job(tmp_path, *numbered(100), concurrency=7)
    ended = worked(ours, latency=0.2)
    assert once_each(ours, 100)
    assert (ended.counters.calls, ended.counters.most_in_flight) == (100, 7)
    assert {line["custom_id"] for line in results(ours)} == {f"task-{number}" for number in range(1, 101)}
    assert (ended.summary.ending, ended.summary.succeeded, ended.summary.left) == ("finished", 100, 0)


def test_rows_that_cannot_be_sent_are_recorded_as_they_are_read(tmp_path, monkeypatch):
    together, record = [], Journal.record

    def counted(journal, *outcomes):
        together.append(len(outcomes))
        record(journal, *outcomes)

    monkeypatch.setattr(Journal, "record", counted)
    ours = job(tmp_path, *numbered(1), *[{"prompt": 7}] * 1000, concurrency=4)
    assert scripted(ours, FakeTransport(), monkeypatch).summary.failed == 1000
    assert max(together) <= 2 * 4  # not all of them in one piece, which memory would have to hold


def test_usage_is_what_the_server_counted(tmp_path):
    ours = job(tmp_path, *numbered(20), *struck("empty", 5, 1))
    ended = worked(ours)
    total = ended.summary.usage
    assert (total["input"], total["output"]) == (ended.counters.usage["input"], ended.counters.usage["output"])
    assert ended.summary.discarded["input"] > 0


def test_each_attempt_has_an_id_of_its_own_that_leads_to_the_line(tmp_path):
    ours = job(tmp_path, *struck("server_error", 3, 1))
    ended = worked(ours)
    ids = [seen.client_request_id for seen in ended.counters.recent]
    assert len(set(ids)) == 6
    assert {tuple(each.rsplit("-", 3)[1:]) for each in ids} == {
        ("1", str(n), str(a)) for n in (1, 2, 3) for a in (1, 2)
    }
    by_row = {line["row"]: [call["id"] for call in line["calls"]] for line in results(ours)}
    assert sorted(itertools.chain.from_iterable(by_row.values())) == sorted(ids)


@pytest.mark.parametrize(
    "fault", ["server_error", "bad_gateway", "drop_before", "drop_inside", "stall", "garbled", "error_in_200", "empty"]
)
def test_a_passing_fault_is_tried_again_after_a_growing_wait(tmp_path, fault):
    ours = job(tmp_path, *struck(fault, 1, 2))
    ended = worked(ours)
    assert (ended.summary.succeeded, ended.summary.session["retried"]) == (1, 2)
    starts = [seen.at for seen in ended.counters.recent]
    waits = [later - earlier for earlier, later in itertools.pairwise(starts)]
    stalled = 30 if fault == "stall" else 0
    assert waits == pytest.approx([stalled + 0.75, stalled + 1.5], abs=0.2)


def test_a_lasting_fault_gives_the_row_up_with_its_request(tmp_path):
    ours = job(tmp_path, *struck("server_error"), retry=RetryPolicy(max_attempts=3))
    ended = worked(ours)
    (line,) = failures(ours)
    assert (ended.counters.calls, line["attempts"], line["error"]["kind"]) == (3, 3, "server_error")
    assert line["request"]["body"]["messages"][0]["content"].startswith("question 1")
    assert ended.summary.exit_code == 3


@pytest.mark.parametrize("fault", ["rate_rpm", "rate_tpm", "overloaded", "burst", "inflight"])
def test_a_rate_or_overload_answer_spends_no_attempt(tmp_path, fault):
    ours = job(tmp_path, *struck(fault, 5, 6), retry=RetryPolicy(max_attempts=1))
    ended = worked(ours)
    assert (ended.summary.succeeded, ended.summary.failed) == (5, 0)
    assert {line["attempts"] for line in results(ours)} == {7}


def test_waiting_for_the_service_is_bounded_by_patience(tmp_path):
    ours = job(tmp_path, *struck("rate_rpm"), retry=RetryPolicy(patience=600))
    ended = worked(ours)
    assert failures(ours)[0]["error"]["kind"] == "rate_limited"
    assert 300 < ended.seconds < 700


@pytest.mark.parametrize("fault", ["overdue", "not_open", "free_quota", "set_limit"])
def test_an_answer_that_no_row_can_pass_halts_within_one_round_and_resumes(tmp_path, fault):
    ours = job(tmp_path, *numbered(200), concurrency=8)
    ended = worked(ours, faults={fault: 1.0}, latency=0.1)
    assert (ended.summary.ending, ended.summary.exit_code) == ("halted", 4)
    assert ended.summary.halt.advice
    assert ended.counters.calls <= 8
    assert (results(ours), failures(ours)) == ([], [])
    assert worked(ours).summary.succeeded == 200


def test_a_wrong_key_halts_and_the_right_one_goes_on(tmp_path):
    ours = job(tmp_path, *numbered(50), concurrency=8)
    first = worked(ours, keys=("right",), key="wrong")
    assert (first.summary.ending, first.summary.left, first.counters.calls <= 8) == ("halted", 50, True)
    assert worked(ours, keys=("right",), key="right").summary.succeeded == 50


def test_what_was_answered_before_a_halt_stays(tmp_path):
    rows = [*numbered(30), *struck("overdue"), *numbered(30)]
    ours = job(tmp_path, *rows, concurrency=4)
    first = worked(ours, latency=0.1)
    assert first.summary.ending == "halted"
    assert first.summary.succeeded == len(results(ours)) >= 27
    assert first.summary.left == 61 - first.summary.succeeded


def test_a_model_that_only_its_row_names_fails_only_its_row(tmp_path):
    ours = job(tmp_path, *numbered(5), {"prompt": "x", "model": "unknown-1"}, *numbered(5))
    ended = worked(ours)
    assert (ended.summary.succeeded, failures(ours)[0]["error"]["kind"]) == (10, "not_found")


def test_the_same_refusal_of_the_first_twenty_rows_halts_and_leaves_them_undone(tmp_path):
    ours = job(tmp_path, *struck("refuse", 300), concurrency=8)
    ended = worked(ours, latency=0.1)
    assert (ended.summary.ending, ended.summary.left) == ("halted", 300)
    assert ended.counters.calls <= ROWS_TO_STOP + 8
    assert "were all refused for the same reason" in ended.summary.halt.message
    assert failures(ours) == []


@pytest.mark.parametrize("concurrency", [1, 8, 100])
def test_refusals_among_answers_halt_nothing(tmp_path, concurrency):
    rows = [row for pair in zip(struck("refuse", 60), numbered(60), strict=True) for row in pair]
    ours = job(tmp_path, *rows, concurrency=concurrency)
    ended = worked(ours, latency=0.1)
    assert (ended.summary.ending, ended.summary.succeeded, ended.summary.failed) == ("finished", 60, 60)
    assert once_each(ours, 120)


def test_quick_refusals_beside_slow_answers_halt_nothing(tmp_path, monkeypatch):
    """A refusal comes at once and a thinking model after minutes: the first to come are not the first rows."""

    def script(call, attempt):
        return answer(seconds=300) if int(call.client_id.split("-")[-2]) % 2 else refusal(400, "InvalidParameter")

    ours = job(tmp_path, *numbered(200), concurrency=64)
    ended = scripted(ours, FakeTransport(script), monkeypatch)
    assert (ended.summary.ending, ended.summary.succeeded, ended.summary.failed) == ("finished", 100, 100)


def test_refusals_wait_with_the_next_calls_until_it_is_clear_what_they_are(tmp_path, monkeypatch):
    """One answer is late, all others are refused alike: nothing more is sent, and nothing more is held."""

    def script(call, attempt):
        return refusal(400, "InvalidParameter", seconds=300 if call.client_id.endswith("-1-1-1") else 0.1)

    ours, transport = job(tmp_path, *numbered(1000), concurrency=16), FakeTransport(script)
    ended = scripted(ours, transport, monkeypatch)
    assert (ended.summary.ending, failures(ours)) == ("halted", [])
    assert len(transport.calls) <= ROWS_TO_STOP + 16


def test_fewer_refusals_than_twenty_are_recorded_at_the_end(tmp_path):
    ours = job(tmp_path, *struck("refuse", 5))
    assert (worked(ours).summary.ending, len(failures(ours))) == ("finished", 5)


def test_a_stop_lets_the_calls_in_flight_finish_and_sends_no_more(tmp_path):
    ours = job(tmp_path, *numbered(100), concurrency=10)

    async def stop(session, task):
        await asyncio.sleep(3.05)
        session.stop()

    ended = worked(ours, meanwhile=stop, latency=1.0)
    assert (ended.summary.ending, ended.summary.exit_code) == ("stopped", 130)
    assert ended.counters.outcomes == {"ok": len(results(ours))}
    assert 0 < ended.summary.succeeded < 100
    again = worked(ours)
    assert again.counters.calls == 100 - ended.summary.succeeded
    assert once_each(ours, 100)


def test_a_row_that_waits_for_a_retry_is_left_undone_by_a_stop(tmp_path):
    ours = job(tmp_path, *struck("server_error"), retry=RetryPolicy(first_delay=600, max_delay=600))

    async def stop(session, task):
        await asyncio.sleep(5)
        session.stop()

    ended = worked(ours, meanwhile=stop)
    assert (ended.summary.left, results(ours), failures(ours)) == (1, [], [])
    assert ended.seconds < 10


def test_a_second_stop_changes_nothing(tmp_path):
    async def stop(session, task):
        for _ in range(3):
            await asyncio.sleep(0.5)
            session.stop()

    assert worked(job(tmp_path, *numbered(50), concurrency=2), meanwhile=stop, latency=2).summary.ending == "stopped"


def test_cancelling_abandons_the_calls_in_flight_and_the_run_resumes(tmp_path):
    ours = job(tmp_path, *numbered(100), concurrency=10)

    async def cancel(session, task):
        await asyncio.sleep(3.05)
        task.cancel()

    ended = worked(ours, meanwhile=cancel, latency=1.0)
    assert ended.summary is None
    assert ended.counters.outcomes["client_gone"] > 0
    done = len(results(ours))
    assert orjson.loads((tmp_path / "a.run" / "run.json").read_bytes())["sessions"][0]["ending"] == "abandoned"
    assert worked(ours).counters.calls == 100 - done
    assert once_each(ours, 100)


def test_cancelling_at_once_leaves_a_run_that_resumes(tmp_path):
    ours = job(tmp_path, *numbered(5))

    async def cancel(session, task):
        task.cancel()

    assert worked(ours, meanwhile=cancel).summary is None
    assert worked(ours).summary.succeeded == 5


def test_retry_after_of_one_call_holds_its_row_and_not_the_run(tmp_path, monkeypatch):
    def script(call, attempt):
        name = "-".join(call.client_id.split("-")[-2:])
        return refusal(429, "RateLimitExceeded.EndpointRPMExceeded", retry_after="60") if name == "5-1" else answer()

    ours, transport = job(tmp_path, *numbered(60), concurrency=4), FakeTransport(script)
    ended = scripted(ours, transport, monkeypatch)
    assert ended.summary.succeeded == 60
    calls = list(zip(transport.calls, transport.began, strict=True))
    first, second = (next(at for call, at in calls if f"-5-{nth}" in call.client_id) for nth in (1, 2))
    assert second - first >= 60
    assert sum(first < at < first + 30 for _, at in calls) > 50


def test_rows_that_wait_for_their_retry_leave_their_workers_to_others(tmp_path, monkeypatch):
    """Every fifth row of 100 has to wait for a minute; one after the other at four workers that would take five."""

    def script(call, attempt):
        row, nth = map(int, call.client_id.split("-")[-2:])
        waits = row % 5 == 0 and nth == 1
        return refusal(429, "RateLimitExceeded.EndpointRPMExceeded", retry_after="60") if waits else answer()

    ours = job(tmp_path, *numbered(100), concurrency=4)
    ended = scripted(ours, FakeTransport(script), monkeypatch)
    assert ended.summary.succeeded == 100
    assert ended.seconds < 100


def test_a_row_that_is_due_a_moment_after_another_is_waited_for_with_one_timer(tmp_path, monkeypatch):
    """A timer may fire a moment before its time. One that were set anew for the rest would fire at once, for ever."""
    delays = iter((60.0, 60.0 + 5e-7))
    monkeypatch.setattr(row_runner, "decide_retry", lambda *_: Delay(next(delays)))
    transport = FakeTransport(lambda call, attempt: SCRIPT["overloaded"] if call.client_id.endswith("-1") else answer())
    ended = scripted(job(tmp_path, *numbered(2), concurrency=2), transport, monkeypatch)
    assert (ended.summary.succeeded, 60 <= ended.seconds < 70) == (2, True)


def test_a_row_that_waits_is_tried_before_refused_rows_end_the_run(tmp_path, monkeypatch):
    def script(call, attempt):
        waits = call.client_id.endswith("-3-1")
        busy = refusal(429, "RateLimitExceeded.EndpointRPMExceeded", retry_after="20")
        return busy if waits else refusal(400, "InvalidParameter")

    ours, transport = job(tmp_path, *asking(*"abcdefghijklmnopqrstuvwxyz"), concurrency=4), FakeTransport(script)
    ended = scripted(ours, transport, monkeypatch)
    assert any(call.client_id.endswith("-3-2") for call in transport.calls)
    assert (ended.summary.ending, ended.summary.left) == ("halted", 26)


def test_a_stop_leaves_rows_that_wait_undone(tmp_path, monkeypatch):
    def script(call, attempt):
        return refusal(429, "RateLimitExceeded.EndpointRPMExceeded", retry_after="50")

    async def stop(session, task):
        await asyncio.sleep(20)
        session.stop()

    ours = job(tmp_path, *numbered(3))
    ended = scripted(ours, FakeTransport(script), monkeypatch, meanwhile=stop)
    assert (ended.summary.ending, ended.summary.left) == ("stopped", 3)
    assert ended.seconds < 30


def test_four_hundred_rows_at_a_server_of_twenty_a_second(tmp_path):
    """The test that 13 rivals were measured with: no row lost, under 20 refusals, 88 % of the quota used."""
    ours = job(tmp_path, *numbered(400), concurrency=32)
    ended = worked(ours, rps=20, latency=0.15)
    refused = ended.counters.calls - ended.counters.outcomes["ok"]
    assert (ended.summary.succeeded, ended.summary.failed) == (400, 0)
    assert refused < 20
    assert ended.seconds <= 20 / 0.88


def test_bad_lines_are_failures_with_their_number_and_are_never_sent(tmp_path):
    ours = job(tmp_path, {"prompt": "a"}, b"{oops\n", b"\n", {"prompt": "b"}, b"[]\n")
    ended = worked(ours)
    assert (ended.counters.calls, [line["row"] for line in results(ours)]) == (2, [1, 4])
    assert [(line["row"], line["error"]["kind"], line["attempts"]) for line in failures(ours)] == [
        (2, "bad_row", 0),
        (5, "bad_row", 0),
    ]


def test_two_hundred_bad_lines_do_not_halt_the_run(tmp_path):
    ours = job(tmp_path, *numbered(1), *[b"{oops\n"] * 200, *numbered(2))
    assert worked(ours).summary.succeeded == 3


def test_the_place_to_resume_at_is_the_oldest_row_in_work(tmp_path, monkeypatch):
    def script(call, attempt):
        return answer(seconds=500 if call.client_id.endswith("-3-1") else 1)

    async def cancel(session, task):
        await asyncio.sleep(100)
        task.cancel()

    ours = job(tmp_path, *numbered(50), concurrency=4)
    scripted(ours, FakeTransport(script), monkeypatch, meanwhile=cancel)
    assert {line["row"] for line in results(ours)} == set(range(1, 51)) - {3}
    again = FakeTransport()
    scripted(ours, again, monkeypatch)
    assert [call.client_id.split("-")[-2] for call in again.calls] == ["3"]


def test_everything_is_told_to_the_observer(tmp_path):
    class Telling(Observer):
        def __init__(self):
            self.told = []

        def opened(self, found):
            self.told.append(("opened", found.left))

        def answered(self, row, client_id, response, verdict):
            self.told.append(("answered", type(verdict).__name__))

        def retrying(self, row, client_id, verdict, seconds):
            self.told.append(("retrying", seconds > 0))

        def recorded(self, outcome):
            self.told.append(("recorded", type(outcome).__name__))

        def closed(self, ending):
            self.told.append(("closed", ending))

    ended = worked(job(tmp_path, *struck("server_error", 1, 1)), observer=Telling())
    assert ended.observer.told == [
        ("opened", 1),
        ("answered", "Again"),
        ("retrying", True),
        ("answered", "Done"),
        ("recorded", "Success"),
        ("closed", "finished"),
    ]


def test_an_hour_of_overload_is_sat_out(tmp_path, monkeypatch):
    def script(call, attempt):
        open_again = asyncio.get_running_loop().time() > 3_600
        return answer() if open_again else refusal(429, "ServerOverloaded")

    ours, transport = job(tmp_path, *numbered(40)), FakeTransport(script)
    ended = scripted(ours, transport, monkeypatch)
    assert ended.summary.succeeded == 40
    assert len(transport.calls) < 400


def test_a_call_without_a_key_is_under_way_no_more_and_only_once(tmp_path, monkeypatch):
    class Keyless:
        async def send(self, call):
            await asyncio.sleep(1)
            raise Halted("no key is to be had")

    seen = []
    observer = Observer()
    observer.progressed = lambda standing: seen.append(standing.in_flight)
    ended = scripted(job(tmp_path, *numbered(9), concurrency=3), Keyless(), monkeypatch, observer=observer)
    assert (ended.summary.ending, min(seen), seen[-1]) == ("halted", 0, 0)


def test_a_halt_after_an_answer_that_was_thrown_away_forgets_no_bill(tmp_path, monkeypatch):
    ours, script = job(tmp_path, *asking("a")), [answer(""), refusal(403, "AccountOverdueError")]
    transport = FakeTransport(lambda *_: script[len(transport.calls) - 1])
    summary = scripted(ours, transport, monkeypatch).summary
    assert (summary.ending, summary.usage) == ("halted", {"input": 10, "output": 5})


@pytest.mark.parametrize("ahead_ends_last", [False, True])
def test_refusals_of_rows_that_were_sent_ahead_in_an_outage_end_the_run_too(tmp_path, monkeypatch, ahead_ends_last):
    """All workers wait to be told by the last call under way, and that one is no worker's."""
    sent = itertools.count(1)

    def script(call, attempt):
        number = next(sent)
        if number <= 12:
            return SCRIPT["bad_gateway"]
        row = int(call.client_id.split("-")[-2])
        return refusal(400, "InvalidParameter", seconds=300 if ahead_ends_last and row == 6 else 0.1)

    ours, transport = job(tmp_path, *numbered(1000), concurrency=4), FakeTransport(script)
    ended = scripted(ours, transport, monkeypatch)
    assert (ended.summary.ending, failures(ours)) == ("halted", [])
    assert len(transport.calls) < 100
