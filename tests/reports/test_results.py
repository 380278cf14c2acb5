from pathlib import Path

import pytest
from runs import answered, failed, job_of, numbered, prompts, worked_off

import arkbatch
from arkbatch.core.errors import RunDirectoryError
from arkbatch.journal.run_directory import RESULTS
from arkbatch.reports.answers.results import iter_results


def run_of(folder, count=6, *, order=lambda rows: rows, failing=()):
    """A run whose rows were recorded in some other order than the input's."""
    job = job_of(prompts(folder, *numbered(count)))
    made = {}
    worked_off(job, lambda row: made.setdefault(row.number, row) and None, ending="")
    from arkbatch.engine.open_run import OpenRun

    with OpenRun(job, wall=lambda: 0.0) as run:
        for number in order(list(made)):
            run.journal.record(failed(made[number]) if number in failing else answered(made[number]))
        run.journal.close()
    return Path(job.run_dir)


def numbers(run_dir, *order):
    return [line["row"] for line in iter_results(run_dir, *order)]


def test_results_come_in_the_order_of_the_input(tmp_path):
    run_dir = run_of(tmp_path, order=reversed, failing={3})
    assert numbers(run_dir) == [1, 2, 4, 5, 6]


def test_or_as_they_were_completed(tmp_path):
    run_dir = run_of(tmp_path, order=reversed)
    assert numbers(str(run_dir), "completion") == [6, 5, 4, 3, 2, 1]


def test_an_answer_is_where_the_documented_example_looks_for_it(tmp_path):
    line = next(arkbatch.iter_results(run_of(tmp_path)))
    assert line["custom_id"] == "task-1"
    assert line["response"]["body"]["choices"][0]["message"]["content"] == "hello"


@pytest.mark.parametrize("order", ["input", "completion"])
def test_a_line_that_is_still_being_written_is_not_there_yet(tmp_path, order):
    run_dir = run_of(tmp_path)
    with (run_dir / RESULTS).open("ab") as file:
        file.write(b'{"row": 99, "off')
    assert len(numbers(run_dir, order)) == 6


@pytest.mark.parametrize("order", ["input", "completion"])
def test_a_run_without_results_is_empty(tmp_path, order):
    run_dir = run_of(tmp_path, failing=range(9))
    (run_dir / RESULTS).unlink()
    assert numbers(run_dir, order) == []


def test_a_directory_that_is_no_run_says_so(tmp_path):
    with pytest.raises(RunDirectoryError, match="is not a run directory"):
        next(iter_results(tmp_path))
