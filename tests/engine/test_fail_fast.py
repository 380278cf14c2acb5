import pytest
from builders import failure

from arkbatch.core.types import Cause, Halt, Kind
from arkbatch.engine.fail_fast import ENOUGH, FailFast


def refusal(number, code="InvalidParameter", kind=Kind.INVALID_REQUEST, **more):
    return failure(number, cause=Cause(kind, code, "temperature is too high"), **more)


def holding(count):
    stopper = FailFast()
    for number in range(1, count + 1):
        assert stopper.refused(refusal(number)) == []
    return stopper


def test_twenty_alike_end_the_run_once_nothing_else_is_under_way():
    stopper = holding(ENOUGH)
    assert stopper.verdict(open_rows=ENOUGH + 1) is None
    halt = stopper.verdict(open_rows=ENOUGH)
    assert isinstance(halt, Halt)
    assert "temperature is too high" in halt.cause.message
    assert halt.cause.advice
    assert stopper.release() == []


def test_fewer_than_twenty_prove_nothing():
    stopper = holding(ENOUGH - 1)
    assert not stopper.doubtful
    assert stopper.verdict(open_rows=ENOUGH - 1) is None


def test_a_success_gives_back_what_was_held_and_nothing_is_held_again():
    stopper = holding(ENOUGH)
    assert len(stopper.release()) == ENOUGH
    for number in range(100):
        assert len(stopper.refused(refusal(number))) == 1
    assert not stopper.doubtful


@pytest.mark.parametrize(
    "other",
    [refusal(9, code="Other"), refusal(9, kind=Kind.BLOCKED), refusal(9, usage={"input": 1})],
    ids=["another code", "a kind of the row's own", "billed"],
)
def test_another_refusal_is_recorded_with_all_that_was_held(other):
    stopper, first = FailFast(), refusal(1)
    stopper.refused(first)
    assert stopper.refused(other) == [first, other]
    assert stopper.release() == []
