"""Workers as Ray actors: started, watched and replaced by the process that leads the run.

Ray starts processes on the machines of a cluster and says when one has died; nothing else is left to it. Rows never
travel through Ray, its retries are off, and who is alive is known by the leases that workers ask for. So a node that
hangs, or a worker that outlives its node, is found in seconds and shut out.
"""

import asyncio
import contextlib
import os
import platform
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

from msgspec import Struct

from arkbatch import __version__
from arkbatch.cluster.coordinator import Coordinator
from arkbatch.core.errors import UsageError

LOCAL = "local"
NEEDS_EXTRA = "--engine ray needs: pip install 'arkbatch[ray]'"
OBJECT_STORE_BYTES = 80 << 20  # the least that Ray takes; no data goes through it
WAIT_SECONDS = 0.5
LOOK_SECONDS = 20.0  # in which a process of the cluster says whether it has arkbatch
LAST_WORD_SECONDS = 10.0  # in which workers notice that all is over
SLOWEST_START = 60.0  # s, after which it is said that no worker has started

RunWorker = Callable[[str, str], Awaitable[Any]]  # the run directory and the worker's name


class Versions(Struct, frozen=True):
    """What has to be the same on all machines."""

    python: str
    arkbatch: str


def own_versions() -> Versions:
    """Those of this process; of Python the minor version counts."""
    return Versions(".".join(platform.python_version_tuple()[:2]), __version__)


class RayWorker:
    """The actor: one worker in a process of its own."""

    def __init__(self, run_worker: RunWorker) -> None:
        self._run_worker = run_worker

    def versions(self) -> tuple[str, str]:
        """Of Python and of arkbatch on this machine."""
        own = own_versions()
        return own.python, own.arkbatch

    async def work(self, run_dir: str, name: str) -> list[str]:
        """Work off shards until none is left; what went wrong meanwhile."""
        report = await self._run_worker(run_dir, name)
        return list(report.troubles)


class RayCluster:
    """A connection to Ray, or a Ray of its own on this machine. Use it as a context manager.

    address: "local", "auto" or HOST:PORT; note: is told when the cluster gets arkbatch from here
    """

    def __init__(self, address: str, workers: int, note: Callable[[str], None] = lambda _: None) -> None:
        self._address, self._workers, self._note = address, workers, note
        self._ray: Any = None

    def __enter__(self) -> Self:
        self._ray = _import_ray()
        self._connect()
        try:
            if self._address != LOCAL and self._lacks_arkbatch():
                self._note("The cluster has no arkbatch: its workers get that of this machine.")
                self._ray.shutdown()
                # Ray copies the package to every node; only a connection, and no single actor, can ask for that.
                self._connect({"py_modules": [str(Path(__file__).parent.parent)]})
        except BaseException:
            self._ray.shutdown()
            raise
        return self

    def _connect(self, runtime_env: dict[str, Any] | None = None) -> None:
        """Connect to the cluster, or start one. UsageError: it cannot be used."""
        options: dict[str, Any] = {
            "namespace": "arkbatch",
            "log_to_driver": False,
            "logging_level": "ERROR",
        }
        if self._address == LOCAL:
            options |= {
                "num_cpus": self._workers,
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE_BYTES,
            }
        if runtime_env is not None:
            options["runtime_env"] = runtime_env
        try:
            self._ray.init(address=self._address, **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UsageError(f"Cannot use Ray at {self._address}: {_reason_of(error)}.") from error

    def _lacks_arkbatch(self) -> bool:
        """Whether a process of the cluster cannot import arkbatch. One that does not answer is not waited for."""

        def has_arkbatch() -> bool:  # Ray copies a function within a function, so it needs no arkbatch there
            import importlib.util

            return importlib.util.find_spec("arkbatch") is not None

        promise = self._ray.remote(num_cpus=0, max_retries=0)(has_arkbatch).remote()
        done, _ = self._ray.wait([promise], timeout=LOOK_SECONDS)
        try:
            return bool(done) and not self._ray.get(promise)
        except self._ray.exceptions.RayError:
            return False  # the workers fail with the reason

    def __exit__(self, *error: object) -> None:
        self._ray.shutdown()

    @property
    def host(self) -> str:
        """The address under which workers reach this process."""
        if self._address == LOCAL:
            return "127.0.0.1"
        address: str = self._ray.util.get_node_ip_address()
        return address

    async def work_off(
        self, run_dir: str, run_worker: RunWorker, coordinator: Coordinator, note: Callable[[str], None]
    ) -> None:
        """Keep so many workers alive until nothing is left to do. UsageError: the machines do not fit together."""
        workforce = Workforce(self._ray, run_dir, run_worker, note)
        workforce.start(self._workers)
        started = asyncio.get_running_loop().time()
        is_told = False
        try:
            await workforce.check_versions()
            while not coordinator.is_over:
                for name, why in await workforce.ended(WAIT_SECONDS):
                    coordinator.worker_died(name, why or "its worker ended")
                    if not coordinator.is_over and not coordinator.is_draining:
                        workforce.start(1)
                late = asyncio.get_running_loop().time() - started > SLOWEST_START
                if late and not is_told and not coordinator.state().lease_calls:
                    is_told = True
                    note(f"No worker has started yet: does the cluster have {self._workers} free CPUs?")
            await workforce.wait_for_all(LAST_WORD_SECONDS)
        finally:
            workforce.kill()


class Workforce:
    """The actors that work, by the promise of each."""

    def __init__(self, ray: Any, run_dir: str, run_worker: RunWorker, note: Callable[[str], None]) -> None:
        self._ray, self._run_dir, self._run_worker, self._note = ray, run_dir, run_worker, note
        self._count = 0
        self._actors: dict[Any, tuple[str, Any]] = {}

    def start(self, workers: int) -> None:
        actor_class = self._ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(RayWorker)
        actor_class = actor_class.options(scheduling_strategy="SPREAD")
        for _ in range(workers):
            self._count += 1
            name = f"ray-{os.getpid()}-{self._count}"
            actor = actor_class.remote(self._run_worker)
            self._actors[actor.work.remote(self._run_dir, name)] = (name, actor)

    async def check_versions(self) -> None:
        """Of the first actor that answers; others are of the same image, or fail by themselves."""
        actor = next(iter(self._actors.values()))[1]
        promise = actor.versions.remote()
        done, _ = await asyncio.to_thread(self._ray.wait, [promise], timeout=SLOWEST_START)
        if not done:
            return
        try:
            python, arkbatch = self._ray.get(promise)
        except self._ray.exceptions.RayError:
            return  # its work fails with the reason
        own = own_versions()
        if (python, arkbatch) != (own.python, own.arkbatch):
            raise UsageError(
                f"The cluster has arkbatch {arkbatch} on Python {python}, and this machine arkbatch {own.arkbatch} "
                f"on Python {own.python}. Start the run where both are the same."
            )

    async def ended(self, seconds: float) -> list[tuple[str, str]]:
        """Workers that ended within these seconds, and why, "" where all was well."""
        if not self._actors:
            await asyncio.sleep(seconds)
            return []
        done, _ = await asyncio.to_thread(self._ray.wait, list(self._actors), num_returns=1, timeout=seconds)
        return [(self._actors.pop(promise)[0], self._outcome(promise)) for promise in done]

    def _outcome(self, promise: Any) -> str:
        try:
            for trouble in self._ray.get(promise):
                self._note(trouble)
        except self._ray.exceptions.RayActorError:
            return "its worker process died"
        except self._ray.exceptions.RayError as error:
            return _last_line(error)
        return ""

    async def wait_for_all(self, seconds: float) -> None:
        until = asyncio.get_running_loop().time() + seconds
        while self._actors and asyncio.get_running_loop().time() < until:
            await self.ended(WAIT_SECONDS)

    def kill(self) -> None:
        """End all that are left, with what they have in flight."""
        for _, actor in self._actors.values():
            with contextlib.suppress(Exception):
                self._ray.kill(actor)


def _import_ray() -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read when Ray is imported
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns about graphics cards
    try:
        import ray
        import ray.exceptions
        import ray.util
    except ImportError:
        raise UsageError(NEEDS_EXTRA) from None
    return ray


def _reason_of(error: BaseException) -> str:
    """Return the first line of an error of Ray, or all lines about versions that do not fit together."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines if lines[0].startswith("Version mismatch") else lines[:1]).rstrip(".")


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
