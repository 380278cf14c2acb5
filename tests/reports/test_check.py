"""`arkbatch check` reads every line, counts and names what is wrong, and sends nothing."""

import gzip

import orjson
import pytest
from click.testing import CliRunner

from arkbatch.cli.check import command
from arkbatch.config.resolve import resolve_job
from arkbatch.core.errors import ExitCode, UsageError
from arkbatch.core.language import Language
from arkbatch.reports.status import check as inspection
from arkbatch.reports.status.advice import NO_ROWS
from arkbatch.reports.status.check import NO_MODEL, OTHER_REASONS, DuplicateId, inspect_input, sort_of
from arkbatch.reports.status.check_text import inspection_text
from arkbatch.reports.text.tables import grid_lines


def prompt(custom_id=None, text="Why is the sky blue?", **more):
    return {**({"custom_id": custom_id} if custom_id else {}), "prompt": text, **more}


def written(folder, *rows, name="in.jsonl"):
    """Rows as JSON, bytes as they are."""
    path = folder / name
    data = b"".join(row if isinstance(row, bytes) else orjson.dumps(row) + b"\n" for row in rows)
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def found_in(path, **flags):
    job = resolve_job(str(path), {"dry_run": True, "model": "doubao", **flags}, {}, path.parent)
    return inspect_input(job, lambda _: None, lambda _: None)


def test_rows_are_counted_by_endpoint_and_model(tmp_path):
    found = found_in(written(tmp_path, prompt(), prompt(model="other"), prompt(), {"input": ["a", "b"]}))
    assert [(group.endpoint, group.model, group.rows) for group in found.groups] == [
        ("chat", "doubao", 2),
        ("chat", "other", 1),
        ("embeddings", "doubao", 1),
    ]
    assert (found.rows, found.bad, found.blank, found.exit_code) == (4, 0, 0, ExitCode.OK)


def test_bad_lines_keep_their_number_in_the_file(tmp_path):
    found = found_in(written(tmp_path, b"\n", prompt("a"), b"{oops\n", b"   \n", prompt(temperature=7), b"\n\n"))
    assert [(bad.line, bad.custom_id) for bad in found.bad_lines] == [(3, "row-3"), (5, "row-5")]
    assert "temperature is 7" in found.bad_lines[1].reason
    assert (found.lines, found.rows, found.blank, found.bad) == (7, 3, 4, 2)
    assert found.exit_code is ExitCode.FAILED_ROWS


@pytest.mark.parametrize("name", ["in.jsonl", "in.jsonl.gz"])
def test_a_custom_id_on_several_lines_is_named_with_them(tmp_path, name):
    ids = ["a", "b", "a", "c", "蓝", "b", "a", "蓝"]
    found = found_in(written(tmp_path, *map(prompt, ids), name=name))
    assert found.duplicates == [
        DuplicateId("a", 3, (1, 3, 7)),
        DuplicateId("b", 2, (2, 6)),
        DuplicateId("蓝", 2, (5, 8)),
    ]
    assert (found.duplicate_ids, found.duplicate_lines) == (3, 7)


def test_an_id_like_those_that_arkbatch_gives_is_a_duplicate_too(tmp_path):
    found = found_in(written(tmp_path, prompt("row-2"), prompt()))
    assert found.duplicates == [DuplicateId("row-2", 2, (1, 2))]


def test_rows_without_ids_are_no_duplicates(tmp_path):
    assert found_in(written(tmp_path, prompt(), prompt())).duplicate_ids == 0


def test_of_what_is_listed_only_the_first_are_kept_but_all_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(inspection, "BAD_LINES_KEPT", 3)
    monkeypatch.setattr(inspection, "REASONS_KEPT", 2)
    monkeypatch.setattr(inspection, "DUPLICATES_KEPT", 2)
    monkeypatch.setattr(inspection, "PLACES_KEPT", 2)
    bad = [{f"column{number}": 1} for number in range(5)]
    found = found_in(written(tmp_path, *[prompt(name) for name in "abcabcabc"], *bad))
    assert len(found.bad_lines) == 3
    assert sorted(found.reasons.values()) == [1, 1, 3]
    assert found.reasons[OTHER_REASONS] == 3
    assert found.duplicates == [DuplicateId("a", 3, (1, 4)), DuplicateId("b", 3, (2, 5))]
    assert (found.duplicate_ids, found.duplicate_lines) == (3, 9)


@pytest.mark.parametrize(
    ("reason", "sort"),
    [
        ("not JSON: unexpected character at column 33", "not JSON: unexpected character"),
        ("not valid UTF-8 at byte 12 of the line; save the file as UTF-8", "not valid UTF-8; save the file as UTF-8"),
        ("temperature is 3.5; allowed is a number from 0 to 2", "temperature: allowed is a number from 0 to 2"),
        ('messages[17].role is "x"; allowed is a word', "messages[].role: allowed is a word"),
        ("messages is missing", "messages is missing"),
    ],
)
def test_equal_mistakes_count_together(reason, sort):
    assert sort_of(reason) == sort


def test_rows_that_lack_only_a_model_are_told_from_bad_ones(tmp_path):
    found = found_in(written(tmp_path, prompt(), prompt(model="m"), b"{\n"), model=None)
    assert (found.rows, found.bad, found.unnamed) == (3, 1, 1)
    assert NO_MODEL in {group.model for group in found.groups}
    assert inspection_text(found, "arkbatch run x").endswith(
        "No model named: give --model M, set ARK_MODEL (elsewhere MODEL_NAME), or write model into the rows."
    )


def test_a_model_that_no_row_names_is_missing_in_the_command_and_not_in_the_rows(tmp_path):
    assert found_in(written(tmp_path, prompt(), prompt()), model=None).exit_code is ExitCode.OK
    assert found_in(written(tmp_path, prompt(), prompt(model="m")), model=None).exit_code is ExitCode.FAILED_ROWS


def test_tokens_and_limits_to_the_output_are_added_up(tmp_path):
    found = found_in(written(tmp_path, prompt("a", max_tokens=50), prompt("b", "蓝" * 1000), {"input": "a"}))
    chat, embeddings = found.groups
    assert (chat.limited, chat.output_tokens, embeddings.output_tokens) == (1, 450, 0)
    assert (found.largest.line, found.largest.custom_id) == (2, "b")
    assert 500 < found.largest.input_tokens < 1000
    assert found.largest.bytes == len(orjson.dumps(prompt("b", "蓝" * 1000))) + 1
    assert found.input_tokens == chat.input_tokens + embeddings.input_tokens


def test_defaults_and_templates_of_a_job_file_count(tmp_path):
    written(tmp_path, {"word": "sky"}, {"other": 1})
    (tmp_path / "job.toml").write_text(
        'input = "in.jsonl"\nmodel = "m"\n[template]\nuser = "{word}?"\n[defaults]\nmax_tokens = 9\n'
    )
    found = found_in(tmp_path / "job.toml", model=None)
    assert [(group.model, group.rows, group.limited) for group in found.groups] == [("m", 1, 1)]
    assert found.bad_lines[0].line == 2
    assert "needs the column word" in found.bad_lines[0].reason


def test_progress_is_told_to_the_last_row(tmp_path, monkeypatch):
    monkeypatch.setattr(inspection, "_TOLD_EVERY", 2)
    job = resolve_job(str(written(tmp_path, *[prompt()] * 5)), {"dry_run": True, "model": "m"}, {}, tmp_path)
    totals, steps = [], []
    inspect_input(job, totals.append, steps.append)
    assert (totals, sum(steps), len(steps)) == ([5], 5, 3)


def test_an_empty_file_has_nothing_to_say(tmp_path):
    found = found_in(written(tmp_path))
    assert (found.rows, found.largest, found.groups) == (0, None, [])
    assert inspection_text(found, "go").splitlines()[0].endswith("0 of 0 rows can be sent. Nothing was sent.")


def test_text_from_the_file_cannot_drive_the_terminal(tmp_path):
    found = found_in(written(tmp_path, prompt("a\x1b[2J"), prompt("a\x1b[2J"), {"\x1b[31m": 1}, prompt(model="\x07")))
    text = inspection_text(found, "go")
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "a\\x1b[2J" in text


def test_many_bad_lines_are_shown_by_reason(tmp_path):
    found = found_in(written(tmp_path, *[b"{oops\n"] * 30))
    lines = inspection_text(found, "go").splitlines()
    assert sum(line.startswith("  line ") for line in lines) == 20
    assert any(line.split()[:2] == ["30", "not"] for line in lines)


def invoke(*words, env=None):
    return CliRunner().invoke(command, [str(word) for word in words], env=env, standalone_mode=False)


def test_the_command_needs_no_key_and_ends_with_the_command_that_goes_on(tmp_path):
    path = written(tmp_path, prompt(), prompt())
    result = invoke(path, "--model", "m", "--set", "temperature=0.2")
    assert result.return_value == ExitCode.OK
    assert result.stdout.splitlines()[0] == f"{path}: 2 of 2 rows can be sent. Nothing was sent."
    assert result.stdout.splitlines()[-1] == f"Send them:  arkbatch run {path} --model m --set temperature=0.2"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "said"), [(b"", NO_ROWS), (b"{oops\n\n", "None of the lines can be sent: fix them.")]
)
def test_what_has_nothing_to_send_is_not_proposed_for_a_run(tmp_path, content, said):
    (tmp_path / "in.jsonl").write_bytes(content)
    assert invoke(str(tmp_path / "in.jsonl"), "--model", "m").output.splitlines()[-1] == said


def test_the_command_returns_3_when_a_line_is_bad_and_prints_json(tmp_path):
    result = invoke(written(tmp_path, prompt(), b"[]\n"), "--model", "m", "--json")
    assert result.return_value == ExitCode.FAILED_ROWS
    printed = orjson.loads(result.stdout)
    assert printed["bad_lines"] == [
        {
            "line": 2,
            "custom_id": "row-2",
            "reason": "the line holds a list, not an object in braces; values need the names of their columns: write "
            "objects, or save the rows as CSV",
        }
    ]
    assert printed["groups"][0]["rows"] == 1


def test_a_missing_file_and_standard_input_are_one_line_errors(tmp_path):
    assert "does not exist" in str(invoke(tmp_path / "no.jsonl").exception)
    assert isinstance(invoke("-").exception, UsageError)


def test_the_help_shows_an_example_and_the_exit_codes():
    text = invoke("--help").stdout
    assert "arkbatch check job.toml --json" in text
    assert "exit code is 0" in text


def test_a_grid_aligns_numbers_to_the_right_and_drops_columns_of_nothing():
    assert grid_lines(("name", "rows", "none"), [("a", "1,000", ""), ("bcdef", "20", "-")], Language.ENGLISH) == [
        "  name    rows",
        "  a      1,000",
        "  bcdef     20",
    ]


def test_files_that_are_not_there_are_bad_lines_and_counted_together(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"no image, but who looks")
    urls = ["a.png", "gone.png", 'an "odd" one.png', "../a.png", "https://x/y.png"]
    rows = [
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]} for url in urls
    ]
    found = found_in(written(tmp_path, *rows), images=str(tmp_path / "photos"))
    assert (found.rows, found.bad) == (5, 3)
    assert found.reasons[f"image file: there is no such file in {(tmp_path / 'photos').resolve()}"] == 2
    assert [line.line for line in found.bad_lines] == [2, 3, 4]
