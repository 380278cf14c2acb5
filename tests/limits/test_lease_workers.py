"""Shares of many workers: the sums that are kept up to date are those that one finds by counting anew."""

import sys

from hypothesis import given, settings
from hypothesis import strategies as st

from arkbatch.limits.lease_core import LeaseCore
from arkbatch.limits.lease_messages import Amounts, LeaseReport, LeaseRequest, Settlement, SharedLimits
from arkbatch.limits.lease_meter import KEPT_SECONDS
from arkbatch.limits.lease_workers import LOST_AFTER_SECONDS, SEEN_WITHIN_SECONDS, LeaseWorkers


class Counted:
    """The same, counted anew each time."""

    def __init__(self):
        self.seen, self.in_flight, self.places, self.wanted, self.wants = {}, {}, {}, {}, {}

    def see(self, now, name, in_flight):
        self.seen[name], self.in_flight[name] = now, in_flight
        self.places.setdefault(name, 0)
        self.wanted.setdefault(name, 0)
        self.wants.setdefault(name, False)

    def forget(self, name):
        for each in (self.seen, self.in_flight, self.places, self.wanted, self.wants):
            each.pop(name, None)

    def forget_unseen(self, now):
        lost = [name for name, at in self.seen.items() if now - at > LOST_AFTER_SECONDS]
        for name in lost:
            self.forget(name)
        return lost

    def share_places(self, name, wanted, most):
        others = [each for each in self.seen if each != name]
        even = max(1, most // (len(others) + 1))
        share = max(even, most - sum(min(self.wanted[each], even) for each in others))
        free = max(0, most - sum(max(self.places[each], self.in_flight[each]) for each in others))
        self.wanted[name], self.places[name] = wanted, min(wanted, share, free)
        return self.places[name]

    def count_sharers(self, now, name):
        return 1 + sum(
            self.wants[each] and now - at <= SEEN_WITHIN_SECONDS for each, at in self.seen.items() if each != name
        )


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["lease", "lease", "lease", "forget", "wait"]),
        st.integers(0, 5),  # which worker
        st.integers(0, 40),  # calls in flight, and places that it wants
        st.integers(1, 64),  # calls at once of all
        st.booleans(),
        st.floats(0.0, 4.0),
    ),
    max_size=120,
)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_shares_are_those_that_counting_anew_gives(steps):
    now, ours, counted = 10.0, LeaseWorkers(), Counted()
    for kind, which, amount, most, wants_more, seconds in steps:
        now += seconds
        name = f"w{which}"
        if kind == "forget":
            ours.remove_worker(name)
            counted.forget(name)
        elif kind == "lease":
            assert sorted(ours.forget_unseen(now)) == sorted(counted.forget_unseen(now))
            ours.note_presence(now, name, amount)
            counted.see(now, name, amount)
            assert ours.share_places(name, 40 - amount, most) == counted.share_places(name, 40 - amount, most)
            assert ours.count_sharers(now, name) == counted.count_sharers(now, name)
            ours.note_demand(now, name, wants_more=wants_more)
            counted.wants[name] = wants_more
        assert ours.in_flight == sum(counted.in_flight.values())
        assert len(ours) == len(counted.seen)


def lease_of(core, now, number, *, wanted=5, **more):
    return core.grant_lease(
        now,
        LeaseRequest(f"w{number}", number, 1, wanted=Amounts(wanted, wanted), first=Amounts(1, 5), places=4, **more),
    )


def steps_of_a_lease(workers):
    """How many lines and calls of Python one lease takes, with so many workers."""
    core, count = LeaseCore(SharedLimits(100_000, requests_per_minute=600_000.0), 0.0), 0
    for number in range(workers):
        lease_of(core, number / workers, number)

    def trace(frame, event, argument):
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for step in range(20):
            lease_of(core, 1.0 + step / 4_000, step % workers)
    finally:
        sys.settrace(before)
    return count / 20


def test_a_lease_takes_as_many_steps_for_a_thousand_workers_as_for_ten():
    assert steps_of_a_lease(1_000) <= 1.5 * steps_of_a_lease(10)


def test_leases_are_forgotten_when_they_have_left_the_window():
    core = LeaseCore(SharedLimits(8, tokens_per_minute=6_000), 0.0)
    before = None
    for step in range(800):
        reports = [LeaseReport(before.lease, before.granted)] if before is not None and before.lease else []
        before = lease_of(core, step / 2, 0, reports=reports)
    assert len(core._leases) <= 2 * (KEPT_SECONDS + 4)


def test_a_call_that_ends_after_the_window_changes_the_pace_only():
    core = LeaseCore(SharedLimits(8, tokens_per_minute=60), 0.0)
    first = lease_of(core, 0.0, 0)
    lease_of(core, 1.0, 0, wanted=0, reports=[LeaseReport(first.lease, Amounts(5, 5))])
    late = KEPT_SECONDS + 30.0
    lease_of(core, late, 0, wanted=0, settlements=[Settlement(first.lease, Amounts(0, 600))])
    assert not lease_of(core, late + 1.0, 0).lease  # what was used beyond the reservation counts from when it is known
    assert lease_of(core, late, 0, settlements=[Settlement(999_999, Amounts(0, 600))]).lease == 0
