"""What a call costs by each way of posting it, in processor time of this process, in turns in one run.

python benchmarks/posting.py [--calls 8000] [--rounds 5]
"""

import argparse
import asyncio
import statistics
import time

import aiohttp
import uvloop
from servers import canned_server

from arkbatch.core.calls import Call, Reply
from arkbatch.transport.aiohttp_internals import DirectPosts
from arkbatch.transport.session_posts import Addresses, Incoming, Posts, SessionPosts, trace_progress

BODY = b'{"model":"doubao-seed-1-6-251015","messages":[{"role":"user","content":"%s"}]}' % (b"word " * 60)


async def take(incoming: Incoming) -> Reply:
    return Reply(incoming.status, await incoming.content.read(), incoming.headers, 0.0)


async def microseconds(url: str, direct: bool, calls: int, concurrency: int) -> float:
    left = iter(range(calls))
    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(connector=connector, trace_configs=[trace_progress()]) as session:
        posts: Posts = DirectPosts(session, Addresses(url)) if direct else SessionPosts(session, Addresses(url), None)

        async def worker() -> None:
            for number in left:
                await posts.post(Call(f"run-{number}", "chat", "/chat/completions", BODY), "Bearer k", take)

        began = time.process_time()
        await asyncio.gather(*(worker() for _ in range(concurrency)))
        return (time.process_time() - began) / calls * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=8_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with canned_server() as url:
        for concurrency in (64, 500):
            ratios = []
            for _ in range(options.rounds):
                slow = uvloop.run(microseconds(url, False, options.calls, concurrency))
                quick = uvloop.run(microseconds(url, True, options.calls, concurrency))
                ratios.append(quick / slow)
                print(f"concurrency {concurrency}: session {slow:.0f} us, direct {quick:.0f} us, {quick / slow:.2f}")
            print(f"concurrency {concurrency}: median {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
