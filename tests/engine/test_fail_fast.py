import pytest
from builders import failure

from arkbatch.core.calls import Cause, Kind
from arkbatch.engine.fail_fast import ROWS_TO_STOP, FailFast


def refusal(number, code="InvalidParameter", kind=Kind.INVALID_REQUEST, **more):
    return failure(number, cause=Cause(kind, code, "temperature is too high"), **more)


def holding(count):
    fail_fast = FailFast()
    for number in range(1, count + 1):
        assert fail_fast.add_refused([refusal(number)]) == []
    return fail_fast


def test_twenty_alike_end_the_run_once_nothing_else_is_under_way():
    fail_fast = holding(ROWS_TO_STOP)
    assert fail_fast.cause_to_halt(rows_in_work=ROWS_TO_STOP + 1) is None
    cause = fail_fast.cause_to_halt(rows_in_work=ROWS_TO_STOP)
    assert "temperature is too high" in cause.message
    assert cause.advice
    assert fail_fast.release_held() == []


def test_fewer_than_twenty_prove_nothing():
    fail_fast = holding(ROWS_TO_STOP - 1)
    assert not fail_fast.is_doubtful
    assert fail_fast.cause_to_halt(rows_in_work=ROWS_TO_STOP - 1) is None


def test_a_success_gives_back_what_was_held_and_nothing_is_held_again():
    fail_fast = holding(ROWS_TO_STOP)
    assert len(fail_fast.release_held()) == ROWS_TO_STOP
    for number in range(100):
        assert len(fail_fast.add_refused([refusal(number)])) == 1
    assert not fail_fast.is_doubtful


@pytest.mark.parametrize(
    "other",
    [refusal(9, code="Other"), refusal(9, kind=Kind.BLOCKED), refusal(9, usage={"input": 1})],
    ids=["another code", "a kind of the row's own", "billed"],
)
def test_another_refusal_is_recorded_with_all_that_was_held(other):
    fail_fast, first = FailFast(), refusal(1)
    fail_fast.add_refused([first])
    assert fail_fast.add_refused([other]) == [first, other]
    assert fail_fast.release_held() == []
