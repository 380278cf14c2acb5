"""`arkbatch answers` prints what the model said, row by row, or writes it as CSV."""

import csv

import orjson
import pytest
from click.testing import CliRunner
from runs import answered, failed, job_of, numbered, prompts, worked_off

from arkbatch.cli.answers import command
from arkbatch.core.errors import UsageError
from arkbatch.reports.answers.answers import iter_answers, write_table

SAID = '答案 🌏, "quoted"\nsecond line'


def choice(content=SAID, reason="stop", **message):
    return {"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": content, **message}}


def run_of(tmp_path, *choices, rows=1, outcome_of=None):
    body = {"id": "02", "model": "doubao", "choices": list(choices)}
    job = job_of(prompts(tmp_path, *numbered(rows)))
    return worked_off(job, outcome_of or (lambda row: answered(row, body)))


def told(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_each_answer_is_a_json_line_in_the_order_of_the_input(tmp_path):
    run = run_of(tmp_path, choice(), rows=2)
    lines = [orjson.loads(line) for line in told(run).stdout.splitlines()]
    assert lines == [
        {"row": number, "custom_id": f"task-{number}", "finish_reason": "stop", "answer": SAID} for number in (1, 2)
    ]


def test_a_sheet_is_told_the_encoding_and_finds_each_answer_in_one_cell(tmp_path):
    run, sheet = run_of(tmp_path, choice()), tmp_path / "answers.csv"
    assert told(run, "-o", sheet).stdout == f"1 answer:  {sheet}\n"
    assert sheet.read_bytes().startswith(b"\xef\xbb\xbfrow,custom_id,")
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        assert [line["answer"] for line in csv.DictReader(file)] == [SAID]


def test_rows_without_an_answer_are_counted_beside(tmp_path):
    def outcome_of(row):
        return {1: answered(row, {"id": "02", "model": "doubao", "choices": [choice()]}), 2: failed(row)}.get(
            row.number
        )

    done = told(run_of(tmp_path, rows=3, outcome_of=outcome_of))
    assert done.stdout.count("\n") == 1
    assert done.stderr.startswith("Without an answer: 1 failed row, 1 row not done yet. Resume with:")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (choice(None, refusal="I would rather not"), "I would rather not"),
        (choice([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), "ab"),
        (choice("", "tool_calls", tool_calls=[{"id": "1"}]), '[{"id":"1"}]'),
        (choice(None), ""),
    ],
    ids=["refusal", "parts", "tools", "nothing"],
)
def test_what_counts_as_the_answer(tmp_path, said, expected):
    assert [answer.answer for answer in iter_answers(run_of(tmp_path, said))] == [expected]


def test_each_choice_has_a_line(tmp_path):
    found = list(iter_answers(run_of(tmp_path, choice("a"), choice("b", "length"))))
    assert [(each.row, each.finish_reason, each.answer) for each in found] == [(1, "stop", "a"), (1, "length", "b")]


def test_a_run_without_answers_of_chat_names_the_command_for_vectors_and_leaves_no_file(tmp_path):
    with pytest.raises(UsageError, match="arkbatch vectors"):
        write_table(run_of(tmp_path), tmp_path / "a.csv")
    assert not list(tmp_path.glob("a.csv*"))


def test_another_kind_of_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="does not end in"):
        write_table(run_of(tmp_path, choice()), tmp_path / "a.xlsx")
