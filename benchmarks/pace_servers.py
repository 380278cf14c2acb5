"""The real command against servers as they are met in the world, beside loops of calls as users write them.

    python benchmarks/pace_servers.py                   all servers, some five minutes
    python benchmarks/pace_servers.py "30 % reset"      one of them

Real processes on loopback: the server, and before it nginx where it is named (skipped where nginx is not installed).
Each row of the table is one server, and three clients one after the other: `arkbatch run`, 32 tasks with the `openai`
SDK (`max_retries=10`), and 32 tasks that sleep for a second after each failure. Printed are the seconds from the first
call to the last answer, as the server sees them, or how many rows were answered in a minute, and how many rows were
given up. `ideal` is what the server could do.
"""

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from email.utils import formatdate
from pathlib import Path
from typing import NamedTuple

from servers import REPLY, Canned

TASKS = 32
LONGEST = 60.0  # s for each client
ARKBATCH = [sys.executable, "-m", "arkbatch.cli"]


# ---- the servers


def refusal(status: int, code: str, message: str, *headers: str) -> bytes:
    """One whole answer."""
    body = json.dumps({"error": {"message": message, "type": code, "code": code, "param": None}}).encode()
    lines = [f"HTTP/1.1 {status} Refused", "Content-Type: application/json", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def too_fast(*headers: str) -> bytes:
    return refusal(429, "rate_limit_exceeded", "Rate limit reached, please slow down", *headers)


class Behaviour:
    """What a server does with a call: the answer, None to reset the connection, and after how many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.chance = seconds, random.Random(7)
        self.in_flight = 0
        self.began: float | None = None
        self.answered_at = 0.0

    def ask(self) -> tuple[bytes | None, float]:
        """A call has come."""
        self.began = self.began or time.monotonic()
        said = self.refused()
        return (REPLY, self.seconds) if said == b"" else (said, 0.003)

    def refused(self) -> bytes | None:
        """Empty: it is answered."""
        return b""


class Sometimes(Behaviour):
    """Refuses a share of the calls, at any pace."""

    def __init__(self, seconds: float, share: float, said: Callable[[], bytes | None]) -> None:
        super().__init__(seconds)
        self.share, self.said = share, said

    def refused(self) -> bytes | None:
        return self.said() if self.chance.random() < self.share else b""


class Incident(Behaviour):
    """Refuses everything from the third second to the sixth."""

    def refused(self) -> bytes | None:
        assert self.began is not None
        return too_fast() if 3 <= time.monotonic() - self.began < 6 else b""


class Parallel(Behaviour):
    """Takes four calls at once, and says so."""

    def refused(self) -> bytes | None:
        if self.in_flight < 4:
            return b""
        said = "LiteLLM Rate Limit Handler: Crossed Max Parallel Request Limit. max_parallel_requests: 4"
        return refusal(429, "429", said, "rate_limit_type: max_parallel_requests")


def in_two_seconds() -> bytes:
    return too_fast(f"Retry-After: {formatdate(time.time() + 2, usegmt=True)}")


class Server(NamedTuple):
    """One row of the table. ideal: seconds; nginx: lines of its configuration, in `http` and in `location`."""

    behaviour: Callable[[], Behaviour]
    rows: int
    ideal: float
    concurrency: int = TASKS
    nginx: tuple[str, str] | None = None


BUSY = refusal(429, "ServerOverloaded", "The service is currently unable to handle additional requests")
SERVERS = {
    "10 %, date 2 s ahead, 3 ms": Server(lambda: Sometimes(0.003, 0.1, in_two_seconds), 400, 2.5),
    "3 %, Retry-After 1, 200 ms": Server(lambda: Sometimes(0.2, 0.03, lambda: too_fast("Retry-After: 1")), 400, 2.7),
    "all refused for 3 s, once": Server(lambda: Incident(0.06), 6000, 14.3),
    "5 % overloaded, 200 ms": Server(lambda: Sometimes(0.2, 0.05, lambda: BUSY), 400, 2.7),
    "4 at once, named, 300 ms": Server(lambda: Parallel(0.3), 60, 4.5),
    "nginx limit_conn 32": Server(
        lambda: Behaviour(0.2),
        1500,
        9.4,
        64,
        ("limit_conn_zone $server_name zone=c:1m; limit_conn_status 429;", "limit_conn c 32;"),
    ),
    "nginx 50 r/s, burst 20": Server(
        lambda: Behaviour(0.05),
        600,
        11.6,
        nginx=(
            "limit_req_zone $server_name zone=r:1m rate=50r/s; limit_req_status 429;",
            "limit_req zone=r burst=20 nodelay;",
        ),
    ),
    "5 %, Retry-After a day": Server(lambda: Sometimes(0.2, 0.05, lambda: too_fast("Retry-After: 86400")), 400, 2.7),
    "30 % reset": Server(lambda: Sometimes(0.2, 0.3, lambda: None), 400, 3.6),
}


class Connection(Canned):
    """One connection to the server."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour

    def answer(self, head: bytes) -> bytes:  # noqa: ARG002 - as `Canned` calls it
        behaviour = self.behaviour
        said, seconds = behaviour.ask()
        behaviour.in_flight += 1
        asyncio.get_running_loop().call_later(seconds, self._end, said)
        return b""

    def _end(self, said: bytes | None) -> None:
        self.behaviour.in_flight -= 1
        if said is None:
            self.transport.abort()
        else:
            self.transport.write(said)
            if said is REPLY:
                self.behaviour.answered_at = time.monotonic()


async def serve(name: str) -> None:
    """Print the port and serve until SIGTERM, then print the seconds from the first call to the last answer."""
    behaviour = SERVERS[name].behaviour()
    server = await asyncio.get_running_loop().create_server(lambda: Connection(behaviour), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    is_over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, is_over.set)
    await is_over.wait()
    print(behaviour.answered_at - (behaviour.began or 0.0), flush=True)
    server.close()


@contextmanager
def started(command: list[str], **options: object) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, text=True, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


NGINX = """daemon off; pid {folder}/nginx.pid; error_log /dev/null; worker_processes 1;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream model {{ server 127.0.0.1:{behind}; keepalive 64; }}
  {http}
  server {{
    listen 127.0.0.1:{port}; server_name model;
    location / {{ {location} proxy_pass http://model; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@contextmanager
def serving(name: str, folder: Path, took: list[float]) -> Iterator[str]:
    """The base URL of a fresh server. At the end, its seconds from the first call to the last answer are in `took`."""
    with ExitStack() as stack:
        command = [sys.executable, __file__, "--serve", name]
        process = stack.enter_context(started(command, stdout=subprocess.PIPE))
        assert process.stdout is not None
        port = int(process.stdout.readline())
        if (lines := SERVERS[name].nginx) is not None:
            behind, port = port, free_port()
            config = folder / "nginx.conf"
            http, location = lines
            config.write_text(NGINX.format(folder=folder, behind=behind, port=port, http=http, location=location))
            stack.enter_context(started([NGINX_PATH, "-c", str(config)], stderr=subprocess.DEVNULL))
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
        process.terminate()
        took.append(float(process.stdout.readline()))


# ---- the clients


def arkbatch(url: str, server: Server, folder: Path) -> int:
    """The real command. Returns the rows that were answered."""
    (folder / "in.jsonl").write_text("".join(f'{{"prompt": "question {n}"}}\n' for n in range(server.rows)))
    command = [*ARKBATCH, "run", "in.jsonl", "-o", "a.run", "--model", "m", "--base-url", url]
    env = os.environ | {"OPENAI_API_KEY": "k", "ARK_API_KEY": "k", "NO_PROXY": "127.0.0.1"}
    with (folder / "said.txt").open("w") as said:
        run = subprocess.Popen(
            [*command, "--concurrency", str(server.concurrency)], cwd=folder, env=env, stdout=said, stderr=said
        )
        try:
            run.wait(LONGEST)
        except subprocess.TimeoutExpired:
            run.terminate()
            run.wait()
    results = folder / "a.run" / "results.jsonl"
    return len(results.read_bytes().splitlines()) if results.exists() else 0


async def loop_of(rows: int, call: Callable[[int], "asyncio.Future[bool]"]) -> int:
    """So many rows by 32 tasks."""
    numbers, answered = iter(range(rows)), 0

    async def task() -> None:
        nonlocal answered
        for number in numbers:
            is_answered = await call(number)
            answered += is_answered

    try:
        async with asyncio.timeout(LONGEST), asyncio.TaskGroup() as group:
            for _ in range(TASKS):
                group.create_task(task())
    except TimeoutError:
        pass
    return answered


async def sdk_loop(url: str, rows: int) -> int:
    import openai

    async with openai.AsyncOpenAI(base_url=url, api_key="k", max_retries=10) as client:

        async def call(number: int) -> bool:
            try:
                await client.chat.completions.create(
                    model="m", messages=[{"role": "user", "content": f"question {number}"}]
                )
            except openai.OpenAIError:
                return False
            return True

        return await loop_of(rows, call)  # type: ignore[arg-type]


async def plain_loop(url: str, rows: int) -> int:
    import aiohttp

    async with aiohttp.ClientSession() as session:

        async def call(number: int) -> bool:
            asked = {"model": "m", "messages": [{"role": "user", "content": f"question {number}"}]}
            while True:
                try:
                    async with session.post(f"{url}/chat/completions", json=asked) as reply:
                        await reply.read()
                        if reply.status == 200:
                            return True
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(1)

        return await loop_of(rows, call)  # type: ignore[arg-type]


CLIENTS: dict[str, Callable[[str, Server, Path], int]] = {
    "arkbatch": arkbatch,
    "SDK loop": lambda url, server, _: asyncio.run(sdk_loop(url, server.rows)),
    "plain loop": lambda url, server, _: asyncio.run(plain_loop(url, server.rows)),
}


def measured(name: str, client: str) -> str:
    """One cell of the table."""
    server, took, began = SERVERS[name], list[float](), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="arkbatch-pace-") as folder, serving(name, Path(folder), took) as url:
        answered = CLIENTS[client](url, server, Path(folder))
        is_over = time.monotonic() - began < LONGEST
    lost = server.rows - answered
    if not is_over:
        return f"{answered:,} in {LONGEST:.0f} s"
    return f"{took[0]:.1f} s" + (f", {lost} lost" if lost else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("server", nargs="*", help="names of servers")
    parser.add_argument("--client", action="append", choices=CLIENTS)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve(given.serve))
        return
    clients = given.client or list(CLIENTS)
    print("| server | rows | ideal | " + " | ".join(clients) + " |")
    print("|" + "---|" * (3 + len(clients)), flush=True)
    for name, server in SERVERS.items():
        if (given.server and name not in given.server) or (server.nginx and not NGINX_PATH):
            continue
        cells = (measured(name, client) for client in clients)
        print(f"| {name} | {server.rows:,} | {server.ideal:g} s | " + " | ".join(cells) + " |", flush=True)


NGINX_PATH = shutil.which("nginx") or (shutil.which("nginx", path="/usr/sbin") or "")

if __name__ == "__main__":
    sys.exit(main())
