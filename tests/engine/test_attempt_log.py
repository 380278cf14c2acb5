import pytest
from builders import reply, row

from arkbatch.core.calls import Again, Break, Broken, Cause, Done, Kind, Refused, Scope
from arkbatch.engine.attempt_log import AttemptLog

SLOW = Again(Cause(Kind.RATE_LIMITED, "limit", "slow down"), Scope.RATE)
BROKEN = Again(Cause(Kind.CONNECTION, "dropped", "gone"))
EMPTY = Again(Cause(Kind.EMPTY, "empty", "nothing"), usage={"input": 10, "output": 2}, model="m-1", service_tier="t")
DONE = Done({"input": 10, "output": 5}, "m-2", "default", "stop")


def history_of(*verdicts):
    """Each verdict came a second after the one before."""
    history = AttemptLog()
    for number, (response, verdict) in enumerate(verdicts):
        history.note_resumption(number)
        history.sent += 1
        history.add_call(f"c-{number + 1}", response, verdict, number + 0.5)
    return history


def test_a_success_carries_every_call_and_what_was_thrown_away():
    last = reply()
    outcome = history_of((reply(), EMPTY), (last, DONE)).make_success(row(), last, DONE)
    assert (outcome.usage, outcome.discarded) == ({"input": 20, "output": 7}, {"input": 10, "output": 2})
    assert [call.verdict for call in outcome.calls] == ["empty", "done"]
    assert (outcome.attempts, outcome.seconds, outcome.model) == (2, 1.0, "m-2")


def test_a_thrown_away_answer_keeps_who_gave_it_and_a_kept_one_adds_nothing():
    empty, done = history_of((reply(), EMPTY), (reply(), DONE)).make_success(row(), reply(), DONE).calls
    assert (empty.model, empty.service_tier) == ("m-1", "t")
    assert (done.model, done.service_tier) == (None, None)


def test_calls_know_how_long_after_the_first_they_were_sent():
    outcome = history_of((reply(), SLOW), (reply(seconds=0.25), BROKEN), (reply(), DONE)).make_success(
        row(), reply(), DONE
    )
    assert [call.after for call in outcome.calls] == [0.0, 1.25, 2.0]


def test_all_that_a_failure_used_is_thrown_away():
    outcome = history_of((reply(), EMPTY), (reply(), EMPTY)).make_failure(row(), EMPTY.cause)
    assert outcome.usage == {"input": 20, "output": 4}
    assert (outcome.model, outcome.service_tier) == ("m-1", "t")


def test_the_last_whole_reply_stays_when_the_connection_breaks_after_it():
    bad = reply({"error": {}}, status=500)
    history = history_of((bad, BROKEN), (Broken(Break.DROPPED, "", 2.0), BROKEN))
    assert history.make_failure(row(), BROKEN.cause).reply is bad


@pytest.mark.parametrize(("verdict", "spent"), [(SLOW, 0), (BROKEN, 1), (DONE, 1), (Refused(SLOW.cause), 1)])
def test_a_rate_answer_spends_no_attempt(verdict, spent):
    assert history_of((reply(), verdict)).spent == spent


def test_waiting_is_counted_from_a_refusal_to_the_next_call():
    history = history_of((reply(), SLOW), (reply(), BROKEN), (reply(), SLOW), (reply(), DONE))
    assert history.waited == 1.0


def test_a_night_of_refusals_keeps_the_first_calls_and_the_last():
    history = history_of(*[(reply(), SLOW)] * 500, (reply(), BROKEN))
    outcome = history.make_failure(row(), BROKEN.cause)
    assert (len(outcome.calls), outcome.attempts) == (20, 501)
    assert (outcome.calls[0].id, outcome.calls[-1].id) == ("c-1", "c-501")


def test_a_call_leads_to_the_servers_log():
    call = history_of((reply(status=429), SLOW)).make_failure(row(), SLOW.cause).calls[0]
    assert (call.status, call.code, call.verdict) == (429, "limit", "rate_limited")
    assert call.request_id.startswith("02")
