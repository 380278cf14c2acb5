"""Whole sessions over batch files against the simulator, in virtual time; what both lanes share is shown over both."""

import asyncio
from decimal import Decimal

import pytest
from batch_runs import (
    MODEL,
    batched,
    billed_usage,
    check_all_recorded,
    parcels_of,
    rows,
    rows_with_records,
    usage_of_results,
)
from msgspec.structs import replace
from runs import job_of, prompts
from sessions import failures, results

from arkbatch.core.job_sections import Files, Limits, RetryPolicy, Schedule

LANES = ("files", "job")


@pytest.fixture
def job(tmp_path):
    return lambda lines, lane="files", **changes: replace(job_of(prompts(tmp_path, *lines)), lane=lane, **changes)


@pytest.mark.parametrize("lane", LANES)
def test_every_row_is_recorded_once_at_the_batch_price(job, lane):
    asked = job(rows(25), lane, files=Files(rows=10))
    ended = batched(asked, batch_seconds=600)
    check_all_recorded(asked, ended, 25)
    assert ended.summary.cost.amounts["CNY"] > 0
    assert ended.batches.calls["create"] == 3


def test_a_file_has_one_model_and_one_endpoint(job):
    lines = rows(4) + rows(3, model="doubao-seed-1-6-flash-250828")
    lines.append({"model": "doubao-embedding-large-text-250515", "input": "row 8"})
    asked = job(lines)
    batched(asked, batch_seconds=60)
    kinds = {(parcel.cut.endpoint, parcel.cut.model) for parcel in parcels_of(asked).by_number.values()}
    assert len(kinds) == 3
    assert rows_with_records(asked) == list(range(1, 9))


def test_responses_travel_in_batch_files(job):
    asked = job([{"model": MODEL, "input": f"row {n}", "max_output_tokens": 900} for n in range(3)])
    ended = batched(asked, batch_seconds=60)
    check_all_recorded(asked, ended, 3)
    assert {line["endpoint"] for line in results(asked)} == {"responses"}


def test_the_sum_of_tokens_that_wait_stays_below_the_limit(job):
    asked = job(rows(40), files=Files(rows=5, tokens=900))
    ended = batched(asked, batch_seconds=600, enqueued_tokens=1_300)
    check_all_recorded(asked, ended, 40)
    assert not [batch for batch in ended.batches.store.state.batches.values() if batch.status == "failed"]


def test_the_limit_of_tokens_is_learned_from_a_refusal_and_the_same_file_goes_later(job):
    asked = job(rows(40), files=Files(rows=5))
    ended = batched(asked, batch_seconds=600, enqueued_tokens=700)
    check_all_recorded(asked, ended, 40)
    assert {parcel.limit for parcel in parcels_of(asked).by_number.values()} >= {700}
    assert ended.batches.calls["upload"] <= 9, "a file that was refused for its tokens is not uploaded again"


def test_a_file_over_the_whole_limit_is_cut_smaller(job):
    asked = job(rows(40), files=Files(rows=20))
    ended = batched(asked, batch_seconds=600, enqueued_tokens=700)
    check_all_recorded(asked, ended, 40)


OF_FILES = ("strange_state", "misplaced_lines", "doubled_lines", "torn_line", "token_limit", "wrong_counts", "crlf")
OF_FILES += ("early_expiry", "refused_lines", "late_output", "text_body", "bare_reply")
OF_JOBS = ("expired", "failed_lines", "missing_lines", "doubled_lines", "strange_state")
FAULTS = [
    *(("files", fault, 1.0) for fault in OF_FILES),
    ("files", "failed_partly", 0.6),
    *(("job", fault, 0.5) for fault in OF_JOBS),
]


@pytest.mark.parametrize(("lane", "fault", "rate"), FAULTS)
def test_odd_batches_end_with_each_row_once(job, lane, fault, rate):
    asked = job(rows(20), lane, files=Files(rows=5))
    ended = batched(asked, batch_seconds=60, batch_faults={fault: rate})
    check_all_recorded(asked, ended, 20)


def test_rows_without_a_line_go_into_another_batch_and_are_told(job):
    asked = job(rows(60), files=Files(rows=20))
    ended = batched(asked, batch_seconds=60, batch_faults={"missing_lines": 0.9})
    check_all_recorded(asked, ended, 60)
    assert any("without a line" in said for said in ended.said)


def test_the_paid_part_of_an_expired_batch_is_kept(job):
    asked = job(rows(20), files=Files(rows=10))
    ended = batched(asked, batch_seconds=60, batch_faults={"expired": 0.6}, seed=2)
    check_all_recorded(asked, ended, 20)
    assert "expired" in {batch.status for batch in ended.batches.store.state.batches.values()}


@pytest.mark.parametrize("lane", LANES)
def test_the_row_of_a_line_that_is_refused_fails_and_the_others_go_on(job, lane):
    asked = job(rows(10), lane, files=Files(rows=10))
    ended = batched(asked, batch_seconds=60, batch_faults={"bad_line": 1.0})
    assert ended.summary.ending == "finished"
    kinds = {line["row"]: line["error"]["kind"] for line in failures(asked)}
    assert set(kinds.values()) == {"bad_row"}
    assert rows_with_records(asked) == list(range(1, 11))
    assert results(asked), "a file with one row is not refused by this fault"


def test_lines_that_fail_are_tried_again_until_their_attempts_are_used_up(job):
    lines = [*rows(4), {"model": MODEL, "messages": [{"role": "user", "content": "[[fault:server_error]]"}]}]
    asked = job(lines, retry=RetryPolicy(max_attempts=3))
    ended = batched(asked, batch_seconds=60)
    [failed] = failures(asked)
    assert (failed["row"], failed["attempts"], failed["error"]["kind"]) == (5, 3, "server_error")
    assert len(results(asked)) == 4
    assert ended.summary.failed == 1


def test_a_batch_that_never_moves_is_cancelled_after_its_deadline(job):
    asked = job(rows(4), files=Files(rows=4))
    ended = batched(asked, batch_seconds=60, batch_faults={"hang": 0.5}, seed=1)
    check_all_recorded(asked, ended, 4)


def test_batches_that_bring_nothing_again_and_again_halt_the_run(job):
    asked = job(rows(4))
    ended = batched(asked, batch_seconds=60, batch_faults={"no_output": 1.0})
    assert ended.summary.ending == "halted"
    assert ended.summary.halt.code == "no_lines"
    assert ended.batches.calls["create"] == 3


def test_a_service_that_is_away_for_long_halts_and_the_next_session_goes_on(job):
    asked = job(rows(8), files=Files(rows=4), retry=RetryPolicy(give_up_after=60))
    ended = batched(asked, batch_seconds=60, batch_faults={"poll_502": 1.0})
    assert (ended.summary.ending, ended.summary.halt.code) == ("halted", "away")
    assert not results(asked)


def test_no_parcel_is_ordered_that_could_pass_the_budget(job):
    asked = job(rows(40, max_completion_tokens=500), files=Files(rows=5), limits=Limits(max_cost=0.02))
    ended = batched(asked, batch_seconds=60)
    assert ended.summary.ending in {"halted", "finished"}
    assert ended.summary.cost.amounts["CNY"] <= Decimal("0.02")
    tight = batched(replace(asked, run_dir=f"{asked.run_dir}-2", limits=Limits(max_cost=0.0001)))
    assert (tight.summary.ending, tight.summary.halt.code) == ("halted", "max_cost")


def test_detached_it_ends_once_everything_is_ordered_and_collects_later(job):
    asked = job(rows(20), files=Files(rows=5))
    ended = batched(asked, {"detach": True}, batch_seconds=6_000)
    assert (ended.summary.ending, ended.summary.exit_code) == ("ordered", 6)
    assert {parcel.stage for parcel in parcels_of(asked).by_number.values()} == {"started"}


def test_detached_sessions_come_to_the_same_end(job):
    asked = job(rows(20), files=Files(rows=5))
    ended = batched(asked, {"detach": True}, {}, batch_seconds=600)
    check_all_recorded(asked, ended, 20)
    assert ended.batches.calls["create"] == 4


@pytest.mark.parametrize("lane", LANES)
def test_cancelling_keeps_what_is_paid_and_leaves_the_rest(job, lane):
    asked = job(rows(20), lane, files=Files(rows=10))

    async def stop_soon(session):
        await asyncio.sleep(500)
        session.stop()

    ended = batched(asked, {"meanwhile": stop_soon}, {"cancel": frozenset()}, batch_seconds=3_000)
    assert ended.summary.ending == "finished"
    assert usage_of_results(asked) == billed_usage(ended.batches)
    assert 0 < len(results(asked)) < 20
    assert not parcels_of(asked).open_parcels


def test_what_is_left_goes_online_in_time(job, tmp_path):
    asked = job(rows(20), files=Files(rows=10, rest="online"), hours=Schedule(finish_by="2026-09-21 14:00 UTC"))
    ended = batched(asked, batch_seconds=100_000)
    assert ended.summary.ending == "rest online"
    assert not parcels_of(asked).open_parcels
    assert usage_of_results(asked) == billed_usage(ended.batches)


def test_files_at_the_provider_are_deleted_at_the_end_unless_they_are_to_be_kept(job):
    for keep, left in ((False, 0), (True, 4)):
        asked = job(rows(8), files=Files(rows=4, keep_remote=keep))
        asked = replace(asked, run_dir=f"{asked.run_dir}-{keep}")
        ended = batched(asked, batch_seconds=60)
        assert len(ended.batches.store.state.files) == left


def test_a_row_too_large_for_any_file_fails_before_anything_is_sent(job):
    long = {"model": MODEL, "messages": [{"role": "user", "content": "x" * 5_000}]}
    asked = job([*rows(3), long], files=Files(bytes=2_000))
    batched(asked, batch_seconds=60)
    [failed] = failures(asked)
    assert (failed["row"], failed["error"]["kind"]) == (4, "too_long")
