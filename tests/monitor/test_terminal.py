"""Model output, and what a server says, cannot drive the terminal: control characters are made visible wherever printed."""

import io

import pytest
from builders import reply
from click.testing import CliRunner
from runs import answered, failed, job_of, prompts, worked_off

from arkbatch.cli import COMMANDS
from arkbatch.monitor.progress import Progress
from arkbatch.monitor.progress_bar import ProgressBar, ProgressLines

EVIL = "a\x1b[2J\x1b]0;owned\x07b\x9bc\u202ed\rforged\x08"
BODY = {"model": "doubao-x", "choices": [{"message": {"content": EVIL}, "finish_reason": "stop"}], "usage": {}}
LOOKS = [
    ("status",),
    ("status", "--json"),
    ("show", "1"),
    ("show", "2"),
    ("show", "--json", "1"),
    ("show", "--json", "2"),
    ("answers",),
    ("cost",),
    ("cost", "--json"),
    ("cost", "--csv"),
    ("report",),
]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A run whose rows, answers, models and failures all hold control characters."""
    rows = [{"custom_id": f"id {number} {EVIL}", "prompt": EVIL} for number in (1, 2)]
    job = job_of(prompts(tmp_path_factory.mktemp("evil"), *rows))

    def outcome(row):
        if row.number == 1:
            return answered(row, reply=reply(BODY), model=f"m {EVIL}")
        return failed(row, code=f"odd {EVIL}", message=EVIL)

    return worked_off(job, outcome)


def is_tame(text):
    return all(character in "\n\t" or character.isprintable() for character in text)


@pytest.mark.parametrize("words", LOOKS, ids=" ".join)
def test_what_a_command_prints_of_a_run_is_tame(run_dir, words):
    name, *more = words
    command = __import__(f"arkbatch.cli.{name}", fromlist=["command"]).command
    done = CliRunner().invoke(command, [str(run_dir), *more], catch_exceptions=False, standalone_mode=False)
    assert is_tame(done.output), repr(done.output)


def test_the_page_holds_none_either(run_dir):
    command = __import__("arkbatch.cli.report", fromlist=["command"]).command
    CliRunner().invoke(command, [str(run_dir)], catch_exceptions=False, standalone_mode=False)
    pages = list(run_dir.rglob("*.html"))
    assert pages
    assert all(is_tame(page.read_text()) for page in pages)


def test_neither_does_the_progress_line_nor_the_bar():
    standing = Progress(
        total=2, left=1, failed=0, in_flight=1, retried=0, recorded=1, seconds=90.0, rows_per_minute=1.0, rpm=1.0, tpm=1.0,
        bound_by=f"the server ({EVIL})", reason=EVIL,
    )  # fmt: skip
    lines = io.StringIO()
    ProgressLines(lines).progressed(standing)
    ProgressLines(lines).noted(EVIL)
    assert lines.getvalue().count("\\x1b") == 4
    assert is_tame(lines.getvalue())
    bar = io.StringIO()
    shown = ProgressBar(bar)
    shown.progressed(standing)
    shown.noted(EVIL)
    shown.closed("finished")
    assert "\x1b]" not in bar.getvalue()
    assert "\x07" not in bar.getvalue()


def test_each_command_that_shows_a_run_is_looked_at():
    others = {"run", "retry", "check", "watch", "estimate", "prices", "init", "simulate"}
    others |= {"providers", "shard", "merge", "export", "collect", "cancel"}  # show counts and names of files
    known = {name for name, *_ in LOOKS} | others
    assert set(COMMANDS) - known <= {"ctl", "notify", "vectors"}
