"""Memory of calls that are held open: how much each of ten thousand takes, in the process that holds them.

    python benchmarks/held.py [--calls 10000]

A server in a process of its own answers nobody until all are in; the client is a whole run on the batch lane.
Client and server take one file a call each, so `ulimit -Hn` must allow that many.
"""

import argparse
import asyncio
import json
import multiprocessing
import resource
import socket
import tempfile
from pathlib import Path

import arkbatch

ANSWER = json.dumps(
    {
        "model": "m",
        "choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 1},
    }
).encode()
REPLY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER)


def serve(listening: socket.socket, calls: int) -> None:
    async def main() -> None:
        held: list[asyncio.Transport] = []

        class Holding(asyncio.Protocol):
            def connection_made(self, transport):
                self.transport = transport

            def data_received(self, data):
                if b"}" in data:
                    held.append(self.transport)
                if len(held) == calls:
                    for transport in held:
                        transport.write(REPLY)

        server = await asyncio.get_running_loop().create_server(Holding, sock=listening, backlog=16_384)
        await server.serve_forever()

    allow(calls)
    asyncio.run(main())


def allow(files: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (files + 500, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class Looking(arkbatch.Observer):
    """The most memory seen, with how many calls were in flight."""

    def __init__(self) -> None:
        self.most, self.in_flight = 0, 0

    def progressed(self, standing):
        self.most, self.in_flight = max(self.most, resident()), max(self.in_flight, standing.in_flight)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10_000)
    calls = parser.parse_args().calls
    listening = socket.create_server(("127.0.0.1", 0), backlog=16_384)
    server = multiprocessing.Process(target=serve, args=(listening, calls), daemon=True)
    server.start()
    allow(calls)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        path.write_text("".join(json.dumps({"prompt": f"{number} " + "word " * 100}) + "\n" for number in range(calls)))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        job = arkbatch.load_job(path, base_url=url, model="ep-bi-20260101000000-abcde", lane="batch", concurrency=calls)
        before, looking = resident(), Looking()
        summary = arkbatch.run(job, looking)
    server.terminate()
    per_call = (looking.most - before) / calls
    print(f"{summary.succeeded:,} succeeded; {looking.in_flight:,} in flight at once, {per_call / 1024:.1f} KiB each")


if __name__ == "__main__":
    main()
