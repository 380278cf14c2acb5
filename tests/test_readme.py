"""The README is true: its commands run, and what it lists is what there is."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from arkbatch.cli import COMMANDS
from arkbatch.core.errors import ExitCode

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", "README.zh.md"]
NOT_HERE = ("python3 -m venv", ".venv/bin/pytest")  # set up the environment that this test runs in


def commands(page):
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line and not line.startswith(NOT_HERE)]


def test_the_commands_of_the_readme_run_one_after_the_other(tmp_path, subtests):
    shutil.copytree(ROOT / "jobs", tmp_path / "jobs", ignore=shutil.ignore_patterns("*.run"))
    for line in commands("README.md"):
        with subtests.test(line):
            words = shlex.split(line)
            assert words[0].removeprefix(".venv/bin/") == "arkbatch"
            done = subprocess.run(
                [sys.executable, "-m", "arkbatch", *words[1:]],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=90,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert "Traceback" not in done.stderr


def test_both_languages_show_the_same_commands():
    assert commands("README.md") == commands("README.zh.md")


@pytest.mark.parametrize("page", PAGES)
def test_the_exit_codes_are_those_of_the_program(page):
    listed = re.findall(r"^\| (\d+) \|", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(code) for code in listed] == sorted(ExitCode)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_in_the_readme_and_has_help_with_an_example(name):
    assert f"arkbatch {name}" in (ROOT / "README.md").read_text(encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "arkbatch", name, "--help"], capture_output=True, text=True, check=True
    )
    assert re.search(rf"Examples?:\n\s+arkbatch {name}", done.stdout), done.stdout


def test_ci_calls_the_test_command_of_the_readme():
    assert ".venv/bin/pytest\n" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert ".venv/bin/pytest\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
