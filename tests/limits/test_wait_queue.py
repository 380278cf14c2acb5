"""For how long nobody was let through, whatever the reasons."""

from arkbatch.limits.wait_queue import Holds


def test_holds_that_overlap_count_their_time_once():
    holds = Holds()
    assert holds.put("paused", 10.0)
    assert not holds.put("night", 15.0)
    assert not holds.lift("paused", 20.0)
    assert holds.since == {"night": 15.0}
    assert holds.lift("night", 40.0)
    assert (holds.seconds(40.0), holds.seconds(100.0)) == (30.0, 30.0)
    holds.put("paused", 100.0)
    assert holds.seconds(105.0) == 35.0


def test_putting_one_again_changes_nothing_and_one_that_does_not_stand_is_none():
    holds = Holds()
    assert not holds.lift("paused", 1.0)
    holds.put("paused", 10.0)
    holds.put("paused", 15.0)
    assert holds.since == {"paused": 10.0}
    assert holds.lift("paused", 20.0)
    assert holds.seconds(20.0) == 10.0
