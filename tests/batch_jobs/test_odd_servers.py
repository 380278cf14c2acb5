"""Servers of batches that answer in unusual ways: each row is recorded once, nothing is ordered twice, and all is told."""

import asyncio

import orjson
import pytest
from batch_runs import batched, billed_usage, parcels_of, rows, rows_with_records, usage_of_results
from msgspec.structs import replace
from runs import BEGAN, job_of, prompts
from sessions import failures, results

from arkbatch.batch_jobs.http_service import HttpBatchService
from arkbatch.batch_jobs.parcel_records import TOO_LARGE, TOO_MANY_ROWS
from arkbatch.batch_jobs.provider_forms import DONE, FAILED, WAITING, all_forms
from arkbatch.batch_jobs.reply_objects import object_in, seconds_of
from arkbatch.batch_jobs.service import ServiceAway, ServiceRefused, checked_reply, find_batch
from arkbatch.core.job_sections import Files, RetryPolicy, Schedule
from arkbatch.simulator.batch_routes import BatchRoutes
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
    assert not parcels_of(replace(asked, run_dir=asked.run_dir + "-2")).open_parcels


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
    assert len(parcels_of(asked).holding_parcels) == 2, "what may still be billed is not sent in another way"


def test_a_stuck_batch_does_not_hold_up_the_others(job):
    asked = job(rows(12), files=Files(rows=4, rest="online"), hours=Schedule(finish_by="2026-09-21 16:00 UTC"))
    ended = batched(asked, batch_seconds=100_000, batch_faults={"stuck_cancel": 0.5}, seed=2)
    open_ = [parcel.number for parcel in parcels_of(asked).holding_parcels]
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
    write = session._journal.write_step

    def stopping(parcel, step, **said):
        if step == "put":
            session.stop()
        return write(parcel, step, **said)

    session._journal.write_step = stopping


def test_a_batch_that_fails_without_a_reason_halts_and_frees_its_rows(job):
    asked = job(rows(4), retry=RetryPolicy(give_up_after=60))
    ended = batched(asked, batch_seconds=60, batch_faults={"no_reason": 1.0})
    assert ended.summary.ending == "halted"
    assert not results(asked)


def test_a_web_page_in_the_place_of_answers_is_fetched_again(job):
    asked = job(rows(20), files=Files(rows=5))
    ended = batched(asked, batch_seconds=60, batch_faults={"web_page": 0.5}, seed=5)
    check_all_recorded(asked, ended, 20, orders=4)
    assert ended.batches.faults["web_page"]


def test_answers_that_stay_a_web_page_halt_and_are_paid_again_only_when_somebody_gives_them_up(job):
    asked, faults = job(rows(4)), {"web_page": 1.0}
    ended = batched(asked, {}, {}, batch_seconds=60, batch_faults=faults)
    assert (ended.summary.ending, ended.summary.halt.code) == ("halted", "no_output")
    assert "Sign in" in ended.summary.halt.message
    assert ended.batches.calls["create"] == 1
    again = replace(asked, run_dir=asked.run_dir + "-2")
    ended = batched(again, {}, {"cancel": frozenset()}, batch_seconds=60, batch_faults=faults)
    assert ended.summary.ending == "finished"
    assert not parcels_of(again).open_parcels


def test_answers_that_are_fewer_than_counted_are_taken_also_by_sessions_that_end_soon(job):
    asked = job(rows(4))
    faults = {"wrong_counts": 1.0}
    ended = batched(asked, *[{"detach": True}] * 6, batch_seconds=60, batch_faults=faults, pause=100)
    assert ended.summary.ending == "finished"
    assert rows_with_records(asked) == [1, 2, 3, 4]
    assert ended.batches.calls["create"] == 1


def test_one_bad_reply_in_a_later_session_gives_nothing_up(job, monkeypatch):
    asked, strikes, struck = job(rows(4)), BatchRoutes.strikes, []

    def strike_once(routes, fault):
        if fault == "web_page" and not struck:
            struck.append(fault)
            return True
        return strikes(routes, fault)

    monkeypatch.setattr(BatchRoutes, "strikes", strike_once)
    monkeypatch.setattr("arkbatch.simulator.batch_routes._LATE_OUTPUT_SECONDS", 1_000_000.0)
    faults = {"late_output": 1.0}
    ended = batched(asked, {}, batch_seconds=60, batch_faults=faults, batch_store=asked.run_dir + "-store", pause=5_000)
    assert ended.summary.halt.message.startswith("parcel 1: file")
    monkeypatch.setattr("arkbatch.simulator.batch_routes._LATE_OUTPUT_SECONDS", 0.0)
    ended = batched(asked, {"cancel": frozenset()}, batch_store=asked.run_dir + "-store", began=BEGAN + 10_000)
    assert struck
    assert len(results(asked)) == 4, "a glitch while somebody cancels costs no answers"


def test_where_the_list_does_not_go_on_a_batch_that_may_exist_is_not_ordered_again(job):
    asked, faults = job(rows(8), files=Files(rows=4)), {"cut_list": 1.0, "oldest_first": 1.0, "lost_create": 0.5}
    ended = batched(asked, batch_seconds=60, batch_faults=faults, seed=4)
    assert (ended.summary.ending, ended.summary.halt.code) == ("halted", "cut_list")
    assert "arkbatch cancel" in ended.summary.halt.advice
    files = [each.input_file_id for each in ended.batches.store.state.batches.values()]
    assert len(files) == len(set(files))


def test_files_that_are_too_large_for_the_provider_are_cut_smaller(job):
    long = "x" * 3_000
    asked = job([*rows(20), {**rows(1)[0], "messages": [{"role": "user", "content": long}]}])
    ended = batched(asked, batch_seconds=60, upload_bytes=1_500)
    assert ended.summary.ending == "finished"
    assert rows_with_records(asked) == list(range(1, 22))
    assert [(line["row"], line["error"]["kind"]) for line in failures(asked)] == [(21, "too_long")]
    assert len(ended.batches.store.state.batches) < 6, "files are halved until they fit, and not down to single rows"


def test_a_batch_with_too_many_rows_is_cut_smaller(job, monkeypatch):
    monkeypatch.setattr("arkbatch.simulator.batch_check.MOST_ROWS", 6)
    asked = job(rows(20))
    ended = batched(asked, batch_seconds=60)
    assert rows_with_records(asked) == list(range(1, 21))
    assert [each.status for each in ended.batches.store.state.batches.values()].count("failed") <= 3


def test_a_batch_is_not_taken_for_that_of_another_parcel_whose_file_had_the_same_id():
    of_another = batch(1, "file-x", status="completed")
    assert found_in(service_of(batches={"data": [of_another]}), "file-x", refused={"batch-1"}) is None


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
    assert form.state_of_word("crunching") == WAITING
    assert form.state_of_word("all_good", is_completed=True) == DONE
    assert form.state_of_word("in_progress", is_completed=True) == WAITING


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


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (1_790_000_000, 1.79e9),
        (1_790_000_000_000, 1.79e9),
        (1_790_000_000_000_000, 1.79e9),
        ("2026-09-21T13:33:20Z", 1789997600.0),
        ("2026-09-21", 0.0),
        (None, 0.0),
        (-5, 0.0),
        (float("nan"), 0.0),
        (True, 0.0),
    ],
)
def test_times_are_read_as_they_are_written(written, seconds):
    assert seconds_of(written) == seconds


@pytest.mark.parametrize(
    ("errors", "reason"),
    [
        ({"object": "list", "data": [{"message": "no"}]}, "no"),
        ([{"message": "no"}], "no"),
        ({"message": "no"}, "no"),
        (["no"], "no"),
        ("no", "no"),
        (None, ""),
    ],
)
@pytest.mark.parametrize("name", ["errors", "error"])
def test_the_reason_of_a_failed_batch_is_found_in_whatever_form_it_has(errors, reason, name):
    state = asyncio.run(service_of(batches=batch(1, status="failed") | {name: errors}).look_at_batch("batch-1"))
    assert (state.state, state.reason) == (FAILED, reason)


def test_a_list_with_entries_that_are_no_batches_is_read_all_the_same():
    odd = {"data": [{"status": "failed"}, None, {"id": 5}, {"batch_id": "batch-2", "input_file_id": "file-x"}]}
    assert found_in(service_of(batches=odd), "file-x").id == "batch-2"


def test_a_list_by_numbered_pages_is_read_until_its_total():
    pages = {"0": [batch(9 - n, "other") for n in range(3)], "1": [batch(1)]}
    replies = Replies(batch=lambda asked: {"total": 4, "data": pages[asked["page"]]})
    service = HttpBatchService(replies, all_forms()["mistral"])
    replies.replies["batch"] = lambda asked: {"total": 4, "data": [as_mistral(each) for each in pages[asked["page"]]]}
    assert found_in(service, "file-x").id == "batch-1"


def as_mistral(item):
    return {**item, "input_files": [item["input_file_id"]]}


@pytest.mark.parametrize("word", ["completed", "Completed", "SUCCEEDED", "completed-with-errors", "Done"])
def test_words_of_an_end_are_known_in_any_spelling(word):
    assert all_forms()["openai"].state_of_word(word) == DONE


@pytest.mark.parametrize(
    ("status", "code", "message", "excess"),
    [
        (413, "", "", TOO_LARGE),
        (400, "file_too_large", "", TOO_LARGE),
        (400, "invalid_request", "File is too large: maximum size is 100 MB", TOO_LARGE),
        (400, "", "The batch has more than 50000 requests.", TOO_MANY_ROWS),
        (400, "token_limit_exceeded", "Enqueued token limit reached. Limit: 100", ""),
        (400, "", "This model's maximum context length exceeds the size", ""),
        (400, "invalid_request", "The file is not valid JSON", ""),
    ],
)
def test_a_refusal_for_the_size_of_a_file_is_told_from_others(status, code, message, excess):
    assert ServiceRefused(status, code, message).excess == excess


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_without_batch_files_is_told_with_what_to_do(job, monkeypatch, status):
    async def refuse(*_):
        return HttpReply(status, b"<html>no such page</html>", {})

    monkeypatch.setattr("arkbatch.transport.batch_http.BatchHttp.upload", refuse)
    asked = job(rows(4))
    ended = batched(asked, {}, {"cancel": frozenset()})
    assert ended.summary.ending == "finished"
    assert not parcels_of(asked).open_parcels
    ended = batched(replace(asked, run_dir=asked.run_dir + "-2"))
    assert (ended.summary.ending, ended.summary.halt.code) == ("halted", "no_batch_files")
    assert "takes no batch files" in ended.summary.halt.message
    assert "--lane online" in ended.summary.halt.advice


def test_a_reply_that_is_a_web_page_is_told_as_one():
    with pytest.raises(ServiceAway, match="a web page"):
        object_in(HttpReply(200, b"<html>Sign in</html>", {}))


def test_usage_under_both_names_is_read_once():
    usage = {"prompt_tokens": 0, "completion_tokens": 0, "input_tokens": 7, "output_tokens": 9, "total_tokens": 16}
    state = asyncio.run(service_of(batches=batch(1) | {"usage": usage}).look_at_batch("batch-1"))
    assert state.usage == {"input": 7, "output": 9}


def test_sums_that_differ_from_those_of_the_provider_are_told_in_the_log(job):
    asked = job(rows(4))
    ended = batched(asked, batch_seconds=60, batch_faults={"wrong_usage": 1.0})
    assert ended.summary.ending == "finished"
    assert any("differ" in text for text in ended.details)
    assert not batched(replace(asked, run_dir=asked.run_dir + "-2"), batch_seconds=60).details


@pytest.mark.parametrize(
    ("headers", "after"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "Mon, 30 Nov 2026 10:00:20 GMT", "date": "Mon, 30 Nov 2026 10:00:00 GMT"}, 20.0),
        ({"retry-after": "Mon, 30 Nov 2026 10:00:20 GMT"}, None),
        ({"retry-after": "86400"}, 3600.0),
        ({}, None),
    ],
)
def test_every_form_of_a_wait_is_read(headers, after):
    with pytest.raises(ServiceAway) as caught:
        checked_reply(HttpReply(503, b"{}", headers))
    assert caught.value.after == after
