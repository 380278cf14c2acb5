"""A session around its engine: what is made durable when, and what is left behind however it ends."""

import asyncio
import threading

import orjson
import pytest
from fakes import SCRIPT, FakeTransport, answer
from msgspec.structs import replace
from runs import job_of, numbered, prompts
from sessions import results, scripted, worked
from virtual import run_virtual

from arkbatch.core.errors import RunDirectoryError, StorageFull
from arkbatch.engine import periodic_sync as durable
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.session import Session
from arkbatch.journal import journal as journal_module
from arkbatch.journal.journal import Journal
from arkbatch.journal.run_directory import LEDGER
from arkbatch.monitor.observer import Observer


def job(folder, count=50, **flags):
    return job_of(prompts(folder, *numbered(count)), **flags)


def run_json(folder):
    return orjson.loads((folder / "a.run" / "run.json").read_bytes())


class Looks(Observer):
    def __init__(self):
        self.looks = []

    def progressed(self, standing):
        self.looks.append(standing)


def test_progress_is_told_twice_a_second_and_at_the_end(tmp_path, monkeypatch):
    observer = Looks()
    transport = FakeTransport(lambda call, attempt: answer(seconds=1))
    scripted(job(tmp_path, concurrency=5), transport, monkeypatch, observer=observer)
    last = observer.looks[-1]
    assert 18 <= len(observer.looks) <= 30
    assert (last.left, last.recorded, last.total, last.in_flight) == (0, 50, 50, 0)
    assert [look.left for look in observer.looks] == sorted((look.left for look in observer.looks), reverse=True)


def test_the_bar_says_what_the_run_is_bound_by(tmp_path):
    observer = Looks()
    worked(job(tmp_path, 60, rpm=120.0), observer=observer)
    assert "your limit of requests a minute" in {look.bound_by for look in observer.looks}
    assert observer.looks[-1].rpm_limit == 120.0


def test_progress_says_what_a_real_run_has_cost_and_nothing_for_made_up_answers(tmp_path, monkeypatch):
    (tmp_path / "prices.toml").write_text(
        '[[model]]\nfamily = "doubao-x"\ncurrency = "CNY"\nprice.online = { input = 1000, output = 1000 }\n'
    )
    asked = job(tmp_path, 10, model="doubao-x", prices=str(tmp_path / "prices.toml"), concurrency=1)
    said = []
    for simulated in (False, True):
        folder = str(tmp_path / f"{simulated}.run")
        observer = Looks()
        scripted(replace(asked, simulated=simulated, run_dir=folder), FakeTransport(), monkeypatch, observer=observer)
        said.append(observer.looks[-1].cost)
    assert said[0].endswith(" CNY")
    assert float(said[0].split()[0]) > 0
    assert said[1] == ""


def test_a_given_limit_is_kept(tmp_path):
    ended = worked(job(tmp_path, 240, rpm=120.0), rpm=120)
    assert (ended.summary.succeeded, ended.counters.outcomes) == (240, {"ok": 240})
    assert ended.seconds < 125


def test_the_session_is_noted_with_its_ending(tmp_path, monkeypatch):
    scripted(job(tmp_path), FakeTransport(), monkeypatch)
    (session,) = run_json(tmp_path)["sessions"]
    assert (session["ending"], session["command"]) == ("finished", "run")
    assert session["limits"]["concurrency"] == 32


def test_a_snapshot_that_is_being_written_is_waited_for(tmp_path, monkeypatch):
    """Cancelled in the middle of it, closing the journal would write the same file at the same time."""
    running, half_written, done = [], [], []
    monkeypatch.setattr(durable, "SNAPSHOT_EVERY", 1)
    original = journal_module.replace_file

    def slow(path, data):
        if threading.current_thread() is threading.main_thread():
            assert half_written == done
        elif path.name == LEDGER:
            half_written.append(path)
            loop, task = running
            loop.call_soon_threadsafe(task.cancel)
            threading.Event().wait(0.1)
            done.append(path)
        original(path, data)

    monkeypatch.setattr(journal_module, "replace_file", slow)

    async def cancel(session, task):
        running[:] = asyncio.get_running_loop(), task

    transport = FakeTransport(lambda call, attempt: answer(seconds=60))
    assert scripted(job(tmp_path), transport, monkeypatch, meanwhile=cancel).summary is None
    assert done


@pytest.mark.parametrize("error", [StorageFull("No space left"), RunDirectoryError("Cannot write")])
@pytest.mark.parametrize("method", ["record", "sync"])
def test_a_disk_that_refuses_ends_the_session_with_its_own_error(tmp_path, monkeypatch, method, error):
    def refuse(*_):
        raise error

    ours = job(tmp_path)
    transport = FakeTransport(lambda call, attempt: answer(seconds=2))
    monkeypatch.setattr(Journal, method, refuse)
    with pytest.raises(type(error), match=str(error)):
        scripted(ours, transport, monkeypatch)
    monkeypatch.undo()
    assert worked(ours).summary.succeeded == 50
    assert len(results(ours)) == 50


def test_an_observer_may_stop_the_session(tmp_path, monkeypatch):
    class Stops(Observer):
        session = None

        def recorded(self, outcome):
            self.session.stop()

    observer = Stops()

    async def introduce(session, task):
        observer.session = session

    transport = FakeTransport()
    ended = scripted(job(tmp_path, concurrency=2), transport, monkeypatch, observer=observer, meanwhile=introduce)
    assert (ended.summary.ending, 2 <= ended.summary.succeeded < 10) == ("stopped", True)


def test_a_connection_that_cannot_be_opened_is_said_and_begins_no_session(tmp_path, monkeypatch):
    """Such as encryption without the package that does it."""
    from contextlib import asynccontextmanager

    from arkbatch.core.errors import UsageError
    from arkbatch.core.job import Job
    from arkbatch.core.secret import Secret

    @asynccontextmanager
    async def refused(*_):
        raise UsageError("install arkbatch[seal]")
        yield

    monkeypatch.setattr("arkbatch.engine.session.open_connection", refused)
    (tmp_path / "in.jsonl").write_text('{"prompt": "hi"}\n')
    paths = {"input": str(tmp_path / "in.jsonl"), "run_dir": str(tmp_path / "in.run")}
    job = Job(**paths, endpoint="chat", model="m", base_url="http://127.0.0.1:1", api_key=Secret("k"))
    with OpenRun(job, wall=lambda: 0.0) as opened:
        with pytest.raises(UsageError, match="seal"):
            run_virtual(Session(opened).work())
        assert opened.info.sessions == []


def test_a_stop_that_came_before_the_first_call_is_not_forgotten(tmp_path):
    ours = job(tmp_path)

    async def main():
        with OpenRun(ours, wall=lambda: 0.0) as run:
            session = Session(run)
            session.stop()
            return await session.work()

    assert (run_virtual(main()).ending, results(ours)) == ("stopped", [])


def test_a_stop_that_comes_after_the_end_does_nothing(tmp_path, monkeypatch):
    async def late(session, task):
        await asyncio.wait([task])
        session.stop()

    assert scripted(job(tmp_path), FakeTransport(), monkeypatch, meanwhile=late).summary.ending == "finished"


def test_the_request_id_of_a_row_is_that_of_its_first_call_and_later_ones_are_numbered(tmp_path, monkeypatch):
    sent = []

    def answered(call, attempt):
        sent.append(call.client_id)
        return SCRIPT["server_error"] if len(sent) < 3 else SCRIPT[""]

    path = prompts(tmp_path, {"request_id": "ticket-7", "body": {"messages": [{"role": "user", "content": "a"}]}})
    scripted(job_of(path), FakeTransport(answered), monkeypatch)
    assert sent == ["ticket-7", "ticket-7-2", "ticket-7-3"]
