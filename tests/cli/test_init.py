"""`arkbatch init` writes a job that runs as it is, and overwrites nothing."""

import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest
from click.testing import CliRunner

from arkbatch.cli.init import STARTER, command
from arkbatch.config.error_text import known_keys
from arkbatch.config.job_file import JobFile
from arkbatch.config.resolve import resolve_job
from arkbatch.core.errors import UsageError
from arkbatch.core.job_sections import Sections
from arkbatch.core.row import Row
from arkbatch.rows.parse import RowReader

COMMENTED_KEY = re.compile(r"^# (?=\[\w+\]$|\w+ = )", re.MULTILINE)


@pytest.fixture
def demo(tmp_path):
    result = CliRunner().invoke(command, [str(tmp_path / "my demo")], catch_exceptions=False)
    assert result.exit_code == 0
    return tmp_path / "my demo", result.output


def test_it_writes_the_four_files_and_says_the_next_two_commands(demo):
    folder, said = demo
    assert {path.name for path in folder.iterdir()} == set(STARTER)
    assert f"arkbatch run '{folder}/job.toml' --simulate -o '{folder}/trial.run'\n" in said
    assert said.endswith(f"arkbatch run '{folder}/job.toml'\n")


def test_the_job_it_writes_resolves_and_every_row_can_be_sent(demo):
    job = resolve_job(str(demo[0] / "job.toml"), {}, {"ARK_API_KEY": "k"}, Path.cwd())
    reader, lines = RowReader(job), Path(job.input).read_bytes().splitlines()
    rows = [reader.read_row(number, 0, line) for number, line in enumerate(lines, 1)]
    assert len(rows) == 10
    assert all(isinstance(row, Row) for row in rows)


def test_the_lines_behind_a_hash_are_the_defaults(demo):
    """So that a reader may trust them; the ones marked as examples are left out."""
    file = demo[0] / "job.toml"
    before = resolve_job(str(file), {"simulate": True}, {}, demo[0])
    lines = [line for line in file.read_text(encoding="utf-8").splitlines(keepends=True) if "# example" not in line]
    text = re.sub(r"^# \[template\](\n# .*)*", "", "".join(lines), flags=re.MULTILINE)
    assert len(COMMENTED_KEY.findall(text)) > 12
    file.write_text(COMMENTED_KEY.sub("", text), encoding="utf-8")
    after = resolve_job(str(file), {"simulate": True}, {}, demo[0])
    assert after.base_url_from == "job.toml"
    assert msgspec.structs.replace(after, base_url_from="default", endpoint_said=False) == before


def test_the_examples_in_the_comments_are_valid_too(demo):
    file = demo[0] / "job.toml"
    file.write_text(COMMENTED_KEY.sub("", file.read_text(encoding="utf-8")), encoding="utf-8")
    job = resolve_job(str(file), {"simulate": True}, {}, demo[0])
    assert (job.limits.rpm, job.limits.tpm) == (3000, 500_000)
    assert job.template.system == "You are an editor."


def test_every_section_and_key_is_explained(demo):
    text = (demo[0] / "job.toml").read_text(encoding="utf-8")
    plain = {name for name in Sections.__struct_fields__ if isinstance(getattr(JobFile(), name), bool | str)}
    sections = {*Sections.__struct_fields__, "notify"} - plain
    tables = [key[0] for key in known_keys(JobFile) if len(key) == 1 and key[0] in sections]
    assert [name for name in tables if f"[{name}]" not in text] == []
    keys = [key[-1] for key in known_keys(JobFile) if key[-1] not in tables and key != ("template", "input")]
    assert [key for key in keys if f"{key} = " not in text] == []


def test_editors_find_the_schema(demo):
    first = (demo[0] / "job.toml").read_text(encoding="utf-8").splitlines()[0]
    schema = Path(urlsplit(first.removeprefix("#:schema ")).path.replace("%20", " "))
    assert msgspec.json.decode(schema.read_bytes())["title"] == "arkbatch job file"


def test_git_ignores_the_key_and_the_runs(demo):
    folder = demo[0]
    subprocess.run(["git", "init", "-q", folder], check=True)
    said = subprocess.run(
        ["git", "-C", folder, "check-ignore", ".env", "job.run/results.jsonl", ".env.example", "job.toml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.stdout.split() == [".env", "job.run/results.jsonl"]


def test_nothing_is_overwritten_and_then_nothing_is_written(tmp_path):
    (tmp_path / ".gitignore").write_text("mine")
    (tmp_path / "job.toml").write_text("mine")
    with pytest.raises(UsageError, match=r"already holds job\.toml, \.gitignore"):
        CliRunner().invoke(command, [str(tmp_path)], catch_exceptions=False)
    assert {path.name for path in tmp_path.iterdir()} == {".gitignore", "job.toml"}
    assert (tmp_path / "job.toml").read_text() == "mine"


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot be written: Not a directory"):
        CliRunner().invoke(command, [str(tmp_path / "file" / "demo")], catch_exceptions=False)


def test_help_shows_an_example():
    assert "arkbatch init demo" in CliRunner().invoke(command, ["--help"]).output


@pytest.fixture
def openai_demo(tmp_path):
    result = CliRunner().invoke(command, [str(tmp_path / "demo"), "--provider", "openai"], catch_exceptions=False)
    assert result.exit_code == 0
    return tmp_path / "demo", result.output


def test_the_starter_for_another_server_sends_its_own_key_there_even_beside_an_ark_key(openai_demo):
    folder, said = openai_demo
    assert f"once OPENAI_API_KEY stands in {folder}/.env:" in said
    env = folder / ".env"
    env.write_text(env.read_text(encoding="utf-8").replace("OPENAI_API_KEY=", "OPENAI_API_KEY=sk-1"), encoding="utf-8")
    job = resolve_job(str(folder / "job.toml"), {}, {"ARK_API_KEY": "ark-1"}, folder)
    assert (job.base_url, job.model, job.api_key.reveal()) == ("https://api.openai.com/v1", "gpt-4.1-mini", "sk-1")


def test_the_starter_for_another_server_lacks_only_the_key(openai_demo):
    folder = openai_demo[0]
    with pytest.raises(UsageError, match=r"no API key for api\.openai\.com: set OPENAI_API_KEY"):
        resolve_job(str(folder / "job.toml"), {}, {}, folder)
    assert resolve_job(str(folder / "job.toml"), {"simulate": True}, {}, folder).simulated


def test_an_env_file_is_not_overwritten(tmp_path):
    (tmp_path / ".env").write_text("OPENAI_API_KEY=mine")
    with pytest.raises(UsageError, match=r"already holds \.env"):
        CliRunner().invoke(command, [str(tmp_path), "--provider", "openai"], catch_exceptions=False)
    assert (tmp_path / ".env").read_text() == "OPENAI_API_KEY=mine"
    assert CliRunner().invoke(command, [str(tmp_path)]).exit_code == 0


def test_without_any_variable_the_message_names_both_ways(tmp_path):
    (tmp_path / "in.jsonl").write_text('{"prompt": "a"}\n')
    with pytest.raises(UsageError, match=r"set ARK_API_KEY .* set OPENAI_API_KEY, OPENAI_BASE_URL and MODEL_NAME"):
        resolve_job("in.jsonl", {"model": "m"}, {}, tmp_path)
