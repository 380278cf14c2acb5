"""What a dry run says of a run directory is what a session would say, and it leaves the directory as it is."""

from pathlib import Path

import pytest
from msgspec.structs import replace
from runs import Told, answered, failed, job_of, numbered, prompts, worked_off

from arkbatch.core.errors import RunChanged, RunDirectoryError, RunLocked
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.resume_check import ResumeOptions, count_ended_rows
from arkbatch.engine.retry_run import RetryRun, RetrySelection
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.rows.source import source_of


def begun(folder):
    """A run of five rows, of which two have their answers."""
    job = job_of(prompts(folder, *numbered(5)))
    worked_off(job, lambda row: answered(row) if row.number < 3 else None, ending="stopped")
    return job


def ended_rows(job, **options):
    return count_ended_rows(job, source_of(job), ResumeOptions(**options))


def refusals(job, **options):
    """The refusal of a dry run and that of a session."""
    said = []
    for ask in (
        lambda: ended_rows(job, **options),
        lambda: OpenRun(job, ResumeOptions(**options), wall=Told())._open(),
    ):
        with pytest.raises(RunDirectoryError) as refused:
            ask()
        said.append((type(refused.value), str(refused.value)))
    return said


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_another_model_is_refused_in_the_words_of_the_session(tmp_path):
    planned, session = refusals(replace(begun(tmp_path), model="other"))
    assert planned == session
    assert planned[0] is RunChanged


def test_made_up_answers_among_real_ones_are_refused_in_the_words_of_the_session(tmp_path):
    planned, session = refusals(replace(begun(tmp_path), simulated=False))
    assert planned == session
    assert "made-up" in planned[1]


def test_an_edited_input_is_refused_in_the_words_of_the_session(tmp_path):
    job = begun(tmp_path)
    prompts(tmp_path, *numbered(2))
    planned, session = refusals(job, mixed=True)
    assert planned == session
    assert "2 recorded rows unchanged" in planned[1]


def test_a_run_in_use_is_refused_in_the_words_of_the_session(tmp_path):
    job = begun(tmp_path)
    with RunDirectory(Path(job.run_dir)).hold_lock(Told()):
        planned, session = refusals(job)
    assert planned == session
    assert planned[0] is RunLocked


def test_what_is_meant_is_not_refused_and_nothing_is_written(tmp_path):
    job = begun(tmp_path)
    prompts(tmp_path, *numbered(4))
    before = contents(job.run_dir)
    assert ended_rows(job, rebase=True) == 2
    with pytest.raises(RunChanged):
        ended_rows(job)
    assert contents(job.run_dir) == before


def test_a_failure_that_a_success_replaced_is_no_row_that_was_removed(tmp_path):
    """A table that was written anew is compared with the records that count, also after a session that was killed."""
    table = tmp_path / "in.csv"
    table.write_text("prompt\na\nb\n")
    job = job_of(table)
    worked_off(job, lambda row: failed(row) if row.number == 1 else answered(row))
    run = RunDirectory(Path(job.run_dir))
    replaced = run.failures_path.read_bytes()
    with RetryRun(job, RetrySelection(), wall=Told()) as session:
        session.journal.record(*(answered(row) for row in session.rows()))
        session.journal.close()
    run.failures_path.write_bytes(replaced)  # as if the session had been killed before it rewrote the failures
    (run / "ledger.bin").unlink()
    table.write_text('"prompt"\n"a"\n"b"\n')
    assert ended_rows(job) == 2
