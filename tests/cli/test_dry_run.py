from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from runs import Told, answered, job_of, numbered, prompts, worked_off

from arkbatch.cli.dry_run import show_plan
from arkbatch.cli.run import command
from arkbatch.core.errors import RunChanged, RunLocked, UsageError
from arkbatch.engine.resume_check import ResumeOptions
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.reports.text.summary import target_line


def plan(job, capsys):
    code = show_plan(job, "in.jsonl", as_json=True)
    printed = capsys.readouterr()
    return code, [orjson.loads(line) for line in printed.out.splitlines()], printed.err


def test_the_first_requests_are_shown_as_they_would_be_sent(tmp_path, capsys):
    job = replace(job_of(prompts(tmp_path, *numbered(1_500))), base_url="http://x.test/v1")
    code, shown, said = plan(job, capsys)
    assert (code, [row["custom_id"] for row in shown]) == (0, ["task-1", "task-2", "task-3"])
    assert shown[0]["url"] == "http://x.test/v1/chat/completions"
    assert shown[0]["body"] == {"messages": [{"role": "user", "content": "question 1"}], "model": "doubao"}
    assert "Nothing was sent." in said
    assert "1,500 rows" in said


def test_a_bad_line_is_shown_with_its_reason(tmp_path, capsys):
    code, shown, _ = plan(job_of(prompts(tmp_path, b"{oops\n", *numbered(1))), capsys)
    assert code == 0
    assert "not JSON" in shown[0]["error"]


def test_limits_are_said(tmp_path, capsys):
    said = plan(job_of(prompts(tmp_path, *numbered(1)), rpm=600.0, concurrency=8), capsys)[2]
    assert "at most 600 requests a minute, 8 calls at once" in said
    assert "has 1 row; it would go" in said


def test_a_limit_of_rows_is_said(tmp_path, capsys):
    _, shown, said = plan(job_of(prompts(tmp_path, *numbered(9)), limit=2), capsys)
    assert [row["row"] for row in shown] == [1, 2]
    assert "has 9 rows, of which the first 2 would go" in said


def test_nothing_is_written(tmp_path, capsys):
    plan(job_of(prompts(tmp_path, *numbered(1))), capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_standard_input_cannot_be_read_twice(tmp_path):
    with pytest.raises(UsageError, match="save standard input to a file"):
        show_plan(replace(job_of(prompts(tmp_path, *numbered(1))), input="-"), "-", as_json=True)


def test_images_are_read_and_shown_by_their_names(tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "b.png").write_text("no image")
    rows = [
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}
        for url in ("a.png", "b.png", "c.png")
    ]
    _, shown, _ = plan(job_of(prompts(tmp_path, *rows), images=str(tmp_path)), capsys)
    assert "error" not in shown[0]
    assert shown[0]["body"]["messages"][0]["content"][0]["image_url"]["url"] == "a.png"
    assert "begins like no image" in shown[1]["error"]
    assert "there is no such file" in shown[2]["error"]


def begun(folder, count=5):
    """A job of which rows 1 and 2 have their answers."""
    job = job_of(prompts(folder, *numbered(count)))
    worked_off(job, lambda row: answered(row) if row.number < 3 else None, ending="stopped")
    return job


def test_rows_that_are_left_now_are_counted_and_model_and_server_named(tmp_path, capsys):
    begun_job = begun(tmp_path)
    code, _, said = plan(begun_job, capsys)
    assert code == 0
    assert "Left to send now: 3 of 5 rows." in said
    assert target_line(begun_job, 3) in said
    assert "Estimate: " in said


def test_a_run_that_is_complete_has_no_estimate(tmp_path, capsys):
    job = job_of(prompts(tmp_path, *numbered(2)))
    worked_off(job, answered)
    said = plan(job, capsys)[2]
    assert "Left to send now: 0 of 2 rows." in said
    assert "Estimate" not in said


def test_a_changed_model_is_refused_as_the_run_would_refuse_it(tmp_path, capsys):
    job = replace(begun(tmp_path), model="other")
    with pytest.raises(RunChanged, match=r"was begun with other parameters: .*--mixed"):
        plan(job, capsys)
    assert show_plan(job, "in.jsonl", as_json=True, options=ResumeOptions(mixed=True)) == 0


def test_an_edited_input_is_refused_as_the_run_would_refuse_it(tmp_path, capsys):
    job = begun(tmp_path)
    prompts(tmp_path, *numbered(2))
    with pytest.raises(
        RunChanged, match=r"is not the one that .* began with: 2 recorded rows unchanged.* Say --rebase"
    ):
        plan(job, capsys)


def test_a_run_in_use_is_refused(tmp_path, capsys):
    job = begun(tmp_path)
    with RunDirectory(Path(job.run_dir)).hold_lock(Told()), pytest.raises(RunLocked, match="is being written by"):
        plan(job, capsys)


def test_a_missing_key_ends_with_the_exit_code_of_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("ARK_API_KEY", "VOLC_ACCESSKEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    prompts(tmp_path, *numbered(2))
    words = ["in.jsonl", "--model", "m", "--dry-run"]
    result = CliRunner().invoke(command, words)
    assert isinstance(result.exception, UsageError)
    assert "no API key" in str(result.exception)
    assert "Left to send now: 2 of 2 rows." in result.stderr
    assert CliRunner().invoke(command, [*words, "--simulate"]).exception is None
