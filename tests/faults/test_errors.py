"""The script of a million connection errors, in a short form: they take no memory."""

import re
import subprocess
import sys

from processes import ROOT, environment


def test_connection_errors_in_a_row_take_no_memory():
    command = [sys.executable, ROOT / "benchmarks/errors.py", "--errors", "1500"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    looks = [float(mib) for mib in re.findall(r"errors +([\d.]+) MiB", done.stdout)]
    assert len(looks) == 10, done.stderr
    assert looks[-1] - looks[1] < 2
