import os
from itertools import islice
from pathlib import Path

import orjson
import pytest
from runs import Told, answered, failed, job_of, numbered, prompts, worked_off

from arkbatch.core.errors import RunChanged, RunDamaged, RunDirectoryError, UsageError
from arkbatch.core.job_sections import RetryPolicy
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.resume_check import ResumeOptions
from arkbatch.engine.retry_run import RetryRun, RetrySelection
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.reports.status.status import read_status
from arkbatch.reports.status.status_text import status_text


def opened(job, **wishes):
    """What is found, and the numbers of the rows that are left."""
    with OpenRun(job, ResumeOptions(**wishes), wall=Told()) as run:
        return run.found, [row.number for row in run.rows()]


def begun(folder, *rows, done=2, **flags):
    """A run over these rows that was stopped after some of them."""
    job = job_of(prompts(folder, *rows), **flags)
    worked_off(job, lambda row: answered(row) if row.number <= done else None, ending="stopped")
    return job


def grow(folder, *rows):
    with (folder / "in.jsonl").open("ab") as file:
        file.writelines(row if isinstance(row, bytes) else orjson.dumps(row) + b"\n" for row in rows)


def test_a_new_run_has_every_row_before_it(tmp_path):
    found, left = opened(job_of(prompts(tmp_path, *numbered(5))))
    assert (found.fresh, found.done, found.left, left) == (True, 0, 5, [1, 2, 3, 4, 5])


def test_a_run_goes_on_where_it_was(tmp_path):
    found, left = opened(begun(tmp_path, *numbered(5)))
    assert (found.fresh, found.done, left, found.changes) == (False, 2, [3, 4, 5], ())


def test_failed_rows_have_their_record_and_are_not_sent_again(tmp_path):
    job = job_of(prompts(tmp_path, *numbered(3)))
    worked_off(job, lambda row: failed(row) if row.number == 2 else answered(row))
    found, left = opened(job)
    assert (found.done, found.failed, found.left, left) == (2, 1, 0, [])


def test_limits_retries_and_timeouts_may_change_between_sessions(tmp_path):
    begun(tmp_path, *numbered(5))
    job = job_of(tmp_path / "in.jsonl", rpm=5.0, concurrency=1)
    assert opened(job)[0].changes == ()
    assert RetryPolicy() == job.retry


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"model": "other"}, 'model: "doubao" -> "other"'),
        ({"set": ["temperature=0.7"]}, "defaults.temperature: not set -> 0.7"),
        ({"set": ["thinking.type=disabled"]}, 'defaults.thinking.type: not set -> "disabled"'),
        ({"endpoint": "embeddings"}, 'endpoint: "chat" -> "embeddings"'),
    ],
)
def test_a_changed_parameter_is_refused_unless_it_is_meant(tmp_path, flags, named):
    begun(tmp_path, *numbered(5))
    job = job_of(tmp_path / "in.jsonl", **flags)
    with pytest.raises(RunChanged, match="--mixed") as refused:
        opened(job)
    assert named in str(refused.value)
    with OpenRun(job, ResumeOptions(mixed=True), wall=Told()) as run:
        assert run.found.changes == (named,)
        assert run.begin_session({}).changes == [named]
    assert opened(job)[0].changes == ()


def test_a_refusal_changes_nothing(tmp_path):
    job = begun(tmp_path, *numbered(5))
    before = {path.name: path.read_bytes() for path in Path(job.run_dir).iterdir() if path.name != "lock"}
    with pytest.raises(RunChanged):
        opened(job_of(tmp_path / "in.jsonl", model="other"))
    assert before == {path.name: path.read_bytes() for path in Path(job.run_dir).iterdir() if path.name != "lock"}


def test_a_run_without_a_record_yet_takes_any_change(tmp_path):
    begun(tmp_path, *numbered(5), done=0)
    prompts(tmp_path, *numbered(3), b"other\n")
    assert opened(job_of(tmp_path / "in.jsonl", model="other"))[1] == [1, 2, 3, 4]


def test_an_input_that_grew_goes_on(tmp_path):
    job = begun(tmp_path, *numbered(3))
    grow(tmp_path, *numbered(2))
    found, left = opened(job)
    assert (found.left, left, found.changes) == (3, [3, 4, 5], ("the input grew by 2 rows",))
    assert opened(job)[0].changes == ()


def test_one_row_more_is_one_row(tmp_path):
    job = begun(tmp_path, *numbered(3))
    grow(tmp_path, *numbered(1))
    assert opened(job)[0].changes == ("the input grew by 1 row",)


def test_a_finished_run_takes_the_rows_that_were_added(tmp_path):
    job = begun(tmp_path, b'{"prompt": "a"}\n', b'{"prompt": "b"}', done=2)
    grow(tmp_path, b'\n{"prompt": "c"}')
    assert opened(job)[1] == [3]


def test_a_file_that_was_only_touched_or_moved_is_the_same(tmp_path):
    job = begun(tmp_path, *numbered(3))
    os.utime(tmp_path / "in.jsonl", (1, 1))
    assert opened(job)[0].changes == ()
    moved = (tmp_path / "in.jsonl").rename(tmp_path / "moved.jsonl")
    assert opened(job_of(moved))[0].changes == ()


@pytest.mark.parametrize(
    ("rows", "diff"),
    [
        ([1, 0, 2, 3], "2 recorded rows unchanged, 0 changed, 2 new or not yet run, 0 removed"),
        ([0, 2, 3], "1 recorded row unchanged, 0 changed, 2 new or not yet run, 1 removed"),
        ([0, None, 2, 3], "1 recorded row unchanged, 1 changed (the first on line 2), 2 new or not yet run, 0 removed"),
    ],
    ids=["reordered", "cut", "edited"],
)
def test_an_edited_input_is_refused_with_a_diff_and_adopted_on_request(tmp_path, rows, diff):
    first = numbered(4)
    job = begun(tmp_path, *first)
    prompts(tmp_path, *(first[1] | {"prompt": "new"} if row is None else first[row] for row in rows))
    with pytest.raises(RunChanged, match="--rebase") as refused:
        opened(job)
    assert diff in str(refused.value)
    found, left = opened(job, rebase=True)
    assert found.done + len(left) == len(rows)
    assert opened(job)[1] == left


def test_a_limit_counts_from_the_top_so_that_the_same_command_means_the_same_rows(tmp_path):
    job = begun(tmp_path, *numbered(9), limit=4)
    assert opened(job)[1] == [3, 4]
    found, left = opened(job_of(tmp_path / "in.jsonl"))
    assert (found.left, left) == (7, [3, 4, 5, 6, 7, 8, 9])


@pytest.mark.parametrize("blank", [b"", b"\n \n"])
def test_a_limit_given_later_is_of_the_rows_at_the_top_whichever_are_done(tmp_path, blank):
    """As after a sample, which is spread over the input; blank lines count as none."""
    job = job_of(prompts(tmp_path, blank, *numbered(9)))
    lines_before = 0 if not blank else 2
    worked_off(job, lambda row: answered(row) if row.number - lines_before in {2, 7, 8, 9} else None)
    limited = job_of(tmp_path / "in.jsonl", limit=4)
    found, left = opened(limited)
    assert (found.done, found.left, [number - lines_before for number in left]) == (4, 3, [1, 3, 4])
    worked_off(limited, lambda row: failed(row) if row.number - lines_before == 3 else answered(row))
    status = read_status(limited.run_dir, Told())
    assert (status.rows, status.done, status.failed, status.left) == (4, 6, 1, 0)
    assert "6 done, 1 failed, 0 left of 4 (--limit; 3 more ended beyond it)" in status_text(status)
    with RetryRun(job_of(tmp_path / "in.jsonl"), RetrySelection(), wall=Told()) as run:
        assert run.found.left == 0


def test_rows_are_read_as_they_are_pulled(tmp_path):
    job = job_of(prompts(tmp_path, *numbered(5)))
    with OpenRun(job, wall=Told()) as run:
        assert [row.number for row in islice(run.rows(), 2)] == [1, 2]


def test_each_session_has_a_number_of_its_own(tmp_path):
    job = begun(tmp_path, *numbered(3))
    with OpenRun(job, wall=Told()) as run:
        assert run.begin_session({}).number == 2
    assert [session.ending for session in RunDirectory(Path(job.run_dir)).read_info().sessions] == ["stopped", ""]


def test_an_input_that_went_away_is_told(tmp_path):
    job = begun(tmp_path, *numbered(3))
    (tmp_path / "in.jsonl").unlink()
    with pytest.raises(UsageError, match=r"Cannot read the input .*in\.jsonl: No such file"):
        opened(job)


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        (b"{", RunDamaged, "is damaged"),
        (b"{}", RunDamaged, "is damaged"),
        (None, RunDirectoryError, "was written in format 99"),
    ],
)
def test_a_run_file_that_we_cannot_read_says_so(tmp_path, text, error, said):
    job = begun(tmp_path, *numbered(3))
    path = Path(job.run_dir) / "run.json"
    path.write_bytes(text or path.read_bytes().replace(b'"format": 1', b'"format": 99'))
    with pytest.raises(error, match=said):
        opened(job)


def test_the_directory_and_its_files_are_their_owners_only(tmp_path):
    job = begun(tmp_path, *numbered(3))
    directory = Path(job.run_dir)
    assert directory.stat().st_mode & 0o077 == 0
    assert {path.name for path in directory.iterdir() if path.stat().st_mode & 0o077} == set()
