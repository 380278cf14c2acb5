"""`arkbatch status` tells how far a run is from its directory alone, and changes nothing in it."""

from datetime import UTC, datetime

import orjson
import pytest
from builders import before
from click.testing import CliRunner
from msgspec.structs import replace
from runs import BEGAN, Told, answered, failed, job_of, numbered, prompts, worked_off

from arkbatch.cli.status import command
from arkbatch.core.calls import Kind
from arkbatch.core.errors import ExitCode, RunDirectoryError
from arkbatch.core.limit_changes import LimitChange
from arkbatch.journal.run_directory import LOG, RunDirectory
from arkbatch.reports.status.advice import NO_ROWS, advice_for, next_step, read_answers_step
from arkbatch.reports.status.find_run import last_lines
from arkbatch.reports.status.status import _Finished, read_status, recent_rates
from arkbatch.reports.status.status_text import status_text


def status_of(run_dir, now=BEGAN + 100):
    return read_status(str(run_dir), lambda: now)


def some_done(folder, count=6, **how):
    """Rows 1 and 2 succeed, row 3 fails, the others stay undone."""

    def outcome_of(row):
        return answered(row) if row.number < 3 else failed(row, code="read") if row.number == 3 else None

    return worked_off(job_of(prompts(folder, *numbered(count)), **how.pop("flags", {})), outcome_of, **how)


def test_rows_are_counted_and_the_rest_is_left(tmp_path):
    status = status_of(some_done(tmp_path, ending="stopped"))
    assert (status.rows, status.done, status.failed, status.left) == (6, 2, 1, 3)
    assert (status.writer, status.speed, status.simulated) == (None, None, True)
    assert status.usage == {"input": 20, "output": 10}
    assert status_text(status).splitlines()[0].endswith("a.run: not finished, and no session is running.")


def test_with_a_row_limit_only_those_rows_are_left(tmp_path):
    status = status_of(some_done(tmp_path, flags={"limit": 4}))
    assert (status.rows, status.left) == (4, 1)
    assert "1 left of 4 (--limit)" in status_text(status)


def test_looking_changes_no_file(tmp_path):
    run = some_done(tmp_path)
    before_look = {path.name: path.read_bytes() for path in run.iterdir()}
    status_of(run)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before_look


def test_a_session_that_is_writing_is_seen_and_not_disturbed(tmp_path):
    run = some_done(tmp_path, ending="")
    with RunDirectory(run).hold_lock(Told()):
        status = status_of(run, now=BEGAN + 30)
        assert status.writer.startswith("process ")
        assert status.speed.rows_per_minute > 0
        assert status.go_on == f"Look again:  arkbatch status {run}"
        assert "running" in status_text(status).splitlines()[-2]
    assert status_of(run).writer is None
    assert "killed" in status_text(status_of(run)).splitlines()[-2]


def test_a_torn_last_line_is_not_there_yet(tmp_path):
    run = some_done(tmp_path)
    with (run / "results.jsonl").open("ab") as file:
        file.write(b'{"row": 4, "torn')
    assert status_of(run).done == 2


def finished(*seconds, tokens=0):
    return [_Finished(datetime.fromtimestamp(BEGAN + second, UTC), {"input": tokens}) for second in seconds]


@pytest.mark.parametrize(
    ("seconds", "now", "began", "cut", "rows"),
    [
        ((1, 2, 70, 80, 90, 100), 120, 0, False, 4),  # the last minute only
        ((10, 20), 30, 0, False, 4),  # a session that began half a minute ago
        ((-500, 10, 20), 30, 0, False, 4),  # what an earlier session did does not count
        ((100, 105, 110), 120, 0, True, 6),  # only the last twenty seconds are known
        ((), 120, 0, False, 0),
        ((1,), 120, 0, False, 0),
        ((5,), 0, 0, False, 0),  # a clock that was set back
    ],
)
def test_the_speed_is_that_of_the_last_minute(seconds, now, began, cut, rows):
    assert recent_rates(finished(*seconds), BEGAN + now, BEGAN + began, cut=cut)[0] == pytest.approx(rows)


def test_tokens_of_input_and_output_count_for_the_speed():
    records = finished(10, 20, tokens=100)
    assert recent_rates(records, BEGAN + 60, BEGAN, cut=False)[1] == pytest.approx(200)


@pytest.mark.parametrize(
    ("text", "size", "lines", "cut"),
    [
        (b"aa\nbb\ncc\n", 100, [b"aa", b"bb", b"cc"], False),
        (b"aa\nbb\ncc", 100, [b"aa", b"bb"], False),
        (b"aa\nbb\ncc\n", 5, [b"cc"], True),
        (b"aaaaaaaaaaa", 5, [], True),
        (b"", 5, [], False),
    ],
)
def test_the_last_lines_of_a_file_are_whole(tmp_path, text, size, lines, cut):
    (tmp_path / "file").write_bytes(text)
    assert last_lines(tmp_path / "file", size) == (lines, cut)
    assert last_lines(tmp_path / "none") == ([], False)


def test_failures_come_with_a_sample_and_what_to_do(tmp_path):
    rows = [*numbered(3), b"{oops\n"]
    run = worked_off(job_of(prompts(tmp_path, *rows)), lambda row: failed(row, code="read", message="no\x1banswer"))
    status = status_of(run)
    assert [(note.kind, note.code, note.rows, note.sample_row) for note in status.failures] == [
        ("timeout", "read", 3, 1),
        ("bad_row", "", 1, 4),
    ]
    text = status_text(status)
    assert "3 timeout (read), such as row 1: no\\x1banswer" in text
    assert f"arkbatch retry {run} --kind timeout" in text
    assert "(bad lines, never sent)" in text
    assert text.splitlines()[-1] == f"Send the failed rows again:  arkbatch retry {run}"


def test_rows_that_name_their_models_leave_no_gap(tmp_path):
    run = worked_off(job_of(prompts(tmp_path, {"model": "m", "prompt": "a"}), model=""), answered)
    assert "chat, the model of each row, simulator" in status_text(status_of(run))


COMMAND = "arkbatch run in.jsonl"
MEND = "Fix the failed rows in the input, then run it with --rebase"


@pytest.mark.parametrize(
    ("kinds", "command", "said"),
    [
        (["bad_row", "blocked"], COMMAND, f"{MEND}:  {COMMAND} --rebase"),
        (["bad_row"], f"{COMMAND} --rebase", f"{MEND}:  {COMMAND} --rebase"),
        (["blocked"], "", f"{MEND}."),
        (["bad_row", "timeout"], COMMAND, "Send the failed rows again:  arkbatch retry 'my run'"),
    ],
)
def test_rows_that_would_fail_again_are_mended_and_not_sent_again(kinds, command, said):
    assert next_step(kinds, "my run", command) == said


def test_status_proposes_the_command_that_takes_up_mended_rows(tmp_path):
    run = worked_off(job_of(prompts(tmp_path, b"{oops\n", {"prompt": "a"})), answered, command=COMMAND)
    assert status_of(run).go_on == f"{MEND}:  {COMMAND} --rebase"


def test_an_empty_input_has_no_answer_to_read(tmp_path):
    assert status_of(worked_off(job_of(prompts(tmp_path)), answered)).go_on == NO_ROWS


@pytest.mark.parametrize("kind", Kind)
def test_there_is_advice_for_every_kind_of_failure(kind):
    said = advice_for(kind, "my run")
    assert ("arkbatch retry 'my run' --kind " in said) != ("--rebase" in said)
    assert len(said) > 50


def test_a_kind_that_a_newer_arkbatch_wrote_is_sent_again():
    assert advice_for("odd", "a.run") == "see what the service said, then: arkbatch retry a.run --kind odd"


def test_usage_is_shown_by_model_with_what_was_thrown_away(tmp_path):
    spent = [before(model="doubao-x", usage={"input": 7, "output": 3})]

    def outcome_of(row):
        usage = {"input": 1000, "cached": 400, "output": 50, "reasoning": 20}
        return answered(replace(row, before=tuple(spent)), usage=usage)

    status = status_of(worked_off(job_of(prompts(tmp_path, *numbered(1))), outcome_of))
    assert status.discarded == {"input": 7, "output": 3}
    rows = [line.split() for line in status_text(status).splitlines() if "  doubao-x" in line]
    assert rows[1] == ["doubao-x", "chat", "default", "1", "0", "1", "1,000", "400", "50", "20"]
    assert "discarded  7 input, 3 output" in status_text(status)


def test_the_whole_command_line_of_the_last_session_goes_on_if_it_was_noted(tmp_path):
    run = some_done(tmp_path, command="arkbatch run in.jsonl --rpm 60", ending="stopped")
    assert status_of(run).go_on == "Resume with:  arkbatch run in.jsonl --rpm 60"


def test_else_it_is_said_which_command_goes_on(tmp_path):
    assert "the `arkbatch run` command of the last session" in status_of(some_done(tmp_path)).go_on


def test_a_halted_run_says_why(tmp_path):
    run = some_done(tmp_path, ending="halted")
    (run / LOG).write_text("12:00 halted: auth InvalidApiKey no such key. check the API key\n12:01 session ends\n")
    assert "Stopped: auth InvalidApiKey no such key. check the API key" in status_text(status_of(run))


def test_an_input_that_changed_or_is_gone_is_noted(tmp_path):
    run = some_done(tmp_path)
    assert status_of(run).input_state == "as it was"
    (tmp_path / "in.jsonl").write_text("{}\n")
    assert "in.jsonl (changed since the last session)" in status_text(status_of(run))
    (tmp_path / "in.jsonl").unlink()
    assert "in.jsonl (not found)" in status_text(status_of(run))


def test_many_sessions_are_shortened(tmp_path):
    job = job_of(prompts(tmp_path, *numbered(1)))
    for _ in range(12):
        run = worked_off(job, lambda row: None, ending="stopped")
    text = status_text(status_of(run))
    assert "and 2 earlier sessions" in text
    assert "\n  12  run" in text


def test_a_finished_run_leads_to_its_answers(tmp_path):
    run = worked_off(job_of(prompts(tmp_path, *numbered(2))), answered)
    text = status_text(status_of(run))
    assert text.splitlines()[0] == f"{run}: finished."
    assert text.splitlines()[-1] == f"Read one answer:  arkbatch show {run} 1"


@pytest.mark.parametrize(
    ("name", "file"), [("my reviews.csv", "'my reviews-answers.csv'"), ("reviews.tsv.gz", "reviews-answers.tsv")]
)
def test_a_finished_run_of_a_table_leads_to_the_table_with_its_answers(tmp_path, name, file):
    run = worked_off(job_of(prompts(tmp_path, *numbered(2))), answered)
    info = RunDirectory(run).read_info()
    info.input.path = f"/data/{name}"
    assert read_answers_step(info, "a.run") == f"Write the table with its answers:  arkbatch answers a.run -o {file}"


def test_the_command_prints_text_or_json(tmp_path):
    run = some_done(tmp_path)
    printed = CliRunner().invoke(command, [str(run), "--json"], catch_exceptions=False)
    assert orjson.loads(printed.stdout)["failures"][0]["kind"] == "timeout"
    assert "Usage by model:" in CliRunner().invoke(command, [str(run)], catch_exceptions=False).stdout
    assert "arkbatch status prompts.run --json" in CliRunner().invoke(command, ["--help"]).stdout


def test_another_directory_is_a_one_line_error(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"is not a run directory: it has no run\.json") as raised:
        status_of(tmp_path)
    assert raised.value.exit_code is ExitCode.RUN_DIRECTORY


def test_what_cannot_be_read_is_a_one_line_error(tmp_path):
    run = some_done(tmp_path)
    (run / "ledger.bin").unlink()
    (run / "results.jsonl").unlink()
    (run / "results.jsonl").mkdir()
    with pytest.raises(RunDirectoryError, match=r"Cannot read .*results\.jsonl"):
        status_of(run)


def steered(run, *orders):
    """As if the last session had been given these orders."""
    directory = RunDirectory(run)
    info = directory.read_info()
    info.sessions[-1].steered = [
        LimitChange(f"2026-09-21T13:4{minute}:00+00:00", do, did, reason=reason, limits=limits)
        for minute, (do, did, reason, limits) in enumerate(orders)
    ]
    directory.write_info(info)


def test_a_paused_session_says_since_when_and_why(tmp_path):
    run = some_done(tmp_path, ending="")
    steered(run, ("pause", "paused", "the\n\x1b[31mdemo", {}))
    with RunDirectory(run).hold_lock(Told()):
        text = status_text(status_of(run, now=BEGAN + 30))
    assert ": paused since 2026-09-21 13:40:00 UTC by ctl: the \\x1b[31mdemo (process " in text.splitlines()[0]
    assert status_of(run).paused is None, "it was killed"


def test_a_session_that_went_on_is_running(tmp_path):
    run = some_done(tmp_path, ending="")
    steered(run, ("pause", "paused", "", {}), ("resume", "went on after 1 min 00 s", "", {}))
    with RunDirectory(run).hold_lock(Told()):
        assert ": running (process " in status_text(status_of(run, now=BEGAN + 30))


def test_limits_that_were_set_are_shown_with_the_changes(tmp_path):
    run = some_done(tmp_path)
    steered(run, ("set", "rpm 600 -> none", "night", {"rpm": None}), ("set", "tpm none -> 5", "", {"tpm": 5.0}))
    text = status_text(status_of(run))
    assert "concurrency 8, tpm 5 (changed for that session only)" in text
    assert "set  2026-09-21 13:40:00 UTC  ctl  rpm 600 -> none  night" in text
