"""The soak script, in its two-minute form: mixed faults, and every row once."""


def test_no_row_is_lost_or_doubled_in_two_minutes_of_mixed_faults(soak):
    printed, _ = soak.communicate(timeout=400)
    assert soak.returncode == 0, printed
    assert "15,000 of 15,000 rows recorded, 0 duplicates, 0 losses, 0 failures (0 rows sent by retry)" in printed
    assert "usage equals what the records add up to" in printed
    assert "keys in 0 files" in printed
