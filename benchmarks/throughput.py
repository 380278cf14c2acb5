"""Throughput of the whole path, from reading lines to a journal on disk, beside a bare aiohttp loop.

    python benchmarks/throughput.py [--rows 20000] [--rounds 5]

Both post the same bodies to the same loopback server, a process of its own, in turns in one run; what counts is the
ratio. The bare loop reads nothing and writes nothing. arkbatch runs with its limits on (set out of reach), in a fresh
process like the bare loop. If the packages `openai` or `volcengine-ark-runtime` are installed they take part too.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from servers import canned_server

BARE = """
import asyncio, sys, time
import aiohttp, uvloop
url, path, concurrency = sys.argv[1], sys.argv[2], int(sys.argv[3])
bodies = [line for line in open(path, "rb").read().splitlines()]
async def main():
    left = iter(bodies)
    connector = aiohttp.TCPConnector(limit=concurrency)
    headers = {"Authorization": "Bearer k", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        async def worker():
            for body in left:
                async with session.post(url, data=body) as reply:
                    await reply.read()
        began = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(concurrency)))
        print(len(bodies) / (time.perf_counter() - began))
uvloop.run(main())
"""

ARKBATCH = """
import json, sys, time
import arkbatch
base_url, path, run_dir, concurrency = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
limits = {"concurrency": concurrency, "rpm": 100_000_000, "tpm": 100_000_000_000}
job = arkbatch.load_job(path, base_url=base_url, run_dir=run_dir, model="doubao-seed-1-6-251015", **limits)
summary = arkbatch.run(job)
assert summary.succeeded == summary.session["recorded"] and not summary.failed, summary
print(summary.succeeded / summary.seconds)
"""

OPENAI = """
import asyncio, json, sys, time
import openai
base_url, path, concurrency = sys.argv[1], sys.argv[2], int(sys.argv[3])
rows = [json.loads(line) for line in open(path)]
async def main():
    client, left = openai.AsyncOpenAI(api_key="k", base_url=base_url), iter(rows)
    async def worker():
        for row in left:
            await client.chat.completions.create(**row)
    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    print(len(rows) / (time.perf_counter() - began))
asyncio.run(main())
"""

ARK_SDK = OPENAI.replace("import openai", "import volcenginesdkarkruntime as ark").replace(
    "openai.AsyncOpenAI", "ark.AsyncArk"
)


def measured(script: str, *arguments: object) -> float:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def installed(package: str) -> bool:
    return subprocess.run([sys.executable, "-c", f"import {package}"], capture_output=True, check=False).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, nargs="*", default=[64, 500])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, canned_server() as base_url:
        path = Path(folder) / "rows.jsonl"
        prompt = "Summarise the following paragraph in one sentence for a reader in a hurry. " * 4
        with path.open("w") as file:
            for number in range(options.rows):
                messages = [{"role": "user", "content": f"{number} {prompt}"}]
                file.write(json.dumps({"model": "doubao-seed-1-6-251015", "messages": messages}) + "\n")
        few = Path(folder) / "few.jsonl"
        few.write_text("".join(path.read_text().splitlines(keepends=True)[: max(1, options.rows // 10)]))
        for concurrency in options.concurrency:
            ratios = []
            for turn in range(options.rounds):
                bare = measured(BARE, f"{base_url}/chat/completions", path, concurrency)
                ours = measured(ARKBATCH, base_url, path, f"{folder}/{concurrency}-{turn}.run", concurrency)
                ratios.append(ours / bare)
                print(f"concurrency {concurrency}: bare {bare:,.0f}/s, arkbatch {ours:,.0f}/s, ratio {ours / bare:.2f}")
            print(f"concurrency {concurrency}: median ratio {statistics.median(ratios):.2f}")
            for name, package, script in (
                ("openai", "openai", OPENAI),
                ("Ark SDK", "volcenginesdkarkruntime", ARK_SDK),
            ):
                if installed(package):
                    rate = measured(script, base_url, few, concurrency)
                    print(
                        f"concurrency {concurrency}: {name} {rate:,.0f}/s, arkbatch is {ours / rate:.1f} times as fast"
                    )
        time.sleep(0)


if __name__ == "__main__":
    main()
