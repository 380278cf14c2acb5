"""The documentation is true: its commands and snippets run word by word, and its links lead somewhere."""

import re
import subprocess

import pytest
from docs_pages import ROOT, SETS_UP, blocks, pages, workshop

from arkbatch.cli import COMMANDS
from arkbatch.core.errors import ExitCode

CHINESE = [ROOT / "README.zh.md", *sorted((ROOT / "docs" / "zh").glob("*.md"))]


@pytest.mark.parametrize("page", [page for page in pages() if blocks(page, "sh", "python")], ids=lambda page: page.stem)
def test_the_commands_and_snippets_of_a_page_run_one_after_the_other(page, tmp_path, subtests, quick_commands):
    """One page runs in processes of its own and in real time, the others in forks on a clock that jumps."""
    env = workshop(tmp_path)
    if page.stem != "quickstart":
        env["PATH"] = f"{quick_commands}:{env['PATH']}"
    for kind, text in blocks(page, "sh", "python"):
        if text.startswith(SETS_UP):
            continue
        command = ["bash", "-euo", "pipefail", "-c", text] if kind == "sh" else ["python", "-c", text]
        with subtests.test(text):
            done = subprocess.run(
                command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
            assert "Traceback" not in done.stderr


@pytest.mark.parametrize("page", CHINESE, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_a_chinese_page_shows_the_same_commands_as_the_english_one(page):
    english = ROOT / "README.md" if page.name == "README.zh.md" else ROOT / "docs" / page.name
    assert blocks(page, "sh", "python") == blocks(english, "sh", "python")


@pytest.mark.parametrize("page", [*pages(), *CHINESE, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def help_of(commands, *words):
    command = [commands / "arkbatch", *words, "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def options_of(help_text):
    return set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", help_text)) | {"--help"}


def test_the_options_in_blocks_that_cannot_run_here_exist(quick_commands):
    used = {}
    for page in pages():
        for _, text in blocks(page, "text"):
            for line in re.findall(r"^(?:.*&& )?arkbatch (shard [a-z]+|[a-z]+)(.*)$", text, re.MULTILINE):
                used.setdefault(line[0], set()).update(re.findall(r"(?<![\w-])--[a-z][\w-]*", line[1]))
    assert {name.split()[0] for name in used} <= set(COMMANDS)
    unknown = {name: used[name] - options_of(help_of(quick_commands, *name.split())) for name in used}
    assert {name: options for name, options in unknown.items() if options} == {}


def test_the_exit_codes_are_those_of_the_program():
    text = (ROOT / "docs" / "run-directory.md").read_text(encoding="utf-8")
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)] == sorted(ExitCode)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_documented_and_has_help_with_an_example(name, quick_commands):
    assert any(f"arkbatch {name}" in page.read_text(encoding="utf-8") for page in pages())
    text = help_of(quick_commands, name)
    assert re.search(rf"Examples?:\n\s+arkbatch {name}", text), text


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_ci_calls_the_test_command_of_the_readme():
    assert ".venv/bin/pytest\n" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert ".venv/bin/pytest\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
