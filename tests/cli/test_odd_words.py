"""No word that a person can type ends in a traceback."""

import subprocess
import sys

import pytest

from arkbatch.cli import exit_code_of

LONG = "x" * 300


def told(*words, folder):
    command = [sys.executable, "-c", "from arkbatch.cli import main; main()", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=60, check=False)
    said = done.stderr.decode()
    assert "Traceback" not in said
    return done.returncode, said


@pytest.mark.parametrize(
    "words",
    [
        ("run", f"{LONG}.jsonl", "--model", "m", "--simulate"),
        ("answers", LONG),
        ("check", LONG),
        ("run", "in.jsonl", "--model", "m", "--simulate", "--dry-run", "--images", LONG),
    ],
)
def test_a_name_that_no_file_can_have_is_told(tmp_path, words):
    (tmp_path / "in.jsonl").write_text('{"prompt": "a"}\n')
    code, said = told(*words, folder=tmp_path)
    assert (code, "ame too long" in said) == (2, True)


def test_a_word_that_is_no_text_is_told(tmp_path):
    code, said = told("run", "in.jsonl", "--model", b"\xe9", folder=tmp_path)
    assert code == 2
    assert "is not UTF-8" in said


@pytest.mark.parametrize("nested", ["[" * 3_000 + "]" * 3_000, "{a=" * 3_000 + "1" + "}" * 3_000])
def test_a_job_file_that_is_nested_too_deeply_is_told(tmp_path, capsys, nested):
    path = tmp_path / "job.toml"
    path.write_text(f"[defaults]\nx = {nested}\n")
    assert exit_code_of(["check", str(path)]) == 2
    assert capsys.readouterr().err.endswith("job.toml: it is nested too deeply\n")
