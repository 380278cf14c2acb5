"""The socket in the run directory through which a session receives commands.

One connection carries one line in each direction. A client that hangs, sends garbage or disconnects occupies one of a
few places for some seconds, and never stops the run. Only the owner of the run directory can connect. The run's lock
ensures that a socket found at the start belongs to a dead process. `engine.command_handler` knows what commands mean.
"""

import asyncio
import contextlib
import os
import socket
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from arkbatch.core.errors import ArkbatchError, RunDirectoryError
from arkbatch.journal.run_directory import SOCKET, RunDirectory
from arkbatch.monitor.commands import LONGEST, VERSION, Command, CommandReply, decode_command, decode_reply, encode_line

PATIENCE = 5.0  # s for a line to come, and for the answer to be taken
ANSWER_WITHIN = 15.0  # s; a session that is busy answers between two rounds of its loop
AT_ONCE, IN_LINE = 8, 64  # connections
PAUSE = 1.0  # s, when no more files can be opened
_LONGEST_ANSWER = 1 << 20
_LONGEST_PATH = 100  # bytes; systems take 103 to 107, with the zero behind
_OPEN_DIRECTORIES = "/proc/self/fd"

HERE = hasattr(socket, "AF_UNIX") and sys.platform != "win32"
NOT_HERE = (
    "There are no commands to a running session on Windows: stop it with Ctrl-C and run it again with other limits"
)


@asynccontextmanager
async def accept_commands(directory: RunDirectory, obey: Callable[[Command], CommandReply]) -> AsyncIterator[None]:
    """Take commands while the body runs; the caller holds the directory's lock.

    Raises RunDirectoryError when no socket can be made; the body has not begun then.
    """
    with _bind_socket(directory) as listener:
        try:
            async with asyncio.TaskGroup() as visits:
                door = _CommandListener(listener, obey, visits)
                door.open()
                try:
                    yield
                finally:
                    door.close()
        except* ArkbatchError as errors:  # what the body raises comes out as it is, not in a group
            raise errors.exceptions[0] from None


class _CommandListener:
    """Serves a few connections at once; others wait in the system's queue."""

    def __init__(
        self, listener: socket.socket, obey: Callable[[Command], CommandReply], visits: asyncio.TaskGroup
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._obey = obey
        self._visits = visits
        self._inside: set[asyncio.Task[None]] = set()
        self._again: asyncio.TimerHandle | None = None
        self._over = False

    def open(self) -> None:
        if not self._over:
            self._loop.add_reader(self._listener.fileno(), self._accept_waiting)

    def close(self) -> None:
        self._over = True
        self._loop.remove_reader(self._listener.fileno())
        if self._again is not None:
            self._again.cancel()
        for task in self._inside:
            task.cancel()

    def _accept_waiting(self) -> None:
        try:
            talk, _ = self._listener.accept()
        except BlockingIOError:  # the client has disconnected again
            return
        except OSError:  # no more files can be opened, and the event would repeat at once
            self._loop.remove_reader(self._listener.fileno())
            self._again = self._loop.call_later(PAUSE, self.open)
            return
        talk.setblocking(False)
        task = self._visits.create_task(_serve_visit(talk, self._obey))
        self._inside.add(task)
        task.add_done_callback(lambda task: self._visit_ended(task, talk))
        if len(self._inside) >= AT_ONCE:
            self._loop.remove_reader(self._listener.fileno())

    def _visit_ended(self, task: asyncio.Task[None], talk: socket.socket) -> None:
        """Close a connection whose task has ended, even if it never began."""
        talk.close()
        self._inside.discard(task)
        self.open()


async def _serve_visit(talk: socket.socket, obey: Callable[[Command], CommandReply]) -> None:
    """Read one command and answer it; the deadline covers both lines."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(
        OSError, EOFError
    ):  # the client disconnected, or the deadline passed, which is an OSError too
        async with asyncio.timeout(PATIENCE):
            order = await _receive_line(talk)
            await loop.sock_sendall(talk, encode_line(_obey_line(order, obey)))


async def _receive_line(talk: socket.socket) -> bytes:
    """Read a line, or as many bytes as show that it is too long.

    Raises EOFError when the connection ends before.
    """
    loop, line = asyncio.get_running_loop(), b""
    while b"\n" not in line and len(line) <= LONGEST:
        part = await loop.sock_recv(talk, LONGEST)
        if not part:
            raise EOFError
        line += part
    return line


def _obey_line(line: bytes, obey: Callable[[Command], CommandReply]) -> CommandReply:
    if len(line) > LONGEST:
        return CommandReply(VERSION, error=f"An order may have {LONGEST} bytes.")
    try:
        return obey(decode_command(line))
    except ArkbatchError as error:
        return CommandReply(VERSION, error=str(error))


def send_command(directory: RunDirectory, order: Command) -> CommandReply:
    """Send a command to the session that works on a run, and return its reply.

    Raises RunDirectoryError when no session listens or answers.
    """
    if not HERE:
        raise RunDirectoryError(f"{NOT_HERE}.")
    try:
        with socket.socket(socket.AF_UNIX) as talk, _short_path(directory / SOCKET) as path:
            talk.settimeout(ANSWER_WITHIN)
            talk.connect(path)
            talk.sendall(encode_line(order))
            return decode_reply(_read_line(talk))
    except TimeoutError:
        raise RunDirectoryError(
            f"The process that works on {directory.path} did not answer within {ANSWER_WITHIN:.0f} s; "
            "it may be stopped or very busy. Try again, or look with: arkbatch status"
        ) from None
    except BlockingIOError:
        raise RunDirectoryError("Too many others talk to this session. Try again in a moment.") from None
    except (FileNotFoundError, ConnectionError, EOFError):
        raise NoSessionListens(f"{directory.path} takes no orders: nothing listens at {SOCKET}.") from None
    except OSError as error:
        raise RunDirectoryError(f"Cannot talk to {directory / SOCKET}: {error.strerror or error}.") from error


class NoSessionListens(RunDirectoryError):
    """No session of the run takes commands."""


def _read_line(talk: socket.socket) -> bytes:
    parts: list[bytes] = []
    while not parts or not parts[-1].endswith(b"\n"):
        part = talk.recv(65_536)
        if not part or sum(map(len, parts)) > _LONGEST_ANSWER:
            raise EOFError
        parts.append(part)
    return b"".join(parts)


@contextmanager
def _bind_socket(directory: RunDirectory) -> Iterator[socket.socket]:
    """Provide a listening socket in the directory while the body runs.

    It replaces the socket of a dead process.
    """
    if not HERE:
        raise RunDirectoryError(NOT_HERE)
    place = directory / SOCKET
    with contextlib.ExitStack() as stack:
        try:
            _remove_dead_socket(place)
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            with _short_path(place) as path:
                listener.bind(path)
            stack.callback(_remove_socket, place)
            # Nobody can connect before `listen`, so no other user can connect before the mode is set.
            place.chmod(0o600)
            listener.listen(IN_LINE)
            listener.setblocking(False)
        except OSError as error:
            raise RunDirectoryError(
                f"arkbatch ctl will not reach this session: no socket can be made in {directory.path} "
                f"({error.strerror or error})"
            ) from error
        yield listener


def _remove_dead_socket(place: Path) -> None:
    """Remove a socket, but no other kind of file that someone put there."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(place.lstat().st_mode):
            place.unlink()


def _remove_socket(place: Path) -> None:
    """Remove the socket; the directory itself may be gone."""
    with contextlib.suppress(OSError):
        place.unlink()


@contextmanager
def _short_path(place: Path) -> Iterator[str]:
    """Return a path to the same file that is short enough for a socket address.

    Where the system shows open directories as paths, it uses such a path. Elsewhere it uses the bare name from inside
    the directory, and changes back before anything else of this thread runs.
    """
    if len(os.fsencode(place)) <= _LONGEST_PATH:
        yield str(place)
        return
    folder = os.open(place.parent, os.O_RDONLY)
    try:
        through = f"{_OPEN_DIRECTORIES}/{folder}"
        if Path(through).is_dir():
            yield f"{through}/{place.name}"
        else:
            with contextlib.chdir(place.parent):
                yield place.name
    finally:
        os.close(folder)
