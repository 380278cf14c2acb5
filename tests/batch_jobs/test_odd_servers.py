"""Servers of batches that answer in unusual ways: each row is recorded once, nothing is ordered twice, and all is told."""

import asyncio

import orjson
import pytest
from batch_runs import batched, billed_usage, parcels_of, rows, rows_with_records, usage_of_results
from msgspec.structs import replace
from runs import job_of, prompts
from sessions import results

from arkbatch.batch_jobs.http_service import HttpBatchService
from arkbatch.batch_jobs.provider_forms import DONE, WAITING, all_forms
from arkbatch.batch_jobs.service import ServiceAway, ServiceRefused, checked_reply, find_batch
from arkbatch.core.job_sections import Files, RetryPolicy, Schedule
from arkbatch.transport.batch_http import HttpReply


@pytest.fixture
def job(tmp_path):
    return lambda lines, **changes: replace(job_of(prompts(tmp_path, *lines)), lane="files", **changes)


def check_all_recorded(asked, ended, count, orders):
    assert ended.summary.ending == "finished"
    assert rows_with_records(asked) == list(range(1, count + 1))
    assert usage_of_results(asked) == billed_usage(ended.batches)
    assert ended.batches.calls["create"] == orders


def test_a_batch_that_is_not_found_right_after_it_was_ordered_is_waited_for(job):
    asked = job(rows(8), files=Files(rows=4))
    check_all_recorded(asked, batched(asked, batch_seconds=60, batch_faults={"late_batch": 1.0}), 8, orders=2)


def test_a_list_with_the_oldest_first_hides_no_batch(job):
    asked = job(rows(12), files=Files(rows=4))
    faults = {"oldest_first": 1.0, "lost_create": 0.6}
    check_all_recorded(asked, batched(asked, batch_seconds=60, batch_faults=faults, seed=4), 12, orders=3)


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_clock_that_is_hours_off_orders_nothing_twice(job, hours):
    asked = job(rows(12), files=Files(rows=4))
    ended = batched(asked, batch_seconds=60, batch_faults={"lost_create": 0.6}, seed=4, skew=3600 * hours)
    check_all_recorded(asked, ended, 12, orders=3)


def test_a_file_that_ends_early_is_fetched_again(job):
    asked = job(rows(20), files=Files(rows=10))
    ended = batched(asked, batch_seconds=60, batch_faults={"cut_content": 0.5}, seed=3)
    check_all_recorded(asked, ended, 20, orders=2)
    assert ended.batches.faults["cut_content"]


def test_all_refused_lines_of_a_file_fail_together_and_the_others_go_on(job):
    asked = job(rows(30))
    batched(asked, batch_seconds=60, batch_faults={"bad_line": 1.0})
    assert len(parcels_of(asked).by_number[1].bad_lines) == 3
    assert parcels_of(asked).by_number[2].cut.rows == 27
    assert rows_with_records(asked) == list(range(1, 31))


def test_answers_that_the_provider_lost_halt_the_run_and_are_given_up_by_cancelling(job):
    asked = job(rows(8), files=Files(rows=4))
    faults = {"lost_output": 1.0}
    ended = batched(asked, batch_seconds=60, batch_faults=faults)
    assert ended.summary.ending == "halted"
    assert "arkbatch cancel" in ended.summary.halt.advice
    assert ended.batches.calls["create"] == 2, "rows that were paid are not sent again by themselves"
    ended = batched(
        replace(asked, run_dir=asked.run_dir + "-2"), {}, {"cancel": frozenset()}, batch_seconds=60, batch_faults=faults
    )
    assert ended.summary.ending == "finished"
    assert not parcels_of(replace(asked, run_dir=asked.run_dir + "-2")).open


def test_a_batch_that_is_cancelling_for_ever_ends_the_session_with_the_reason(job):
    asked = job(rows(8), files=Files(rows=4))

    async def stop_soon(session):
        await asyncio.sleep(200)
        session.stop()

    ended = batched(
        asked,
        {"meanwhile": stop_soon},
        {"cancel": frozenset()},
        batch_seconds=3_000,
        batch_faults={"stuck_cancel": 1.0},
    )
    assert (ended.summary.ending, ended.summary.halt.code) == ("halted", "cancelling")
    assert ended.seconds < 4 * 3600
    assert len(parcels_of(asked).holding) == 2, "what may still be billed is not sent in another way"


def test_a_stuck_batch_does_not_hold_up_the_others(job):
    asked = job(rows(12), files=Files(rows=4, rest="online"), hours=Schedule(finish_by="2026-09-21 16:00 UTC"))
    ended = batched(asked, batch_seconds=100_000, batch_faults={"stuck_cancel": 0.5}, seed=2)
    open_ = [parcel.number for parcel in parcels_of(asked).holding]
    assert ended.summary.ending == "halted"
    assert 0 < len(open_) < 3


def test_a_file_that_expired_before_it_was_ordered_is_uploaded_again(job):
    asked = job(rows(4), files=Files(rows=4))

    def forget_files(batches):
        batches.store.state.files.clear()

    ended = batched(
        asked,
        {"meanwhile": stop_at_put},
        {},
        batch_seconds=60,
        between=forget_files,
        pause=600,
    )
    assert rows_with_records(asked) == [1, 2, 3, 4]
    assert ended.batches.calls["create"] == 1
    assert ended.batches.calls["upload"] == 2


async def stop_at_put(session):
    """Stop between the upload and the order."""
    write = session._journal.write

    def stopping(parcel, step, **said):
        if step == "put":
            session.stop()
        return write(parcel, step, **said)

    session._journal.write = stopping


def test_a_batch_that_fails_without_a_reason_halts_and_frees_its_rows(job):
    asked = job(rows(4), retry=RetryPolicy(give_up_after=60))
    ended = batched(asked, batch_seconds=60, batch_faults={"no_reason": 1.0})
    assert ended.summary.ending == "halted"
    assert not results(asked)


# ---- what the calls make of odd replies


class Replies:
    """A scripted server: replies by path, in order."""

    def __init__(self, **replies):
        self.replies, self.asked = replies, []

    async def send_json(self, method, path, *, params=None, body=None):
        self.asked.append((method, path, params, body))
        given = self.replies[path.strip("/").partition("/")[0]]
        return HttpReply(200, orjson.dumps(given(params) if callable(given) else given), {})


def service_of(**replies):
    return HttpBatchService(Replies(**replies), all_forms()["openai"])


def found_in(service, file_id, **named):
    return asyncio.run(find_batch(service, file_id, **{"since": 0.0, **named}))


def batch(number, file_id="file-x", status="in_progress", created_at=None):
    return {
        "id": f"batch-{number}",
        "status": status,
        "input_file_id": file_id,
        "created_at": number if created_at is None else created_at,
    }


def test_a_list_without_has_more_is_read_as_long_as_its_pages_are_full():
    pages = {None: [batch(900 - n, "other") for n in range(100)], "batch-801": [batch(1)]}
    assert found_in(service_of(batches=lambda asked: {"data": pages[asked.get("after")]}), "file-x").id == "batch-1"


def test_a_server_that_ignores_the_place_in_its_list_is_not_asked_for_ever():
    service = service_of(batches={"data": [batch(2, "other"), batch(1, "other")], "has_more": True})
    with pytest.raises(ServiceRefused) as caught:
        found_in(service, "file-x")
    assert caught.value.has_no_list, "a batch may exist that is not shown, so that none is ordered"
    assert len(service._http.asked) == 2


def test_a_list_is_read_no_further_than_the_time_at_which_the_file_was_made():
    service = service_of(
        batches=lambda asked: {"data": [batch(2_000, "other"), batch(1_000, "other")], "has_more": True}
    )
    assert found_in(service, "file-x", since=1_500.0) is None
    assert len(service._http.asked) == 1


def test_a_batch_that_lives_outweighs_one_of_the_same_file_that_failed():
    service = service_of(batches={"data": [batch(1, status="failed"), batch(2)]})
    assert found_in(service, "file-x").id == "batch-2"
    assert found_in(service_of(batches={"data": [batch(1, status="failed")]}), "file-x").id == "batch-1"
    assert found_in(service_of(batches={"data": [batch(1, status="failed")]}), "file-x", refused=["batch-1"]) is None


def test_an_unknown_word_means_that_the_batch_is_worked_on_unless_it_says_when_it_was_completed():
    form = all_forms()["openai"]
    assert form.state("crunching") == WAITING
    assert form.state("all_good", is_completed=True) == DONE
    assert form.state("in_progress", is_completed=True) == WAITING


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (429, "rate_limit_exceeded", "Rate limit reached", ServiceAway),
        (429, "insufficient_quota", "You exceeded your current quota, please check your billing.", ServiceRefused),
        (429, "", "", ServiceAway),
        (402, "", "Payment required", ServiceRefused),
        (502, "", "", ServiceAway),
        (401, "invalid_api_key", "Incorrect API key provided", ServiceRefused),
    ],
)
def test_an_empty_account_is_told_at_once_and_a_rate_is_waited_for(status, code, message, kind):
    with pytest.raises(kind):
        checked_reply(HttpReply(status, orjson.dumps({"error": {"code": code, "message": message}}), {}))


def test_usage_under_both_names_is_read_once():
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "input_tokens": 7, "output_tokens": 9, "total_tokens": 16}
    state = asyncio.run(service_of(batches=batch(1) | {"usage": usage}).look("batch-1"))
    assert state.usage == {"input": 7, "output": 9}


def test_sums_that_differ_from_those_of_the_provider_are_told_in_the_log(job):
    asked = job(rows(4))
    ended = batched(asked, batch_seconds=60, batch_faults={"wrong_usage": 1.0})
    assert ended.summary.ending == "finished"
    assert any("differ" in text for text in ended.details)
    assert not batched(replace(asked, run_dir=asked.run_dir + "-2"), batch_seconds=60).details
