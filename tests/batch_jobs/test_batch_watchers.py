"""What is told of a session over batch files while it works, and the commands that it obeys."""

import asyncio
from pathlib import Path

import pytest
from batch_runs import MODEL, batched, parcels_of, rows, rows_with_records
from msgspec.structs import replace
from runs import job_of, prompts
from sessions import failures, results

from arkbatch.batch_jobs.parcel_journal import PARCELS
from arkbatch.batch_jobs.parcel_report import parcel_notes
from arkbatch.batch_jobs.parcel_rows import give_back_failed_rows
from arkbatch.core.calls import Kind
from arkbatch.core.errors import UsageError
from arkbatch.core.job_sections import Files, RetryPolicy
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.resume_check import ResumeOptions
from arkbatch.engine.retry_run import RetryRun, RetrySelection
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.monitor.commands import Command, Drain, Pause, ShowStatus
from arkbatch.monitor.observer import Observer
from arkbatch.monitor.progress_bar import progress_text
from arkbatch.reports.page.page import page_data
from arkbatch.reports.page.timeline import Timeline
from arkbatch.reports.status.status import read_status


@pytest.fixture
def job(tmp_path):
    return lambda lines, **changes: replace(job_of(prompts(tmp_path, *lines)), lane="files", **changes)


class Watching(Observer):
    def __init__(self):
        self.seen = []

    def progressed(self, standing):
        self.seen.append(standing)


def test_progress_tells_the_batches_at_the_provider_and_the_rows_that_are_done(job):
    asked = job(rows(20), files=Files(rows=5))
    watching = Watching()

    async def watch(session):
        session._observer.progressed = watching.progressed

    batched(asked, {"meanwhile": watch}, batch_seconds=600)
    texts = [progress_text(standing) for standing in watching.seen]
    assert any("4 batches at the provider" in text and "of 20 rows done" in text for text in texts)
    assert not any("in flight" in text or "req/min" in text for text in texts), "no call is made"
    assert (watching.seen[-1].left, watching.seen[-1].parcels) == (0, {"open": 0})
    assert any(standing.parcels.get("in_progress") for standing in watching.seen)


def test_ctl_tells_how_it_stands_drains_and_refuses_what_batches_cannot_do(job):
    asked = job(rows(10), files=Files(rows=5))
    told = []

    async def control(session):
        with pytest.raises(UsageError, match="only beginning"):
            replace_commands(session)
        await asyncio.sleep(200)
        told.append(session.handle(Command(1, ShowStatus(), "me")))
        with pytest.raises(UsageError, match="provider decides"):
            session.handle(Command(1, Pause(), "me"))
        told.append(session.handle(Command(1, Drain(), "me", "lunch")))

    ended = batched(asked, {"meanwhile": control}, batch_seconds=3_000)
    assert "2 batches at the provider" in told[0].said
    assert (told[0].state.in_flight, told[0].state.left) == (10, 10)
    assert "next run collects" in told[1].said
    assert (ended.summary.ending, len(parcels_of(asked).open_parcels)) == ("stopped", 2)


def replace_commands(session):
    """As before the session has begun."""
    commands, session._commands = session._commands, None
    try:
        session.handle(Command(1, ShowStatus(), "me"))
    finally:
        session._commands = commands


def test_failed_rows_go_again_in_batch_files_and_others_that_are_left_do_not(job):
    lines = [
        *rows(4),
        {"model": "doubao-seed-1-6-251015", "messages": [{"role": "user", "content": "[[fault:server_error]]"}]},
    ]
    asked = job(lines, retry=RetryPolicy(max_attempts=2))
    first = batched(asked, batch_seconds=60)
    assert [line["row"] for line in failures(asked) if not line.get("interrupted")] == [5]
    spent = sum(line["attempts"] for line in failures(asked) if not line.get("interrupted"))

    with RetryRun(asked, RetrySelection(), wall=lambda: 1_790_000_500.0) as run:
        numbers = give_back_failed_rows(run)
        run.journal.close()
    assert numbers == {5}
    more = replace(asked, retry=RetryPolicy(max_attempts=4))
    again = batched(more, {"only": numbers}, batch_seconds=60)
    assert again.summary.ending == "finished"
    [failed] = [line for line in failures(asked) if not line.get("interrupted")][-1:]
    assert (failed["row"], failed["attempts"]) == (5, 4), f"what it spent before ({spent}) stays with it"
    assert rows_with_records(asked)[:4] == [1, 2, 3, 4]
    assert len(results(asked)) == 4
    assert first.batches.calls["create"] == 2


def test_only_the_chosen_rows_are_sent(job):
    asked = job(rows(6))
    ended = batched(asked, {"only": frozenset({2, 3})}, batch_seconds=60)
    assert ended.summary.ending == "finished"
    assert rows_with_records(asked) == [2, 3]
    del ended


def test_a_retry_of_rows_by_kind_gives_back_only_those(job):
    bad = {"model": "doubao-seed-1-6-251015", "messages": [{"role": "user", "content": "[[fault:server_error]]"}]}
    asked = job([bad, {"model": "doubao-seed-1-6-251015", "messages": "none"}], retry=RetryPolicy(max_attempts=1))
    batched(asked, batch_seconds=60)
    with RetryRun(asked, RetrySelection(frozenset({Kind.SERVER_ERROR.value})), wall=lambda: 1_790_000_500.0) as run:
        assert give_back_failed_rows(run) == {1}
        run.journal.close()


def test_the_page_lists_each_parcel_with_its_state_rows_order_and_waiting_time(job):
    asked, seen = job(rows(20), files=Files(rows=10)), []

    async def look(session):
        await asyncio.sleep(1_000)
        seen.append(parcel_notes(session._run.directory, session._run.wall))

    ended = batched(asked, {"meanwhile": look}, batch_seconds=3_000, batch_faults={"missing_lines": 0.9})
    assert ended.summary.ending == "finished"
    assert [(each.parcel, each.rows, each.state, each.is_open) for each in seen[0]] == [
        (1, 10, "in_progress", True),
        (2, 10, "in_progress", True),
    ]
    assert all(0 < each.rows_done < 10 and 900 < each.waited <= 1_000 for each in seen[0])
    last = parcel_notes(RunDirectory(Path(asked.run_dir)), lambda: 1e12)
    assert len(last) > 2, "rows without a line went into another parcel"
    assert sum(each.rows_done for each in last) == 20
    assert all(each.state == "closed" and 0 < each.waited < 10_000 for each in last), "waiting ends with the batch"
    assert sum(each.left for each in last) == sum(each.rows for each in last[2:])


def test_a_long_run_lists_open_and_new_parcels_first(job):
    asked = job(rows(4))
    batched(asked, {"detach": True}, batch_seconds=3_000)
    [note] = parcel_notes(RunDirectory(Path(asked.run_dir)), lambda: 1_790_000_100.0)
    notes = [replace(note, parcel=number, is_open=number == 3) for number in range(1, 71)]
    data = page_data(read_status(asked.run_dir, lambda: 1.0), Timeline(), lambda: 1.0, parcels=notes)
    assert [each.parcel for each in data.parcels] == [3, *range(70, 21, -1)]
    assert data.more_parcels == 20


FLASH = "doubao-seed-1-6-flash-250828"


def given_back(asked, changes):
    with RetryRun(asked, RetrySelection(changes=changes), wall=lambda: 1_790_000_500.0) as run:
        numbers = give_back_failed_rows(run)
        run.journal.close()
    return numbers


def failing(asked_rows, **more):
    return [{**row, "messages": [{"role": "user", "content": "[[fault:server_error]]"}], **more} for row in asked_rows]


def test_failed_rows_go_again_with_another_model_and_other_parameters_also_in_a_later_session(job):
    asked = job([*rows(3), *failing(rows(1), thinking={"type": "enabled"})], retry=RetryPolicy(max_attempts=1))
    batched(asked, batch_seconds=60)
    changes = {"model": FLASH, "thinking": {"budget": 7}}
    numbers = given_back(asked, changes)
    more = replace(asked, retry=RetryPolicy(max_attempts=2))
    ended = batched(more, {"only": numbers, "detach": True}, {}, batch_seconds=600)
    assert ended.summary.ending == "finished"
    assert [each.cut.model for each in parcels_of(asked).by_number.values()] == [MODEL, FLASH]
    [failed] = [line for line in failures(asked) if not line.get("interrupted")][-1:]
    body = failed["request"]["body"]
    assert (failed["row"], body["model"], body["thinking"]) == (4, FLASH, {"type": "enabled", "budget": 7})


def test_a_retry_sends_each_row_as_it_was_sent_last_and_adds_its_own_changes(job):
    asked = job([*rows(1), *failing(rows(2))], retry=RetryPolicy(max_attempts=1))
    batched(asked, batch_seconds=60)
    given_back(asked, {"model": FLASH})
    batched(replace(asked, retry=RetryPolicy(max_attempts=2)), batch_seconds=60)
    with RetryRun(asked, RetrySelection(changes={"top_p": 0.5}), wall=lambda: 1_790_000_500.0) as run:
        give_back_failed_rows(run)
        run.journal.close()
    with OpenRun(asked, wall=lambda: 1_790_000_500.0) as run:
        assert [(row.body["model"], row.body["top_p"]) for row in run.rows()] == [(FLASH, 0.5)] * 2


@pytest.mark.parametrize("is_lost", [False, True])
def test_what_a_retry_changes_is_known_without_parcels_jsonl_and_to_every_lane(job, is_lost):
    asked = job([*rows(3), *failing(rows(1))], retry=RetryPolicy(max_attempts=1))
    batched(asked, batch_seconds=60)
    given_back(asked, {"model": FLASH})
    if is_lost:
        (Path(asked.run_dir) / PARCELS).unlink()
    for lane in ("online", "files"):
        with OpenRun(replace(asked, lane=lane), wall=lambda: 1_790_000_500.0) as run:
            [row] = run.rows()
            assert (row.number, row.body["model"]) == (4, FLASH)
    batched(replace(asked, retry=RetryPolicy(max_attempts=3)), batch_seconds=60)
    sent = [line["request"]["body"]["model"] for line in failures(asked)]
    assert sent[-1] == FLASH
    assert rows_with_records(asked)[:3] == [1, 2, 3]


def test_a_row_that_was_edited_after_a_retry_gave_it_back_is_sent_as_it_stands_in_the_input(job, tmp_path):
    asked = job(failing(rows(2)), retry=RetryPolicy(max_attempts=1))
    batched(asked, batch_seconds=60)
    given_back(asked, {"model": FLASH})
    prompts(tmp_path, *failing(rows(1)), *rows(1))
    with OpenRun(asked, ResumeOptions(rebase=True), wall=lambda: 1_790_000_500.0) as run:
        assert [row.body["model"] for row in run.rows()] == [FLASH, MODEL]
