"""Delays: never none, never longer than asked for, and never for ever."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arkbatch.core.calls import Again, Cause, Kind, Scope
from arkbatch.core.job_sections import RetryPolicy
from arkbatch.engine.backoff import FLOOR, Delay, GiveUp, decide_retry, spends_attempt

CAUSE = Cause(Kind.SERVER_ERROR, "X", "x")
POLICY = RetryPolicy()
ROW, RATE = Again(CAUSE), Again(CAUSE, Scope.RATE)
BILLED = Again(CAUSE, usage={"input": 1})

chances = st.floats(0, 1, exclude_max=True)
seconds = st.floats(0.001, 3600)
policies = st.builds(
    lambda attempts, a, b, patience: RetryPolicy(attempts, min(a, b), max(a, b), patience),
    st.integers(1, 1000), seconds, seconds, st.floats(1, 1e6),
)  # fmt: skip
verdicts = st.builds(
    lambda scope, after, usage: Again(CAUSE, scope, after, usage),
    st.sampled_from(Scope), st.none() | st.floats(0, 3600), st.sampled_from([{}, {"input": 1}]),
)  # fmt: skip


@given(policies, st.integers(0, 2000), st.floats(0, 1e6), verdicts, chances)
def test_a_delay_is_never_under_the_floor_nor_over_the_cap_unless_the_server_asked(
    policy, spent, waited, again, chance
):
    match decide_retry(policy, spent, waited, again, chance):
        case Delay(seconds):
            assert seconds >= FLOOR
            assert seconds >= (again.after or 0)
            assert seconds <= max(policy.max_delay, again.after or 0, FLOOR)
        case GiveUp(reason):
            assert reason


@given(policies, st.floats(0, 1e6), verdicts, chances)
def test_nobody_waits_longer_than_patience_for_the_service(policy, waited, again, chance):
    decision = decide_retry(policy, 1, waited, again, chance)
    if again.scope in (Scope.RATE, Scope.CONCURRENCY) and isinstance(decision, Delay):
        assert waited + decision.seconds <= policy.patience


@pytest.mark.parametrize(("spent", "ceiling"), [(1, 1), (2, 2), (3, 4), (4, 8), (7, 60), (900, 60)])
def test_delays_double_up_to_the_cap_and_lie_in_the_upper_half(spent, ceiling):
    policy = RetryPolicy(max_attempts=1000)
    assert decide_retry(policy, spent, 0, ROW, 0.0) == Delay(ceiling / 2)
    assert decide_retry(policy, spent, 0, ROW, 0.5) == Delay(ceiling * 0.75)


@pytest.mark.parametrize(("spent", "gives_up"), [(1, False), (4, False), (5, True), (6, True)])
def test_a_row_is_given_up_with_its_last_attempt(spent, gives_up):
    assert isinstance(decide_retry(POLICY, spent, 0, ROW, 0.5), GiveUp) is gives_up


@pytest.mark.parametrize(("allowed", "billed"), [(1, 1), (2, 1), (3, 2), (5, 3), (10, 5)])
def test_answers_that_were_paid_for_are_asked_again_half_as_often(allowed, billed):
    policy = RetryPolicy(max_attempts=allowed)
    assert isinstance(decide_retry(policy, billed, 0, BILLED, 0.5), GiveUp)
    assert billed == 1 or isinstance(decide_retry(policy, billed - 1, 0, BILLED, 0.5), Delay)


@pytest.mark.parametrize(("scope", "spends"), [(Scope.ROW, True), (Scope.RATE, False), (Scope.CONCURRENCY, False)])
def test_only_the_rows_own_failures_spend_attempts(scope, spends):
    again = Again(CAUSE, scope)
    assert spends_attempt(again) is spends
    assert isinstance(decide_retry(POLICY, 1000, 0, again, 0.5), GiveUp if spends else Delay)


def test_refusals_in_a_row_wait_longer_each_time_until_patience_ends():
    waited, delays = 0.0, []
    while isinstance(decision := decide_retry(POLICY, 0, waited, RATE, 0.5), Delay):
        delays.append(decision.seconds)
        waited += decision.seconds
    assert delays[:3] == [0.75, 0.75, 1.125]
    assert delays == sorted(delays)
    assert POLICY.patience - 60 < waited <= POLICY.patience


@pytest.mark.parametrize("again", [Again(CAUSE, after=90.0), Again(CAUSE, Scope.RATE, 90.0)])
def test_the_servers_wish_is_a_lower_bound_even_above_the_cap(again):
    assert decide_retry(POLICY, 1, 0, again, 0.9) == Delay(90.0)


@pytest.mark.parametrize("again", [Again(CAUSE, after=0.0), Again(CAUSE, Scope.RATE, 0.0)])
def test_a_server_that_says_at_once_is_not_taken_at_its_word(again):
    assert decide_retry(POLICY, 1, 0, again, 0.0) == Delay(0.5)
