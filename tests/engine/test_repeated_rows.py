"""`--dedupe`: rows with equal requests are sent once, and each gets its record."""

import orjson
import pytest
from fakes import SCRIPT, FakeTransport, answer
from runs import job_of, prompts
from sessions import results, retried, scripted, worked

from arkbatch.core.errors import UsageError
from arkbatch.engine.open_run import ResumeOptions
from arkbatch.estimate.input_sizes import readable_rows
from arkbatch.journal.journal import read_ledger
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.pricing.run_price_file import bill_of
from arkbatch.reports.answers.answer_table import TableOptions
from arkbatch.reports.answers.answers import iter_answers


def repeating(folder, count=9, **flags):
    """Rows of which every third one asks the same."""
    rows = [{"custom_id": f"r{number}", "prompt": f"question {number % 3}", "label": number} for number in range(count)]
    return job_of(prompts(folder, *rows), dedupe=True, **flags)


def test_equal_requests_are_called_once_and_each_row_has_its_record(tmp_path, monkeypatch):
    transport = FakeTransport()
    job = repeating(tmp_path)
    ended = scripted(job, transport, monkeypatch)
    assert (len(transport.calls), ended.summary.succeeded, ended.summary.left) == (3, 9, 0)
    assert ended.summary.session == {"recorded": 9, "retried": 0, "copied": 6}
    records = {line["custom_id"]: line for line in results(job)}
    assert records["r7"]["copy_of"] == 2
    assert "copy_of" not in records["r1"]
    assert records["r7"]["response"]["body"] == records["r1"]["response"]["body"]
    assert [row["label"] for row in iter_answers(tmp_path / "a.run") if row["answer"]] == list(range(9))


def test_a_copy_bills_nothing_and_has_no_unknown_price(tmp_path, monkeypatch):
    scripted(repeating(tmp_path), FakeTransport(), monkeypatch)
    alone = tmp_path / "alone"
    alone.mkdir()
    scripted(repeating(alone, 3), FakeTransport(), monkeypatch)
    read = [RunDirectory(folder / "a.run") for folder in (tmp_path, alone)]
    bills = [bill_of(directory.read_info()) for directory in read]
    usage = [
        sum((tally.usage.get("input", 0) for tally in read_ledger(each, bill)[0].tallies), 0)
        for each, bill in zip(read, bills, strict=True)
    ]
    assert usage[0] == usage[1] > 0
    assert bills[0].total_cost() == bills[1].total_cost()


def test_a_row_whose_first_one_failed_fails_too(tmp_path, monkeypatch):
    transport = FakeTransport(lambda call, attempt: SCRIPT["refuse"])
    ended = scripted(repeating(tmp_path, 6), transport, monkeypatch)
    assert (len(transport.calls), ended.summary.failed, ended.summary.left) == (3, 6, 0)


def test_a_stopped_run_keeps_the_repeated_rows_for_the_next_session(tmp_path, monkeypatch):
    job = repeating(tmp_path, concurrency=1)

    async def stop(session, _):
        session.stop()

    stopped = scripted(job, FakeTransport(lambda call, attempt: answer(seconds=1)), monkeypatch, meanwhile=stop)
    assert stopped.summary.left > 6
    transport = FakeTransport()
    ended = scripted(job, transport, monkeypatch)
    assert (ended.summary.succeeded, ended.summary.left) == (9, 0)
    assert len(transport.calls) <= 3


def test_without_the_option_a_resumed_run_sends_the_rows_that_were_passed_over(tmp_path, monkeypatch):
    job = repeating(tmp_path, 9, limit=3)
    scripted(job, FakeTransport(), monkeypatch)
    transport = FakeTransport()
    ended = scripted(job_of(tmp_path / "in.jsonl"), transport, monkeypatch)
    assert (ended.summary.succeeded, len(transport.calls)) == (9, 6)


def test_a_copy_names_its_row_where_the_input_was_edited(tmp_path, monkeypatch):
    scripted(repeating(tmp_path, 4), FakeTransport(), monkeypatch)
    lines = (tmp_path / "in.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "in.jsonl").write_bytes(orjson.dumps({"prompt": "new"}) + b"\n" + b"".join(lines))
    job = job_of(tmp_path / "in.jsonl")
    scripted(job, FakeTransport(), monkeypatch, wishes=ResumeOptions(rebase=True))
    (copy,) = (line for line in results(job) if "copy_of" in line)
    assert (copy["row"], copy["copy_of"]) == (5, 2)


def test_batch_files_take_every_row(tmp_path):
    with pytest.raises(UsageError, match="dedupe"):
        repeating(tmp_path, lane="files")


def test_the_order_of_keys_and_columns_that_are_not_sent_do_not_count(tmp_path):
    bodies = [{"messages": [{"role": "user", "content": "a"}], "temperature": 1}]
    bodies.append(dict(reversed(bodies[0].items())))
    rows = [{"custom_id": str(number), "body": body, "note": number} for number, body in enumerate(bodies)]
    ended = worked(job_of(prompts(tmp_path, *rows), dedupe=True))
    assert (ended.summary.succeeded, ended.counters.outcomes) == (2, {"ok": 1})


def test_a_retry_sends_equal_requests_once_and_gives_the_others_a_copy(tmp_path, monkeypatch):
    job = repeating(tmp_path, 6)
    scripted(job, FakeTransport(lambda call, attempt: SCRIPT["refuse"]), monkeypatch)
    transport = FakeTransport()
    summary = retried(job, transport, monkeypatch)
    assert (len(transport.calls), summary.succeeded, summary.failed) == (3, 6, 0)
    assert {line["custom_id"]: line.get("copy_of") for line in results(job)}["r4"] == 2


def test_an_estimate_counts_equal_requests_once(tmp_path):
    assert [row.number for row in readable_rows(repeating(tmp_path))] == [1, 2, 3]
    assert len(list(readable_rows(job_of(tmp_path / "in.jsonl")))) == 9


def test_a_copy_has_no_seconds_of_its_own(tmp_path, monkeypatch):
    scripted(repeating(tmp_path, 4), FakeTransport(), monkeypatch)
    options = TableOptions(extras=("seconds",))
    assert [row["seconds"] is None for row in iter_answers(tmp_path / "a.run", options)] == [False, False, False, True]
