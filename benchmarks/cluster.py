"""Leases on shared limits in numbers: how much of a limit is used, how even, how many calls, and what a call costs.

    python benchmarks/cluster.py

Workers are simulated in virtual time, with the worker's side of the leases as it is in a run; only the calls to the
service are made up. The last part asks a real coordinator over HTTP on loopback.
"""

import asyncio
import heapq
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from virtual import run_virtual

from arkbatch.api.background import loop_factory
from arkbatch.cluster.coordinator import Coordinator
from arkbatch.cluster.coordinator_address import CoordinatorAddress, new_token
from arkbatch.cluster.messages import LeaseMessage, LeaseReply
from arkbatch.cluster.service import CoordinatorClient, serve_coordinator
from arkbatch.limits.lease_core import LeaseCore
from arkbatch.limits.lease_messages import Amounts, LeaseReport, LeaseRequest, SharedLimits
from arkbatch.limits.leased_pace import WorkerPlaces
from arkbatch.limits.leased_rates import CoordinatorLost, LeasedRates
from arkbatch.limits.token_split import NO_TOKENS

LATENCY = 0.5  # s of one call


class Limiter:
    """What a worker's limiter shows of itself."""

    in_flight = waiting = 0


class Run:
    """Simulated workers on one core. work: calls that each has to make."""

    def __init__(self, rpm, work, concurrency=100_000):
        self.loop = asyncio.get_running_loop()
        self.rpm, self.work, self.concurrency = rpm, list(work), concurrency
        self.core = self.new_core(1)
        self.sent = []
        self.is_down = False

    def new_core(self, first):
        return LeaseCore(SharedLimits(self.concurrency, requests_per_minute=self.rpm), self.loop.time(), first=first)

    async def ask(self, request):
        await asyncio.sleep(0.003)
        if self.is_down:
            raise CoordinatorLost
        return self.core.grant_lease(self.loop.time(), request)

    async def one(self, number):
        limiter, loop = Limiter(), self.loop
        rates = LeasedRates(
            self.ask,
            worker=f"w{number}",
            shard=number,
            attempt=1,
            places=WorkerPlaces(self.concurrency),
            clock=loop.time,
        )
        keeper = asyncio.ensure_future(rates.renew_leases(limiter, lambda: False))

        def ended():
            limiter.in_flight -= 1
            rates.pace.note_grant(loop.time(), None)

        try:
            while self.work[number]:
                now = loop.time()
                wait = max(rates.ready_in(now, NO_TOKENS), rates.pace.ready_in(now, limiter.in_flight))
                if wait > 0:
                    limiter.waiting = 100
                    await asyncio.sleep(wait)
                    continue
                rates.spend_tokens(now, NO_TOKENS)
                limiter.in_flight += 1
                self.work[number] -= 1
                self.sent.append(now)
                loop.call_later(LATENCY, ended)
        finally:
            keeper.cancel()
        return loop.time()

    def worst(self):
        worst = first = 0
        for last, at in enumerate(self.sent):
            while self.sent[first] <= at - 60.0:
                first += 1
            worst = max(worst, last - first + 1)
        return worst

    def used(self, begin, end):
        return sum(begin <= at < end for at in self.sent) / (self.rpm * (end - begin) / 60)


async def even(workers, rpm, seconds):
    run = Run(rpm, [10**9] * workers)
    began = run.loop.time()
    tasks = [asyncio.ensure_future(run.one(number)) for number in range(workers)]
    await asyncio.sleep(seconds)
    calls = run.core.calls / workers / seconds
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    counts = [10**9 - left for left in run.work]
    return run.worst(), run.used(began + 60, began + seconds), max(counts) / max(min(counts), 1), calls


async def uneven(rpm, rows):
    run = Run(rpm, [int(rows * share) for share in (0.55, 0.25, 0.15, 0.05)])
    began = run.loop.time()
    await asyncio.gather(*(run.one(number) for number in range(4)))
    return run.worst(), (run.loop.time() - began) / (rows / rpm * 60)


async def killed(rpm):
    run = Run(rpm, [10**9] * 4)
    began = run.loop.time()
    tasks = [asyncio.ensure_future(run.one(number)) for number in range(4)]
    await asyncio.sleep(90)
    tasks[0].cancel()
    await asyncio.sleep(150)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return run.worst(), run.used(began + 90, began + 92), run.used(began + 95, began + 240)


async def coordinator_killed(rpm):
    run = Run(rpm, [10**9] * 4)
    began = run.loop.time()
    tasks = [asyncio.ensure_future(run.one(number)) for number in range(4)]
    await asyncio.sleep(90)
    run.is_down = True
    await asyncio.sleep(5)
    run.core, run.is_down = run.new_core(1 << 30), False
    await asyncio.sleep(145)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return run.worst(), run.used(began + 90, began + 100), run.used(began + 100, began + 240)


def thousand(rpm=60_000.0, workers=1_000, seconds=90):
    """The core alone: each worker asks when half of its lease is over. Lease calls a second each, and their cost."""
    core, asks, sent = LeaseCore(SharedLimits(100_000, requests_per_minute=rpm), 0.0), [], []
    for number in range(workers):
        heapq.heappush(asks, (number / workers, number, None))
    calls, began = 0, time.process_time()
    while asks[0][0] < seconds:
        now, number, before = heapq.heappop(asks)
        reports = [LeaseReport(before.lease, before.granted, 0.0)] if before is not None else []
        wanted = Amounts(1 << 53)
        lease = core.grant_lease(now, LeaseRequest(f"w{number}", number, 1, wanted=wanted, places=100, reports=reports))
        calls += 1
        if lease.lease:
            sent.append((now + lease.starts_in, lease.granted.requests))
        wait = max(lease.starts_in + 0.1 if lease.lease else lease.starts_in, 0.25)
        heapq.heappush(asks, (now + wait, number, lease if lease.lease else None))
    cost = (time.process_time() - began) / calls
    used = sum(count for at, count in sent if 20 <= at < seconds) / (rpm / 60 * (seconds - 20))
    return calls / workers / seconds, cost, used


async def over_http(calls=4_000, callers=32):
    """Leases a second that a real coordinator grants to another process, and what one costs the coordinator."""
    loop = asyncio.get_running_loop()
    core = LeaseCore(SharedLimits(1_000, requests_per_minute=6_000_000.0), loop.time())
    coordinator, token = Coordinator(core, callers), new_token()
    async with serve_coordinator(coordinator, token, clock=loop.time) as url:
        asking = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--ask", url, str(calls), str(callers), stdin=asyncio.subprocess.PIPE
        )
        asking.stdin.write(token.encode() + b"\n")
        began, cpu = time.perf_counter(), time.process_time()
        await asking.wait()
        counted = core.calls
        return counted / (time.perf_counter() - began), (time.process_time() - cpu) / counted


async def ask_for_leases(url, calls, callers, token):
    address = CoordinatorAddress(url, token)

    async def caller(number):
        async with CoordinatorClient(lambda: address) as client:
            for _ in range(calls // callers):
                request = LeaseRequest(f"w{number}", number, 1, wanted=Amounts(10), first=Amounts(1), places=8)
                await client.send("/lease", LeaseMessage(request), LeaseReply)

    await asyncio.gather(*(caller(number) for number in range(callers)))


def main():
    print("4 workers, 12,000 requests a minute, 240 s")
    worst, used, ratio, calls = run_virtual(even(4, 12_000.0, 240))
    print(f"  most in any 60 s {worst:,}; used {used:.3f}; most/least {ratio:.2f}; {calls:.1f} lease calls/s each")
    worst, ratio = run_virtual(uneven(6_000.0, 30_000))
    print(f"uneven shards (.55 .25 .15 .05), 6,000 a minute: most {worst:,}; {ratio:.3f} of the ideal time")
    worst, at_once, later = run_virtual(killed(6_000.0))
    print(f"one of 4 killed: most {worst:,}; used {at_once:.2f} in the 2 s after it, {later:.3f} after 5 s")
    worst, lost, later = run_virtual(coordinator_killed(6_000.0))
    print(f"coordinator gone for 5 s: most {worst:,}; used {lost:.2f} in the 10 s, {later:.3f} after")
    calls, core_cost, used = thousand()
    print(f"1,000 workers, 60,000 a minute: used {used:.3f}; {calls:.2f} lease calls/s each")
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        rate, cost = runner.run(over_http())
    own = core_cost + cost  # with 32 workers, the arithmetic within `cost` is small
    print(f"a lease: {core_cost * 1e6:.0f} us of arithmetic for 1,000 workers, {cost * 1e6:.0f} us with HTTP for 32")
    print(f"  {rate:,.0f} leases/s over HTTP; 1,000 workers cost at most {1_000 * calls * own:.2f} cores")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ask"]:
        url, calls, callers = sys.argv[2:]
        asyncio.run(ask_for_leases(url, int(calls), int(callers), sys.stdin.readline().strip()))
    else:
        main()
