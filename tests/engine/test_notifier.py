"""What a session tells those who are not watching, and that it tells nobody an address."""

import asyncio

import orjson
import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from nights import Looks, Proxy, job_for, night, session_of, simulated
from processes import arkbatch
from receivers import receiver
from runs import prompts
from virtual import run_virtual

from arkbatch.cli.notify import command
from arkbatch.config.resolve import resolve_job, resolve_retry
from arkbatch.core.errors import StorageFull, UsageError
from arkbatch.core.job import job_tables
from arkbatch.core.job_sections import Schedule
from arkbatch.engine import notifier as noticing
from arkbatch.engine import periodic_sync as durable
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.session import Session
from arkbatch.monitor.notify_channels import DeliveryFailed

MINUTE = 60.0


class Phone:
    """Keeps the messages, or fails to."""

    name = "phone"

    def __init__(self, broken=False):
        self.heard, self.broken = [], broken

    def deliver(self, notice):
        self.heard.append(notice)
        if self.broken:
            raise DeliveryFailed("out of reach")

    @property
    def said(self):
        return [(notice.event.value, notice.said) for notice in self.heard]


@pytest.fixture
def phone(monkeypatch):
    monkeypatch.setattr(durable, "SYNC_SECONDS", 30.0)
    phone = Phone()
    monkeypatch.setattr(noticing, "build_channels", lambda *_, **__: [phone])
    return phone


def test_the_end_is_told(tmp_path, phone):
    night(job_for(tmp_path, 30))
    [notice] = phone.heard
    assert (notice.event, notice.said, notice.done, notice.left) == ("end", "finished", 30, 0)
    assert notice.go_on == f"arkbatch report {tmp_path}/a.run"


def test_failed_rows_are_told_with_how_to_send_them_again(tmp_path, phone):
    prompts(tmp_path, {"prompt": "a"}, {"prompt": "[[fault:refuse]]"}, b"no JSON\n")
    night(job_for(tmp_path))
    [notice] = phone.heard
    assert notice.said == "finished, with failed rows"
    assert notice.failed >= 1
    assert notice.go_on.startswith("arkbatch retry ")


def test_a_halt_is_told_with_its_reason_and_what_to_do(tmp_path, phone):
    night(job_for(tmp_path, 5), keys=["another"])
    [notice] = phone.heard
    assert (notice.event, notice.left) == ("halt", 5)
    assert notice.reason
    assert notice.advice


def test_a_used_up_budget_is_told_as_such(tmp_path, phone):
    night(job_for(tmp_path, 200, max_tokens=9000))
    assert phone.said == [("budget", "stopped at the budget")]


def test_a_stop_by_hand_is_not_told_unless_that_was_asked_for(tmp_path, phone):
    async def stopped(job):
        async with simulated(latency=1.0) as (url, _):
            with OpenRun(replace(job, base_url=url), wall=lambda: 1e9) as opened:
                session = Session(opened)
                asyncio.get_running_loop().call_later(3, session.stop)
                return await session.work()

    job = job_for(tmp_path, 1000)
    assert run_virtual(stopped(job)).ending == "stopped"
    assert not phone.heard
    asked = replace(job, run_dir=f"{tmp_path}/b.run", notify=replace(job.notify, on=["stop"]))
    run_virtual(stopped(asked))
    assert phone.said == [("stop", "stopped by hand")]


def test_a_full_disk_is_told_as_a_halt(tmp_path, phone, monkeypatch):
    def full(*_):
        raise StorageFull("No space left")

    monkeypatch.setattr("arkbatch.journal.journal.Journal.sync", full)
    monkeypatch.setattr(durable, "SYNC_SECONDS", 1.0)
    with pytest.raises(StorageFull):
        night(job_for(tmp_path, 1000), latency=1.0)
    assert phone.said == [("halt", "stopped by an error")]
    assert phone.heard[0].reason == "No space left"


def test_a_long_outage_is_told_once_and_its_end_once(tmp_path, phone):
    async def main():
        async with simulated(latency=0.5) as (url, _):
            proxy = Proxy(url)
            await proxy.start()

            async def pull_the_plug():
                await asyncio.sleep(10)
                await proxy.stop()
                await asyncio.sleep(20 * MINUTE)
                await proxy.start()

            plug = asyncio.create_task(pull_the_plug())
            await session_of(replace(job_for(tmp_path, 200, concurrency=4), base_url=proxy.url))
            await plug
            await proxy.stop()

    run_virtual(main())
    assert [event for event, _ in phone.said] == ["outage", "outage", "end"]
    away, back = (said for _, said in phone.said[:2])
    assert away.startswith("the service has been away for 10 min")
    assert back.startswith("the service is back after 2")


def test_a_run_that_will_be_late_is_told_with_what_would_help(tmp_path, phone):
    """The wall clock of the session begins at 14:13 UTC."""
    job = replace(job_for(tmp_path, 120, concurrency=2), hours=Schedule(None, "14:30 UTC"))
    night(job, latency=30.0)
    assert [notice.event for notice in phone.heard] == ["late", "end"]
    assert phone.heard[0].said.startswith("will be late by ")
    assert phone.heard[0].advice.startswith("raise concurrency from 2 to about ")


def test_a_message_that_does_not_arrive_is_noted_and_changes_nothing(tmp_path, phone):
    phone.broken, looks = True, Looks()
    summary, _ = night(job_for(tmp_path, 30), looks)
    assert (summary.ending, summary.succeeded) == ("finished", 30)
    assert looks.notes == ["could not notify phone: out of reach"]
    assert "could not notify phone: out of reach" in (tmp_path / "a.run" / "run.log").read_text()


def test_the_job_file_the_environment_and_flags_name_who_is_told_and_the_stronger_wins(tmp_path):
    (tmp_path / "tell").write_text("#!/bin/sh\n")
    (tmp_path / "tell").chmod(0o755)
    prompts(tmp_path, {"prompt": "a"})
    (tmp_path / "job.toml").write_text(
        'input = "in.jsonl"\n[notify]\nurls = ["https://a.example/T"]\ncommand = ["./tell", "x"]\non = ["halt"]\n'
    )

    def found(environ, **flags):
        notify = resolve_job(str(tmp_path / "job.toml"), {"simulate": True, **flags}, environ, "/").notify
        return [url.reveal() for url in notify.urls], notify.command, notify.on

    tell = [f"{tmp_path}/tell", "x"]
    two = {"ARKBATCH_NOTIFY": "https://b.example/T  https://c.example/T"}
    assert found({}) == (["https://a.example/T"], tell, ["halt"])
    assert found(two) == (["https://b.example/T", "https://c.example/T"], tell, ["halt"])
    assert found(two, notify=["https://d.example/T"])[0] == ["https://d.example/T"]
    assert found({}, notify_on=["end"], notify_command=["cat"])[1:] == (["cat"], ["end"])
    assert found(two, dry_run=True) == ([], [], ["end", "halt", "budget", "outage", "late"])


@pytest.mark.parametrize(
    ("flags", "environ", "said"),
    [
        ({"notify": ["x://T0K3N"]}, {"ARKBATCH_NOTIFY": "y://T0K3N"}, "--notify x://***"),
        ({}, {"ARKBATCH_NOTIFY": "y://T0K3N"}, "ARKBATCH_NOTIFY y://***"),
        ({}, {}, "job.toml: notify.urls z://***"),
    ],
)
def test_who_named_an_address_that_cannot_work_is_said(tmp_path, flags, environ, said):
    prompts(tmp_path, {"prompt": "a"})
    (tmp_path / "job.toml").write_text('input = "in.jsonl"\n[notify]\nurls = ["z://T0K3N"]\n')
    with pytest.raises(UsageError) as caught:
        resolve_job("job.toml", {"simulate": True, **flags}, environ, tmp_path)
    assert str(caught.value).startswith(f"{said} is not an address that Apprise knows")


def test_addresses_are_not_kept_with_the_run_and_a_retry_takes_them_from_its_own_command(tmp_path):
    path = prompts(tmp_path, {"prompt": "a"})
    job = resolve_job(str(path), {"simulate": True, "notify": ["https://a.example/T0K3N"]}, {}, tmp_path)
    assert "T0K3N" not in f"{job_tables(job)} {job}"
    flags = {"simulate": True, "notify": ["https://a.example/T0K3N"]}
    again = resolve_retry(job_tables(job), flags, {}, [], input_path=str(path), run_dir="a.run")
    assert again.notify == job.notify


@pytest.mark.parametrize(
    "table",
    [
        'urls = "https://a.example/T0K3N"',
        'url = ["https://a.example/T0K3N"]',
        'urls = [["https://a.example/T0K3N"]]',
        'on = ["ends"]\nurls = ["https://a.example/T0K3N"]',
        'urls = ["https://a.example/T0K3N"',
        'urls = ["T0K3N"]',
    ],
)
def test_a_mistake_beside_an_address_is_told_without_it(tmp_path, table):
    prompts(tmp_path, {"prompt": "a"})
    (tmp_path / "job.toml").write_text(f'input = "in.jsonl"\n[notify]\n{table}\n')
    with pytest.raises(UsageError) as caught:
        resolve_job(str(tmp_path / "job.toml"), {"simulate": True}, {}, tmp_path)
    assert "T0K3N" not in f"{caught.value} {caught.value.__cause__} {caught.value.__context__}"


def test_the_command_tells_and_leaves_the_address_nowhere(tmp_path):
    prompts(tmp_path, {"prompt": "a"}, {"prompt": "b"})
    with receiver() as hook, receiver(status=500) as broken:
        words = ("run", "in.jsonl", "--simulate", "--notify", hook.url, f"--notify={broken.url}-broken", "--json")
        done = arkbatch(*words, cwd=tmp_path)
    assert done.returncode == 0
    assert orjson.loads(done.stdout)["succeeded"] == 2
    assert done.stderr.count(b"Could not notify http://127.0.0.1/***: it answered 500.") == 1
    [(_, message)] = hook.heard
    assert message["title"] == "[simulated] arkbatch: finished (in.run)"
    left = [path.read_bytes() for path in (tmp_path / "in.run").iterdir()]
    assert not [data for data in (*left, done.stdout, done.stderr) if b"T0K3N" in data]
    assert b"--notify '***' '--notify=***'" in (tmp_path / "in.run" / "run.json").read_bytes()


def test_the_trial_says_what_arrived_and_what_did_not(monkeypatch):
    def tried(*words, said=None):
        monkeypatch.setenv("ARKBATCH_NOTIFY", said or "")
        return CliRunner().invoke(command, words, standalone_mode=False)

    with receiver() as hook:
        done = tried("--notify", hook.url)
        assert (done.return_value, done.output) == (0, "The message was taken by http://127.0.0.1/***.\n")
        assert hook.events == ["trial"]
        broken = tried("--notify-command", "sh -c 'exit 3'", "--json", said=hook.url)
    assert broken.return_value == 2
    assert orjson.loads(broken.output) == {
        "asked": ["http://127.0.0.1/***", "sh"],
        "failed": ["could not notify sh: it ended with 3"],
    }
    assert "there is no address to notify" in str(tried().exception)
