"""What becomes of a run on several workers when something breaks: a table, with the figures of real processes.

    python benchmarks/cluster_faults.py                  # all faults, about ten minutes
    python benchmarks/cluster_faults.py kill-worker      # some of them

A server of this script answers after half a second and counts the calls of each row. The workers and the coordinator
are the real command. After each fault the same commands go on to the end, and then it is counted: rows without a
record, rows with more than one, calls that were repeated beside those in flight when it broke, and the most calls in
any 60 seconds beside the limit. The exit code is 1 when a promise was broken.
"""

import asyncio
import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
CONCURRENCY, RPM, LATENCY = 16, 1_200, 0.5
NETWORK = "10.213.77"  # of the namespace in which a worker is cut off
REPLY = (
    b'{"id":"1","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"ok"},'
    b'"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}'
)
ROW = re.compile(rb"row (\d+)")


class Service:
    """The server, in a thread of its own. calls: by row; times: when each call came."""

    def __init__(self, host="127.0.0.1"):
        self.calls, self.times, self.in_flight = Counter(), [], 0
        self._loop, self._ready, self._host = asyncio.new_event_loop(), threading.Event(), host

    async def _answer(self, reader, writer):
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                body = await reader.readexactly(int(re.search(rb"(?i)content-length: (\d+)", head)[1]))
                self.calls[int(ROW.search(body)[1])] += 1
                self.times.append(time.monotonic())
                self.in_flight += 1
                try:
                    await asyncio.sleep(LATENCY)
                finally:
                    self.in_flight -= 1
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
                writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(REPLY), REPLY))
                await writer.drain()
        writer.close()

    def _serve(self):
        async def main():
            self._ended = asyncio.Event()
            async with await asyncio.start_server(self._answer, self._host, 0) as server:
                self.url = f"http://{self._host}:{server.sockets[0].getsockname()[1]}/v1"
                self._ready.set()
                await self._ended.wait()

        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(main())

    def __enter__(self):
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *error):
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(5)

    def most_in_a_minute(self):
        worst = first = 0
        for last, at in enumerate(self.times):
            while self.times[first] <= at - 60.0:
                first += 1
            worst = max(worst, last - first + 1)
        return worst


class Cluster:
    """A planned run in a folder, its coordinator and its workers."""

    def __init__(self, folder, service, rows, shards, *more, host="127.0.0.1"):
        self.folder, self.service, self.rows, self.host = folder, service, rows, host
        self.shard_count = shards
        self.run = folder / "a.run"
        self.shards = self.run / "shards"
        self.workers, self.served, self.others = [], None, []
        self.in_flight = 0
        lines = "".join(json.dumps({"prompt": f"row {number}"}) + "\n" for number in range(1, rows + 1))
        (folder / "in.jsonl").write_text(lines)
        limits = ["--rpm", RPM, "--concurrency", CONCURRENCY, "--base-url", service.url, "--model", "m", *more]
        self.command("shard", "plan", "in.jsonl", "-o", self.run, "--shards", shards, *limits)

    def environment(self):
        kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
        return kept | {"PYTHONPATH": str(ROOT), "OPENAI_API_KEY": "sk-any", "OPENAI_BASE_URL": self.service.url}

    def start(self, *words, before=(), env=None, **how):
        words = [*before, sys.executable, "-m", "arkbatch", *map(str, words)]
        log = open(self.folder / "log.txt", "ab")
        return subprocess.Popen(
            words,
            cwd=self.folder,
            env=self.environment() | (env or {}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            **how,
        )

    def command(self, *words):
        code = self.start(*words).wait(120)
        assert code == 0, (self.folder / "log.txt").read_text()

    def serve(self):
        more = [] if self.host == "127.0.0.1" else ["--host", self.host]
        self.served = self.start("shard", "serve", self.run, *more)
        until((self.shards / "coordinator.json").exists, 100)

    def worker(self, **how):
        self.workers.append(self.start("shard", "run", self.run, **how))
        return self.workers[-1]

    def recorded(self):
        return sum(path.read_bytes().count(b"\n") for path in self.shards.glob("*/results.jsonl"))

    def begin(self, workers=3):
        self.serve()
        for _ in range(workers):
            self.worker()
        self.until_recorded(self.rows // 6)

    def until_recorded(self, rows):
        """Wait for so many records, and then for calls in flight."""
        until(lambda: self.recorded() >= rows, 150)
        until(lambda: self.service.in_flight >= 4, 150)

    def busy_worker(self):
        """A worker that has recorded rows and is at work."""

        def found():
            for shard in range(self.shard_count):
                pid = self.pid_of(shard)
                if pid is not None and any(
                    each.stat().st_size for each in self.shards.glob(f"{shard:06}.*/results.jsonl")
                ):
                    return next(each for each in self.workers if each.pid == pid)
            return None

        until(found, 150)
        return found()

    def pid_of(self, shard):
        """The process that works on a shard now, None if nobody does."""
        if (self.shards / f"{shard:06}.done.json").exists():
            return None
        for lock in sorted(self.shards.glob(f"{shard:06}.*/lock")):
            text = lock.read_text()
            pid = int(text.split()[1]) if text.startswith("process ") else 0
            if any(each.pid == pid and each.poll() is None for each in self.workers):
                return pid
        return None

    def finish(self, seconds=180):
        """Wait until the coordinator has ended. Returns its exit code."""
        code = self.served.wait(seconds)
        for worker in self.workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(30)
        return code

    def stop(self):
        for process in [*self.workers, self.served, *self.others]:
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()


def until(happened, seconds):
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


# ---- the faults: each breaks something in the middle of a run, and returns the exit code of the end


def kill_worker(cluster):
    """SIGKILL of one of three workers."""
    cluster.begin()
    victim = cluster.busy_worker()
    cluster.in_flight = cluster.service.in_flight
    victim.kill()
    return cluster.finish()


def _stopped(cluster, seconds):
    cluster.begin(workers=4)  # one more than there are shards, so that the shard is taken over at once
    victim = cluster.busy_worker()
    cluster.in_flight = cluster.service.in_flight
    victim.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    victim.send_signal(signal.SIGCONT)
    return cluster.finish()


def stop_worker_25(cluster):
    """SIGSTOP of one of four workers for 25 s; then it goes on, and is shut out."""
    return _stopped(cluster, 25)


def stop_worker_70(cluster):
    """SIGSTOP of one of four workers for 70 s."""
    return _stopped(cluster, 70)


def kill_coordinator(cluster):
    """SIGKILL of the coordinator, started again with the same command after 5 s."""
    cluster.begin()
    cluster.served.kill()
    cluster.served.wait()
    time.sleep(5)
    cluster.serve()
    return cluster.finish()


def kill_all(cluster):
    """SIGKILL of the coordinator and all workers, started again with the same commands."""
    cluster.begin()
    cluster.in_flight = cluster.service.in_flight
    for process in [cluster.served, *cluster.workers]:
        process.kill()
    for process in [cluster.served, *cluster.workers]:
        process.wait()
    (cluster.shards / "coordinator.json").unlink()
    cluster.serve()
    for _ in range(3):
        cluster.worker()
    return cluster.finish()


def full_disk(cluster):
    """The disk of one of three nodes takes no more than 30 kB a file."""

    def few_bytes():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    cluster.serve()
    cluster.worker(preexec_fn=few_bytes)
    cluster.worker()
    cluster.worker()
    cluster.until_recorded(cluster.rows // 3)
    cluster.in_flight = CONCURRENCY
    return cluster.finish()


def crash_loop(cluster):
    """Whoever works on shard 2 is killed, again and again; others are started in their place."""
    cluster.begin()
    cluster.in_flight = 0
    end = time.monotonic() + 150
    while cluster.served.poll() is None and time.monotonic() < end:
        pid = cluster.pid_of(2)
        if pid is not None:
            cluster.in_flight += cluster.service.in_flight
            os.kill(pid, signal.SIGKILL)
        for place, worker in enumerate(cluster.workers):
            if worker.poll() not in (None, 0):
                cluster.workers[place] = cluster.start("shard", "run", cluster.run)
        time.sleep(0.1)
    return cluster.finish()


def clock_skew(cluster):
    """The clocks of two of three workers are ten minutes ahead and behind; one worker is killed."""
    cluster.serve()
    for minutes in (0, 10, -10):
        code = f"import time\nreal = time.time\ntime.time = lambda: real() + {60 * minutes}\n"
        place = cluster.folder / f"clock{minutes}"
        place.mkdir()
        (place / "sitecustomize.py").write_text(code)
        cluster.worker(env={"PYTHONPATH": f"{place}{os.pathsep}{ROOT}"})
    cluster.until_recorded(cluster.rows // 6)
    cluster.in_flight = cluster.service.in_flight
    cluster.workers[1].kill()
    return cluster.finish()


def partition(cluster):
    """One of three workers loses the network for 25 s, in a network namespace of its own."""
    cluster.serve()
    cluster.worker(before=["ip", "netns", "exec", "arkbatch-node"])
    cluster.worker()
    cluster.worker()
    cluster.until_recorded(cluster.rows // 6)
    cluster.in_flight = cluster.service.in_flight
    subprocess.run(["ip", "link", "set", "arkbatch-0", "down"], check=True)
    time.sleep(25)
    subprocess.run(["ip", "link", "set", "arkbatch-0", "up"], check=True)
    return cluster.finish()


@contextlib.contextmanager
def network():
    """A network namespace beside this one, joined by a pair of interfaces."""

    def ip(*words, check=True):
        subprocess.run(["ip", *words], check=check, stderr=subprocess.DEVNULL)

    ip("netns", "delete", "arkbatch-node", check=False)
    ip("netns", "add", "arkbatch-node")
    try:
        ip("link", "add", "arkbatch-0", "type", "veth", "peer", "name", "arkbatch-1", "netns", "arkbatch-node")
        ip("address", "add", f"{NETWORK}.1/24", "dev", "arkbatch-0")
        ip("link", "set", "arkbatch-0", "up")
        inside = ["netns", "exec", "arkbatch-node", "ip"]
        ip(*inside, "address", "add", f"{NETWORK}.2/24", "dev", "arkbatch-1")
        ip(*inside, "link", "set", "arkbatch-1", "up")
        ip(*inside, "link", "set", "lo", "up")
        yield
    finally:
        ip("netns", "delete", "arkbatch-node", check=False)


FAULTS = {
    "kill-worker": (kill_worker, 400, 8),
    "stop-worker-25s": (stop_worker_25, 900, 3),
    "stop-worker-70s": (stop_worker_70, 900, 3),
    "kill-coordinator": (kill_coordinator, 600, 12),
    "kill-all": (kill_all, 400, 8),
    "full-disk": (full_disk, 600, 4),
    "crash-loop": (crash_loop, 600, 12),
    "clock-skew": (clock_skew, 600, 12),
    "partition-25s": (partition, 900, 12),
}


def measured(name):
    """One fault: a line of the table, and what promises it broke."""
    fault, rows, shards = FAULTS[name]
    is_apart = fault is partition
    host = f"{NETWORK}.1" if is_apart else "127.0.0.1"
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if is_apart:
            stack.enter_context(network())
        service = stack.enter_context(Service(host))
        more = ["--insecure"] if is_apart else []  # the service is on the other side of a network
        cluster = Cluster(folder, service, rows, shards, *more, host=host)
        stack.callback(cluster.stop)
        began = time.monotonic()
        try:
            code = fault(cluster)
        except AssertionError:
            print((folder / "log.txt").read_text()[-3000:])
            raise
        seconds = time.monotonic() - began
        given_up = code == 4
        if given_up:  # the same command goes on, and now nobody kills
            (cluster.shards / "coordinator.json").unlink()
            cluster.serve()
            for _ in range(3):
                cluster.worker()
            cluster.finish()
        lines = [json.loads(line) for line in (cluster.run / "results.jsonl").read_bytes().splitlines()]
        counts = Counter(
            int(line["request"]["messages"][0]["content"].split()[1]) if "request" in line else line["row"]
            for line in lines
        )
        usage = json.loads((cluster.run / "usage.json").read_bytes())
        recorded_calls = usage["usage"]["input"] // 10
        repeated = sum(service.calls.values()) - rows
        broken = []
        if len(counts) != rows:
            broken.append(f"{rows - len(counts)} rows lost")
        if max(counts.values()) > 1:
            broken.append("rows doubled")
        returns = name.startswith(("stop", "partition"))  # what it had in flight comes back, and is sent by others too
        # Calls go on between the count and the kill of the last process, but never more than so many at once.
        most = max(cluster.in_flight, CONCURRENCY)
        if repeated > most + CONCURRENCY * returns:
            broken.append(f"{repeated} calls repeated, at most {most} were in flight")
        if service.most_in_a_minute() > RPM:
            broken.append(f"{service.most_in_a_minute()} calls in a minute")
        if recorded_calls > sum(service.calls.values()):
            broken.append("more was counted than billed")
        said = f"{name:18} {seconds:6.1f} s  exit {code}  lost {rows - len(counts)}  doubled {len(lines) - len(counts)}"
        said += f"  repeated {repeated:3} of {cluster.in_flight:3} in flight  counted {recorded_calls} calls of "
        said += f"{sum(service.calls.values())}  most in 60 s {service.most_in_a_minute():,}"
        print(said + (f"  BROKEN: {'; '.join(broken)}" if broken else ""), flush=True)
        if broken:
            print((cluster.folder / "log.txt").read_text()[-3000:])
        return not broken


def main():
    names = sys.argv[1:] or list(FAULTS)
    print(f"3 workers, {RPM:,} requests a minute together, {CONCURRENCY} in flight, {LATENCY} s a call")
    return 1 if [name for name in names if not measured(name)] else 0


if __name__ == "__main__":
    sys.exit(main())
