"""Another try at the failed rows of a run."""

import orjson
import pytest
from fakes import FakeTransport, refusal
from msgspec.structs import replace
from runs import job_of, prompts
from sessions import retried, scripted
from virtual import run_virtual

from arkbatch.core.errors import RunDirectoryError, UsageError
from arkbatch.core.job import Job
from arkbatch.core.job_sections import RetryPolicy
from arkbatch.core.secret import Secret
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.retry_run import RetryRun, RetrySelection, chosen_kinds
from arkbatch.engine.session import Session
from arkbatch.journal.run_directory import FAILURES, RESULTS
from arkbatch.simulator.server import serve
from arkbatch.simulator.settings import Settings

ROWS = [
    {"prompt": "all is well"},
    {"prompt": "it breaks [[fault:server_error:9]]"},
    {"prompt": "blocked [[fault:content_filter]]"},
    {"prompt": "refused [[fault:refuse]]"},
]


@pytest.fixture
def job(tmp_path):
    source = tmp_path / "rows.jsonl"
    source.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in ROWS) + b"{oops\n")
    return Job(
        input=str(source),
        run_dir=str(tmp_path / "rows.run"),
        endpoint="chat",
        model="doubao-seed-1-6-251015",
        base_url="",
        api_key=Secret("k"),
        retry=RetryPolicy(max_attempts=3, first_delay=0.1),
    )


def work(job, *choices):
    """A run, then a retry for each choice, against one simulator; the last summary."""

    async def main():
        async with serve(Settings(), wall=lambda: 0.0) as url:
            ready = replace(job, base_url=url)
            with OpenRun(ready, wall=lambda: 0.0) as run:
                summary = await Session(run).work()
            for choice in choices:
                with RetryRun(ready, choice, wall=lambda: 0.0) as again:
                    summary = await Session(again).work_again(again.rows())
            return summary

    return run_virtual(main())


def lines(job, name):
    from pathlib import Path

    return {line["row"]: line for line in map(orjson.loads, (Path(job.run_dir) / name).read_bytes().splitlines())}


def test_a_success_moves_the_row_out_of_the_failures(job):
    work(job, RetrySelection(), RetrySelection(), RetrySelection())
    assert set(lines(job, FAILURES)) == {3, 4, 5}
    moved = lines(job, RESULTS)[2]
    assert moved["attempts"] == 10  # nine failed in three sessions and a bit, the tenth answered
    assert [part["attempts"] for part in moved["before"]] == [3, 3, 3]


def test_only_the_chosen_kinds_are_sent(job):
    summary = work(job, RetrySelection(kinds=frozenset({"blocked"})))
    assert summary.session["recorded"] == 1
    assert lines(job, FAILURES)[3]["attempts"] == 2


def test_only_the_chosen_rows_are_sent(job):
    assert work(job, RetrySelection(rows=frozenset({3, 4}))).session["recorded"] == 2


def test_a_line_that_is_still_bad_stays_one_failure(job):
    summary = work(job, RetrySelection(kinds=frozenset({"bad_row"})), RetrySelection(kinds=frozenset({"bad_row"})))
    assert (summary.session["recorded"], summary.failures["bad_row"]) == (1, 1)
    assert lines(job, FAILURES)[5]["request"] is None


def test_a_line_that_was_bad_for_want_of_a_model_is_sent_when_there_is_one(job):
    """Its record was never sent, so it is read again from the input."""
    with open(job.input, "ab") as file:
        file.write(orjson.dumps({"model": "m", "prompt": "a row that names its model"}) + b"\n")
    from msgspec.structs import replace as changed

    async def main():
        async with serve(Settings(), wall=lambda: 0.0) as url:
            ready = changed(job, base_url=url, model="")
            with OpenRun(ready, wall=lambda: 0.0) as run:
                first = await Session(run).work()
            with RetryRun(changed(ready, model="m"), RetrySelection(rows=frozenset({1})), wall=lambda: 0.0) as again:
                return first, await Session(again).work_again(again.rows())

    first, last = run_virtual(main())
    assert (first.failures, first.succeeded, last.succeeded) == ({"bad_row": 5}, 1, 2)


def test_a_line_whose_input_changed_is_not_sent(job):
    work(job)
    with open(job.input, "ab") as file:
        file.seek(0)
        file.truncate(10)
    with RetryRun(job, RetrySelection(), wall=lambda: 0.0) as again:
        assert (again.found.to_send, again.found.unsent) == (3, 1)


def test_changes_replace_what_the_row_asked_and_keep_the_rest(job):
    work(job, RetrySelection(rows=frozenset({4}), changes={"max_tokens": 7, "thinking": {"type": "disabled"}}))
    body = lines(job, FAILURES)[4]["request"]["body"]
    assert (body["max_tokens"], body["thinking"], body["messages"][0]["role"]) == (7, {"type": "disabled"}, "user")


def test_a_change_that_cannot_be_sent_names_the_row_and_the_flag(job):
    with pytest.raises(UsageError, match=r"Row 2 cannot be sent so: temperature.*Correct --set"):
        work(job, RetrySelection(rows=frozenset({2}), changes={"temperature": 9}))


def test_tokens_billed_in_earlier_sessions_stay_counted(job):
    summary = work(job, RetrySelection(kinds=frozenset({"blocked"})))
    blocked = lines(job, FAILURES)[3]
    assert blocked["usage"]["input"] == 2 * blocked["before"][0]["usage"]["input"]
    assert summary.discarded["input"] == blocked["usage"]["input"]


def test_a_directory_without_a_run_is_refused(job):
    with (
        pytest.raises(RunDirectoryError, match="not a run directory"),
        RetryRun(job, RetrySelection(), wall=lambda: 0.0),
    ):
        pass


def test_a_misspelt_kind_is_refused_with_the_nearest_one():
    with pytest.raises(UsageError, match="Did you mean timeout"):
        chosen_kinds("timeuot")
    assert chosen_kinds("timeout, overloaded") == {"timeout", "overloaded"}


def test_a_failed_row_is_sent_again_with_its_request_id_suffixed_and_the_digits_of_its_numbers(tmp_path, monkeypatch):
    seed = b"123456789012345678901234567890"
    path = prompts(
        tmp_path, b'{"body":{"messages":[{"role":"user","content":"hi"}],"seed":%b},"request_id":"mine"}\n' % seed
    )
    asked = job_of(path)
    refused = FakeTransport(lambda *_: refusal(400, "InvalidParameter"))
    scripted(asked, refused, monkeypatch)
    answered = FakeTransport()
    retried(asked, answered, monkeypatch)
    for transport, client_id in ((refused, "mine"), (answered, "mine-2-1")):
        (call,) = transport.calls
        assert (call.client_id, seed in call.body) == (client_id, True)
