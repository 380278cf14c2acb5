"""The scripts that take minutes, in their short forms: every row once."""

import pytest


@pytest.mark.script("soak.py", "--minutes", "2", "--rows", "6000", "--concurrency", "128")
def test_no_row_is_lost_or_doubled_in_two_minutes_of_mixed_faults(said):
    assert "6,000 of 6,000 rows recorded, 0 duplicates, 0 losses, 0 failures (0 rows sent by retry)" in said
    assert "usage equals what the records add up to" in said
    assert "usage equals what the simulator billed" in said, said
    assert "keys in 0 files" in said


@pytest.mark.script("outage.py", "--minutes", "0.2", "--rows", "500")
def test_a_network_that_is_pulled_costs_no_row(said):
    assert "500 of 500 rows recorded, 0 duplicates, 0 losses, 0 failures\n" in said
    assert "usage equals what the records add up to" in said


@pytest.mark.script("outage.py", "--minutes", "1", "--how", "sleep", "--rows", "500")
def test_a_run_that_is_stopped_for_a_minute_goes_on(said):
    assert "500 of 500 rows recorded, 0 duplicates, 0 losses, 0 failures\n" in said
    assert "usage equals what the records add up to" in said
