"""The adaptive limit of all workers together: no schedule of leases, refusals and answers passes what it found."""

from hypothesis import given, settings
from hypothesis import strategies as st

from arkbatch.core.calls import Scope
from arkbatch.limits.adaptive_limit import AdaptiveLimit
from arkbatch.limits.lease_core import LeaseCore
from arkbatch.limits.lease_messages import Amounts, LeaseReport, LeaseRequest, LoadRefusal, Settlement, SharedLimits
from arkbatch.limits.shared_pace import SharedPace

WORKERS = 3
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "use", "use", "answer", "refuse", "settle", "crash"]),
        st.integers(0, WORKERS - 1),
        st.integers(1, 40),  # calls, or seconds that a refusal asks for
        st.floats(0.0, 2.0),  # seconds until the next step
    ),
    max_size=250,
)


class SimulatedWorker:
    """Uses its leases at times that the test chooses."""

    def __init__(self, core, number, tokens):
        self.core, self.number, self.tokens = core, number, tokens
        self.forget()

    def forget(self):
        """Lose everything, as a process that is killed."""
        self.lease, self.used, self.last_used, self.in_flight, self.answered = None, 0, 0.0, 0, 0
        self.refusals, self.settlements, self.places = [], [], 0

    def ask(self, now, wanted):
        reports = []
        if self.lease is not None:
            used = Amounts(self.used, self.used * self.tokens)
            reports = [LeaseReport(self.lease.lease, used, now - self.last_used)]
        reply = self.core.grant_lease(
            now,
            LeaseRequest(
                f"w{self.number}",
                self.number,
                1,
                wanted=Amounts(wanted, wanted * self.tokens),
                first=Amounts(1, self.tokens),
                in_flight=self.in_flight,
                places=wanted + self.in_flight,
                reports=reports,
                settlements=self.settlements,
                refusals=self.refusals,
                answered=self.answered,
            ),
        )
        self.lease, self.used, self.answered, self.refusals, self.settlements = None, 0, 0, [], []
        self.places = reply.places
        if reply.lease:
            self.lease, self.begins, self.ends = reply, now + reply.starts_in, now + reply.ends_in
            self.last_used = self.begins

    def use(self, now, calls):
        """Send so many calls, as far as the lease and the places allow. Returns how many."""
        if self.lease is None or not self.begins <= now < self.ends:
            return 0
        granted = self.lease.granted
        left = min(granted.requests, granted.tokens // self.tokens) - self.used
        sent = max(0, min(calls, left, self.places - self.in_flight))
        self.used += sent
        self.in_flight += sent
        self.last_used = now if sent else self.last_used
        return sent

    def end_calls(self, now, calls, seconds=None):
        """Calls end well, or one is refused for so many seconds."""
        if not self.in_flight:
            return
        if seconds is not None:
            self.in_flight -= 1
            self.refusals.append(LoadRefusal(Scope.RATE, 0.5, float(seconds)))
            return
        ended = min(calls, self.in_flight)
        self.in_flight -= ended
        self.answered += ended


def worst_minute(sent, which):
    worst = total = first = 0
    for one in sent:
        total += one[which]
        while sent[first][0] <= one[0] - 60.0:
            total -= sent[first][which]
            first += 1
        worst = max(worst, total)
    return worst


@settings(max_examples=100, deadline=None)
@given(steps=STEPS, rpm=st.integers(2, 600), tpm=st.integers(1_000, 40_000), tokens=st.integers(1, 500))
def test_no_minute_passes_a_limit_for_any_schedule_of_leases_refusals_and_crashes(steps, rpm, tpm, tokens):
    now, sent = 100.0, []
    limit = AdaptiveLimit(now, concurrency=32, rate=float(rpm))
    core = LeaseCore(SharedLimits(32, requests_per_minute=rpm, tokens_per_minute=tpm), now, SharedPace(limit))
    workers = [SimulatedWorker(core, number, tokens) for number in range(WORKERS)]
    for kind, which, amount, seconds in steps:
        now += seconds
        worker = workers[which]
        if kind == "ask":
            worker.ask(now, amount)
        elif kind == "use":
            calls = worker.use(now, amount)
            sent.append((now, calls, calls * tokens))
        elif kind == "answer":
            worker.end_calls(now, amount)
        elif kind == "refuse":
            worker.end_calls(now, amount, amount)
        elif kind == "settle" and worker.lease is not None and worker.used:
            back = Amounts(0, -(amount % (tokens + 1)))
            worker.settlements.append(Settlement(worker.lease.lease, back))
        elif kind == "crash":
            worker.forget()
    assert worst_minute(sent, 1) <= rpm
    assert worst_minute(sent, 2) <= tpm


def lease_of(core, now, number, **more):
    return core.grant_lease(now, LeaseRequest(f"w{number}", number, 1, wanted=Amounts(10), places=8, **more))


def test_refusals_that_one_worker_meets_hold_the_others_until_calls_are_taken_again():
    pace = SharedPace(AdaptiveLimit(0.0, concurrency=8))
    core, before = LeaseCore(SharedLimits(8), 0.0, pace), None
    for step in range(120):
        now = step / 4
        reports = [LeaseReport(before.lease, before.granted)] if before is not None else []
        before = lease_of(core, now, 1, reports=reports, answered=10 if reports else 0)
        assert before.lease
    assert pace.requests_per_minute is None
    refusals = [LoadRefusal(Scope.RATE, 0.1, 20.0)] * 20  # every call that was under way
    reports = [LeaseReport(before.lease, before.granted)]
    lease_of(core, 30.0, 0, reports=reports, refusals=refusals)
    held = lease_of(core, 30.1, 1)
    assert (held.lease, held.reason) == (0, "the service asked for fewer calls")
    assert lease_of(core, 51.0, 1).lease


def test_what_was_answered_before_it_was_told_as_sent_counts_once():
    class Counting:
        found = None

        def __init__(self):
            self.numbers, self.ends = 0, 0

        def begin_call(self, now):
            self.numbers += 1
            return self.numbers

        def note_grant(self, now, permit):
            self.ends += 1

    limit = Counting()
    pace = SharedPace(limit)
    pace.answered(1.0, 5)
    pace.sent(1.5, 8)
    pace.answered(2.0, 3)
    assert (limit.numbers, limit.ends) == (8, 8)
