"""The engine on Ray: what is the same on all machines, workers that die, and the quickstart on a Ray of its own."""

import asyncio
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from sessions import lines_of

from arkbatch import __version__
from arkbatch.cluster.ray_engine import RayCluster, Workforce, own_versions
from arkbatch.core.errors import UsageError
from arkbatch.journal.run_directory import RESULTS

ROOT = Path(__file__).parent.parent.parent


class FakeRay:
    """As much of Ray as the engine uses; actors never end by themselves. versions: what they say of their machine."""

    class exceptions:  # noqa: N801 - as Ray has it
        class RayError(Exception):
            pass

        class RayActorError(RayError):
            pass

    def __init__(self, versions=None):
        self.versions, self.ended, self.killed, self.count = versions, {}, [], 0

    def remote(self, **options):
        assert options["max_restarts"] == options["max_task_retries"] == 0
        return lambda _: SimpleNamespace(options=lambda **_: SimpleNamespace(remote=self._actor))

    def _actor(self, run_worker):
        self.count += 1
        number = self.count
        return SimpleNamespace(
            number=number,
            work=SimpleNamespace(remote=lambda *_: f"work-{number}"),
            versions=SimpleNamespace(remote=lambda: f"versions-{number}"),
        )

    def wait(self, promises, num_returns=1, timeout=0.0):
        ready = [promise for promise in promises if promise in self.ended or promise.startswith("versions-")]
        return ready[:num_returns], []

    def get(self, promise):
        if promise.startswith("versions-"):
            return self.versions
        if isinstance(self.ended[promise], Exception):
            raise self.ended[promise]
        return self.ended[promise]

    def kill(self, actor):
        self.killed.append(actor.number)


def workforce(ray, told=None):
    return Workforce(ray, "a.run", None, (told if told is not None else []).append)


def test_machines_with_another_python_or_arkbatch_are_refused():
    own = own_versions()
    workers = workforce(FakeRay(versions=("3.9", "0.0.1")))
    workers.start(2)
    with pytest.raises(UsageError, match=rf"arkbatch 0\.0\.1 on Python 3\.9, and this machine arkbatch {__version__}"):
        asyncio.run(workers.check_versions())
    workers = workforce(FakeRay(versions=(own.python, own.arkbatch)))
    workers.start(2)
    asyncio.run(workers.check_versions())


def test_a_worker_process_that_died_is_told_with_its_name():
    ray, told = FakeRay(), []
    workers = workforce(ray, told)
    workers.start(2)
    assert asyncio.run(workers.ended(0.0)) == []
    ray.ended["work-1"] = FakeRay.exceptions.RayActorError()
    ray.ended["work-2"] = ["the disk is full"]
    (first,), (second,) = asyncio.run(workers.ended(0.0)), asyncio.run(workers.ended(0.0))
    assert first == (f"ray-{os.getpid()}-1", "its worker process died")
    assert second == (f"ray-{os.getpid()}-2", "")
    assert told == ["the disk is full"]


def test_workers_that_are_left_are_killed_at_the_end():
    ray = FakeRay()
    workers = workforce(ray)
    workers.start(3)
    ray.ended["work-2"] = []
    asyncio.run(workers.ended(0.0))
    workers.kill()
    assert ray.killed == [1, 3]


def test_a_machine_without_ray_is_told_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'arkbatch\[ray\]'"), RayCluster("local", 2):
        pass


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_the_quickstart_runs_unchanged_on_a_local_ray(tmp_path):
    shutil.copytree(ROOT / "jobs", tmp_path / "jobs")

    def in_shell(*words):
        environment = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
        command = [sys.executable, "-m", "arkbatch", "run", "jobs/quickstart.toml", "--simulate", *words]
        ended = subprocess.run(
            command, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=300, env=environment
        )
        assert ended.returncode == 0, ended.stderr
        return ended

    ray = in_shell("-o", "ray.run", "--engine", "ray", "--address", "local", "--workers", "2")
    assert "ray" not in ray.stdout.replace("ray.run", "")
    in_shell("-o", "local.run")
    both = [lines_of(tmp_path / name, RESULTS) for name in ("ray.run", "local.run")]
    same = [
        sorted((line["row"], line["offset"], line["digest"], line["custom_id"]) for line in lines) for lines in both
    ]
    assert same[0] == same[1]
    assert len(both[0]) == 234


def test_options_for_one_machine_are_refused_on_a_cluster(tmp_path):
    from click.testing import CliRunner

    from arkbatch.cli import arkbatch

    (tmp_path / "in.jsonl").write_text('{"prompt": "hi"}\n')
    words = [
        "run",
        str(tmp_path / "in.jsonl"),
        "--model",
        "m",
        "--simulate",
        "--engine",
        "ray",
        "--limit",
        "1",
        "--mixed",
    ]
    result = CliRunner().invoke(arkbatch, words, standalone_mode=False)
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).startswith("--engine ray does not take --mixed, --limit.")


class ConnectableRay(FakeRay):
    """A cluster to which one can connect. lacks: its processes cannot import arkbatch; refusal: why it refuses."""

    def __init__(self, *, lacks=False, refusal=None):
        super().__init__()
        self.lacks, self.refusal, self.connections = lacks, refusal, []

    def init(self, **options):
        if self.refusal is not None:
            raise RuntimeError(self.refusal)
        self.connections.append(options.get("runtime_env"))

    def shutdown(self):
        self.connections.append("closed")

    def remote(self, **options):
        return lambda _: SimpleNamespace(remote=lambda: "has-arkbatch")

    def wait(self, promises, num_returns=1, timeout=0.0):
        return promises, []

    def get(self, promise):
        return not self.lacks


def test_a_cluster_without_arkbatch_gets_the_package_of_this_machine(monkeypatch):
    ray, told = ConnectableRay(lacks=True), []
    monkeypatch.setattr("arkbatch.cluster.ray_engine._import_ray", lambda: ray)
    with RayCluster("10.0.0.5:6379", 2, told.append):
        assert ray.connections == [None, "closed", {"py_modules": [str(ROOT / "arkbatch")]}]
    assert told == ["The cluster has no arkbatch: its workers get that of this machine."]


def test_a_cluster_with_arkbatch_keeps_its_own(monkeypatch):
    ray = ConnectableRay()
    monkeypatch.setattr("arkbatch.cluster.ray_engine._import_ray", lambda: ray)
    with RayCluster("10.0.0.5:6379", 2):
        assert ray.connections == [None]


def test_versions_that_do_not_fit_are_told_in_one_line(monkeypatch):
    said = "Version mismatch: The cluster was started with:\n    Ray: 2.40.0\n    Python: 3.12.1\nThis process: Ray: 2.60.0\n"
    monkeypatch.setattr("arkbatch.cluster.ray_engine._import_ray", lambda: ConnectableRay(refusal=said))
    with pytest.raises(UsageError, match=r"started with: Ray: 2\.40\.0 Python: 3\.12\.1 This"), RayCluster("auto", 2):
        pass
