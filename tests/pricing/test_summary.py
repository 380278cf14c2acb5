import pytest
from builders import failure, success

from arkbatch.core.calls import Cause, Kind
from arkbatch.core.histogram import Histogram
from arkbatch.core.stream_speed import Speeds
from arkbatch.journal.ledger import Ledger
from arkbatch.journal.record_format import entry_of
from arkbatch.pricing.summary import summarise


def summary(*outcomes, ending="finished", total=3, **more):
    ledger = Ledger()
    for outcome in outcomes:
        ledger.fold(entry_of(outcome))
    values = {"ending": ending, "run_dir": "r", "simulated": False, "total": total, "session": {}, "seconds": 1.23456}
    return summarise(ledger, Histogram(), speeds=Speeds(), **(values | more))


@pytest.mark.parametrize(
    ("ending", "outcomes", "code"),
    [
        ("finished", [success(1)], 0),
        ("finished", [success(1), failure(2)], 3),
        ("nothing left", [success(1)], 0),
        ("nothing left", [failure(1)], 3),
        ("halted", [success(1)], 4),
        ("halted", [failure(1)], 4),
        ("stopped", [success(1)], 130),
    ],
)
def test_the_exit_code_says_how_it_ended(ending, outcomes, code):
    assert summary(*outcomes, ending=ending).exit_code == code


def test_it_adds_up_the_whole_run():
    said = summary(success(1, model="a"), success(2, model="b"), failure(3, usage={"input": 3}))
    assert (said.succeeded, said.failed, said.left) == (2, 1, 0)
    assert (said.usage, said.discarded) == ({"input": 23, "output": 10}, {"input": 3})
    assert said.seconds == 1.235


def test_failures_are_counted_by_kind_over_their_codes():
    said = summary(failure(1, code="a"), failure(2, code="b"), failure(3, kind=Kind.BLOCKED))
    assert said.failures == {"timeout": 2, "blocked": 1}


def test_it_becomes_plain_json_values():
    plain = summary(ending="halted", halt=Cause(Kind.AUTH, "401", "bad key", "fix it")).to_builtins()
    assert plain["halt"] == {"kind": "auth", "code": "401", "message": "bad key", "advice": "fix it"}


def test_what_was_not_measured_is_null_and_not_zero():
    ended = summarise(
        Ledger(), Histogram(), ending="finished", run_dir="r", simulated=False, total=0, session={}, seconds=0.0
    ).to_builtins()
    assert {ended[name] for name in ended if name.endswith(("p50", "p95"))} == {None}
