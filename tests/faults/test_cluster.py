"""Runs on several workers of which something is killed: the real command, with each row once at the end."""

import pytest


@pytest.mark.script("cluster_faults.py", "kill-worker", "kill-all")
def test_killed_workers_and_a_killed_coordinator_cost_no_row_and_double_none(said):
    lines = [line for line in said.splitlines() if line.startswith("kill-")]
    assert [line.split()[0] for line in lines] == ["kill-worker", "kill-all"]
    assert all("exit 0  lost 0  doubled 0" in line for line in lines)
