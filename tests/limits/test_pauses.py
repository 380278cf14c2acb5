"""For how long nobody was let through, whatever the reasons."""

from arkbatch.limits.pauses import Pauses


def test_holds_that_overlap_count_their_time_once():
    holds = Pauses()
    assert holds.begin_pause("paused", 10.0)
    assert not holds.begin_pause("night", 15.0)
    assert not holds.end_pause("paused", 20.0)
    assert holds.since == {"night": 15.0}
    assert holds.end_pause("night", 40.0)
    assert (holds.paused_seconds(40.0), holds.paused_seconds(100.0)) == (30.0, 30.0)
    holds.begin_pause("paused", 100.0)
    assert holds.paused_seconds(105.0) == 35.0


def test_putting_one_again_changes_nothing_and_one_that_does_not_stand_is_none():
    holds = Pauses()
    assert not holds.end_pause("paused", 1.0)
    holds.begin_pause("paused", 10.0)
    holds.begin_pause("paused", 15.0)
    assert holds.since == {"paused": 10.0}
    assert holds.end_pause("paused", 20.0)
    assert holds.paused_seconds(20.0) == 10.0
