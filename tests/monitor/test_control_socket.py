"""The socket of a session: for its owner alone, and whoever misuses it harms nobody."""

import asyncio
import contextlib
import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from arkbatch.core.errors import RunDirectoryError, UsageError
from arkbatch.journal.run_directory import SOCKET, RunDirectory
from arkbatch.monitor import control_socket as ctl_socket
from arkbatch.monitor.commands import (
    LONGEST,
    VERSION,
    Command,
    CommandReply,
    Pause,
    decode_reply,
    encode_line,
    parse_command,
)
from arkbatch.monitor.control_socket import AT_ONCE, NoSessionListens, accept_commands, send_command

PAUSE = Command(VERSION, Pause(), "to test")


@pytest.fixture
def directory(tmp_path):
    made = RunDirectory(tmp_path / "a.run")
    made.create()
    return made


class Fake:
    """A session that says back what it is told."""

    def __init__(self):
        self.heard = []

    def __call__(self, order):
        self.heard.append(order)
        if order.do == parse_command("resume", []).do:
            raise UsageError("It is not paused.")
        return CommandReply(VERSION, f"heard {type(order.do).__name__}")


def with_session(directory, check):
    """`check(fake)` runs in a thread beside a session that listens; what it returned."""
    fake = Fake()

    async def main():
        async with accept_commands(directory, fake):
            return await asyncio.to_thread(check, fake)

    return asyncio.run(main())


def connected(directory):
    talk = socket.socket(socket.AF_UNIX)
    talk.settimeout(10)
    talk.connect(str(directory / SOCKET))
    return talk


def test_an_order_is_heard_and_answered(directory):
    answer, heard = with_session(directory, lambda fake: (send_command(directory, PAUSE), fake.heard))
    assert (answer.said, heard) == ("heard Pause", [PAUSE])


def test_a_refusal_is_an_answer(directory):
    answer = with_session(directory, lambda _: send_command(directory, parse_command("resume", [])))
    assert (answer.said, answer.error) == ("", "It is not paused.")


def test_only_the_owner_can_open_it(directory):
    def modes(_):
        return [stat.S_IMODE(os.lstat(path).st_mode) for path in (directory / SOCKET, directory.path)]

    before = os.umask(0)
    try:
        assert with_session(directory, modes) == [0o600, 0o700]
    finally:
        os.umask(before)


def test_it_is_gone_at_the_end(directory):
    with_session(directory, lambda _: None)
    assert not (directory / SOCKET).exists()
    with pytest.raises(NoSessionListens):
        send_command(directory, PAUSE)


def test_what_a_dead_process_left_is_replaced(directory):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(directory / SOCKET))
    with pytest.raises(NoSessionListens):
        send_command(directory, PAUSE)
    assert with_session(directory, lambda _: send_command(directory, PAUSE)).said == "heard Pause"


def test_a_file_of_that_name_is_not_taken_away(directory):
    (directory / SOCKET).write_text("mine")
    with pytest.raises(RunDirectoryError, match="no socket can be made"):
        with_session(directory, lambda _: None)
    assert (directory / SOCKET).read_text() == "mine"


@pytest.mark.parametrize("proc", [True, False])
def test_a_path_longer_than_an_address_works(tmp_path, monkeypatch, proc):
    if not proc:
        monkeypatch.setattr(ctl_socket, "_OPEN_DIRECTORIES", str(tmp_path / "none"))
    here, deep = Path.cwd(), RunDirectory(tmp_path / ("long" * 40) / "a.run")
    deep.create()
    assert with_session(deep, lambda _: send_command(deep, PAUSE)).said == "heard Pause"
    assert Path.cwd() == here
    assert not (deep / SOCKET).exists()


@pytest.mark.parametrize("sent", [b"", b"\n", b"garbage\n", b"\xff\x00\n", b"{}" * 9, b"[" * 16_000 + b"\n"])
def test_garbage_harms_nobody(directory, sent):
    def check(_):
        with connected(directory) as talk:
            talk.sendall(sent)
            talk.shutdown(socket.SHUT_WR)
            talk.recv(65_536)
        return send_command(directory, PAUSE).said

    assert with_session(directory, check) == "heard Pause"


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(directory):
    def check(_):
        with connected(directory) as talk:
            with contextlib.suppress(ConnectionError):
                talk.sendall(b"x" * (LONGEST * 100))
            with contextlib.suppress(ConnectionError):
                return decode_reply(talk.recv(65_536)).error
        return ""

    assert with_session(directory, check) in {f"An order may have {LONGEST} bytes.", ""}


def test_a_client_that_hangs_costs_a_place_for_a_while(directory, monkeypatch):
    """As many as there are places hang; the next is heard when their time is up."""
    monkeypatch.setattr(ctl_socket, "PATIENCE", 0.2)

    def check(_):
        with contextlib.ExitStack() as stack:
            for _ in range(AT_ONCE + 3):
                stack.enter_context(connected(directory)).sendall(b'{"v":')
            return send_command(directory, PAUSE).said

    assert with_session(directory, check) == "heard Pause"


def test_a_crowd_is_told(directory):
    with socket.socket(socket.AF_UNIX) as crowded:
        crowded.bind(str(directory / SOCKET))
        crowded.listen(0)
        with connected(directory), pytest.raises(RunDirectoryError, match="Too many others"):
            send_command(directory, PAUSE)


def test_a_session_ends_while_somebody_hangs(directory):
    with contextlib.ExitStack() as stack:
        with_session(directory, lambda _: stack.enter_context(connected(directory)).sendall(b"{"))


def test_a_client_that_leaves_before_its_answer_harms_nobody(directory):
    def check(_):
        for _ in range(20):
            with connected(directory) as talk:
                talk.sendall(encode_line(PAUSE))
        return send_command(directory, PAUSE).said

    assert with_session(directory, check) == "heard Pause"


def test_what_the_body_raises_comes_out_as_it_is(directory):
    async def main():
        async with accept_commands(directory, Fake()):
            raise RunDirectoryError("the disk went")

    with pytest.raises(RunDirectoryError, match="the disk went"):
        asyncio.run(main())
    assert not (directory / SOCKET).exists()


def test_a_process_that_does_not_answer_is_told(directory, monkeypatch):
    monkeypatch.setattr(ctl_socket, "ANSWER_WITHIN", 0.05)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(directory / SOCKET))
        silent.listen(1)
        with pytest.raises(RunDirectoryError, match="did not answer"):
            send_command(directory, PAUSE)


@pytest.mark.parametrize("said", [b"hello\n", b"", b'{"v":7}\n'])
def test_another_program_at_the_socket_is_told_from_ours(directory, said):
    def serve(listener):
        talk, _ = listener.accept()
        with talk:
            talk.recv(1000)
            talk.sendall(said)

    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(directory / SOCKET))
        other.listen(1)
        thread = threading.Thread(target=serve, args=(other,))
        thread.start()
        with pytest.raises((UsageError, NoSessionListens)):
            send_command(directory, PAUSE)
        thread.join()


def test_a_socket_of_somebody_else_is_told(directory, monkeypatch):
    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refused)
    with pytest.raises(RunDirectoryError, match="Permission denied"):
        send_command(directory, PAUSE)


def test_windows_is_told_plainly(directory, monkeypatch):
    monkeypatch.setattr(ctl_socket, "HERE", False)
    with pytest.raises(RunDirectoryError, match="on Windows"):
        send_command(directory, PAUSE)
    with pytest.raises(RunDirectoryError, match="on Windows"):
        with_session(directory, lambda _: None)
