"""Leases on limits that workers share: no window passes the limit, whatever happens to the workers."""

from hypothesis import given, settings
from hypothesis import strategies as st

from arkbatch.core.calls import Scope
from arkbatch.limits.lease_core import LONGEST_RESERVATION, LeaseCore
from arkbatch.limits.lease_messages import Amounts, LeaseReport, LeaseRequest, LoadRefusal, Settlement, SharedLimits
from arkbatch.limits.lease_workers import LOST_AFTER_SECONDS


class SimulatedWorker:
    """Uses its leases at times that the test chooses, and notes when calls start."""

    def __init__(self, core, name, shard, sent, *, tokens=1):
        self.core, self.name, self.shard, self.sent, self.tokens = core, name, shard, sent, tokens
        self.attempt = 1
        self.leases = []  # [number, begins, ends, calls left, calls used, last used at]
        self.settlements = []

    def ask(self, now, wanted):
        reports = [
            LeaseReport(number, Amounts(used, used * self.tokens), now - last)
            for number, _, ends, left, used, last in self.leases
            if now >= ends or not left
        ]
        self.leases = [lease for lease in self.leases if now < lease[2] and lease[3]]
        lease = self.core.grant_lease(
            now,
            LeaseRequest(
                self.name,
                self.shard,
                self.attempt,
                wanted=Amounts(wanted, wanted * self.tokens),
                first=Amounts(1, self.tokens),
                reports=reports,
                settlements=self.settlements,
            ),
        )
        self.settlements = []
        if lease.lease:
            begins, ends = now + lease.starts_in, now + lease.ends_in
            calls = min(lease.granted.requests, lease.granted.tokens // self.tokens)
            self.leases.append([lease.lease, begins, ends, calls, 0, begins])
        return lease

    def use(self, now, calls, unused_tokens=0):
        for lease in self.leases:
            number, begins, ends, left, _, _ = lease
            if begins <= now < ends and left:
                used = min(calls, left)
                lease[3] -= used
                lease[4] += used
                lease[5] = now
                self.sent.append((now, used, used * self.tokens))
                if unused_tokens:
                    self.settlements.append(Settlement(number, Amounts(0, -min(unused_tokens, used * self.tokens))))
                return


def worst_window(sent, which):
    sent = sorted(sent)
    worst = total = first = 0
    for last in range(len(sent)):
        total += sent[last][which]
        while sent[first][0] <= sent[last][0] - 60.0:
            total -= sent[first][which]
            first += 1
        worst = max(worst, total)
    return worst


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "use", "use", "crash", "wait"]),
        st.integers(0, 3),  # which worker
        st.integers(1, 60),  # how many calls
        st.floats(0.0, 3.0),  # seconds until the next step
    ),
    max_size=400,
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS, rpm=st.integers(2, 300), tpm=st.integers(1_000, 50_000), tokens=st.integers(1, 900))
def test_no_minute_passes_the_limit_for_any_schedule_of_leases_crashes_and_settlements(steps, rpm, tpm, tokens):
    now, sent = 100.0, []
    core = LeaseCore(SharedLimits(64, requests_per_minute=rpm, tokens_per_minute=tpm), now)
    workers = [SimulatedWorker(core, f"w{place}", place, sent, tokens=tokens) for place in range(4)]
    for kind, which, calls, seconds in steps:
        now += seconds
        if kind == "ask":
            workers[which].ask(now, calls)
        elif kind == "use":
            workers[which].use(now, calls)
        elif kind == "crash":
            workers[which].leases.clear()
            workers[which].settlements.clear()
    assert worst_window(sent, 1) <= rpm
    assert worst_window(sent, 2) <= tpm


@settings(max_examples=60, deadline=None)
@given(refunds=st.lists(st.integers(0, 400), min_size=4, max_size=4), seed=st.integers(0, 7))
def test_tokens_that_calls_used_never_pass_the_limit_when_less_was_used_than_reserved(refunds, seed):
    now, sent = 50.0, []
    core = LeaseCore(SharedLimits(64, tokens_per_minute=20_000), now)
    workers = [SimulatedWorker(core, f"w{place}", place, sent, tokens=500) for place in range(4)]
    used = []
    for step in range(1_500):
        now += 0.05 + 0.01 * ((step + seed) % 7)
        worker = workers[step % 4]
        if not any(lease[3] for lease in worker.leases):
            worker.ask(now, 10)
        before = len(sent)
        worker.use(now, 1, refunds[step % 4])
        used += [(at, calls, tokens - refunds[step % 4]) for at, calls, tokens in sent[before:]]
    assert worst_window(used, 2) <= 20_000


def simulate(core, workers, seconds, *, wanted, call_every=0.01, kill=None):
    """Workers that send as soon as they may, in steps; each asks again when its leases are nearly used."""
    now, next_ask = 0.0, [0.0] * len(workers)
    asked = 0
    while now < seconds:
        for place, worker in enumerate(workers):
            if kill is not None and place == kill[0] and now >= kill[1]:
                continue
            if wanted(place, now):
                worker.use(now, 1_000)
                left = sum(lease[3] for lease in worker.leases if now < lease[2])
                if not left and now >= next_ask[place]:
                    lease = worker.ask(now, 1_000)
                    asked += 1
                    next_ask[place] = now + (0.25 if lease.lease else max(lease.starts_in, 0.25))
        now += call_every
    return asked


def test_four_workers_use_nearly_all_of_a_limit_and_none_is_starved():
    sent = [[] for _ in range(4)]
    core = LeaseCore(SharedLimits(64, requests_per_minute=12_000), 0.0)
    workers = [SimulatedWorker(core, f"w{place}", place, sent[place]) for place in range(4)]
    asked = simulate(core, workers, 240.0, wanted=lambda *_: True)
    counts = [sum(calls for at, calls, _ in each if at >= 60.0) for each in sent]
    everything = [one for each in sent for one in each]
    assert worst_window(everything, 1) <= 12_000
    assert sum(counts) >= 0.975 * 12_000 * 3
    assert max(counts) <= 1.1 * min(counts)
    assert asked <= 4 * 4 * 240


def test_one_worker_with_work_gets_what_the_idle_ones_leave():
    sent = []
    core = LeaseCore(SharedLimits(64, requests_per_minute=12_000), 0.0)
    workers = [SimulatedWorker(core, f"w{place}", place, sent) for place in range(4)]
    simulate(core, workers, 180.0, wanted=lambda place, now: place == 0 or now < 1.0)
    assert sum(calls for at, calls, _ in sent if at >= 60.0) >= 0.96 * 12_000 * 2


def test_workers_that_are_heard_and_want_nothing_leave_the_whole_limit_to_the_others():
    core, granted = LeaseCore(SharedLimits(64, requests_per_minute=6_000), 0.0), 0
    for step in range(240):
        now = step / 4
        for place in range(4):
            wants = place == 0 or step == 0
            lease = ask(core, now, f"w{place}", place, wanted=Amounts(1_000 if wants else 0))
            granted += lease.granted.requests if place == 0 and step >= 40 else 0
    assert granted >= 0.97 * 6_000 / 60 * 50


def test_the_lease_of_a_killed_worker_comes_back_to_the_others():
    sent = []
    core = LeaseCore(SharedLimits(64, requests_per_minute=6_000), 0.0)
    workers = [SimulatedWorker(core, f"w{place}", place, sent) for place in range(3)]
    simulate(core, workers, 240.0, wanted=lambda *_: True, kill=(0, 60.0))
    assert worst_window(sent, 1) <= 6_000
    assert sum(calls for at, calls, _ in sent if at >= 120.0) >= 0.97 * 6_000 * 2


def test_a_coordinator_that_begins_anew_grants_an_even_pace_and_no_burst():
    sent = []
    core = LeaseCore(SharedLimits(64, requests_per_minute=6_000), 0.0)
    worker = SimulatedWorker(core, "w", 0, sent)
    simulate(core, [worker], 10.0, wanted=lambda *_: True)
    assert sum(calls for _, calls, _ in sent) <= 6_000 / 60 * 10 * 1.05


def ask(core, now, worker="a", shard=0, attempt=1, **more):
    more.setdefault("wanted", Amounts(10, 10))
    return core.grant_lease(now, LeaseRequest(worker, shard, attempt, **more))


def test_an_attempt_that_was_replaced_gets_no_lease():
    core = LeaseCore(SharedLimits(8, requests_per_minute=600), 0.0)
    assert ask(core, 0.0, attempt=1).lease
    core.admit_attempt(0, 2)
    assert ask(core, 1.0, attempt=1).is_fenced
    assert not ask(core, 1.1, worker="b", attempt=2).is_fenced


def test_places_of_all_workers_together_never_pass_the_limit_and_even_out():
    core = LeaseCore(SharedLimits(100), 0.0)
    assert ask(core, 0.0, "a", 0, places=100).places == 100
    assert ask(core, 0.1, "b", 1, places=100).places == 0
    shares = {}
    for step in range(1, 6):
        for place, name in enumerate(("a", "b")):
            shares[name] = ask(core, step + place / 10, name, place, places=100, in_flight=shares.get(name, 0)).places
            assert sum(shares.values()) <= 100 or step == 1
    assert shares == {"a": 50, "b": 50}


def test_places_of_a_worker_that_died_are_free_for_the_others_after_a_while():
    core = LeaseCore(SharedLimits(100), 0.0)
    ask(core, 0.0, "a", 0, places=100)
    assert ask(core, LOST_AFTER_SECONDS + 0.1, "b", 1, places=100).places == 100


def test_while_the_service_is_away_only_the_first_that_noticed_gets_a_lease():
    core = LeaseCore(SharedLimits(8), 0.0)
    assert ask(core, 0.0, "a", 0, is_away=True).lease
    other = ask(core, 0.1, "b", 1)
    assert not other.lease
    assert other.reason == "the service is away"
    ask(core, 0.2, "a", 0, answered=1)
    assert ask(core, 0.3, "b", 1).lease


def test_a_prober_that_dies_is_replaced():
    core = LeaseCore(SharedLimits(8), 0.0)
    ask(core, 0.0, "a", 0, is_away=True)
    assert not ask(core, 5.0, "b", 1, is_away=True).lease
    assert ask(core, LOST_AFTER_SECONDS + 1.0, "b", 1, is_away=True).lease


class Pace:
    """An adaptive limit that closes for as long as it was told."""

    places = requests_per_minute = None

    def __init__(self):
        self.until, self.calls = 0.0, 0

    def closed_for(self, now):
        return max(self.until - now, 0.0)

    def sent(self, at, calls):
        self.calls += calls

    def answered(self, now, calls):
        pass

    def refused(self, now, scope, after, sent_at):
        self.until = max(self.until, now + (after or 1.0))


def test_a_refusal_that_one_worker_meets_holds_all_back():
    core = LeaseCore(SharedLimits(8), 0.0, Pace())
    assert ask(core, 0.0, "b", 1).lease
    ask(core, 1.0, "a", 0, refusals=[LoadRefusal(Scope.RATE, 0.1, 30.0)])
    held = ask(core, 1.1, "b", 1)
    assert not held.lease
    assert held.starts_in > 0
    assert ask(core, 31.5, "b", 1).lease


def test_a_lease_is_never_reserved_far_ahead():
    core = LeaseCore(SharedLimits(8, requests_per_minute=6), 0.0)
    leases = [ask(core, 0.0, f"w{place}", place, first=Amounts(1)) for place in range(20)]
    assert max(lease.starts_in for lease in leases if lease.lease) <= LONGEST_RESERVATION


def test_another_limit_holds_from_now_on_and_counts_what_the_last_minute_held():
    sent = []
    core = LeaseCore(SharedLimits(8, requests_per_minute=6_000), 0.0)
    worker = SimulatedWorker(core, "w", 0, sent)
    simulate(core, [worker], 60.0, wanted=lambda *_: True)
    core.change_limits(60.0, SharedLimits(8, requests_per_minute=600))
    assert not ask(core, 60.1, "w").lease
