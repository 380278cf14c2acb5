"""The pace against model servers in virtual time, and what users and later sessions are told of it."""

import math
import random
from collections import deque

import pytest

from arkbatch.core.calls import Scope
from arkbatch.limits.adaptive_limit import AdaptiveLimit
from arkbatch.limits.permit import Permit
from arkbatch.limits.starting_point import Memory, Ramp, Start


class Line:
    """Sends calls as fast as the limit allows; `server` answers each with None, or a scope and a wait."""

    def __init__(self, limit, server, *, seconds=0.2, news=0.01):
        self.limit, self.server, self.seconds, self.news = limit, server, seconds, news
        self.now, self.in_flight = 0.0, []
        self.sent, self.refused, self.waits = [], [], []

    def run(self, until):
        """Until this time; the calls a second that were granted."""
        began, granted = self.now, len(self.sent) - len(self.refused)
        while self.now < until:
            wait = self.limit.ready_in(self.now, len(self.in_flight))
            if wait <= 0:
                self._send()
                continue
            end = min((end for end, *_ in self.in_flight), default=math.inf)
            self.now = min(self.now + wait, end, until)
            self._end()
        return (len(self.sent) - len(self.refused) - granted) / (until - began)

    def _send(self):
        permit = Permit(self.now, None, None, self.limit.begin_call(self.now), len(self.in_flight))
        self.sent.append(self.now)
        said = self.server(self.now, permit)
        if said:
            self.refused.append(self.now)
        self.in_flight.append((self.now + (self.news if said else self.seconds), permit, said))

    def _end(self):
        for each in sorted((each for each in self.in_flight if each[0] <= self.now), key=lambda each: each[0]):
            self.in_flight.remove(each)
            _, permit, said = each
            if said:
                self.waits.append(self.limit.note_refusal(self.now, permit, *said))
            else:
                self.limit.note_grant(self.now, permit)


class HaltingLine(Line):
    """A line whose own process stands still between these times: nothing is sent, and what ended is told later."""

    def __init__(self, *given, halts, **kind):
        super().__init__(*given, **kind)
        self.halts = deque(halts)

    def _end(self):
        while self.halts and self.now >= self.halts[0][0]:
            self.now = max(self.now, self.halts.popleft()[1])
        super()._end()


def takes_all(now, permit):
    return None


def window(per_window, seconds, after=None):
    """So many calls in each fixed window."""
    used = {}

    def server(now, permit):
        number = int(now // seconds)
        used[number] = used.get(number, 0) + 1
        return (Scope.RATE, after) if used[number] > per_window else None

    return server


def sliding_minute(per_minute):
    """So many calls in any minute, refused ones counted; `per_minute` is a function of the time."""
    seen = deque()

    def server(now, permit):
        while seen and seen[0] <= now - 60:
            seen.popleft()
        seen.append(now)
        return (Scope.RATE, None) if len(seen) > per_minute(now) else None

    return server


def bucket(per_second, burst=20):
    """A token bucket; `per_second` is a function of the time."""
    tokens, last = burst, 0.0

    def server(now, permit):
        nonlocal tokens, last
        tokens, last = min(burst, tokens + (now - last) * per_second(now)), now
        if tokens < 1:
            return Scope.RATE, None
        tokens -= 1
        return None

    return server


def every(nth, scope=Scope.RATE, after=None):
    """Refuses each so manieth call, at any pace."""
    return lambda _now, permit: (scope, after) if permit.number % nth == 0 else None


def closed_between(begin, end, after=None):
    return lambda now, _permit: (Scope.RATE, after) if begin <= now < end else None


def line(server, **kind):
    news = {name: kind.pop(name) for name in ("seconds", "news") if name in kind}
    return Line(AdaptiveLimit(0.0, concurrency=32, **kind), server, **news)


def test_a_server_that_takes_all_is_not_held_back():
    assert line(takes_all).run(30) > 0.9 * 32 / 0.2


@pytest.mark.parametrize("seed", [21, 36, 45])
def test_a_process_that_stands_still_at_times_uses_the_time_in_which_it_runs(seed):
    chance, halts, now = random.Random(seed), [], 0.0
    while now < 120:
        begin = now + chance.uniform(0.5, 3)
        now = begin + chance.uniform(0.3, 2)
        halts.append((begin, now))
    halted = sum(end - begin for begin, end in halts if end < 120)
    limit = AdaptiveLimit(0.0, concurrency=32)
    run = HaltingLine(limit, bucket(lambda _: 50.0, 20), seconds=0.05, news=0.003, halts=halts)
    assert run.run(120) > 0.7 * 50 * (120 - halted) / 120


def test_a_refusal_with_no_other_call_under_way_is_followed_by_a_try_at_once():
    limit = AdaptiveLimit(0.0, concurrency=32, rate=6000.0)
    late = Permit(0.0, None, None, limit.begin_call(0.0), 0)
    limit.note_refusal(2.0, late, Scope.RATE, None)
    assert limit.ready_in(2.0, 1) > 1.0
    assert limit.ready_in(2.0, 0) < 0.1


@pytest.mark.parametrize(("after", "tried_within"), [(None, 2.5), (1.0, 1.5), (60.0, 31.0)])
def test_the_first_call_of_all_when_refused_is_tried_again_no_sooner_than_a_named_time_suggests(after, tried_within):
    limit = AdaptiveLimit(0.0, concurrency=32)
    first = Permit(0.0, None, None, limit.begin_call(0.0), 0)
    limit.note_refusal(0.1, first, Scope.RATE, after)
    assert tried_within / 3 < limit.ready_in(0.1, 0) < tried_within


@pytest.mark.parametrize("after", [None, 10.0])
def test_a_limit_by_the_window_is_found_and_kept_with_few_refusals(after):
    run = line(window(300, 10.0, after))
    run.run(120)
    refused = len(run.refused)
    assert run.run(1200) > 0.93 * 30
    assert len(run.refused) - refused < 0.01 * 1080 * 30


@pytest.mark.parametrize("nth", [100, 30, 10, 4])
@pytest.mark.parametrize("scope", [Scope.RATE, Scope.CONCURRENCY])
def test_refusals_that_come_at_any_pace_do_not_slow_the_run_down(nth, scope):
    run = line(every(nth, scope))
    run.run(30)
    assert run.run(120) > 0.85 * (1 - 1 / nth) * 32 / (0.2 * (1 - 1 / nth) + 0.01 / nth)


def test_one_incident_costs_little_more_than_its_own_seconds():
    run = line(closed_between(3.0, 6.0))
    run.run(6.0)
    run.run(8.0)
    assert run.run(18.0) > 0.9 * 32 / 0.2


def test_a_wait_of_a_day_on_some_calls_holds_neither_the_run_nor_the_row_for_a_day():
    run = line(every(20, after=86_400.0))
    assert run.run(60) > 0.8 * 32 / 0.2
    assert set(run.waits) == {None}


def test_a_short_wait_is_the_rows():
    run = line(every(20, after=2.0))
    run.run(10)
    assert set(run.waits) == {2.0}


def test_when_all_is_refused_the_named_time_is_told_and_tried_now_and_then():
    run = line(closed_between(5.0, math.inf, after=86_400.0))
    run.run(1000)
    assert "refuses every call and said to wait" in run.limit.reason
    tries = [now for now in run.sent if now > 100]
    assert 5 < len(tries) < 60
    assert tries[-1] - tries[-2] > 60


def test_a_limit_on_calls_in_flight_that_words_name_is_learnt_as_such():
    def server(_now, _permit):
        return (Scope.CONCURRENCY, None) if sum(not said for *_, said in run.in_flight) >= 4 else None

    run = line(server, seconds=0.3)
    run.run(60)
    assert run.limit.found.concurrency in {4, 5}
    assert run.limit.found.rpm is None
    assert run.run(300) > 0.97 * 4 / 0.3


def test_a_limit_on_calls_in_flight_that_nothing_names_is_learnt_too():
    def server(_now, _permit):
        return (Scope.RATE, None) if sum(not said for *_, said in run.in_flight) >= 4 else None

    run = line(server, seconds=0.3)
    run.run(60)
    assert run.limit.found.concurrency in {4, 5}
    assert run.run(300) > 0.95 * 4 / 0.3


def test_a_limit_that_falls_is_followed_within_a_minute_and_found_again_when_it_rises():
    low = window(100, 10.0)
    high = window(300, 10.0)
    run = line(lambda now, permit: (low if 300 <= now < 600 else high)(now, permit))
    run.run(360)
    refused = len(run.refused)
    assert run.run(600) > 0.9 * 10
    assert len(run.refused) - refused < 0.06 * 240 * 10
    run.run(900)
    assert run.run(1000) > 0.85 * 30


def test_a_sliding_minute_is_kept_when_its_limit_falls_and_rises():
    run = Line(
        AdaptiveLimit(0.0, concurrency=400),
        sliding_minute(lambda now: 530 if now < 1200 or now > 2400 else 370),
        seconds=7.0,
        news=0.2,
    )
    run.run(600)
    assert run.run(1200) > 0.93 * 530 / 60
    run.run(1500)
    assert run.run(2400) > 0.93 * 370 / 60
    run.run(2800)
    assert run.run(4000) > 0.93 * 530 / 60
    assert len(run.refused) < 0.02 * len(run.sent)


def test_a_limit_that_doubles_long_after_it_was_found_is_used():
    run = line(bucket(lambda now: 10 if now < 600 else 20))
    run.run(600)
    run.run(900)
    assert run.run(1200) > 0.9 * 20


def test_a_service_with_a_ramp_is_met_gently():
    run = line(takes_all, ramp=Ramp(), start=Start(rpm=30_000.0))
    run.run(1.0)
    assert len(run.sent) < 14
    assert run.limit.found.rpm < 700


def test_what_an_earlier_session_found_is_where_it_begins_and_is_forgotten_after_a_week():
    assert AdaptiveLimit(0.0, concurrency=32, memory=Memory(rpm=600.0)).found.rpm == pytest.approx(594)
    old = AdaptiveLimit(0.0, concurrency=32, memory=Memory(rpm=600.0, concurrency=8, age=8 * 86_400.0))
    assert old.found.rpm is None
    assert old.found.concurrency is None


def test_the_next_session_begins_at_what_was_granted():
    run = line(window(300, 10.0))
    run.run(600)
    assert run.limit.memory().rpm == pytest.approx(1800, rel=0.07)


def test_an_incident_at_the_end_of_a_session_is_not_remembered_as_a_limit():
    run = line(closed_between(60.0, 63.0))
    run.run(64.0)
    assert run.limit.memory().rpm is None


def test_an_old_memory_is_tried_sooner_than_a_fresh_one():
    fresh, old = (
        Line(AdaptiveLimit(0.0, concurrency=32, memory=Memory(rpm=600.0, age=age)), takes_all)
        for age in (0.0, 6 * 3600.0)
    )
    fresh.run(30)
    old.run(30)
    assert old.limit.found.rpm > 2 * fresh.limit.found.rpm


def test_a_ceiling_of_the_user_is_never_passed():
    run = line(takes_all, rate=600.0)
    assert run.run(60) <= 10.0
    run.limit.allow_rate(60.0, 1200.0)
    assert 18.0 < run.run(120) <= 20.0
    run.limit.allow_concurrency(1)
    run.run(121)
    assert run.run(180) <= 1 / 0.2


def test_what_the_headers_say_is_believed_until_their_time_is_over():
    run = line(takes_all)
    run.limit.note_headers(0.0, 10, 10.0)
    assert run.run(10.0) < 1.3
    assert run.run(20.0) > 100


def by_tens(sent):
    """Calls in each ten seconds."""
    counts = [0] * (int(sent[-1] // 10) + 1)
    for at in sent:
        counts[int(at // 10)] += 1
    return counts[:-1]


def test_a_ramp_holds_after_refusals_too():
    """Ark calls steep what is a fifth more than in the three minutes before."""
    run = line(closed_between(200.0, 215.0), ramp=Ramp())
    run.run(600)
    counts = by_tens(run.sent)
    assert counts[-1] > 5 * counts[0]
    for number in range(1, len(counts)):
        assert counts[number] <= 1.2 * max(counts[max(number - 18, 0) : number]) + 2


@pytest.mark.parametrize(("away", "is_slow"), [(30.0, False), (600.0, True)])
def test_after_a_long_outage_a_service_with_a_ramp_is_met_as_gently_as_at_first(away, is_slow):
    run = line(takes_all, ramp=Ramp(start_rpm=600.0))
    run.run(300)
    before = run.limit.found.rpm
    run.now += away
    run.limit.came_back(run.now, away)
    assert before > 3_000
    assert (run.limit.found.rpm <= 600) == is_slow


def test_a_service_without_a_ramp_is_met_at_full_speed_after_an_outage():
    run = line(takes_all)
    run.run(60)
    run.now += 600
    run.limit.came_back(run.now, 600.0)
    assert run.run(690) > 0.8 * 32 / 0.2


def test_a_remembered_limit_is_passed_the_sooner_the_older_it_is():
    def seconds_to_double(age):
        run = Line(AdaptiveLimit(0.0, concurrency=32, memory=Memory(rpm=600.0, age=age)), takes_all)
        while run.limit.found.rpm < 1200:
            run.run(run.now + 5)
        return run.now

    fresh, hour, day = (seconds_to_double(age) for age in (60.0, 3600.0, 86_400.0))
    assert fresh > 3 * hour > 3 * day
    assert day < 20
