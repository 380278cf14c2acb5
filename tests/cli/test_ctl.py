"""`arkbatch ctl` at a real process: what it says, and what it returns."""

import os
import signal
import socket
import time

import orjson
import pytest
from processes import arkbatch, canned, size, started, until
from runs import answered, job_of, numbered, prompts, worked_off

from arkbatch.cli import arkbatch as group
from arkbatch.core.errors import ArkbatchError
from arkbatch.journal.run_directory import SOCKET, RunDirectory
from arkbatch.reports.status.status import read_status
from arkbatch.reports.status.status_text import status_text


@pytest.fixture
def ended(tmp_path):
    """A run that nobody works on."""
    job = job_of(prompts(tmp_path, *numbered(4)))
    worked_off(
        job, lambda row: answered(row) if row.number < 3 else None, ending="stopped", command="arkbatch run in.jsonl"
    )
    return tmp_path


def ctl(folder, *words):
    done = arkbatch("ctl", "a.run", *words, cwd=folder)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def refused(run_dir, *words):
    """The message and the exit code, without a process of its own."""
    with pytest.raises(ArkbatchError) as caught:
        group.main(["ctl", str(run_dir), *words], standalone_mode=False)
    return str(caught.value), caught.value.exit_code


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["paus"], 2, "paus is not a command. Did you mean pause?"),
        (["set", "rpm=0"], 2, "rpm=0 is not allowed: it must be a number above 0, or none."),
        (["set", "rmp=1"], 2, "rmp cannot be set. Did you mean rpm?"),
    ],
)
def test_a_mistake_is_told_in_one_line(ended, words, code, said):
    message, returned = refused(ended / "a.run", *words)
    assert (returned, message.count("\n")) == (code, 0)
    assert message.startswith(said)


def test_a_run_that_nobody_works_on_is_told_with_the_command_that_begins(ended):
    code, out, error = ctl(ended, "pause")
    assert (code, out) == (5, "")
    assert error == "arkbatch: Nobody works on a.run now. Resume with:  arkbatch run in.jsonl\n"


def test_a_directory_that_is_no_run_is_told(tmp_path):
    assert refused(tmp_path / "b.run", "pause") == (
        f"{tmp_path}/b.run is not a run directory: it has no run.json.",
        5,
    )


def test_a_process_that_takes_no_orders_is_told(ended):
    with RunDirectory(ended / "a.run").hold_lock(lambda: 0.0):
        message, code = refused(ended / "a.run", "pause")
    assert (code, f"process {os.getpid()} on" in message) == (5, True)


def test_what_a_killed_process_left_is_no_session(ended):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(ended / "a.run" / SOCKET))
    message, code = refused(ended / "a.run", "status")
    assert (code, "Nobody works on" in message) == (5, True)


def told(capsys, folder, *words):
    group.main(["ctl", str(folder / "a.run"), *words], standalone_mode=False)
    return capsys.readouterr().out


def test_a_running_process_is_paused_changed_and_ended(tmp_path, capsys):
    prompts(tmp_path, *numbered(3_000))
    flags = ["--model", "doubao", "-o", "a.run", "--concurrency", 2, "--rpm", 600]
    with canned() as (url, heard):
        process = started("run", "in.jsonl", *flags, "--base-url", url, cwd=tmp_path)
        try:
            until(lambda: size(tmp_path / "a.run" / "results.jsonl"))
            assert ctl(tmp_path, "pause", "--reason", "to look")[1].startswith("Paused: no call begins; ")
            until(lambda: orjson.loads(told(capsys, tmp_path, "status", "--json"))["state"]["in_flight"] == 0)
            quiet = len(heard)
            status = status_text(read_status(str(tmp_path / "a.run"), time.time))
            assert "a.run: paused since " in status
            assert " by ctl: to look (process " in status
            assert len(heard) == quiet
            said = told(capsys, tmp_path, "set", "concurrency=20", "rpm=1200")
            assert said.startswith("Set concurrency 2 -> 20, rpm 600 -> 1,200. This session only")
            assert told(capsys, tmp_path, "resume").startswith("Went on after ")
            until(lambda: len(heard) > quiet + 20)
            assert "Resume later with:  arkbatch run in.jsonl" in told(capsys, tmp_path, "drain")
            error = process.communicate(timeout=20)[1]
        finally:
            process.kill()
            process.communicate()
    assert process.returncode == 130
    assert b"By ctl: paused (to look)." in error
    assert not os.path.lexists(tmp_path / "a.run" / SOCKET)


def test_after_an_order_to_end_one_ctrl_c_abandons_the_calls(tmp_path, capsys):
    prompts(tmp_path, *numbered(50))
    with canned(latency=60) as (url, heard):
        flags = ["--model", "doubao", "-o", "a.run", "--base-url", url]
        process = started("run", "in.jsonl", *flags, cwd=tmp_path)
        try:
            until(lambda: heard)
            told(capsys, tmp_path, "drain")
            assert told(capsys, tmp_path, "status").startswith("Stopping: ")
            process.send_signal(signal.SIGINT)
            error = process.communicate(timeout=20)[1]
        finally:
            process.kill()
            process.communicate()
    assert process.returncode == 130
    assert b"Interrupted. What was recorded is safe." in error
    assert b"rows  0 succeeded, 0 failed, 50 left" in error
