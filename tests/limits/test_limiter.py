"""The limiter: in order, within the limits, nothing lost by those who give up, and closed at once."""

import asyncio
import math
import random
from collections import deque

import pytest
from builders import row
from hypothesis import example, given, settings
from hypothesis import strategies as st
from virtual import run_virtual

from arkbatch.core.calls import Again, CallResult, Cause, Done, Kind, Reply, Scope
from arkbatch.core.row import Size
from arkbatch.limits.fixed_limit import FixedLimit
from arkbatch.limits.limiter import Limiter
from arkbatch.limits.permit import Demand
from arkbatch.limits.rate_meter import LimitedBy
from arkbatch.limits.token_estimator import Estimator
from arkbatch.limits.token_rate import TokenRate
from arkbatch.limits.token_split import Tokens
from arkbatch.limits.wait_queue import PATIENCE

LIMIT = 100_000
ROW = row(1)


class PlainLimiter(Limiter):
    """A limiter that is asked for so many tokens and told how many were used."""

    async def admit(self, amount, row=ROW):
        return await self.acquire(Demand(row, Size(0, 0), Tokens(amount), Estimator()))

    def answered(self, permit, used):
        self.release(permit, CallResult(Reply(200, b"", {}, 0.0), Done({"output": used})))

    def push_back(self, permit, scope, after):
        verdict = Again(Cause(Kind.RATE_LIMITED, "", ""), scope, after)
        self.release(permit, CallResult(Reply(429, b"", {}, 0.0), verdict))


def now():
    return asyncio.get_running_loop().time()


def open_limiter(*, rpm=None, tpm=None, pace=None, concurrency=100):
    return PlainLimiter(
        concurrency=concurrency,
        requests_per_minute=rpm,
        tokens=None if tpm is None else TokenRate(tpm, now()),
        pace=pace,
    )


class Narrow(FixedLimit):
    """So many at once; like the real one, it is asked with the calls in flight."""

    def __init__(self, width):
        super().__init__(width)
        self.note_headers = []

    def note_grant(self, now, permit):
        self.note_headers.append("answered")

    def note_refusal(self, now, permit, scope, after):
        self.note_headers.append((scope, after, now - permit.at))
        return after


class Shut(FixedLimit):
    def __init__(self, until):
        super().__init__(1000)
        self.until = until

    def ready_in(self, now, in_flight):
        return max(self.until - now, 0.0)


async def admit_all(limiter, amounts):
    """All ask at once, in this order; when each was let through."""
    permits = await asyncio.gather(*(limiter.admit(amount) for amount in amounts))
    return [permit.at for permit in permits]


def peak(times, amounts=None, seconds=60.0):
    window, total, most = deque(), 0, 0
    for at, amount in sorted(zip(times, amounts or [1] * len(times), strict=True)):
        window.append((at, amount))
        total += amount
        while window[0][0] < at - seconds:
            total -= window.popleft()[1]
        most = max(most, total)
    return most


def test_an_open_limiter_does_not_yield_to_the_loop():
    async def main():
        limiter, others = open_limiter(rpm=600, tpm=LIMIT), []
        asyncio.get_running_loop().call_soon(others.append, "ran")
        permit = await limiter.admit(10)
        return permit.at == now(), permit.demand.tokens.total, list(others)

    assert run_virtual(main()) == (True, 10, [])


@pytest.mark.parametrize("rpm", [1, 2, 7, 60, 100, 500, 3_000])
def test_requests_never_pass_their_limit_in_any_minute(rpm):
    async def main():
        return await admit_all(open_limiter(rpm=rpm), [1] * (rpm * 3 if rpm < 1000 else 4000))

    times = run_virtual(main())
    assert peak(times, seconds=60.4) <= rpm
    if rpm >= 100:
        assert len(times) - 1 >= 0.97 * rpm * (times[-1] - times[0]) / 60


@pytest.mark.parametrize("rpm", [100, 6_000])
def test_a_minute_of_requests_is_not_a_burst(rpm):
    async def main():
        return await admit_all(open_limiter(rpm=rpm), [1] * rpm)

    times = run_virtual(main())
    assert peak(times, seconds=1.0) <= 1 + rpm / 200 + rpm / 60 + 1


@settings(deadline=None, max_examples=20)
@given(amounts=st.lists(st.integers(1, LIMIT), min_size=1, max_size=30))
def test_tokens_never_pass_their_limit_in_any_minute(amounts):
    async def main():
        return await admit_all(open_limiter(tpm=LIMIT), amounts)

    assert peak(run_virtual(main()), amounts) <= LIMIT


def test_calls_of_one_size_are_served_in_the_order_of_coming():
    async def main():
        return await admit_all(open_limiter(rpm=100, tpm=LIMIT), [1000] * 300)

    times = run_virtual(main())
    assert times == sorted(times)


def test_smaller_calls_pass_a_large_one_that_does_not_fit_yet_but_not_for_ever():
    async def main():
        limiter = open_limiter(tpm=LIMIT)
        await admit_all(limiter, [LIMIT // 100] * 100)  # the minute is used up
        began = now()
        times = await admit_all(limiter, [LIMIT // 10] + [LIMIT // 200] * 4000)
        return times[0] - began, sum(time < times[0] for time in times)

    waited, passed = run_virtual(main())
    assert passed > 10
    assert waited < PATIENCE * 6.1 + 7


def test_rows_of_very_different_size_use_97_percent_and_none_starves():
    """The line never takes more than 1 + PATIENCE times as long as in strict order."""

    async def main():
        limiter, chance, waits, granted = open_limiter(tpm=LIMIT), random.Random(1), [], []

        async def worker():
            while True:
                amount, asked = round(math.exp(chance.uniform(math.log(100), math.log(30_000)))), now()
                permit = await limiter.admit(amount)
                if permit is None:
                    return
                waits.append(permit.at - asked)
                granted.append((permit.at, amount))
                limiter.abandon_call(permit)

        async with asyncio.TaskGroup() as group:
            for _ in range(60):
                group.create_task(worker())
            await asyncio.sleep(3600)
            limiter.close()
        return waits, granted

    waits, granted = run_virtual(main())
    assert sum(amount for _, amount in granted) >= 0.97 * LIMIT * 60
    assert peak(*zip(*granted, strict=True)) <= LIMIT
    in_strict_order = 60 * 60 * 0.1  # s; so many in line, of 5 % of a minute on average, but the large ones gather
    assert max(waits) < (1 + PATIENCE) * in_strict_order


def test_who_gives_up_waiting_takes_nothing_along():
    async def main():
        limiter = open_limiter(tpm=LIMIT, pace=(pace := Narrow(1)))
        first = await limiter.admit(10)
        lost, kept = (asyncio.ensure_future(limiter.admit(amount)) for amount in (LIMIT, 20))
        await asyncio.sleep(1)
        lost.cancel()
        limiter.answered(first, 10)
        permit = await kept
        return permit.demand.tokens.total, limiter.in_flight, limiter.waiting, pace.note_headers

    assert run_virtual(main()) == (20, 1, 0, ["answered"])


def test_who_is_called_and_cancelled_in_the_same_step_passes_the_turn_on():
    async def main():
        limiter = open_limiter(pace=Narrow(1))
        permit = await limiter.admit(1)
        first, second = (asyncio.ensure_future(limiter.admit(1)) for _ in range(2))
        await asyncio.sleep(1)
        limiter.abandon_call(permit)
        asyncio.get_running_loop().call_soon(first.cancel)  # after the limiter rang, before the first has come
        await asyncio.wait_for(second, 5)
        return first.cancelled(), limiter.in_flight

    assert run_virtual(main()) == (True, 1)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000))
def test_any_cancellations_lose_no_permit_and_no_place(seed):
    async def main():
        chance, limiter = random.Random(seed), open_limiter(rpm=3_000, tpm=LIMIT, pace=Narrow(5))

        async def worker():
            permit = await limiter.admit(chance.randint(1, LIMIT // 20))
            try:
                await asyncio.sleep(chance.random())
            except asyncio.CancelledError:
                limiter.abandon_call(permit)
                raise
            limiter.answered(permit, chance.randint(0, LIMIT // 20))

        workers = [asyncio.ensure_future(worker()) for _ in range(40)]
        for each in chance.sample(workers, 20):
            await asyncio.sleep(chance.random() / 4)
            each.cancel()
        await asyncio.wait(workers, timeout=600)
        return all(each.done() for each in workers), limiter.in_flight, limiter.waiting

    assert run_virtual(main()) == (True, 0, 0)


@pytest.mark.parametrize("kind", [{"rpm": 1}, {"tpm": 10}, {"pace": Narrow(0)}, {"pace": Shut(math.inf)}])
def test_closing_sends_all_who_wait_back_at_once(kind):
    async def main():
        limiter = open_limiter(**kind)
        if not isinstance(kind.get("pace"), FixedLimit):
            await limiter.admit(10)
        waiting = [asyncio.ensure_future(limiter.admit(10)) for _ in range(20)]
        await asyncio.sleep(0.1)
        limiter.close()
        began = now()
        permits = await asyncio.gather(*waiting)
        return set(permits), now() - began, await limiter.admit(1), limiter.waiting

    assert run_virtual(main()) == ({None}, 0, None, 0)


def test_a_refund_lets_the_next_go_before_its_time():
    async def main():
        limiter = open_limiter(tpm=LIMIT)
        permit = await limiter.admit(LIMIT)
        following = asyncio.ensure_future(limiter.admit(LIMIT // 2))
        await asyncio.sleep(2)
        limiter.answered(permit, 100)
        return (await following).at - permit.at

    assert run_virtual(main()) == pytest.approx(2, abs=0.01)


def test_the_pace_hears_what_became_of_each_call():
    async def main():
        limiter = open_limiter(pace=(pace := Narrow(9)))
        permit = await limiter.admit(1)
        await asyncio.sleep(3)
        limiter.push_back(permit, Scope.RATE, 7.0)
        return pace.note_headers

    assert run_virtual(main()) == [(Scope.RATE, 7.0, 3.0)]


def test_a_shut_pace_lets_through_when_its_time_is_over():
    async def main():
        began = now()
        times = await admit_all(open_limiter(pace=Shut(began + 30)), [1] * 50)
        return {round(time - began, 2) for time in times}

    assert run_virtual(main()) == {30.0}


async def work(limiter, workers, seconds, latency=1.0, rest=0.0):
    """Workers for so long; what the limiter says at the end."""

    async def worker():
        while permit := await limiter.admit(1000):
            await asyncio.sleep(latency)
            limiter.answered(permit, 1000)
            await asyncio.sleep(rest)

    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(worker())
        await asyncio.sleep(seconds)
        said = limiter.limited_by(), limiter.requests_per_minute(), limiter.tokens_per_minute()
        limiter.close()
    return said


@pytest.mark.parametrize(
    ("limiter", "rest", "bound"),
    [
        ({"rpm": 120, "tpm": 10**7}, 0, LimitedBy.REQUESTS),
        ({"rpm": 10_000, "tpm": 100_000}, 0, LimitedBy.TOKENS),
        ({"rpm": 10_000, "pace": Narrow(3)}, 0, LimitedBy.SERVER),
        ({"rpm": 10_000, "tpm": 10**7}, 0, LimitedBy.CONCURRENCY),
        ({"rpm": 10_000, "tpm": 10**7}, 3, LimitedBy.INPUT),
    ],
)
def test_it_knows_what_the_run_is_bound_by(limiter, rest, bound):
    async def main():
        return (await work(open_limiter(**limiter, concurrency=10), 10, 45.5, rest=rest))[0]

    assert run_virtual(main()) is bound


@pytest.mark.parametrize("seconds", [20.5, 200.5])
def test_it_knows_the_requests_and_tokens_of_the_last_minute(seconds):
    async def main():
        return await work(open_limiter(), 10, seconds)

    _, requests, tokens = run_virtual(main())
    assert requests == pytest.approx(600, rel=0.06)
    assert tokens == pytest.approx(600_000, rel=0.06)


def test_a_hold_lets_nobody_through_until_all_are_released():
    async def main():
        limiter, went = open_limiter(), []

        async def call(number):
            permit = await limiter.admit(1)
            went.append((number, permit.at))
            limiter.answered(permit, 1)

        await call(0)
        limiter.pause("paused")
        limiter.pause("outside of 22:00-08:00")
        async with asyncio.TaskGroup() as group:
            for number in (1, 2, 3):
                group.create_task(call(number))
            await asyncio.sleep(100)
            limiter.resume("paused")
            await asyncio.sleep(50)
            assert [number for number, _ in went] == [0]
            assert (limiter.limited_by(), limiter.reason, limiter.waiting) == (
                LimitedBy.HELD,
                "outside of 22:00-08:00",
                3,
            )
            limiter.resume("outside of 22:00-08:00")
            assert limiter.limited_by() is not LimitedBy.HELD
        return went[0][1], [at for _, at in went[1:]], limiter.paused_seconds(now()), dict(limiter.pauses)

    began, after, held, holds = run_virtual(main())
    assert after == [began + 150] * 3
    assert (held, holds) == (150.0, {})


def test_a_hold_that_is_held_twice_or_released_without_being_held_changes_nothing():
    async def main():
        limiter = open_limiter()
        limiter.pause("paused")
        await asyncio.sleep(10)
        limiter.pause("paused")
        limiter.resume("never held")
        assert limiter.pauses == {"paused": now() - 10}
        limiter.resume("paused")
        limiter.resume("paused")
        await asyncio.sleep(10)
        return (await limiter.admit(1)) is not None, limiter.paused_seconds(now())

    assert run_virtual(main()) == (True, 10.0)


def test_calls_in_flight_end_while_the_limiter_is_held():
    async def main():
        limiter = open_limiter()
        permit = await limiter.admit(1)
        limiter.pause("paused")
        limiter.answered(permit, 1)
        return limiter.in_flight

    assert run_virtual(main()) == 0


def test_a_paused_limiter_can_be_closed():
    async def main():
        limiter = open_limiter()
        limiter.pause("paused")
        waiting = asyncio.ensure_future(limiter.admit(1))
        await asyncio.sleep(5)
        limiter.close()
        return await waiting

    assert run_virtual(main()) is None


def test_a_rest_is_told_to_the_pace_and_taken_off_an_outage():
    class Told(FixedLimit):
        rests = ()

        def end_pause(self, now):
            self.rests += (now,)

    async def main():
        pace = Told()
        limiter = open_limiter(pace=pace)
        limiter.pause("paused")
        await asyncio.sleep(7)
        limiter.resume("paused")
        return pace.rests == (now(),), limiter.circuit_breaker.away_seconds(now())

    assert run_virtual(main()) == (True, 0.0)


def test_the_pace_is_told_how_long_the_service_was_away():
    class Told(FixedLimit):
        back = ()

        def came_back(self, now, away):
            self.back += (away,)

    async def one(limiter, number, verdict, seconds):
        permit = await limiter.admit(1, row(number))
        await asyncio.sleep(seconds)
        limiter.release(permit, CallResult(Reply(200, b"", {}, 0.0), verdict))

    async def main():
        pace = Told()
        limiter = open_limiter(pace=pace, concurrency=3)
        for number in range(3):
            await one(limiter, number, Again(Cause(Kind.CONNECTION, "connect", "")), 0.1)
        assert limiter.circuit_breaker.is_away
        for number in range(3, 8):
            await one(limiter, number, Done({}), 50.0)
        return pace.back, limiter.circuit_breaker.is_away

    back, is_away = run_virtual(main())
    assert not is_away
    assert back == (pytest.approx(52.0, abs=1.0),)


@pytest.mark.parametrize("limit", [{"rpm": 120}, {"tpm": 6_000}])
def test_what_a_hold_kept_back_is_not_caught_up_afterwards(limit):
    async def main():
        limiter = open_limiter(**limit)
        waiting = [asyncio.ensure_future(limiter.admit(50)) for _ in range(400)]
        await asyncio.sleep(30)
        limiter.pause("paused")
        await asyncio.sleep(90)
        limiter.resume("paused")
        return sorted(permit.at for permit in await asyncio.gather(*waiting))

    assert peak(run_virtual(main())) <= 120


async def under_changes(limiter, changes, seconds, *, amount=lambda: 1, rest=0.05, workers=30):
    """Calls that are always there while limits change; (when, tokens) of each, in order."""
    went = []

    async def worker():
        while True:
            permit = await limiter.admit(amount())
            if permit is None:
                return
            went.append((permit.at, permit.demand.tokens.total))
            await asyncio.sleep(rest)
            limiter.answered(permit, permit.demand.tokens.total)

    async def change():
        began = now()
        for after, limits in changes:
            await asyncio.sleep(max(began + after - now(), 0))
            limiter.change_limits(concurrency=100, **limits)
        await asyncio.sleep(began + seconds - now())
        limiter.close()

    async with asyncio.TaskGroup() as group:
        group.create_task(change())
        for _ in range(workers):
            group.create_task(worker())
    return went


def most_of_the_limit(went, changes, began, seconds=60.4):
    """The largest share of its limit that the minute before any call holds, that call included.

    A call that goes in the moment of a change may have gone before it, or after it: the loop rings a timer up to a
    tick of its clock too early.
    """
    tick = 1e-6
    changes = [(began + after, limit or math.inf) for after, limit in changes]
    window, total, most = deque(), 0, 0.0
    for at, amount in went:
        window.append((at, amount))
        total += amount
        while window[0][0] < at - seconds:
            total -= window.popleft()[1]
        before = [limit for when, limit in changes if when < at - tick][-1:] or [math.inf]
        most = max(most, total / max(*before, *(limit for when, limit in changes if abs(when - at) <= tick), 0))
    return most


limits_in_time = st.lists(
    st.tuples(st.floats(0, 150), st.one_of(st.none(), st.integers(1, 2_000))), min_size=1, max_size=6
).map(lambda changes: [(0.0, 1_000), *sorted(changes, key=lambda change: change[0])])


@settings(deadline=None, max_examples=8)
@given(changes=limits_in_time)
@example(changes=[(0.0, 1_000), (0.0, 50), (5.0, None)])
def test_requests_keep_their_limit_in_any_minute_across_changes_of_it(changes):
    async def main():
        began = now()
        orders = [(after, {"requests_per_minute": limit}) for after, limit in changes]
        return await under_changes(open_limiter(), orders, 220, rest=0.8), began

    went, began = run_virtual(main())
    assert most_of_the_limit(went, changes, began) <= 1


@settings(deadline=None, max_examples=15)
@given(changes=limits_in_time, seed=st.integers(0, 1000))
def test_tokens_keep_their_limit_in_any_minute_across_changes_of_it(changes, seed):
    """Also when none was given at first, and with calls under way."""
    chance = random.Random(seed)
    first, last = None, min(limit or LIMIT for _, limit in changes) * 100 // 10
    changes = [(after, None if limit is None else limit * 100) for after, limit in changes]

    async def main():
        began = now()
        orders = [(after + 70, {"tokens_per_minute": limit}) for after, limit in changes]
        limiter = open_limiter(tpm=first)
        return await under_changes(limiter, orders, 350, amount=lambda: chance.randint(1, last), rest=3.0), began

    went, began = run_virtual(main())
    assert most_of_the_limit(went, [(after + 70, limit) for after, limit in changes], began, 60.0) <= 1


@pytest.mark.parametrize("name", ["requests_per_minute", "tokens_per_minute"])
def test_another_limit_is_used_at_once_in_both_directions(name):
    async def main():
        began = now()
        orders = [(0, {name: 600}), (90, {name: 6_000}), (180, {name: 600})]
        went = await under_changes(open_limiter(), orders, 400)
        return [at - began for at, _ in went]

    went = run_virtual(main())
    assert sum(90 <= at < 92 for at in went) > 150
    assert sum(90 <= at < 180 for at in went) > 0.95 * 9_000
    first = next(at for at in went if at > 180.1)
    assert 225 < first < 242
    assert sum(300 <= at < 400 for at in went) > 0.95 * 1_000


def test_the_limiter_tells_when_a_lower_limit_lets_the_next_call_go():
    async def main():
        limiter = open_limiter(rpm=600)
        await admit_all(limiter, [1] * 300)
        before = limiter.allowed_in()
        limiter.change_limits(concurrency=100, requests_per_minute=60)
        waits, asked = limiter.allowed_in(), now()
        permit = await limiter.admit(1)
        return before, waits, permit.at - asked

    before, said, waited = run_virtual(main())
    assert before < 1
    assert 25 < said <= waited <= said + 1
