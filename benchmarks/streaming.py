"""Throughput of streamed answers of 20 chunks, beside a bare aiohttp loop that parses the same stream.

    python benchmarks/streaming.py [--rows 5000] [--rounds 3]

As in `throughput.py` both talk to the same server in a process of its own, in turns, and what counts is the ratio. The
bare loop splits lines and decodes each chunk; it folds nothing, reads no rows and writes no journal.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import servers
from throughput import ARKBATCH, BARE, measured

BARE_STREAM = BARE.replace(
    "await reply.read()",
    """
                    tail = b""
                    async for part in reply.content.iter_any():
                        *lines, tail = (tail + part).split(b"\\n")
                        for line in lines:
                            if line.startswith(b"data: {"):
                                orjson.loads(line[6:])
""",
).replace("import aiohttp", "import orjson, aiohttp")


def answer() -> bytes:
    head = {
        "id": "02179525974321",
        "object": "chat.completion.chunk",
        "created": 1795259743,
        "model": "doubao-seed-1-6",
    }
    deltas = [({"role": "assistant", "content": "An answer of words. "}, None)] * 18
    deltas.append(({"role": "assistant", "content": ""}, "stop"))
    chunks = [{**head, "choices": [{"index": 0, "delta": d, "finish_reason": r}], "usage": None} for d, r in deltas]
    usage = {"prompt_tokens": 60, "completion_tokens": 80, "total_tokens": 140}
    events = [*map(json.dumps, [*chunks, {**head, "choices": [], "usage": usage}]), "[DONE]"]
    parts = [f"data: {event}\n\n".encode() for event in events]
    head_lines = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head_lines + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@contextlib.contextmanager
def streaming_server():
    process = subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True)
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/api/v3"
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, streaming_server() as base_url:
        path = Path(folder) / "rows.jsonl"
        with path.open("w") as file:
            for number in range(options.rows):
                messages = [{"role": "user", "content": f"{number} " + "Summarise this. " * 20}]
                file.write(json.dumps({"model": "doubao-seed-1-6-251015", "messages": messages, "stream": True}) + "\n")
        ratios = []
        for turn in range(options.rounds):
            bare = measured(BARE_STREAM, f"{base_url}/chat/completions", path, 64)
            ours = measured(ARKBATCH, base_url, path, f"{folder}/{turn}.run", 64)
            ratios.append(ours / bare)
            print(f"bare {bare:,.0f}/s, arkbatch {ours:,.0f}/s, ratio {ratios[-1]:.2f}", flush=True)
        print(f"median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        servers.REPLY = answer()
        asyncio.run(servers._serve(0))  # noqa: SLF001
    else:
        main()
