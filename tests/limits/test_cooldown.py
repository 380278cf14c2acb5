"""When a door that a refusal shut opens again."""

import pytest

from arkbatch.limits.cooldown import Door


def shut(after=None, sent_at=1000.0, now=1000.2):
    door = Door()
    door.shut(now, after, sent_at)
    return door


def test_a_named_time_is_kept_and_believed():
    door = shut(after=5.0)
    assert door.until == 1005.2
    assert door.opened(1005.2) == pytest.approx(1004.5)  # `Retry-After` was rounded up: half a second on average
    assert not door.is_shut


def test_without_a_named_time_one_call_tries_and_the_next_finds_it_open():
    door = shut()
    assert door.opened(door.until) is None
    assert door.is_shut
    assert door.opened(door.until) == 1000.0  # the first try got through: it opened at once
    assert not door.is_shut


def test_tries_that_are_refused_come_at_growing_intervals():
    door, pauses = shut(), []
    for _ in range(12):
        now = door.until
        door.opened(now)
        door.shut(now + 0.2, None, now)
        pauses.append(door.until - now - 0.2)
    assert pauses[:3] == pytest.approx([2.25, 3.375, 5.0625])
    assert pauses[-1] == pytest.approx(30.0)


def test_it_opened_between_the_last_refusal_and_the_try_that_got_through():
    door = shut()
    door.opened(1001.7)
    door.shut(1001.9, None, 1001.7)
    door.opened(1005.0)
    assert door.opened(door.until) == pytest.approx((1001.7 + 1005.0) / 2)


def test_a_try_is_given_as_long_as_refusals_have_taken():
    quick, slow = shut(now=1000.05), shut(now=1002.0)
    for door in (quick, slow):
        door.opened(1010.0)
    assert quick.until == pytest.approx(1010.2)
    assert slow.until == pytest.approx(1014.0)


def test_calls_sent_before_it_was_shut_bring_old_news():
    door = shut()
    assert door.knows(1000.3, 1000.1)
    assert not door.knows(1002.0, 1001.5)


def test_the_first_refused_call_counts_not_the_first_refusal_heard():
    door = shut(sent_at=1000.1)
    door.hear_again(None, 1000.05, since=1000.0)
    assert door.refused_at == 1000.05
    door.hear_again(None, 999.0, since=1000.0)
    assert door.refused_at == 1000.05


def test_it_is_over_when_nothing_more_need_be_tried():
    told, silent = shut(after=5.0), shut()
    assert [told.is_over(now) for now in (1005.0, 1005.2)] == [False, True]
    assert not silent.is_over(silent.until)
    silent.opened(silent.until)
    assert [silent.is_over(now) for now in (silent.until - 0.1, silent.until)] == [False, True]
    assert not Door().is_over(1000.0)
