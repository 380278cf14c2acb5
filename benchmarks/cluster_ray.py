"""A run on a real Ray cluster of a head and two nodes on this machine, and what becomes of it when something is killed.

    python benchmarks/cluster_ray.py                       # all, about six minutes
    python benchmarks/cluster_ray.py whole kill-node       # some of them
    python benchmarks/cluster_ray.py --without-arkbatch kill-node    # on nodes that get arkbatch from the command

It needs `pip install 'arkbatch[ray]'`. Each node is a `ray start` of its own, as it would be on a machine of its own.
Nothing else of Ray on this machine is touched. The exit code is 1 when a row was lost or doubled, or when more calls
were repeated than were in flight.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections import Counter
from pathlib import Path

from cluster_faults import CONCURRENCY, ROOT, RPM, Service, until

WITHOUT_ARKBATCH = "--without-arkbatch"
INTERRUPTED = 130  # the exit code after a second Ctrl-C
ROWS, PADDING = 480, "x" * 280  # long enough rows for several shards


class RayRun:
    """A Ray cluster, and one command that runs on it."""

    def __init__(self, folder, service):
        self.folder, self.service, self.run = folder, service, folder / "a.run"
        self.processes, self.port, self.in_flight = [], free_port(), 0
        rows = (json.dumps({"prompt": f"row {number} {PADDING}"}) for number in range(1, ROWS + 1))
        (folder / "in.jsonl").write_text("\n".join(rows) + "\n")
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),  # Ray keeps a token there
            "RAY_AUTH_MODE": "disabled",
            "PYTHONPATH": str(ROOT),
            "OPENAI_API_KEY": "sk-any",
            "OPENAI_BASE_URL": service.url,
        }
        self.python, self.of_nodes = sys.executable, self.environment

    def start(self, *words, environment=None):
        log = open(self.folder / "log.txt", "ab")
        process = subprocess.Popen(
            list(map(str, words)),
            cwd=self.folder,
            env=environment or self.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def ray(self, *words):
        ray = Path(sys.executable).parent / "ray"
        common = ["--block", "--node-ip-address=127.0.0.1", "--object-store-memory=80000000", "--disable-usage-stats"]
        common += ["--min-worker-port=0", "--max-worker-port=0"]  # else two nodes on one machine may choose the same
        return self.start(self.python, ray, "start", *words, *common, environment=self.of_nodes)

    def take_arkbatch_away(self):
        """Have the nodes use a Python of their own, which finds all packages of this one except arkbatch."""
        venv.create(self.folder / "bare", symlinks=True)
        site = sysconfig.get_path("purelib", vars={"base": str(self.folder / "bare")})
        Path(site, "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
        self.python = self.folder / "bare" / "bin" / "python"
        self.of_nodes = {name: value for name, value in self.environment.items() if name != "PYTHONPATH"}
        lacks = [self.python, "-c", "import importlib.util as i; assert i.find_spec('ray'); import arkbatch"]
        found = subprocess.run(lacks, env=self.of_nodes, cwd=self.folder, capture_output=True, text=True, check=False)
        assert "No module named 'arkbatch'" in found.stderr, found.stderr

    def start_nodes(self):
        self.ray("--head", f"--port={self.port}", "--num-cpus=0", "--include-dashboard=false")
        until(lambda: can_connect(self.port), 60)
        self.nodes = [self.start_node() for _ in range(2)]

    def start_node(self):
        """Start a node and wait until it has its sockets: two that begin at once choose the same, and die of it."""
        node = self.ray(f"--address=127.0.0.1:{self.port}", "--num-cpus=1")
        until(lambda: all(path.exists() for path in sockets_of(node)), 60)
        return node

    def drive(self):
        words = ["run", "in.jsonl", "-o", "a.run", "--engine", "ray", "--address", f"127.0.0.1:{self.port}"]
        limits = ["--workers", 2, "--rpm", RPM, "--concurrency", CONCURRENCY, "--model", "m"]
        self.driver = self.start(sys.executable, "-m", "arkbatch", *words, *limits)

    def until_at_work(self):
        until(lambda: sum(self.service.calls.values()) >= ROWS // 4 and self.service.in_flight >= 4, 150)
        self.in_flight += self.service.in_flight

    def workers(self):
        """The processes that hold an attempt now."""
        for lock in self.run.glob("shards/*/lock"):
            pid = int(lock.read_text().split()[1])
            if Path(f"/proc/{pid}").exists():
                yield pid

    def stop(self):
        for process in reversed(self.processes):
            for pid in [*descendants(process.pid), process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def can_connect(port):
    with socket.socket() as talk:
        return talk.connect_ex(("127.0.0.1", port)) == 0


def descendants(pid):
    """The processes that a process started, and those that they started."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents.setdefault(int(entry.read_text().rpartition(")")[2].split()[1]), []).append(int(entry.parent.name))
    found, waiting = [], [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


def sockets_of(node):
    """The files of both sockets of a node, which are named to its raylet."""
    raylets = [pid for pid in descendants(node.pid) if name_of(pid) == "raylet"]
    words = Path(f"/proc/{raylets[0]}/cmdline").read_text().split("\0") if raylets else []
    named = [
        word.partition("=")[2] for word in words if word.startswith(("--raylet_socket_name=", "--store_socket_name="))
    ]
    return [Path(name) for name in named] or [Path("no raylet yet")]


def name_of(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


# ---- what is killed, in the middle of a run


def whole(run):
    """Nothing."""


def kill_worker(run):
    """One worker process."""
    run.until_at_work()
    os.kill(next(run.workers()), signal.SIGKILL)


def kill_node(run):
    """One node with all its processes, and another is started in its place."""
    run.until_at_work()
    for pid in [*descendants(run.nodes[0].pid), run.nodes[0].pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    run.start_node()


def kill_raylet(run):
    """The raylet of one node, and not the worker on it, which becomes an orphan."""
    run.until_at_work()
    os.kill(next(pid for pid in descendants(run.nodes[0].pid) if name_of(pid) == "raylet"), signal.SIGKILL)
    run.start_node()


def kill_driver(run):
    """The command itself, started again."""
    run.until_at_work()
    run.driver.kill()
    run.driver.wait()
    run.drive()


def interrupt(run):
    """Nothing: one Ctrl-C lets the calls in flight end, and the same command goes on."""
    run.until_at_work()
    run.in_flight = 0  # none of them is lost
    run.driver.send_signal(signal.SIGINT)
    run.driver.wait(60)
    run.drive()


def interrupt_twice(run):
    """The calls in flight: a second Ctrl-C abandons them, and the same command goes on."""
    run.until_at_work()
    run.driver.send_signal(signal.SIGINT)
    time.sleep(0.1)
    began = time.monotonic()
    run.driver.send_signal(signal.SIGINT)
    code = run.driver.wait(60)
    seconds = time.monotonic() - began
    print(f"  the second Ctrl-C ended the command in {seconds:.1f} s with exit {code}")
    assert code == INTERRUPTED
    assert not list(run.workers())
    run.drive()


FAULTS = {
    "whole": whole,
    "kill-worker": kill_worker,
    "kill-node": kill_node,
    "kill-raylet": kill_raylet,
    "kill-driver": kill_driver,
    "interrupt": interrupt,
    "interrupt-twice": interrupt_twice,
}


def measured(name):
    """One fault: a line of the table. False when a promise was broken."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        service = stack.enter_context(Service())
        run = RayRun(folder, service)
        stack.callback(run.stop)
        if WITHOUT_ARKBATCH in sys.argv:
            run.take_arkbatch_away()
        try:
            run.start_nodes()
            began = time.monotonic()
            run.drive()
            FAULTS[name](run)
            code = run.driver.wait(240)
        except (AssertionError, subprocess.TimeoutExpired):
            print((folder / "log.txt").read_text()[-4000:], flush=True)
            raise
        if WITHOUT_ARKBATCH in sys.argv:
            assert "The cluster has no arkbatch" in (folder / "log.txt").read_text()
        seconds = time.monotonic() - began
        path = run.run / "results.jsonl"
        results = path.read_bytes().splitlines() if path.exists() else []
        counts = Counter(json.loads(line)["row"] for line in results)
        repeated = sum(service.calls.values()) - ROWS
        allowed = run.in_flight + CONCURRENCY * (name == "kill-raylet")  # the orphan works on until it is shut out
        is_kept = code == 0 and len(counts) == ROWS == len(results) and repeated <= allowed
        lost, doubled = ROWS - len(counts), len(results) - len(counts)
        said = f"{name:15} {seconds:6.1f} s  exit {code}  lost {lost}  doubled {doubled}  repeated {repeated} of"
        print(f"{said} {run.in_flight} in flight{'' if is_kept else '  BROKEN'}", flush=True)
        if not is_kept:
            print((folder / "log.txt").read_text()[-4000:])
        return is_kept


def main():
    print(f"a head and two nodes, 2 workers, {RPM:,} requests a minute together, {CONCURRENCY} in flight")
    names = [name for name in sys.argv[1:] if name != WITHOUT_ARKBATCH]
    return 1 if [name for name in names or list(FAULTS) if not measured(name)] else 0


if __name__ == "__main__":
    sys.exit(main())
