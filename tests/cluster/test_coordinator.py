"""The coordinator by itself: who gets which shard, and whose calls at once stay counted."""

from arkbatch.cluster.coordinator import MAX_ATTEMPTS, Coordinator
from arkbatch.cluster.messages import AttemptBegan, AttemptEnded, LeaseMessage
from arkbatch.limits.lease_core import LeaseCore
from arkbatch.limits.lease_messages import Amounts, LeaseRequest, SharedLimits


def coordinator_of(shards, concurrency=8):
    return Coordinator(LeaseCore(SharedLimits(concurrency), 0.0), shards)


def begin(coordinator, worker, holds=(), now=0.0):
    """The next shard, whose first attempt begins."""
    shard = coordinator.next_shard(now, worker, holds).shard
    coordinator.attempt_began(now, AttemptBegan(worker, shard, 1))
    return shard


def lease(coordinator, worker, shard, **said):
    request = LeaseRequest(worker, shard, 1, wanted=Amounts(8), **said)
    return coordinator.lease(1.0, LeaseMessage(request)).lease


def test_a_worker_that_ends_its_last_calls_gets_a_second_shard():
    coordinator = coordinator_of(3)
    assert begin(coordinator, "a") == 0
    assert begin(coordinator, "a", [0]) == 1
    assert coordinator.state().working == 2
    assert coordinator.state().workers == 1


def test_a_shard_whose_answer_was_lost_is_given_again_and_one_that_is_not_held_any_more_counts_as_a_crash():
    coordinator = coordinator_of(3)
    assert begin(coordinator, "a") == 0
    assert coordinator.next_shard(0.0, "a", [0]).shard == coordinator.next_shard(0.0, "a", [0]).shard == 1
    assert coordinator.next_shard(0.0, "a", [1]).shard == 2
    assert coordinator.troubles == ["Shard 0: its worker began anew (attempt 1 of 5)"]


def test_a_shard_at_which_workers_die_takes_no_other_shard_along_more_than_once():
    coordinator = coordinator_of(4)
    deaths = 0
    while not coordinator.is_over:
        worker, holds = f"w{deaths}", []
        while (given := coordinator.next_shard(0.0, worker, holds)).shard is not None:
            coordinator.attempt_began(0.0, AttemptBegan(worker, given.shard, deaths + 1))
            holds.append(given.shard)
            if given.shard == 2:
                coordinator.worker_died(worker, "it was killed")
                deaths += 1
                break
            if len(holds) == 2 or coordinator.next_shard(0.0, worker, holds).shard is None:
                ended = AttemptEnded(worker, holds.pop(0), deaths + 1, is_finished=True)
                coordinator.attempt_ended(0.0, ended)
    assert deaths == MAX_ATTEMPTS
    assert list(coordinator.given_up) == [2]
    assert coordinator.state().finished == 3


def test_the_calls_of_a_worker_stay_counted_while_one_of_its_two_shards_ends():
    coordinator = coordinator_of(4)
    begin(coordinator, "a"), begin(coordinator, "a", [0])
    assert lease(coordinator, "a", 1, in_flight=6, places=8).places == 8
    last = LeaseRequest("a", 0, 1, in_flight=6)
    coordinator.attempt_ended(1.0, AttemptEnded("a", 0, 1, is_finished=True, last=last))
    assert begin(coordinator, "b") == 2
    assert lease(coordinator, "b", 2, places=8).places == 0
    coordinator.attempt_ended(1.0, AttemptEnded("a", 1, 1, is_finished=True, last=LeaseRequest("a", 1, 1)))
    assert lease(coordinator, "b", 2, places=8).places == 8


def test_no_shard_begins_while_the_service_is_away():
    coordinator = coordinator_of(2)
    begin(coordinator, "a")
    lease(coordinator, "a", 0, is_away=True)
    assert coordinator.next_shard(1.0, "a", [0]).shard is None
    lease(coordinator, "a", 0, answered=1)
    assert coordinator.next_shard(1.0, "a", [0]).shard == 1
