"""A pattern is one input: its files stand one behind the other, and rows behind the last make it grow."""

import orjson
import pytest
from runs import answered, job_of, worked_off

from arkbatch.core.errors import RunChanged, UsageError
from arkbatch.core.input_info import Position
from arkbatch.engine.open_run import OpenRun
from arkbatch.reports.answers.answers import iter_answers
from arkbatch.reports.status.status import read_status
from arkbatch.rows.input_file import Change
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
    return [orjson.loads(line)["prompt"] for _, _, line in source.records()]


def test_rows_are_numbered_through_all_files_in_natural_order(folder):
    source = open_source(folder / "in" / "*.jsonl")
    assert prompts_of(source) == ["a", "b", "c", "d"]
    assert [number for number, _, _ in source.records()] == [1, 2, 3, 4]
    assert source.survey().rows == 4
    assert source.place(3, 0) == f"line 1 of {folder / 'in' / 'part-10.jsonl'}"


def test_reading_begins_at_any_row(folder):
    source = open_source(folder / "in" / "*.jsonl")
    found = list(source.records())
    for number, offset, line in found:
        assert next(source.records(Position(number - 1, offset))) == (number, offset, line)


def test_growth_is_told_from_every_other_change(folder):
    pattern = folder / "in" / "*.jsonl"
    known = open_source(pattern).survey()
    assert open_source(pattern).compare(known) is Change.SAME
    put(folder, "part-11.jsonl", "e")
    assert open_source(pattern).compare(known) is Change.GREW
    put(folder, "part-10.jsonl", "c", "d", "d2")
    assert open_source(pattern).compare(known) is Change.GREW
    put(folder, "part-2.jsonl", "a", "b", "b2")
    assert open_source(pattern).compare(known) is Change.EDITED
    (folder / "in" / "part-2.jsonl").unlink()
    assert open_source(pattern).compare(known) is Change.EDITED


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
