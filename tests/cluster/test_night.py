"""A night-long run on simulated workers: crashes, hangs, a lost coordinator, an outage and a pause, in virtual time.

The coordinator and its leases are the real ones. Workers and the service are simulated event by event, so that eight
hours take a second.
"""

import heapq
import itertools
from collections import Counter

import pytest

from arkbatch.cluster.coordinator import Coordinator
from arkbatch.cluster.messages import AttemptBegan, AttemptEnded, LeaseMessage, WorkerCounts
from arkbatch.limits.lease_core import LeaseCore
from arkbatch.limits.lease_messages import Amounts, LeaseReport, LeaseRequest, SharedLimits

RPM, LATENCY, BEAT, PROBE_EVERY = 30, 2.0, 5.0, 30.0
SHARDS, ROWS_EACH = 40, 300
HOUR = 3600.0


class Night:
    """The clock, the service, the files of the shards, and the coordinator."""

    def __init__(self):
        self.now, self._events, self._order = 0.0, [], itertools.count()
        self.recorded = [Counter() for _ in range(SHARDS)]
        self.attempts, self.finished = Counter(), set()
        self.sent, self.lost_calls, self.is_away, self.in_outage = [], 0, False, 0
        self.first = 1
        self.coordinator = self.new_coordinator()

    def new_coordinator(self):
        self.first += 1 << 32
        core = LeaseCore(SharedLimits(64, requests_per_minute=RPM), self.now, first=self.first)
        return Coordinator(core, SHARDS, self.finished, hands_out_from=self.now + 3.0)

    def at(self, when, do):
        heapq.heappush(self._events, (when, next(self._order), do))

    def play(self, until):
        while self._events and self._events[0][0] <= until:
            self.now, _, do = heapq.heappop(self._events)
            do()

    def kill_coordinator(self, seconds):
        self.coordinator = None
        self.at(self.now + seconds, lambda: setattr(self, "coordinator", self.new_coordinator()))


class SimulatedWorker:
    """Works as `cluster.worker` does: a shard, a lease each few seconds, calls while the lease lasts."""

    def __init__(self, night, name):
        self.night, self.name = night, name
        self.is_dead, self.frozen_until, self.was_told = False, 0.0, False
        self.leave()
        self.turn()

    def leave(self):
        self.shard, self.todo, self.in_flight, self.lease, self.used = None, [], 0, None, 0
        self.answered, self.finds_away, self.probed_at = 0, False, 0.0

    def kill(self):
        self.is_dead = True
        self.night.lost_calls += self.in_flight

    def later(self, seconds, do):
        self.night.at(max(self.night.now + seconds, self.frozen_until), lambda: self.awake(do))

    def awake(self, do):
        if self.night.now < self.frozen_until:
            self.later(0.0, do)
        elif not self.is_dead:
            do()

    def turn(self):
        coordinator = self.night.coordinator
        if coordinator is None:
            self.later(2.0, self.turn)
        elif self.shard is None:
            self.ask_for_a_shard(coordinator)
        elif not self.todo and not self.in_flight:
            coordinator.attempt_ended(
                self.night.now, AttemptEnded(self.name, self.shard, self.attempt, is_finished=True)
            )
            self.night.finished.add(self.shard)
            self.leave()
            self.turn()
        else:
            self.ask_for_a_lease(coordinator)

    def ask_for_a_shard(self, coordinator):
        given = coordinator.next_shard(self.night.now, self.name)
        if given.is_over:
            self.was_told = True
        elif given.shard is None:
            self.later(given.wait, self.turn)
        else:
            self.shard = given.shard
            self.night.attempts[self.shard] += 1
            self.attempt = self.night.attempts[self.shard]
            self.todo = [row for row in range(ROWS_EACH) if not self.night.recorded[self.shard][row]]
            coordinator.attempt_began(self.night.now, AttemptBegan(self.name, self.shard, self.attempt))
            self.turn()

    def ask_for_a_lease(self, coordinator):
        now, reports = self.night.now, []
        if self.lease is not None:
            reports = [LeaseReport(self.lease.lease, Amounts(self.used), 0.0)]
        counts = WorkerCounts(ROWS_EACH, ROWS_EACH - len(self.todo) - self.in_flight)
        request = LeaseRequest(
            self.name,
            self.shard,
            self.attempt,
            wanted=Amounts(len(self.todo)),
            in_flight=self.in_flight,
            places=16,
            reports=reports,
            answered=self.answered,
            is_away=self.finds_away,
        )
        reply = coordinator.lease(now, LeaseMessage(request, counts)).lease
        self.lease, self.used, self.answered = None, 0, 0
        if reply.is_fenced:
            self.leave()
            self.turn()
            return
        wait = BEAT
        if reply.lease:
            self.lease, self.ends = reply, now + 0.9 * reply.ends_in
            for _ in range(min(reply.granted.requests, len(self.todo))):
                self.later(reply.starts_in, self.send)
            wait = min(max(reply.starts_in + 0.1, 0.25), BEAT)
        self.later(wait, self.turn)

    def send(self):
        if self.lease is None or self.night.now >= self.ends or not self.todo:
            return
        if self.finds_away and (self.in_flight or self.night.now < self.probed_at + PROBE_EVERY):
            return  # the circuit breaker of a worker lets one probe through at a time
        self.probed_at = self.night.now
        self.used += 1
        row, shard = self.todo.pop(0), self.shard
        self.in_flight += 1
        self.night.sent.append(self.night.now)
        is_away = self.night.is_away
        self.night.in_outage += is_away
        self.later(LATENCY, lambda: self.ended(row, shard, is_away=is_away))

    def ended(self, row, shard, *, is_away):
        if not is_away:
            self.night.recorded[shard][row] += 1
        if shard != self.shard:
            return
        self.in_flight -= 1
        self.finds_away = is_away
        self.answered += not is_away
        if is_away:
            self.todo.append(row)


def worst_minute(sent):
    worst = first = 0
    for last, at in enumerate(sent):
        while sent[first] <= at - 60.0:
            first += 1
        worst = max(worst, last - first + 1)
    return worst


@pytest.fixture(scope="module")
def night():
    night = Night()
    workers = [SimulatedWorker(night, f"w{number}") for number in range(3)]
    night.at(0.5 * HOUR, lambda: night.coordinator.pauses.add("paused"))
    night.at(0.75 * HOUR, night.coordinator.pauses.clear)
    night.at(1 * HOUR, workers[0].kill)
    night.at(1.1 * HOUR, lambda: workers.append(SimulatedWorker(night, "w3")))
    for hour, seconds in ((2.0, 25.0), (2.5, 70.0)):  # the first comes back in time for nothing, the second is replaced
        night.at(hour * HOUR, lambda seconds=seconds: setattr(workers[1], "frozen_until", night.now + seconds))
    night.at(3 * HOUR, lambda: night.kill_coordinator(600.0))
    night.at(4 * HOUR, lambda: setattr(night, "is_away", True))
    night.at(5 * HOUR, lambda: setattr(night, "is_away", False))
    night.at(6 * HOUR, lambda: [worker.kill() for worker in workers])
    night.at(6.01 * HOUR, lambda: workers.extend(SimulatedWorker(night, f"w{number}") for number in (4, 5, 6)))
    night.workers = workers
    night.play(14 * HOUR)
    return night


def test_every_row_of_a_night_is_recorded_and_every_worker_goes_home(night):
    assert len(night.finished) == SHARDS
    assert all(len(rows) == ROWS_EACH for rows in night.recorded)
    assert [worker.was_told for worker in night.workers if not worker.is_dead] == [True] * 3
    assert night.coordinator.state().given_up == {}


def test_no_minute_of_a_night_passes_the_limit(night):
    assert worst_minute(night.sent) <= RPM


def test_calls_are_repeated_only_where_a_worker_died_or_hung_and_while_the_service_was_away(night):
    recorded = sum(sum(rows.values()) for rows in night.recorded)
    doubled = recorded - SHARDS * ROWS_EACH
    assert doubled <= 2 * 16  # calls in flight of the worker that hung
    assert len(night.sent) == recorded + night.lost_calls + night.in_outage


def test_while_the_service_is_away_one_worker_tries_it(night):
    in_the_hour = [at for at in night.sent if 4.01 * HOUR < at < 5 * HOUR]
    assert 0 < len(in_the_hour) <= HOUR / PROBE_EVERY
    assert [at for at in night.sent if 5 * HOUR < at < 5.01 * HOUR]


def test_a_night_takes_as_long_as_the_limit_and_the_faults_ask_for(night):
    ideal = SHARDS * ROWS_EACH / RPM * 60
    standing_still = 0.25 * HOUR + 600.0 + 1 * HOUR + 0.01 * HOUR
    assert night.sent[-1] <= 1.05 * ideal + standing_still + 120.0
