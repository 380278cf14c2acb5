"""Orders to a session at work: each holds at once, is remembered, and loses or doubles no row."""

import asyncio
import math
from pathlib import Path

import pytest
from fakes import SCRIPT, FakeTransport, answer
from msgspec.structs import replace
from runs import job_of, numbered, prompts
from sessions import failures, results, scripted, worked

from arkbatch.core.errors import RunDirectoryError, UsageError
from arkbatch.core.job_sections import RetryPolicy
from arkbatch.engine.open_run import OpenRun
from arkbatch.journal.run_directory import LOG, RunDirectory
from arkbatch.monitor.commands import parse_command
from arkbatch.monitor.observer import Observer


def job(folder, count=50, **flags):
    """At a service that minds no steep traffic."""
    ours = job_of(prompts(folder, *numbered(count)), **{"concurrency": 5, **flags})
    return replace(ours, base_url="http://127.0.0.1:1/v1")


def tell(session, line, reason=""):
    action, *words = line.split()
    return session.handle(parse_command(action, words, reason))


def info(ours):
    return RunDirectory(Path(ours.run_dir)).read_info()


def each_row_once(ours, count):
    rows = [line["row"] for line in results(ours)] + [line["row"] for line in failures(ours)]
    return sorted(rows) == list(range(1, count + 1))


class Looks(Observer):
    """What the session told, and calls in flight at each look."""

    def __init__(self):
        self.told, self.looks = [], []

    def settings_changed(self, steered):
        self.told.append(steered)

    def progressed(self, standing):
        self.looks.append(standing)


def test_a_paused_session_begins_no_call_until_it_goes_on(tmp_path, monkeypatch):
    ours, observer, transport = job(tmp_path), Looks(), FakeTransport(lambda *_: answer(seconds=1))

    async def meanwhile(session, task):
        await asyncio.sleep(2.5)
        assert tell(session, "pause", "the demo").said == "Paused: no call begins; 5 calls in flight finish."
        await asyncio.sleep(600)
        stands = tell(session, "status")
        assert stands.said.startswith("Paused for 10 min 00 s: nothing is in flight; 35 rows left")
        assert list(stands.state.held) == ["paused"]
        assert tell(session, "pause").said == "It has been paused for 10 min 00 s."
        assert tell(session, "resume").said == "Went on after 10 min 00 s."
        assert tell(session, "resume").said == "It is not paused."

    ended = scripted(ours, transport, monkeypatch, meanwhile=meanwhile, observer=observer)
    began = [at - transport.began[0] for at in transport.began]
    assert [at for at in began if 2.5 < at < 602.5] == []
    assert (ended.summary.succeeded, 609 < ended.seconds < 612) == (50, True)
    assert [(each.do, each.reason) for each in observer.told] == [("pause", "the demo"), ("resume", "")]
    assert info(ours).sessions[0].steered == observer.told
    waiting = {look.waiting for look in observer.looks}
    assert any(text.startswith("paused since ") for text in waiting)
    assert "By ctl: paused (the demo)" in (Path(ours.run_dir) / LOG).read_text()


def test_a_pause_takes_nothing_from_the_patience_of_a_row(tmp_path, monkeypatch):
    """It waits out a refusal of its rate when the pause begins."""
    ours = replace(job(tmp_path, 1), retry=RetryPolicy(patience=100.0))
    transport = FakeTransport(lambda call, attempt: SCRIPT["overloaded"] if attempt < 4 else answer())

    async def meanwhile(session, task):
        await asyncio.sleep(0.5)
        tell(session, "pause")
        await asyncio.sleep(3_600)
        tell(session, "resume")

    assert scripted(ours, transport, monkeypatch, meanwhile=meanwhile).summary.succeeded == 1


def test_the_end_of_a_pause_is_no_end_of_patience_with_a_service_that_is_away(tmp_path, monkeypatch):
    ours = replace(job(tmp_path, 20), retry=RetryPolicy(give_up_after=100.0))
    transport = FakeTransport(
        lambda *_: SCRIPT["drop_before"] if transport.began[-1] < transport.began[0] + 440 else answer()
    )

    async def meanwhile(session, task):
        await asyncio.sleep(20)
        tell(session, "pause")
        await asyncio.sleep(400)
        tell(session, "resume")

    ended = scripted(ours, transport, monkeypatch, meanwhile=meanwhile)
    assert (ended.summary.succeeded, ended.summary.halt) == (20, None)


def test_more_and_fewer_calls_at_once_hold_at_once(tmp_path, monkeypatch):
    ours, observer = job(tmp_path, 600), Looks()
    transport = FakeTransport(lambda *_: answer(seconds=2))

    async def meanwhile(session, task):
        await asyncio.sleep(10)
        tell(session, "set concurrency=40")
        await asyncio.sleep(10)
        before = observer.looks[-1].in_flight
        tell(session, "set concurrency=3")
        await asyncio.sleep(10)
        assert (before, observer.looks[-1].in_flight) == (40, 3)
        tell(session, "set concurrency=100")

    ended = scripted(ours, transport, monkeypatch, meanwhile=meanwhile, observer=observer)
    assert ended.summary.succeeded == 600
    assert max(look.in_flight for look in observer.looks) == 100


def test_a_rate_that_is_set_is_kept_in_the_minute_before_any_call(tmp_path, monkeypatch):
    ours, transport = job(tmp_path, 1_100, rpm=600.0), FakeTransport(lambda *_: answer(seconds=0.1))
    changes = [(0.0, 600), (40.0, 120), (130.0, 1_200), (160.0, 300), (165.0, math.inf)]

    async def meanwhile(session, task):
        now = asyncio.get_running_loop().time
        began = now()
        for after, rpm in changes[1:]:
            await asyncio.sleep(began + after - now())
            tell(session, f"set rpm={'none' if rpm == math.inf else rpm}")

    scripted(ours, transport, monkeypatch, meanwhile=meanwhile)
    began = transport.began[0]
    for at in transport.began:
        limit = [rpm for after, rpm in changes if began + after <= at + 1e-6][-1]
        assert sum(at - 60.4 <= other <= at for other in transport.began) <= limit


@pytest.mark.parametrize(("name", "tokens"), [("input_tpm", 10), ("output_tpm", 5)])
def test_a_limit_of_input_or_output_tokens_that_is_set_holds_from_then_on(tmp_path, monkeypatch, name, tokens):
    """Twice as many calls a minute go before it as after it, and all that are left once it is taken away."""
    ours, transport = job(tmp_path, 1_000, rpm=120.0), FakeTransport(lambda *_: answer(seconds=0.1))
    told = []

    async def meanwhile(session, task):
        await asyncio.sleep(61)
        told.append(tell(session, f"set {name}={60 * tokens}", "the others need it").said)
        await asyncio.sleep(240)
        told.append(tell(session, "status").said)
        tell(session, f"set {name}=none rpm=none")

    ended = scripted(ours, transport, monkeypatch, meanwhile=meanwhile)
    began = [at - transport.began[0] for at in transport.began]
    counts = [sum(minute * 60 < at <= minute * 60 + 60 for at in began) for minute in (0, 2, 3, 4)]
    assert counts[0] > 115
    assert all(50 < count <= 61 for count in counts[1:])
    assert (ended.summary.succeeded, began[-1] < 330) == (1_000, True)
    assert told[0].startswith(f"Set {name} none -> {60 * tokens}; the next call may go in ")
    assert told[1].endswith(f", rpm 120, tpm none, {name} {60 * tokens}.")
    assert info(ours).sessions[0].steered[0].reason == "the others need it"


def with_budget(folder, max_cost):
    ours = job(folder, 60, model="doubao-seed-1-6-251015", set=["max_completion_tokens=500"])
    return replace(ours, limits=replace(ours.limits, max_cost=max_cost))


DEAR = answer(model="doubao-seed-1-6-251015", seconds=1, usage={"prompt_tokens": 1_000, "completion_tokens": 400})


def test_a_budget_is_raised_while_the_run_works(tmp_path, monkeypatch):
    ours = with_budget(tmp_path, 0.06)

    async def meanwhile(session, task):
        await asyncio.sleep(2.5)
        said = tell(session, "set max_cost=5", "approved").said
        assert said.startswith("Set max_cost 0.06 -> 5; 0.0")
        assert "CNY are spent. This session only: the next one goes by the job (max_cost 0.06)." in said
        assert tell(session, "status").said.endswith("max_cost 5.")

    ended = scripted(ours, FakeTransport(lambda *_: DEAR), monkeypatch, meanwhile=meanwhile)
    assert (ended.summary.succeeded, ended.summary.halt) == (60, None)
    assert info(ours).sessions[0].steered[0].limits == {"max_cost": 5.0}


def test_a_budget_that_is_lowered_below_what_is_spent_ends_the_run_when_its_calls_have_ended(tmp_path, monkeypatch):
    ours = with_budget(tmp_path, 5)

    async def meanwhile(session, task):
        await asyncio.sleep(2.5)
        tell(session, "set max_cost=0.001")

    ended = scripted(ours, FakeTransport(lambda *_: DEAR), monkeypatch, meanwhile=meanwhile)
    assert (ended.summary.halt.code, ended.summary.succeeded, ended.summary.left) == ("max_cost", 15, 45)


def test_a_session_without_a_budget_is_given_none(tmp_path, monkeypatch):
    async def meanwhile(session, task):
        await asyncio.sleep(1.5)
        with pytest.raises(UsageError, match="began without a budget"):
            tell(session, "set max_cost=5 rpm=1")
        assert tell(session, "status").state.limits["rpm"] is None

    transport = FakeTransport(lambda *_: answer(seconds=1))
    assert scripted(job(tmp_path), transport, monkeypatch, meanwhile=meanwhile).summary.succeeded == 50


def test_what_is_set_holds_for_the_session_and_the_next_one_says_so(tmp_path, monkeypatch):
    ours = job(tmp_path, rpm=600.0)

    async def meanwhile(session, task):
        await asyncio.sleep(0.2)
        said = tell(session, "set rpm=1200 concurrency=5", "night").said
        assert said.startswith("Set rpm 600 -> 1,200. This session only: the next one goes by the job (rpm 600).")
        assert tell(session, "set rpm=1200").said == "Nothing to change: rpm 1,200 already."
        state = tell(session, "status").state
        assert (state.limits["rpm"], state.of_job) == (1200.0, {"rpm": 600.0})
        tell(session, "drain")

    scripted(ours, FakeTransport(lambda *_: answer(seconds=1)), monkeypatch, meanwhile=meanwhile)
    session = info(ours).sessions[0]
    assert (session.ending, session.limits["rpm"], session.steered[0].limits) == ("stopped", 600.0, {"rpm": 1200.0})
    with OpenRun(ours, wall=lambda: 0.0) as run:
        assert run.found.changes == ("limits that ctl set in the last session (rpm 1200) hold no more; the job's do",)


def test_a_drained_session_ends_resumable(tmp_path, monkeypatch):
    ours = job(tmp_path)

    async def meanwhile(session, task):
        await asyncio.sleep(1.5)
        assert tell(session, "drain").said.startswith("Stopping: 5 calls in flight finish, and the rows left stay")
        for order in ("drain", "pause", "set rpm=1"):
            with pytest.raises(UsageError, match="ending"):
                tell(session, order)
        assert tell(session, "status").state.stopping

    transport = FakeTransport(lambda *_: answer(seconds=1))
    ended = scripted(ours, transport, monkeypatch, meanwhile=meanwhile)
    assert (ended.summary.ending, ended.summary.succeeded) == ("stopped", 10)
    assert worked(ours).summary.succeeded == 50


def test_a_paused_session_can_be_drained(tmp_path, monkeypatch):
    async def meanwhile(session, task):
        await asyncio.sleep(1.5)
        tell(session, "pause")
        await asyncio.sleep(50)
        tell(session, "drain")

    ended = scripted(job(tmp_path), FakeTransport(lambda *_: answer(seconds=1)), monkeypatch, meanwhile=meanwhile)
    assert ended.summary.ending == "stopped"


def test_what_cannot_be_written_down_is_not_done(tmp_path, monkeypatch):
    ours = job(tmp_path)

    def refused(_):
        raise RunDirectoryError("Cannot write run.json")

    async def meanwhile(session, task):
        await asyncio.sleep(1.5)
        with monkeypatch.context() as patch:
            patch.setattr(OpenRun, "note_session", refused)
            for order in ("pause", "set rpm=1 concurrency=1"):
                with pytest.raises(RunDirectoryError):
                    tell(session, order)
        state = tell(session, "status").state
        assert (state.held, state.limits["rpm"], state.limits["concurrency"]) == ({}, None, 5)

    ended = scripted(ours, FakeTransport(lambda *_: answer(seconds=1)), monkeypatch, meanwhile=meanwhile)
    assert ended.summary.succeeded == 50
    assert info(ours).sessions[0].steered == []


def test_only_the_last_changes_are_kept_and_none_of_their_limits_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr("arkbatch.monitor.command_replies.MAX_CHANGES_KEPT", 3)
    ours = job(tmp_path)

    async def meanwhile(session, task):
        await asyncio.sleep(1.5)
        for order in ("set rpm=700", "pause", "resume", "pause", "resume"):
            tell(session, order)

    scripted(ours, FakeTransport(lambda *_: answer(seconds=1)), monkeypatch, meanwhile=meanwhile)
    session = info(ours).sessions[0]
    assert ([each.do for each in session.steered], session.limits["rpm"]) == (["resume", "pause", "resume"], 700.0)
