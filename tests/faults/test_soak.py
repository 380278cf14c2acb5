"""The soak script in its short form: mixed faults, and every row once."""

import subprocess
import sys

from processes import ROOT, environment


def test_no_row_is_lost_or_doubled_in_mixed_faults():
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks/soak.py", "--rows", "400"],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "exit code 0" in done.stdout, done.stderr
    assert "400 of 400 rows recorded, 0 duplicates, 0 losses, 0 failures" in done.stdout
