"""Runs commands in forks of one process that has imported the program, on a clock that jumps over every wait.

A block of the documentation is run by a shell, word by word. The commands `arkbatch` and `python` that it finds are
`commands/arkbatch` and `commands/python`, which hand their words, directory, environment and streams to this server.
So a command costs a fork and not the start of an interpreter, and a simulated run takes no time.
"""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from virtual import VirtualLoop

SHIM = """#!{python} -IS
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
asked = json.dumps([os.path.basename(sys.argv[0]), sys.argv[1:], os.getcwd(), dict(os.environ)])
socket.send_fds(server, [asked.encode() + b"\\n"], [0, 1, 2])
sys.exit(int(server.recv(16) or b"99"))
"""
LOOPS = ("api.background", "cli.session", "cli.batch_run", "cli.cluster_worker")  # whoever makes an event loop
PRELOADED = (
    "engine.session",
    "simulator.server",
    "estimate.build_estimate",
    "reports.page.page",
    "reports.answers.answers",
)


@contextmanager
def command_server():
    """A directory with the commands `arkbatch` and `python`, for the front of a PATH."""
    with TemporaryDirectory(prefix="ark") as name:  # short: an address of this kind has 108 bytes at most
        address, commands = str(Path(name) / "s"), Path(name) / "commands"
        commands.mkdir()
        for command in ("arkbatch", "python"):
            shim = commands / command
            shim.write_text(SHIM.format(python=sys.executable, address=address), encoding="utf-8")
            shim.chmod(0o755)
        server = socket.socket(socket.AF_UNIX)
        server.bind(address)
        server.listen()
        process = subprocess.Popen(
            [sys.executable, __file__, str(server.fileno())],
            pass_fds=[server.fileno()],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [Path(__file__).parents[2], *sys.path]))},
        )
        server.close()
        try:
            yield commands
        finally:
            process.kill()
            process.wait()


def serve(server):
    for name in LOOPS:
        importlib.import_module(f"arkbatch.{name}").loop_factory = lambda: VirtualLoop
    for name in PRELOADED:
        importlib.import_module(f"arkbatch.{name}")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait for a command
    while True:
        connection, _ = server.accept()
        if os.fork() == 0:
            server.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return wait_for(connection)
        connection.close()


def wait_for(connection):
    """Fork the command that is asked for, and say how it ended; in the fork, return what it is."""
    asked, streams, _, _ = socket.recv_fds(connection, 1 << 16, 3)
    while not asked.endswith(b"\n"):
        asked += connection.recv(1 << 16)
    command = os.fork()
    if command == 0:
        connection.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        return json.loads(asked)
    code = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
    connection.sendall(str(code if code >= 0 else 128 - code).encode())
    os._exit(0)


def run(name, words, folder, environ):
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8")
    sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8")
    sys.stderr = sys.__stderr__ = open(2, "w", encoding="utf-8", buffering=1)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()
    sys.argv = [name, *words]
    if name == "arkbatch":
        from arkbatch.cli import main

        main()
    option, text = words
    assert option == "-c"
    exec(compile(text, "<block>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    run(*serve(socket.socket(fileno=int(sys.argv[1]))))
