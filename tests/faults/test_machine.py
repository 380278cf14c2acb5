"""Faults of the machine that a run works on: its resolver, its clock, its disk; the real process every time."""

import shutil
import subprocess

import pytest
from fault_runs import each_row_once, words
from processes import canned, environment, size, started, until
from runs import numbered, prompts

RESOLVER = """
import os
import socket

import aiohttp
import aiohttp.connector


class Fake(aiohttp.ThreadedResolver):
    async def resolve(self, host, port=0, family=socket.AF_INET):
        if os.path.exists("no-names"):
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return await super().resolve("127.0.0.1", port, family)


aiohttp.connector.DefaultResolver = Fake
"""
CLOCK = """
import os
import time

real, set_by = time.time, {by}
time.time = lambda: real() + (set_by if os.path.exists("set") else 0)
"""
DAY = 86_400.0


def in_a_world(folder, module):
    """The environment of a process that runs this before all else."""
    (folder / "world").mkdir()
    (folder / "world" / "sitecustomize.py").write_text(module)
    env = environment()
    return env | {"PYTHONPATH": f"{folder / 'world'}:{env['PYTHONPATH']}", "NO_PROXY": "*"}


def has_failed_no_row(process, folder):
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.decode()
    assert b"Traceback" not in err
    assert each_row_once(folder) == []


def test_names_that_cannot_be_looked_up_for_a_while_cost_no_row(tmp_path):
    prompts(tmp_path, *numbered(40))
    (tmp_path / "no-names").touch()
    with canned() as (url, heard):
        away = url.replace("127.0.0.1", "service.example")
        how = ("--insecure", "--max-attempts", 1, "--concurrency", 8)
        process = started(
            *("run", "in.jsonl", "-o", "a.run", "--model", "m", "--base-url", away, *how),
            cwd=tmp_path,
            env=in_a_world(tmp_path, RESOLVER) | {"OPENAI_BASE_URL": away, "OPENAI_API_KEY": "k"},
        )
        log = tmp_path / "a.run" / "run.log"
        until(lambda: size(log) and "no such name, or no network" in log.read_text())
        assert heard == []
        (tmp_path / "no-names").unlink()
        has_failed_no_row(process, tmp_path)


@pytest.mark.parametrize("by", [-400 * DAY, 400 * DAY])
def test_a_clock_that_is_set_under_a_run_costs_no_row(tmp_path, by):
    prompts(tmp_path, *numbered(40))
    with canned(latency=0.2) as (url, _):
        command = ("run", "in.jsonl", "-o", "a.run", "--model", "m", "--base-url", url, "--concurrency", 8)
        process = started(*command, cwd=tmp_path, env=in_a_world(tmp_path, CLOCK.format(by=by)))
        until(lambda: size(tmp_path / "a.run" / "results.jsonl") > 0)
        (tmp_path / "set").touch()
        has_failed_no_row(process, tmp_path)


def can_mount():
    """Whether this user may mount file systems that nobody else sees."""
    if shutil.which("unshare") is None:
        return False
    mount = "mount -t tmpfs none /mnt"
    return subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, check=False).returncode == 0


SCRIPT = """
mkdir room && mount -t tmpfs -o mode=700,{before} none room || exit 99
"$@" 2> first.txt; echo $? > first
mount -o remount,{after} none room
"$@" 2> second.txt; echo $? > second
cp -r room/a.run a.run
"""


@pytest.mark.skipif(not can_mount(), reason="needs to mount a file system of its own")
@pytest.mark.parametrize(
    ("before", "after", "said"),
    [("size=256k", "size=10m", "No space left"), ("ro", "rw", "Read-only file system")],
    ids=["full", "read-only"],
)
def test_a_disk_that_takes_no_more_ends_the_session_in_one_line_and_the_run_goes_on_when_it_does(
    tmp_path, before, after, said
):
    prompts(tmp_path, *numbered(400))
    with canned(latency=0.0) as (url, _):
        script = SCRIPT.format(before=before, after=after)
        command = ["room/a.run" if word == "a.run" else word for word in words(url)]
        done = subprocess.run(
            ["unshare", "-rm", "sh", "-c", script, "-", *command],
            cwd=tmp_path,
            env=environment(OPENAI_BASE_URL=url),
            capture_output=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr.decode()
    assert [(tmp_path / name).read_text().strip() for name in ("first", "second")] == ["5", "0"]
    first = (tmp_path / "first.txt").read_text().splitlines()
    assert said in first[-1]
    assert not any("Traceback" in line for line in first)
    assert each_row_once(tmp_path, 400) == []
