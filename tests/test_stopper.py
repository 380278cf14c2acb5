import pytest
from builders import failure

from arkbatch.core.records import Cause, Halt, Kind
from arkbatch.core.stopper import ENOUGH, Stopper


def refusal(number, code="InvalidParameter", kind=Kind.INVALID_REQUEST, **more):
    return failure(number, cause=Cause(kind, code, "temperature is too high"), **more)


def test_the_first_twenty_alike_end_the_run():
    stopper = Stopper()
    assert [stopper.refused(refusal(number)) for number in range(1, ENOUGH)] == [[]] * (ENOUGH - 1)
    halt = stopper.refused(refusal(ENOUGH))
    assert isinstance(halt, Halt)
    assert "temperature is too high" in halt.cause.message
    assert halt.cause.advice
    assert stopper.proven() == []


def test_a_success_gives_back_what_was_held_and_nothing_is_held_again():
    stopper = Stopper()
    held = [refusal(number) for number in (1, 2, 3)]
    for each in held:
        stopper.refused(each)
    assert stopper.proven() == held
    for number in range(4, 100):
        assert isinstance(stopper.refused(refusal(number)), list)


@pytest.mark.parametrize(
    "other",
    [refusal(9, code="Other"), refusal(9, kind=Kind.BLOCKED), refusal(9, usage={"input": 1})],
    ids=["another code", "a kind of the row's own", "billed"],
)
def test_another_refusal_is_recorded_with_all_that_was_held(other):
    stopper = Stopper()
    first = refusal(1)
    stopper.refused(first)
    assert stopper.refused(other) == [first, other]
    assert stopper.proven() == []
