"""Throughput of the whole path, from reading lines to a journal on disk, beside a bare aiohttp loop.

    python benchmarks/throughput.py [--rows 20000] [--rounds 5] [--kinds plain embeddings streamed dripped sealed]

Both post the same bodies to the same loopback server, a process of its own, in turns in one run, and take turns at
being first; what counts is the ratio. The bare loop reads nothing and writes nothing. arkbatch runs with its limits on
(set out of reach), or without them (`--unlimited`), in a fresh process like the bare loop. If the packages `openai` or
`volcengine-ark-runtime` are installed they take part too.

On a machine that others use as well, time passes for whoever does not get the processor, and a round's ratio says
little: look at the quartiles, and at the ratio of the processor time (user and system) that the two clients took for an
answer. That of arkbatch is of its whole run, from opening the run directory to closing it.

Of embeddings each reply holds one vector of 1,024 numbers. Of streamed answers (20 chunks, which come at once, or
dripped: one every 5 ms) the bare loop decodes each chunk and folds nothing; sealed calls it encrypts and decrypts with
`cryptography` itself. A table at the end puts the kinds side by side. `--beside DIR` also takes another checkout of
arkbatch into the same turns, to see whether it has become slower.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

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
        began, busy = time.perf_counter(), time.process_time()
        await asyncio.gather(*(worker() for _ in range(concurrency)))
        print(len(bodies) / (time.perf_counter() - began), (time.process_time() - busy) / len(bodies))
uvloop.run(main())
"""

BARE_STREAMED = BARE.replace(
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

SEALING = """
from base64 import b64decode, b64encode
import orjson
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
public = ec.derive_private_key(1, ec.SECP256R1()).public_key()
X962, POINT = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
def sealed(body):
    mine, call = ec.generate_private_key(ec.SECP256R1()), orjson.loads(body)
    key = HKDF(hashes.SHA256(), 44, salt=None, info=None).derive(mine.exchange(ec.ECDH(), public))
    cipher, nonce = AESGCM(key[:32]), key[32:]
    for message in call["messages"]:
        message["content"] = b64encode(cipher.encrypt(nonce, message["content"].encode(), None)).decode()
    token = b64encode(mine.public_key().public_bytes(X962, POINT)).decode()
    head = {"x-is-encrypted": "true", "X-Session-Token": token, "X-Encrypt-Info": '{"ExpireTime": 1829809966.0}'}
    return orjson.dumps(call), head, lambda text: cipher.decrypt(nonce, b64decode(text), None).decode()
"""

BARE_SEALED = SEALING + BARE.replace(
    "async with session.post(url, data=body) as reply:",
    """
                body, head, opened = sealed(body)
                async with session.post(url, data=body, headers=head) as reply:
""",
).replace("await reply.read()", 'opened(orjson.loads(await reply.read())["choices"][0]["message"]["content"])')

ARKBATCH = """
import json, sys, time
import arkbatch
base_url, path, run_dir, concurrency = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
limits = {"concurrency": concurrency}
if sys.argv[6] == "limited":
    limits |= {"rpm": 100_000_000, "tpm": 100_000_000_000}
kinds = dict.fromkeys(("streamed", "dripped"), {"stream": True})
kinds |= {"sealed": {"encrypt": True}, "embeddings": {"endpoint": "embeddings"}}
job = arkbatch.load_job(
    path, base_url=base_url, run_dir=run_dir, model="doubao-seed-1-6-251015", **limits, **kinds.get(sys.argv[5], {})
)
busy = time.process_time()
summary = arkbatch.run(job)
busy = time.process_time() - busy
assert summary.succeeded == summary.session["recorded"] and not summary.failed, summary
print(summary.succeeded / summary.seconds, busy / summary.succeeded)
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
    began, busy = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    print(len(rows) / (time.perf_counter() - began), (time.process_time() - busy) / len(rows))
asyncio.run(main())
"""

ARK_SDK = OPENAI.replace("import openai", "import volcenginesdkarkruntime as ark").replace(
    "openai.AsyncOpenAI", "ark.AsyncArk"
)


LOOPS = {"plain": BARE, "embeddings": BARE, "streamed": BARE_STREAMED, "dripped": BARE_STREAMED, "sealed": BARE_SEALED}
PATHS = {"embeddings": "/embeddings"}


class Measured(NamedTuple):
    """Answers a second, and seconds of processor time for each."""

    rate: float
    busy: float

    def __str__(self) -> str:
        return f"{self.rate:,.0f}/s at {self.busy * 1e6:.0f} us"


def measured(script: str, *arguments: object, root: str = "") -> Measured:
    """What the script prints last. `root`: the checkout in which it finds arkbatch."""
    elsewhere = ["-P"] if root else []  # else the checkout in which we stand would be found first
    command = [sys.executable, *elsewhere, "-c", script, *map(str, arguments)]
    environ = os.environ | ({"PYTHONPATH": root} if root else {})
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # installed programs are compiled: only the first round compiles
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environ)
    rate, busy = done.stdout.split()[-2:]
    return Measured(float(rate), float(busy))


def installed(package: str) -> bool:
    return subprocess.run([sys.executable, "-c", f"import {package}"], capture_output=True, check=False).returncode == 0


def compare(kind: str, path: Path, concurrency: int, options: argparse.Namespace) -> dict[str, list[float]]:
    """Of each round: answers a second of each, and the ratios of what was measured next to each other."""
    found: dict[str, list[float]] = defaultdict(list)
    with canned_server(kind) as base_url, tempfile.TemporaryDirectory() as folder:
        for turn in range(options.rounds):
            run_dir, limits = f"{folder}/{turn}", "unlimited" if options.unlimited else "limited"
            url = base_url + PATHS.get(kind, "/chat/completions")
            clients = {
                "bare": partial(measured, LOOPS[kind], url, path, concurrency),
                "arkbatch": partial(measured, ARKBATCH, base_url, path, f"{run_dir}.run", concurrency, kind, limits),
            }
            if options.beside:
                other = (ARKBATCH, base_url, path, f"{run_dir}.other", concurrency, kind, limits)
                clients["the other checkout"] = partial(measured, *other, root=options.beside)
            order = list(clients) if turn % 2 == 0 else list(reversed(clients))
            round_ = {name: clients[name]() for name in order}
            bare, ours = round_["bare"], round_["arkbatch"]
            found["bare"].append(bare.rate)
            found["arkbatch"].append(ours.rate)
            found["ratio"].append(ours.rate / bare.rate)
            found["processor"].append(bare.busy / ours.busy)
            if options.beside:
                found["beside"].append(ours.rate / round_["the other checkout"].rate)
                found["beside_processor"].append(round_["the other checkout"].busy / ours.busy)
            said = ", ".join(f"{name} {round_[name]}" for name in clients)
            ratios = f"ratio {found['ratio'][-1]:.2f}, of processor time {found['processor'][-1]:.2f}"
            print(f"{kind}, concurrency {concurrency}: {said}, {ratios}", flush=True)
    return found


def quartiles(values: list[float]) -> tuple[float, float, float]:
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def others(path: Path, concurrency: int) -> None:
    with canned_server() as base_url:
        for name, package, script in (("openai", "openai", OPENAI), ("Ark SDK", "volcenginesdkarkruntime", ARK_SDK)):
            if installed(package):
                found = measured(script, base_url, path, concurrency)
                print(f"plain, concurrency {concurrency}: {name} {found}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--concurrency", type=int, nargs="*", default=[64, 500])
    parser.add_argument("--kinds", nargs="*", choices=LOOPS, default=list(LOOPS))
    parser.add_argument("--unlimited", action="store_true", help="run arkbatch without limits of requests and tokens")
    parser.add_argument("--beside", metavar="DIR", default="")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, few, texts = (Path(folder) / name for name in ("rows.jsonl", "few.jsonl", "texts.jsonl"))
        prompt = "Summarise the following paragraph in one sentence for a reader in a hurry. " * 4
        rows = ({"messages": [{"role": "user", "content": f"{number} {prompt}"}]} for number in range(options.rows))
        lines = [json.dumps({"model": "doubao-seed-1-6-251015", **row}) for row in rows]
        path.write_text("\n".join(lines))
        inputs = [{"model": "doubao-seed-1-6-251015", "input": f"{number} {prompt}"} for number in range(options.rows)]
        texts.write_text("\n".join(map(json.dumps, inputs)))
        few.write_text("\n".join(lines[: max(1, options.rows // 10)]))
        table = {}
        for concurrency in options.concurrency:
            for kind in options.kinds:
                bodies = texts if kind == "embeddings" else path
                table[kind, concurrency] = compare(kind, bodies, concurrency, options)
            others(few, concurrency)
    table_of(table, options)


def table_of(table: dict[tuple[str, int], dict[str, list[float]]], options: argparse.Namespace) -> None:
    heads = f"{'':>9} {'at once':>8} {'bare/s':>8} {'arkbatch/s':>11} {'ratio':>6} {'quartiles':>13}"
    print(f"\n{heads} {'of processor time':>18}  (medians of {options.rounds})")
    for (kind, concurrency), found in table.items():
        bare, ours = statistics.median(found["bare"]), statistics.median(found["arkbatch"])
        (low, ratio, high), processor = quartiles(found["ratio"]), statistics.median(found["processor"])
        line = f"{kind:>9} {concurrency:>8} {bare:>8,.0f} {ours:>11,.0f} {ratio:>6.2f} {f'{low:.2f} to {high:.2f}':>13}"
        more = ""
        if options.beside:
            beside, busy = (statistics.median(found[name]) for name in ("beside", "beside_processor"))
            more = f"  {beside:.2f} of the other checkout, {busy:.2f} of processor time"
        print(f"{line} {processor:>18.2f}{more}")


if __name__ == "__main__":
    main()
