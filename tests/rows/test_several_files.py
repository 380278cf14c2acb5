"""A pattern is one input: its files stand one behind the other, and rows behind the last make it grow."""

from pathlib import Path

import orjson
import pytest
from runs import answered, job_of, worked_off

from arkbatch.config.resolve import resolve_job
from arkbatch.core.errors import RunChanged, UsageError
from arkbatch.core.input_info import Position
from arkbatch.engine.open_run import OpenRun
from arkbatch.reports.answers.answers import iter_answers
from arkbatch.reports.status.status import read_status
from arkbatch.rows.input_file import Change
from arkbatch.rows.record_json import columns_of
from arkbatch.rows.several_files import joined_inputs
from arkbatch.rows.source import open_source


def put(folder, name, *prompts):
    (folder / "in").mkdir(exist_ok=True)
    (folder / "in" / name).write_bytes(b"".join(orjson.dumps({"prompt": each}) + b"\n" for each in prompts))


@pytest.fixture
def folder(tmp_path):
    put(tmp_path, "part-10.jsonl", "c", "d")
    put(tmp_path, "part-2.jsonl", "a", "b")
    return tmp_path


def prompts_of(source):
    return [columns_of(line)["prompt"] for _, _, line in source.read_records()]


def test_rows_are_numbered_through_all_files_in_natural_order(folder):
    source = open_source(folder / "in" / "*.jsonl")
    assert prompts_of(source) == ["a", "b", "c", "d"]
    assert [number for number, _, _ in source.read_records()] == [1, 2, 3, 4]
    assert source.survey_input().rows == 4
    assert source.describe_place(3, 0) == f"line 1 of {folder / 'in' / 'part-10.jsonl'}"


def test_reading_begins_at_any_row(folder):
    source = open_source(folder / "in" / "*.jsonl")
    found = list(source.read_records())
    for number, offset, line in found:
        assert next(source.read_records(Position(number - 1, offset))) == (number, offset, line)


def test_growth_is_told_from_every_other_change(folder):
    pattern = folder / "in" / "*.jsonl"
    known = open_source(pattern).survey_input()
    assert open_source(pattern).compare_input(known) is Change.SAME
    put(folder, "part-11.jsonl", "e")
    assert open_source(pattern).compare_input(known) is Change.GREW
    put(folder, "part-10.jsonl", "c", "d", "d2")
    assert open_source(pattern).compare_input(known) is Change.GREW
    put(folder, "part-2.jsonl", "a", "b", "b2")
    assert open_source(pattern).compare_input(known) is Change.EDITED
    (folder / "in" / "part-2.jsonl").unlink()
    assert open_source(pattern).compare_input(known) is Change.EDITED


def test_a_run_over_a_pattern_resumes_grows_and_gives_its_answers(folder):
    job = job_of(folder / "in" / "*.jsonl")
    run = worked_off(job, lambda row: answered(row) if row.number != 3 else None)
    put(folder, "part-11.jsonl", "e")
    with OpenRun(job, wall=lambda: 0.0) as opened:
        assert [row.number for row in opened.rows()] == [3, 5]
        assert opened.found.changes == ("the input grew by 1 row",)
    assert read_status(str(run), lambda: 0.0).input_state == "as it was"
    assert [row["error"] for row in iter_answers(run)] == [None, None, "not done", None, "not done"]
    put(folder, "part-2.jsonl", "a", "changed")
    with pytest.raises(RunChanged, match="1 changed"), OpenRun(job, wall=lambda: 0.0):
        pass


def test_a_pattern_without_files_is_refused(tmp_path):
    with pytest.raises(UsageError, match="matches no file"):
        open_source(tmp_path / "*.csv")


def test_files_and_patterns_are_one_input_in_the_order_in_which_they_are_named(folder):
    put(folder, "a.txt", "z")
    source = open_source(Path(joined_inputs([str(folder / "in" / "a.txt"), str(folder / "in" / "*.jsonl")])))
    assert prompts_of(source) == ["z", "a", "b", "c", "d"]


def test_a_file_that_two_patterns_match_is_there_once(folder):
    names = [str(folder / "in" / name) for name in ("part-2*", "*.jsonl")]
    assert prompts_of(open_source(Path(joined_inputs(names)))) == ["a", "b", "c", "d"]


def test_a_file_whose_name_looks_like_several_wins(folder):
    put(folder, "a + b.jsonl", "one")
    assert prompts_of(open_source(folder / "in" / "a + b.jsonl")) == ["one"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a.csv", "job.toml"], "job.toml is a job file"),
        (["-", "a.csv"], "Standard input cannot be one of several"),
        (["a.csv", "https://host/b.csv"], "cannot be one of several"),
    ],
)
def test_what_cannot_be_one_of_several_is_told(names, said):
    with pytest.raises(UsageError, match=said):
        joined_inputs(names)


def job_over(folder, *names):
    return resolve_job(joined_inputs(names), {"model": "m", "simulate": True}, {}, folder)


def test_a_run_over_several_files_is_resumed_and_grows_by_another_file(folder):
    names = ["in/part-2.jsonl", "in/part-10.jsonl"]
    worked_off(job_over(folder, *names), answered)
    put(folder, "more.jsonl", "e")
    job = job_over(folder, *names, "in/more.jsonl")
    assert job.run_dir == str(folder / "in.run")
    with OpenRun(job, wall=lambda: 0.0) as run:
        assert (run.found.changes, [row.number for row in run.rows()]) == (("the input grew by 1 row",), [5])
    assert [row["answer"] is None for row in iter_answers(job.run_dir)] == [False] * 4 + [True]


def test_a_job_file_may_list_its_inputs(folder):
    (folder / "job.toml").write_text('input = ["in/part-2.jsonl", "in/part-1*.jsonl"]\n')
    job = job_over(folder, "job.toml")
    assert prompts_of(open_source(Path(job.input))) == ["a", "b", "c", "d"]
    assert job.run_dir == str(folder / "job.run")
