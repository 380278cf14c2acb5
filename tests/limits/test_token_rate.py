"""A minute's allowance: never exceeded in any sliding minute, spent evenly, and used up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arkbatch.limits.token_rate import CREDIT_SECONDS, TokenRate, Window

LIMIT = 100_000
START = 1_000.0


def spend_all(budget, amounts, *, idle=(), start=START):
    """Spend each amount as soon as it may go, after its own idle time; when each went."""
    now, spent = start, []
    for index, amount in enumerate(amounts):
        now += idle[index] if index < len(idle) else 0.0
        for _ in range(10):
            wait = budget.ready_in(now, amount)
            if wait == 0:
                break
            now += wait + 1e-9
        assert wait == 0, "it never becomes ready"
        budget.spend_tokens(now, amount)
        spent.append((now, amount))
    return spent


def peak(spent, seconds=60.0):
    """The most of any closed window of so many seconds."""
    return max(sum(amount for at, amount in spent if end - seconds <= at <= end) for end, _ in spent)


sizes = st.integers(0, LIMIT)
mixed = st.one_of(
    st.lists(sizes, min_size=1, max_size=60), st.lists(st.integers(0, LIMIT // 20), min_size=1, max_size=200)
)


@given(amounts=mixed, idle=st.lists(st.floats(0, 90), max_size=60))
def test_no_sliding_minute_spends_more_than_the_limit(amounts, idle):
    assert peak(spend_all(TokenRate(LIMIT, START), amounts, idle=idle)) <= LIMIT


@given(amounts=st.lists(sizes, min_size=1, max_size=40))
def test_every_amount_goes_in_the_end_and_the_whole_in_about_its_time(amounts):
    """At worst each call waits for the draining of a whole window."""
    spent = spend_all(TokenRate(LIMIT, START), amounts)
    assert spent[-1][0] - START <= 61 * len(amounts)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.05, 0.1, 0.25])
def test_steady_demand_uses_97_percent(share):
    amount = int(LIMIT * share)
    spent = spend_all(TokenRate(LIMIT, START), [amount] * int(20 / share))
    minutes = (spent[-1][0] - START) / 60
    assert sum(amount for _, amount in spent[:-1]) >= 0.97 * LIMIT * minutes
    assert peak(spent[-2000:]) <= LIMIT


def test_large_and_small_in_turn_catch_up_what_the_draining_cost():
    spent = spend_all(TokenRate(LIMIT, START), ([LIMIT // 20] + [LIMIT // 1000] * 50) * 40)
    assert sum(amount for _, amount in spent) >= 0.97 * LIMIT * (spent[-1][0] - START) / 60


@pytest.mark.parametrize("seconds", [1, 5, 20])
def test_a_run_begins_without_a_burst(seconds):
    spent = spend_all(TokenRate(LIMIT, START), [LIMIT // 1000] * 2000)
    assert sum(amount for at, amount in spent if at < START + seconds) <= LIMIT * (seconds / 60 + 0.002)


def test_after_idling_no_more_than_the_credit_goes_at_once():
    spent = spend_all(TokenRate(LIMIT, START), [LIMIT // 1000] * 1000, idle=[3600])
    assert peak(spent, seconds=0.1) <= LIMIT * (CREDIT_SECONDS / 60 + 0.005)


def test_an_amount_above_the_limit_goes_alone_and_leaves_a_debt():
    budget = TokenRate(LIMIT, START)
    small, large, next_one = spend_all(budget, [10, 3 * LIMIT, 10])
    assert large[0] - small[0] > 60
    assert next_one[0] - large[0] > 180 - CREDIT_SECONDS


def test_amounts_above_the_limit_take_their_time_on_average():
    spent = spend_all(TokenRate(LIMIT, START), [3 * LIMIT, LIMIT // 2] * 20)
    assert sum(amount for _, amount in spent[:-1]) <= LIMIT * (spent[-1][0] - START) / 60


def test_a_refund_makes_room_at_once():
    budget = TokenRate(LIMIT, START)
    budget.spend_tokens(START, LIMIT)
    assert budget.ready_in(START + 5, 1) > 50
    budget.settle_tokens(START + 5, START, LIMIT, LIMIT // 100)
    assert budget.ready_in(START + 5, LIMIT // 2) == 0


def test_an_overrun_is_a_debt_until_its_own_minute_is_over():
    budget = TokenRate(LIMIT, START)
    budget.spend_tokens(START, 10)
    budget.settle_tokens(START + 30, START, 10, LIMIT)
    assert 30 < budget.ready_in(START + 30, 10) < 31
    assert budget.ready_in(START + 62, 10) == 0


def test_a_refund_ends_with_the_minute_of_its_call_and_is_not_given_twice():
    budget = TokenRate(LIMIT, START)
    budget.spend_tokens(START, LIMIT)
    budget.settle_tokens(START + 50, START, LIMIT, 0)
    budget.spend_tokens(START + 50, LIMIT)
    assert budget.ready_in(START + 61, 1) > 40


@pytest.mark.parametrize(("reserved", "used"), [(1000, 1200), (1200, 1000)])
def test_calls_that_last_longer_than_the_window_use_the_limit_on_average(reserved, used):
    """Their corrections come when the window has forgotten them, and count from then."""
    budget, now, in_flight, done = TokenRate(LIMIT, START), START, [], 0
    while now < START + 7200:
        while in_flight and in_flight[0] + 100 <= now:
            budget.settle_tokens(now, in_flight.pop(0), reserved, used)
        if budget.ready_in(now, reserved) == 0:
            budget.spend_tokens(now, reserved)
            in_flight.append(now)
            done += used if now > START + 600 else 0
        else:
            now += 0.05
    assert 0.97 < done / (LIMIT * 110) < 1.01


def test_how_long_an_amount_takes():
    assert TokenRate(LIMIT, START).seconds_for(LIMIT) == pytest.approx(60, rel=0.02)


@given(steps=st.lists(st.tuples(st.floats(0, 4), st.integers(0, 9)), max_size=60))
def test_a_window_forgets_after_its_seconds_and_before_a_slot_more(steps):
    window, now, added = Window(START, 10, 0.5), START, []
    for pause, amount in steps:
        now += pause
        window.add(now, amount)
        added.append((now, amount))
        sure = sum(amount for at, amount in added if at > now - 10)
        assert sure <= window.total <= sum(amount for at, amount in added if at >= now - 10.5)


@given(
    amounts=st.lists(st.tuples(st.floats(0, 9), st.integers(1, 9)), min_size=1, max_size=30), floor=st.integers(0, 99)
)
def test_a_window_knows_when_it_will_have_fallen(amounts, floor):
    window, now = Window(START, 10, 0.5), START + 9
    for offset, amount in sorted(amounts):
        window.add(START + offset, amount)
    wait = window.falls_to(now, floor)
    window.forget_old(now + wait)
    assert window.total <= floor
    if wait:
        again = Window(START, 10, 0.5)
        for offset, amount in sorted(amounts):
            again.add(START + offset, amount)
        again.forget_old(now + wait - 0.001)
        assert again.total > floor


def spend_under_changes(changes, demand, seconds=400.0):
    """Spend `demand` amounts one after the other while limits change; (when, amount, the limit at that time)."""
    budget, now, spent = TokenRate(changes[0][1], START), START, []
    coming = [(START + after, limit) for after, limit in changes[1:]]
    limit, amounts = changes[0][1], iter(demand)
    amount = next(amounts, None)
    while amount is not None and now < START + seconds:
        wait = budget.ready_in(now, min(amount, limit))
        if coming and now + wait >= coming[0][0]:
            now, limit = coming.pop(0)
            budget.change_limit(now, limit)
        elif wait:
            now += wait + 1e-9
        else:
            budget.spend_tokens(now, min(amount, limit))
            spent.append((now, min(amount, limit), limit))
            amount = next(amounts, None)
    return spent


changes_of_a_limit = st.lists(st.tuples(st.floats(0, 300), st.integers(100, 20_000)), min_size=1, max_size=8).map(
    sorted
)


@given(changes=changes_of_a_limit, demand=st.lists(st.integers(1, 3_000), min_size=1, max_size=150))
def test_the_minute_before_any_call_holds_no_more_than_the_limit_of_its_time(changes, demand):
    """Also across changes in the middle of a minute, in both directions."""
    spent = spend_under_changes(changes, demand)
    for now, _, limit in spent:
        assert sum(amount for at, amount, _ in spent if now - 60 <= at <= now) <= limit


def test_a_raised_limit_is_used_at_once():
    spent = spend_under_changes([(0.0, 6_000), (90.0, 60_000)], [100] * 2_000, 152.0)
    after = [at for at, _, _ in spent if at > START + 90]
    assert after[0] - START < 90.2
    assert len(after) * 100 > 0.95 * 60_000


def test_a_lowered_limit_waits_until_the_minute_before_keeps_it():
    spent = spend_under_changes([(0.0, 60_000), (90.0, 6_000)], [100] * 2_000, 300.0)
    after = [at - START for at, _, _ in spent if at > START + 90]
    assert 140 < after[0] < 151
    assert sum(at > 180 for at in after) * 100 > 0.95 * 6_000 * 2


def test_what_was_used_before_a_budget_began_counts_against_it():
    used = Window(START, 60.5, 0.5)
    for second in range(100):
        used.add(START + second, LIMIT / 60)
    budget = TokenRate.with_past_use(used, LIMIT, START + 99.5)
    wait = budget.ready_in(START + 99.5, LIMIT // 2)
    assert 29 < wait < 32
    assert budget.ready_in(START + 99.5 + wait, LIMIT // 2) == 0
