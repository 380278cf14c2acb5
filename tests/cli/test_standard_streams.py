"""Closed, broken and full standard streams stop what is shown, and never a run."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from processes import arguments, environment, size

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="descriptors of POSIX")


def ran(folder, redirection):
    """The exit code of a simulated run of three rows under these redirections of a shell."""
    (folder / "in.jsonl").write_text('{"prompt": "hi"}\n' * 3)
    command = shlex.join(arguments("run", "in.jsonl", "--model", "m", "--simulate", "-o", "a.run"))
    code = subprocess.run(
        ["/bin/sh", "-c", f"{command} {redirection}"], cwd=folder, env=environment(), timeout=60, check=False
    ).returncode
    return code, (folder / "a.run" / "results.jsonl").read_bytes().count(b"\n")


@pytest.mark.parametrize("redirection", ["<&- 2>/dev/null >&2", ">&- 2>/dev/null", "2>&- >/dev/null", "<&- >&- 2>&-"])
def test_closed_descriptors_are_survived(tmp_path, redirection):
    assert ran(tmp_path, redirection) == (0, 3)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that Linux has")
def test_a_full_device_behind_both_streams_is_survived(tmp_path):
    assert ran(tmp_path, ">/dev/full 2>/dev/full") == (0, 3)


def test_a_reader_of_stderr_that_has_gone_ends_nothing(tmp_path):
    (tmp_path / "in.jsonl").write_text('{"prompt": "hi"}\n' * 3)
    words = arguments("run", "in.jsonl", "--model", "m", "--simulate", "-o", "a.run")
    with subprocess.Popen(
        words, cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        process.stderr.close()
        assert process.wait(60) == 0
    assert size(tmp_path / "a.run" / "results.jsonl") > 0
