from decimal import Decimal

import pytest
from msgspec.structs import replace

from arkbatch.core.calls import Cause, Kind
from arkbatch.core.histogram import Histogram
from arkbatch.core.job import Job
from arkbatch.core.secret import NO_KEY
from arkbatch.journal.ledger import Ledger
from arkbatch.monitor.progress import FoundRows
from arkbatch.pricing.amounts import Money
from arkbatch.pricing.summary import summarise
from arkbatch.reports.text.summary import (
    aligned_lines,
    found_line,
    printable_text,
    summary_headline,
    summary_text,
    target_line,
    tokens_text,
)

FOUND = FoundRows("a.run", done=1_200, failed=3, left=7, to_send=7, total=1_210, fresh=False)


def summary(**changes):
    plain = summarise(
        Ledger(),
        Histogram(),
        ending="finished",
        run_dir="a.run",
        simulated=False,
        total=0,
        session={"recorded": 1, "retried": 0},
        seconds=3.0,
    )
    return replace(plain, **changes)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"fresh": True, "left": 1}, "New run in a.run: 1 row."),
        ({}, "Resuming a.run: 1,200 rows done, 3 failed, 7 left. Nothing changed since the last session."),
        ({"changes": ("a: 1 -> 2", "b: 3 -> 4")}, "7 left.\n  changed: a: 1 -> 2\n  changed: b: 3 -> 4"),
    ],
)
def test_what_was_found_is_said_before_the_first_call(changes, line):
    assert found_line(replace(FOUND, **changes)).endswith(line)


@pytest.mark.parametrize(
    ("usage", "text"),
    [
        ({}, ""),
        ({"input": 12_345, "output": 678}, "12,345 input, 678 output"),
        ({"input": 9, "cached": 2, "output": 5, "reasoning": 3}, "9 input (2 cached), 5 output (3 reasoning)"),
        ({"input": 9, "cached": 0, "image": 4, "video": 0}, "9 input, 0 output, 4 image"),
    ],
)
def test_tokens(usage, text):
    assert tokens_text(usage) == text


def test_the_summary_shows_what_there_is_and_ends_with_the_command_that_goes_on():
    text = summary_text(summary(succeeded=2, failed=1, failures={"timeout": 1}), "Resume with:  x")
    assert text.splitlines()[0] == "Finished, with failed rows."
    assert "2 succeeded, 1 failed, 0 left" in text
    assert "1 timeout" in text
    assert "a.run/failures.jsonl; why: arkbatch status a.run" in text
    assert "latency" not in text
    assert text.splitlines()[-1] == "Resume with:  x"


def test_a_run_of_an_empty_input_says_that_it_is_empty():
    assert summary_text(summary(ending="nothing left"), "Resume with:  x").startswith(
        "Nothing to send: the input has no rows."
    )


def test_a_halt_says_why_and_what_to_do():
    halt = Cause(Kind.AUTH, "401", "The key is wrong", "Put the right key into .env")
    text = summary_text(summary(ending="halted", halt=halt), "Resume with:  x")
    assert "Reason:     The key is wrong\nWhat to do: Put the right key into .env\nResume with:  x" in text


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        ("nothing left", "Nothing left"),
        ("finished", "Finished."),
        ("halted", "Stopped: every request would fail"),
        ("stopped", "Stopped"),
    ],
)
def test_the_first_line_says_how_it_ended(ending, words):
    assert summary_headline(summary(ending=ending, succeeded=1)).startswith(words)


def test_simulated_answers_are_said_to_be():
    assert "simulator" in summary_text(summary(simulated=True), "")


@pytest.mark.parametrize(("simulated", "words"), [(True, "0.50 CNY, had it been real"), (False, "0.50 CNY\n")])
def test_what_simulated_answers_would_have_cost_was_not_spent(simulated, words):
    spent = Money({"CNY": Decimal("0.50")})
    assert words in summary_text(summary(simulated=simulated, cost=spent), "next")


def test_columns_are_aligned():
    assert aligned_lines([("a", "1"), ("bbb", "2")]) == ["  a    1", "  bbb  2"]
    assert aligned_lines([]) == []


def test_text_from_outside_cannot_drive_the_terminal():
    assert printable_text("a\x1b[31mb\x00\u202ec\n\t中") == "a\\x1b[31mb\\x00\\u202ec\n\t中"


def test_what_a_server_says_on_a_halt_cannot_drive_the_terminal():
    halt = Cause(Kind.AUTH, "401", "bad \x1b[2J key", "fix it")
    assert "\x1b" not in summary_text(summary(ending="halted", halt=halt), "")


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ({}, "512 rows -> m-1 (job.toml) at ark.test:8080 (default)"),
        ({"model": "", "model_from": ""}, "512 rows -> the model that each row names at ark.test:8080 (default)"),
        ({"base_url_from": ""}, "512 rows -> m-1 (job.toml) at ark.test:8080"),
        ({"simulated": True}, "512 rows -> m-1 (job.toml) at the simulator"),
    ],
)
def test_the_first_line_names_model_and_server_and_where_each_was_said(said, line):
    job = Job(input="a", run_dir="b", endpoint="chat", model="m-1", base_url="https://ark.test:8080/v3", api_key=NO_KEY)
    job = replace(job, model_from="job.toml", base_url_from="default")
    assert target_line(replace(job, **said), 512) == line
