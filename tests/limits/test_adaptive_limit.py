"""The pace against tiny servers with limits it does not know, in simulated time."""

import heapq
import math
import random
from collections import Counter, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arkbatch.core.types import Scope
from arkbatch.limits.adaptive_limit import Pace
from arkbatch.limits.ramp import Memory, Ramp, Start

NEVER = 10**9


class Granting:
    """A server that grants `limit` calls in each `window` seconds and says Retry-After in whole seconds."""

    def __init__(self, limit, window=1.0, *, sliding, offset=0.0, says_when=True):
        self.limit, self.window, self.sliding = limit, window, sliding
        self.offset, self.says_when = offset, says_when
        self.granted = deque()
        self.taken = 0
        self.refused = 0

    def ask(self, now):
        """None when granted, else seconds to wait (0 when it does not say)."""
        begin = now - self.window if self.sliding else now - (now + self.offset) % self.window
        while self.granted and self.granted[0] < begin + (1e-9 if self.sliding else 0):
            self.granted.popleft()
        if len(self.granted) < self.limit:
            self.granted.append(now)
            return None
        self.refused += 1
        if not self.limit:
            return 0
        opens = self.granted[0] + self.window if self.sliding else begin + self.window
        return math.ceil(opens - now) if self.says_when else 0


class Places:
    """A server that takes so many calls at once."""

    def __init__(self, places):
        self.places, self.taken, self.refused = places, 0, 0

    def ask(self, now):
        if self.taken >= self.places:
            self.refused += 1
            return 0
        self.taken += 1
        return None


class ChangingPlaces(Places):
    """Takes so many calls at once, and another number from some time on; counts from then."""

    def __init__(self, before, after, when):
        super().__init__(before)
        self.after, self.when, self.granted = after, when, []

    def ask(self, now):
        if now >= self.when and self.places != self.after:
            self.places, self.refused = self.after, 0
        verdict = super().ask(now)
        if verdict is None:
            self.granted.append(now)
        return verdict

    def share(self, begin, end, latency):
        """Of what it would grant in that time, had it never been without a call too few."""
        return sum(begin <= time < end for time in self.granted) / ((end - begin) / latency * self.places)


class Steep:
    """A server that refuses more than 20 % above what it had three minutes ago, from 700 a minute on."""

    def __init__(self):
        self.calls, self.taken, self.refused = Counter(), 0, 0

    def ask(self, now):
        third = int(now // 20)
        self.calls[third] += 1
        if self.minute(third) <= max(700, 1.2 * self.minute(third - 9) + 50):
            return None
        self.refused += 1
        return 0

    def minute(self, third):
        return sum(self.calls[third - back] for back in range(3))


def drive(
    pace,
    server,
    *,
    rows=NEVER,
    concurrency,
    latency=(0.05, 0.3),
    refusal=None,
    seed=0,
    start=1000.0,
    until=math.inf,
    scope=Scope.RATE,
):
    """Every row is sent until it is granted, or until the time is over; returns the seconds it took."""
    chance = random.Random(seed)
    now, left, in_flight, ends, turn = start, rows, 0, [], 0
    while (left or in_flight) and now < until:
        wait = pace.ready_in(now, in_flight) if left and in_flight < concurrency else math.inf
        if wait == 0:
            pace.sent(now)
            verdict = server.ask(now)
            turn += 1
            seconds = chance.uniform(*(latency if verdict is None or refusal is None else refusal))
            heapq.heappush(ends, (now + seconds, turn, now, verdict))
            left, in_flight = left - 1, in_flight + 1
        elif ends and ends[0][0] <= now + wait:
            now, _, sent_at, verdict = heapq.heappop(ends)
            in_flight -= 1
            if verdict is None:
                pace.answered(now)
                server.taken -= 1
            else:
                pace.pushed_back(now, scope, verdict or None, sent_at)
                left += 1
        else:
            now += wait
    return now - start


@pytest.mark.parametrize("latency", [(0.05, 0.3), (0.01, 0.02)], ids=["slow", "quick"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sliding", [True, False], ids=["sliding", "fixed"])
def test_twenty_a_second_is_found_and_used(sliding, seed, latency):
    """400 rows, 32 at once, no limit given: 95 % of the quota used and fewer than 20 refusals."""
    server = Granting(20, sliding=sliding)
    seconds = drive(Pace(1000.0, concurrency=32), server, rows=400, concurrency=32, seed=seed, latency=latency)
    assert server.refused < 20
    assert 400 / seconds >= 0.95 * 20


def test_a_server_that_never_complains_is_not_slowed():
    """Five thousand calls of 2 ms at 64 in flight take hardly longer than the calls themselves."""
    server = Granting(math.inf, sliding=False)
    seconds = drive(Pace(1000.0, concurrency=64), server, rows=5000, concurrency=64, latency=(0.002, 0.002))
    assert seconds < 1.25 * 5000 / 64 * 0.002


def sent(pace, now, number=1):
    for _ in range(number):
        pace.sent(now)


@pytest.mark.parametrize("latency", [0.1, 1.0, 60.0])
def test_a_large_concurrency_is_open_within_seconds(latency):
    """From 12 calls at once to 500 in 17 seconds, however long a call lasts."""
    pace = Pace(1000.0, concurrency=500)
    drive(pace, Granting(math.inf, sliding=False), concurrency=500, latency=(latency, latency), until=1017.0)
    assert pace.ready_in(1017.1, 499) == 0


@pytest.mark.parametrize("rpm", [7, 60, 600, 30_000])
def test_a_given_rate_is_used_up_and_never_exceeded(rpm):
    server = Granting(math.inf, window=60.0, sliding=True)
    seconds = 6000.0 if rpm < 100 else 120.0
    pace = Pace(1000.0, concurrency=1000, rate=rpm)
    drive(pace, server, concurrency=1000, latency=(0.2, 0.4), until=1000.0 + seconds)
    times = list(server.granted)
    drive_window = [end for begin, end in zip(times, times[rpm:], strict=False) if end - begin < 60.0]
    assert drive_window == []
    assert len(times) >= 0.97 * min(rpm * seconds / 60, rpm)


def test_a_refusal_shuts_everyone_out_for_as_long_as_the_server_says():
    pace = Pace(1000.0, concurrency=8)
    sent(pace, 1000.0, 5)
    pace.pushed_back(1000.2, Scope.RATE, 7.0, 1000.0)
    assert pace.ready_in(1000.3, 4) == pytest.approx(6.9)
    assert pace.ready_in(1007.2, 4) == 0


def test_calls_under_way_when_the_door_shut_are_no_new_evidence():
    """Thirty refusals of one burst mean the same as one of them."""
    one, thirty = Pace(1000.0, concurrency=64), Pace(1000.0, concurrency=64)
    for pace, times in ((one, 1), (thirty, 30)):
        sent(pace, 1000.0, 20)
        sent(pace, 1000.1, times)
        for step in range(times):
            pace.pushed_back(1000.3 + step / 100, Scope.RATE, 1.0, 1000.1)
        pace.sent(1001.4)
    assert thirty.ready_in(1001.4, 1) == one.ready_in(1001.4, 1)
    assert thirty.found.rpm == pytest.approx(one.found.rpm) == pytest.approx(20 * 60, rel=0.03)


def test_but_a_longer_wait_that_one_of_them_asks_for_is_kept():
    pace = Pace(1000.0, concurrency=8)
    sent(pace, 1000.0, 2)
    pace.pushed_back(1000.2, Scope.RATE, 1.0, 1000.0)
    pace.pushed_back(1000.3, Scope.RATE, 30.0, 1000.0)
    assert pace.ready_in(1001.0, 0) > 28


def test_a_server_that_names_no_time_is_tried_with_one_call():
    pace = Pace(1000.0, concurrency=8)
    sent(pace, 1000.0, 3)
    pace.pushed_back(1000.2, Scope.RATE, None, 1000.0)
    assert pace.ready_in(1001.7, 2) == 0
    pace.sent(1001.7)
    assert pace.ready_in(1001.7, 3) > 0


def test_a_cut_to_a_third_is_measured_not_halved():
    """Over a sliding minute the first new rate is within three tenths of the new limit."""
    server = Granting(600, window=60.0, sliding=True, says_when=False)
    pace = Pace(1000.0, concurrency=200)
    drive(pace, server, concurrency=200, until=1400.0)
    server.limit = 200
    drive(pace, server, concurrency=200, start=1400.0, until=1470.0)
    assert pace.found.rpm == pytest.approx(200, rel=0.3)


def test_a_raised_limit_is_found_within_five_minutes():
    server = Granting(200, window=60.0, sliding=True, says_when=False)
    pace = Pace(1000.0, concurrency=200)
    drive(pace, server, concurrency=200, until=1400.0)
    server.limit = 600
    drive(pace, server, concurrency=200, start=1400.0, until=1700.0)
    last_minute = sum(1640.0 <= time < 1700.0 for time in server.granted)
    assert last_minute >= 0.9 * 600


def test_a_rate_that_no_row_waited_for_does_not_rise():
    """One call at a time cannot try a rate of 600 a minute, so nothing is known of more."""
    pace = Pace(1000.0, concurrency=1, start=Start(rpm=600))
    before = pace.found.rpm
    drive(pace, Granting(math.inf, sliding=False), concurrency=1, latency=(2.0, 2.0), until=3000.0)
    assert pace.found.rpm == before


def test_calls_in_flight_that_were_not_refused_are_what_the_service_takes():
    server = Places(50)
    pace = Pace(1000.0, concurrency=300)
    drive(pace, server, concurrency=300, latency=(5.0, 9.0), until=1060.0, scope=Scope.CONCURRENCY)
    assert pace.found.concurrency == pytest.approx(50, abs=5)
    assert pace.found.rpm is None


LONG_CALLS = {"concurrency": 300, "latency": (2.0, 12.0), "refusal": (0.1, 0.3), "scope": Scope.CONCURRENCY}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("places", [1, 2, 3, 4, 5])
def test_a_cut_to_a_few_places_is_measured_exactly_and_all_of_them_are_used(places, seed):
    """In the half hour after the cut nine tenths are used, with a refusal every minute and a half at most."""
    server = ChangingPlaces(10, places, when=1300.0)
    pace = Pace(1000.0, concurrency=300)
    drive(pace, server, **LONG_CALLS, seed=seed, until=3100.0)
    assert server.share(1360.0, 3100.0, 7.0) > 0.9
    assert server.refused <= 20


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("places", [2, 4])
def test_from_a_few_places_to_many_it_climbs_within_five_minutes(places, seed):
    server = ChangingPlaces(places, 15, when=1600.0)
    pace = Pace(1000.0, concurrency=300)
    drive(pace, server, **LONG_CALLS, seed=seed, until=1960.0)
    assert server.share(1900.0, 1960.0, 7.0) > 0.85


def test_the_call_that_finds_the_door_open_is_not_one_too_many():
    """Fourteen of fifteen calls were taken; when the try was taken too, there is room for no other."""
    pace = Pace(1000.0, concurrency=64, memory=Memory(concurrency=16))
    sent(pace, 1000.0, 15)
    pace.pushed_back(1000.1, Scope.CONCURRENCY, None, 1000.0)
    pace.answered(1001.0)
    pace.sent(1002.0)
    assert pace.ready_in(1003.0, 14) == math.inf
    assert pace.found.concurrency == 14


def test_an_outage_says_nothing_about_the_limit():
    """Half an hour of refusals costs half the rate for a minute, and a call every half minute."""
    server = Granting(600, window=60.0, sliding=True, says_when=False)
    pace = Pace(1000.0, concurrency=200)
    drive(pace, server, concurrency=200, until=1400.0)
    refused, server.limit = server.refused, 0
    drive(pace, server, concurrency=200, start=1400.0, until=3200.0, scope=Scope.CONCURRENCY)
    assert server.refused - refused < 90
    server.limit = 600
    drive(pace, server, concurrency=200, start=3200.0, until=3400.0)
    assert sum(3340.0 <= time < 3400.0 for time in server.granted) >= 0.88 * 600


def test_after_an_outage_a_small_number_of_places_is_not_exceeded():
    server = Places(4)
    pace = Pace(1000.0, concurrency=300)
    drive(pace, server, concurrency=300, latency=(5.0, 9.0), until=1100.0, scope=Scope.CONCURRENCY)
    found = pace.found.concurrency
    for _ in range(found):
        pace.sent(1200.0)
    for now in range(1200, 1300):
        if pace.ready_in(now, 0) == 0:
            pace.sent(now)
            pace.pushed_back(now + 0.1, Scope.CONCURRENCY, None, now)
    assert pace.found.concurrency <= found


def test_ark_is_begun_as_it_advises():
    """Ten calls a second at first, and 10 % more every ten seconds."""
    server = Granting(math.inf, window=NEVER, sliding=False)
    pace = Pace(1000.0, concurrency=1000, ramp=Ramp(), start=Start(rpm=30_000))
    drive(pace, server, concurrency=1000, until=1060.0)
    first = sum(time < 1005.0 for time in server.granted)
    last = sum(time >= 1055.0 for time in server.granted)
    assert first == pytest.approx(52, abs=4)
    assert last / first == pytest.approx(1.1**5.5, rel=0.1)


def test_who_is_refused_for_rising_steeply_rises_slower():
    """Twenty minutes at a service that takes +20 % in three minutes: on it goes, with few refusals."""
    server = Steep()
    pace = Pace(1000.0, concurrency=1000, ramp=Ramp())
    drive(pace, server, concurrency=1000, latency=(2.0, 12.0), until=2200.0, scope=Scope.CONCURRENCY)
    assert server.refused < 0.01 * sum(server.calls.values())
    assert server.minute(2190 // 20) > 1.4 * 600


@pytest.mark.parametrize(
    ("age", "share"), [(60.0, 0.95), (3 * 3600.0, 0.7), (8 * 86_400.0, None)], ids=["fresh", "old", "forgotten"]
)
def test_what_an_earlier_session_found_is_where_the_next_begins(age, share):
    pace = Pace(1000.0, concurrency=64, memory=Memory(rpm=1200, age=age))
    assert pace.found.rpm == (None if share is None else pytest.approx(1200 * share))


def test_a_fresh_memory_spares_the_ramp():
    ramp, memory = Ramp(), Memory(rpm=3000, age=30.0)
    assert Pace(1000.0, concurrency=64, ramp=ramp, memory=memory).found.rpm == pytest.approx(2850)
    assert Pace(1000.0, concurrency=64, ramp=ramp, memory=Memory(rpm=3000, age=7200.0)).found.rpm == 600


def test_only_limits_that_were_met_are_remembered():
    assert Pace(1000.0, concurrency=64, start=Start(rpm=500)).memory() == Memory()
    pace = Pace(1000.0, concurrency=64)
    drive(pace, Granting(20, sliding=True), rows=60, concurrency=64)
    assert pace.memory().rpm == pytest.approx(1200, rel=0.03)


def test_limits_that_the_server_sends_are_kept():
    """Six calls are left of this minute, and thirty seconds."""
    pace = Pace(1000.0, concurrency=64)
    pace.told(1000.0, remaining=6, reset=30.0)
    server = Granting(math.inf, window=NEVER, sliding=False)
    drive(pace, server, concurrency=64, until=1030.0)
    assert 6 <= len(server.granted) <= 7


def test_it_says_why():
    pace = Pace(1000.0, concurrency=64)
    assert pace.reason == "no limit met so far"
    drive(pace, Granting(20, sliding=True), rows=60, concurrency=64)
    assert pace.reason == "the service refused more than 1200 calls a minute"


STEPS = st.lists(
    st.tuples(
        st.floats(0.0, 40.0),
        st.sampled_from(["send", "answer", "rate", "concurrency"]),
        st.none() | st.floats(0.1, 90.0),
    ),
    max_size=60,
)


@given(STEPS, st.none() | st.integers(1, 6000), st.booleans())
def test_it_never_locks_up_and_never_passes_its_ceilings(steps, rpm, ramps):
    """Whatever happens, a call may start after a finite time when none is in flight."""
    pace = Pace(0.0, concurrency=9, rate=rpm, ramp=Ramp() if ramps else None)
    now, under_way = 0.0, []
    for seconds, what, after in steps:
        now += seconds
        if what == "send" and len(under_way) < 9:
            if pace.ready_in(now, len(under_way)) == 0:
                pace.sent(now)
                under_way.append(now)
        elif under_way and what == "answer":
            under_way.pop(0)
            pace.answered(now)
        elif under_way and what != "send":
            pace.pushed_back(now, Scope(what), after, under_way.pop())
        assert 0 <= pace.ready_in(now, 0) < 120 + 60 * 60
        assert pace.ready_in(now, 9) == math.inf
        assert rpm is None or pace.found.rpm <= rpm
        assert (pace.found.concurrency or 1) in range(1, 10)


def calls_in(pace, begin, seconds, in_flight=1):
    """How many calls may start one after the other, each answered at once."""
    now, end, calls = begin, begin + seconds, 0
    while now < end:
        wait = pace.ready_in(now, in_flight)
        if wait:
            now += wait
            continue
        pace.sent(now)
        pace.answered(now)
        calls += 1
        now += 0.001
    return calls


@pytest.mark.parametrize(("before", "after"), [(600.0, 60.0), (1.0, 600.0), (None, 120.0), (60.0, None)])
def test_another_rate_holds_at_once(before, after):
    pace = Pace(0.0, concurrency=1000, rate=before)
    calls_in(pace, 0.0, 30.0)
    pace.allow_rate(30.0, after)
    allowed = math.inf if after is None else after / 6 * 0.995 + 2
    assert 0.9 * min(allowed, 9_000) - 1 <= calls_in(pace, 30.0, 10.0) <= allowed


def test_a_raised_rate_stays_below_what_the_service_refused():
    pace = Pace(0.0, concurrency=1000, rate=600.0)
    calls_in(pace, 0.0, 60.0)
    pace.sent(60.0)
    pace.pushed_back(60.0, Scope.RATE, 1.0, 60.0)
    calls_in(pace, 61.0, 10.0)
    found = pace.found.rpm
    pace.allow_rate(71.0, 6_000.0)
    assert pace.found.rpm == pytest.approx(found)


def test_without_a_given_rate_it_climbs_where_the_service_minds_steep_traffic():
    pace = Pace(0.0, concurrency=1000, rate=600.0)
    calls_in(pace, 0.0, 30.0)
    pace.allow_rate(30.0, None, Ramp())
    calls_in(pace, 30.0, 10.0)
    assert 600 < pace.found.rpm < 700


def test_a_given_rate_goes_over_what_was_published():
    pace = Pace(0.0, concurrency=1000, ramp=Ramp(), start=Start(rpm=500.0))
    pace.allow_rate(0.0, 3_000.0)
    assert pace.found.rpm == pytest.approx(3_000 * 0.995)


def test_fewer_calls_at_once_hold_at_once_and_more_are_reached_by_and_by():
    pace = Pace(0.0, concurrency=8)
    calls_in(pace, 0.0, 1.0)
    pace.allow_at_once(4)
    assert pace.ready_in(1.0, 4) == math.inf
    assert pace.ready_in(1.0, 3) == 0
    pace.allow_at_once(100)
    calls_in(pace, 1.0, 2.0)
    assert pace.ready_in(3.0, 99) == 0


def test_after_a_long_rest_the_ramp_begins_anew():
    pace = Pace(0.0, concurrency=1000, ramp=Ramp(), start=Start(rpm=6_000.0))
    calls_in(pace, 0.0, 200.0)
    assert pace.found.rpm > 2_000
    short = pace.found.rpm
    pace.rested(260.0)
    assert pace.found.rpm == short
    pace.rested(4_000.0)
    assert pace.found.rpm == 600


@pytest.mark.parametrize(("away", "rpm"), [(60.0, None), (1200.0, 600)], ids=["short", "long"])
def test_after_a_long_outage_the_ramp_begins_anew(away, rpm):
    pace = Pace(0.0, concurrency=1000, ramp=Ramp(), start=Start(rpm=6_000.0))
    calls_in(pace, 0.0, 200.0)
    before = pace.found.rpm
    assert before > 2_000
    pace.came_back(200.0 + away, away)
    assert pace.found.rpm == (rpm or before)


def test_an_outage_is_no_reason_to_ramp_where_nobody_minds_steep_traffic():
    pace = Pace(0.0, concurrency=1000, rate=6_000.0)
    calls_in(pace, 0.0, 200.0)
    pace.came_back(1400.0, 1200.0)
    assert pace.found.rpm == pytest.approx(6_000 * 0.995)


def test_a_try_waits_until_one_of_too_many_calls_has_ended():
    """Four calls at once were too many; while all of them last, a fifth is refused however often it is tried."""
    pace = Pace(1000.0, concurrency=64)
    sent(pace, 1000.0, 5)
    pace.pushed_back(1000.1, Scope.CONCURRENCY, None, 1000.0)
    assert pace.ready_in(1100.0, 4) == math.inf
    pace.answered(1100.0)
    assert pace.ready_in(1100.0, 3) == 0


def test_a_burst_that_a_minute_refused_shows_its_limit_however_long_the_tries_took():
    server = Granting(180, window=60.0, sliding=True, says_when=False)
    pace = Pace(1000.0, concurrency=400)
    drive(pace, server, concurrency=400, until=1100.0)
    assert pace.found.rpm == pytest.approx(180, rel=0.1)


def test_what_was_missed_while_a_named_time_ran_is_caught_up_faster_and_never_over_a_given_rate():
    fastest = {}
    for rate in (None, 600.0):
        pace = Pace(0.0, concurrency=1000, rate=rate, start=Start(rpm=500.0))
        calls_in(pace, 0.0, 60.0)
        pace.pushed_back(60.0, Scope.RATE, 9.0, 60.0)
        calls_in(pace, 60.0, 9.1)
        fastest[rate] = calls_in(pace, 69.2, 10.0) * 6 / pace.found.rpm
    assert 1.1 < fastest[None] < 1.3
    assert fastest[600.0] * pace.found.rpm <= 606


@pytest.mark.parametrize("scope", [Scope.RATE, Scope.CONCURRENCY])
def test_a_refusal_alone_among_thousands_of_calls_shows_no_limit(scope):
    pace, refused = fast(4000, refuse={3000}, scope=scope)
    assert (pace.found.concurrency, pace.found.rpm, refused) == (None, None, 1)


@pytest.mark.parametrize("scope", [Scope.RATE, Scope.CONCURRENCY])
def test_two_refusals_near_each_other_do(scope):
    pace, refused = fast(4000, refuse={3000, 3700}, scope=scope)
    assert refused == 2
    assert (pace.found.concurrency if scope is Scope.CONCURRENCY else pace.found.rpm) is not None


def fast(calls, *, refuse, scope):
    """So many calls at 300 a second, each of a tenth of one; those of these numbers are refused."""
    pace, now, under_way, refused = Pace(0.0, concurrency=256), 0.0, deque(), 0
    for number in range(calls):
        now += 1 / 300
        while under_way and under_way[0][0] + 0.1 <= now:
            sent_at, no = under_way.popleft()
            if no in refuse:
                pace.pushed_back(now, scope, None, sent_at)
                refused += 1
            else:
                pace.answered(now)
        now += pace.ready_in(now, len(under_way)) if pace.ready_in(now, len(under_way)) < math.inf else 0.0
        pace.sent(now)
        under_way.append((now, number))
    return pace, refused


def test_a_limit_that_was_left_behind_is_not_remembered():
    """A cut that passed would otherwise hold back every session after it."""
    pace = Pace(0.0, concurrency=1000, memory=Memory(rpm=600.0, age=60.0))
    assert pace.memory().rpm == 600
    calls_in(pace, 0.0, 400.0)
    assert pace.found.rpm > 1200
    assert pace.memory().rpm == pytest.approx(pace.found.rpm)
