"""A run that is stopped between two billed tries of a row: the row is left, and what it billed is counted once."""

import asyncio
import gzip
import signal
from pathlib import Path

import orjson
from click.testing import CliRunner
from fakes import SCRIPT, FakeTransport, answer, refusal
from msgspec.structs import replace
from processes import BODY, arkbatch, serving, started, until
from runs import answered, failed, job_of, numbered, prompts, worked_off
from servers import Raw, whole
from sessions import failures, results, scripted, worked
from virtual import run_virtual

from arkbatch.cli.retry import command as retry
from arkbatch.cli.show import command as show
from arkbatch.core.calls import Kind
from arkbatch.core.errors import ExitCode
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.resume_check import ResumeOptions
from arkbatch.engine.retry_run import RetryRun, RetrySelection
from arkbatch.engine.session import Session
from arkbatch.journal.run_directory import LEDGER
from arkbatch.reports.status.status import read_status
from arkbatch.simulator.server import Settings, serve

ROWS = 12


def after(seconds):
    async def stop(session, _):
        await asyncio.sleep(seconds)
        session.stop()

    return stop


def stopped(job):
    """A session that ends while each of its rows waits for its second try; the first was billed."""
    return worked(job, meanwhile=after(0.3), faults={"empty": 1.0}).summary


def job(folder, **flags):
    return job_of(prompts(folder, *numbered(ROWS)), **{"concurrency": 4, **flags})


def usage(lines):
    return sum(line["usage"].get("input", 0) + line["usage"].get("output", 0) for line in lines)


def counted(job):
    found = orjson.loads((Path(job.run_dir) / "usage.json").read_bytes())
    return found["usage"]["input"] + found["usage"]["output"]


def ended_well(job, rows=ROWS):
    """Each row once among the results, nothing among the failures, and the sums are those of the lines."""
    assert sorted(line["row"] for line in results(job)) == list(range(1, rows + 1))
    assert failures(job) == []
    return usage(results(job)) == counted(job)


def test_the_row_is_left_and_the_next_session_sends_it(tmp_path):
    ours = job(tmp_path)
    first = stopped(ours)
    kept = failures(ours)
    assert {line["interrupted"] for line in kept} == {True}
    assert (first.failed, first.left, first.failures, first.exit_code) == (0, ROWS, {}, ExitCode.INTERRUPTED)
    assert first.session["recorded"] == 0
    second = worked(ours).summary
    assert (second.succeeded, second.failed, second.left, second.exit_code) == (ROWS, 0, 0, ExitCode.OK)
    assert ended_well(ours)
    again = {line["row"]: line for line in results(ours)}
    for line in kept:
        assert again[line["row"]]["attempts"] == line["attempts"] + 1
        assert again[line["row"]]["before"][0]["interrupted"]
        assert usage([again[line["row"]]]) > usage([line]) > 0


def test_stopped_again_and_again_it_forgets_no_bill(tmp_path):
    ours = job(tmp_path)
    billed = [stopped(ours).usage for _ in range(3)]
    assert billed[0]["input"] < billed[1]["input"] < billed[2]["input"]
    (Path(ours.run_dir) / LEDGER).unlink()
    last = worked(ours).summary
    assert last.usage["input"] > billed[2]["input"]
    assert last.discarded["input"] == billed[2]["input"]
    assert ended_well(ours)
    assert len(results(ours)[0]["before"]) == 3


def test_killed_before_the_replaced_lines_went_the_sums_are_the_same(tmp_path):
    ours = job(tmp_path)
    stopped(ours)
    with OpenRun(ours, wall=lambda: 0.0) as run:
        for row in run.rows():
            run.journal.record(answered(row))
        whole_usage = dict(run.journal.ledger.tallies[0].usage)
    assert len(failures(ours)) > 0  # it was not closed
    with OpenRun(ours, wall=lambda: 0.0) as run:
        assert run.found.left == 0
        assert dict(run.journal.ledger.tallies[0].usage) == whole_usage
        run.journal.close()
    assert ended_well(ours)


def test_status_and_show_call_it_left(tmp_path):
    ours = job(tmp_path)
    stopped(ours)
    status = read_status(ours.run_dir, lambda: 0.0)
    assert (status.done, status.failed, status.left, status.failures) == (0, 0, ROWS, [])
    number = failures(ours)[0]["row"]
    said = CliRunner().invoke(show, [ours.run_dir, str(number)]).output
    assert f"Row {number} (task-{number}): interrupted, 1 call" in said
    assert "Run again to send it." in said
    assert "What to do" not in said
    worked(ours)
    assert "interrupted: empty" in CliRunner().invoke(show, [ours.run_dir, str(number)]).output


def test_its_line_is_read_again_so_that_a_change_holds_for_it_too(tmp_path):
    ours = job(tmp_path)
    stopped(ours)
    changed = job(tmp_path, set=["temperature=0.5"])
    with OpenRun(changed, ResumeOptions(mixed=True), wall=lambda: 0.0) as run:
        assert {row.body["temperature"] for row in run.rows()} == {0.5}


def test_a_limit_holds_for_it_too(tmp_path):
    ours = job(tmp_path)
    stopped(ours)
    numbers = [line["row"] for line in failures(ours)]
    assert max(numbers) == 4
    with OpenRun(job(tmp_path, limit=2), wall=lambda: 0.0) as run:
        assert (run.found.left, [row.number for row in run.rows()]) == (2, [1, 2])


def test_it_moves_with_its_line_when_the_input_is_edited(tmp_path):
    ours = job(tmp_path)
    stopped(ours)
    spent = usage(failures(ours))
    prompts(tmp_path, {"custom_id": "new", "prompt": "x"}, *numbered(ROWS))
    assert worked(ours, wishes=ResumeOptions(rebase=True)).summary.succeeded == ROWS + 1
    assert ended_well(ours, ROWS + 1)
    assert sum(usage(line.get("before", ())) for line in results(ours)) == spent


def test_a_compressed_input_is_read_from_where_it_stands(tmp_path):
    path = prompts(tmp_path, *numbered(ROWS))
    packed = tmp_path / "in.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    ours = job_of(packed, concurrency=4)
    stopped(ours)
    assert worked(ours).summary.succeeded == ROWS
    assert ended_well(ours)


def test_retry_leaves_it_to_run(tmp_path):
    ours = job(tmp_path)
    stopped(ours)
    with RetryRun(ours, RetrySelection(), wall=lambda: 0.0) as run:
        assert (run.found.to_send, list(run.rows())) == (0, [])


def test_after_a_retry_the_command_that_goes_on_is_the_one_that_sends_what_is_left(tmp_path):
    ours = job(tmp_path)
    worked_off(ours, lambda _: None, command="arkbatch run in.jsonl")
    said = CliRunner().invoke(retry, [ours.run_dir]).output
    assert said.splitlines()[-1] == "Resume with:  arkbatch run in.jsonl"


def test_a_row_that_had_failed_stays_failed_when_its_retry_is_stopped(tmp_path):
    ours = job(tmp_path)
    worked_off(ours, lambda row: failed(row, usage={"input": 7}, model="m"))

    async def main():
        async with serve(Settings(faults={"empty": 1.0})) as url:
            with RetryRun(replace(ours, base_url=url), RetrySelection(), wall=lambda: 0.0) as again:
                session = Session(again, chance=lambda: 0.5)
                work = asyncio.ensure_future(session.work_again(again.rows()))
                await after(0.3)(session, work)
                return await work

    summary = run_virtual(main())
    assert (summary.failed, summary.left) == (ROWS, 0)
    assert summary.failures == {Kind.EMPTY: 4, Kind.TIMEOUT: ROWS - 4}
    assert not any("interrupted" in line for line in failures(ours))
    assert usage(failures(ours)) == counted(ours)


def test_a_halt_leaves_it_too(tmp_path, monkeypatch):
    """The first answers are billed and empty; then the key is no longer good."""
    no_longer = refusal(401, "AuthenticationError")
    transport = FakeTransport(lambda _, attempt: SCRIPT["empty"] if attempt == 1 else no_longer)
    ours = job(tmp_path)
    summary = scripted(ours, transport, monkeypatch).summary
    assert (summary.ending, summary.failed, summary.left) == ("halted", 0, ROWS)
    assert {line["interrupted"] for line in failures(ours)} == {True}


def test_what_a_row_had_billed_is_kept_when_its_next_call_is_abandoned(tmp_path, monkeypatch):
    """As by a second Ctrl-C."""
    ours = job(tmp_path)
    transport = FakeTransport(lambda _, attempt: SCRIPT["empty"] if attempt == 1 else answer(seconds=1_000))

    async def cancel(_, task):
        await asyncio.sleep(30)
        task.cancel()

    scripted(ours, transport, monkeypatch, meanwhile=cancel)
    assert [(line["interrupted"], usage([line])) for line in failures(ours)] == [(True, 15)] * 4
    assert failures(ours)[0]["error"]["message"] == "the run was stopped before the model answered"
    monkeypatch.undo()
    assert worked(ours).summary.succeeded == ROWS
    assert ended_well(ours)


EMPTY_BODY = BODY.replace(b'"content":"hi"', b'"content":""')


def test_the_real_command_sends_it_again_by_itself(tmp_path):
    prompts(tmp_path, *numbered(ROWS))
    handler = Raw(whole(EMPTY_BODY), silent=0.05)
    with serving(handler) as url:
        words = (
            "run",
            "in.jsonl",
            "-o",
            "a.run",
            "--model",
            "m",
            "--base-url",
            url,
            "--concurrency",
            4,
            "--max-attempts",
            9,
        )
        process = started(*words, cwd=tmp_path)
        until(lambda: len(handler.heard) >= 4)
        log = tmp_path / "a.run" / "run.log"
        until(lambda: b"again in" in log.read_bytes())
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
        assert process.returncode == ExitCode.INTERRUPTED, err
        assert (orjson.loads(out)["failed"], orjson.loads(out)["left"]) == (0, ROWS)
        first = len(handler.heard)
        handler.answer = whole(BODY)
        again = arkbatch(*words, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert f"Resuming a.run: 0 rows done, 0 failed, {ROWS} left.".encode() in again.stderr
    assert len(handler.heard) == first + ROWS
    lines = [orjson.loads(line) for line in (tmp_path / "a.run" / "results.jsonl").read_bytes().splitlines()]
    assert sorted(line["row"] for line in lines) == list(range(1, ROWS + 1))
    assert usage(lines) == orjson.loads(again.stdout)["usage"]["input"] + orjson.loads(again.stdout)["usage"]["output"]
    assert usage(lines) == 15 * (first + ROWS)
    assert (tmp_path / "a.run" / "failures.jsonl").read_bytes() == b""
