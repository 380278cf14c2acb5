import orjson
import pytest
from msgspec.structs import replace
from runs import job_of, numbered, prompts

from arkbatch.cli.dry_run import show_plan
from arkbatch.core.errors import UsageError


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
