"""Refusals of a run that a job cannot go on with, found without writing anything.

A session asks here under the lock of its run directory, and a dry run asks what the session would say.
"""

from pathlib import Path

from msgspec import Struct

from arkbatch.core.errors import RunChanged
from arkbatch.core.job import Job, answer_settings
from arkbatch.journal.journal import read_ledger
from arkbatch.journal.rebase import survey_edit
from arkbatch.journal.run_directory import FAILURES, RESULTS, RunDirectory
from arkbatch.journal.run_info import RunInfo
from arkbatch.monitor.commands import limits_after
from arkbatch.rows.input_file import Change
from arkbatch.rows.job_diff import job_differences
from arkbatch.rows.source import Source, reader_of


class ResumeOptions(Struct, frozen=True):
    """What the user says is meant, where a run would otherwise be refused.

    rebase: the input was edited; mixed: other parameters or another model make the rest of the answers
    """

    rebase: bool = False
    mixed: bool = False


def count_ended_rows(job: Job, source: Source, options: ResumeOptions) -> int:
    """The number of rows that a session would find done or failed, within the job's limit.

    RunLocked, RunChanged: a session would be refused so.
    """
    directory = RunDirectory(Path(job.run_dir))
    if not directory.exists:
        return 0
    directory.refuse_if_locked()
    info = directory.read_info()
    check_settings(directory, info, job, options)
    check_input(directory, info, source, job, options)
    return read_ledger(directory)[0].count_ended(job.row_limit)


def check_settings(directory: RunDirectory, info: RunInfo, job: Job, options: ResumeOptions) -> list[str]:
    """What the job asks for otherwise than the run did. RunChanged: its answers would be mixed with others."""
    changes = job_differences(info.asked, answer_settings(job))
    if not changes or options.mixed or not _holds_records(directory):
        return changes
    if info.simulated != job.simulated:
        raise RunChanged(_other_kind_of_answers(directory, info))
    raise RunChanged(
        f"{directory.path} was begun with other parameters: {'; '.join(changes)}. "
        "Take the change back, name another directory with -o, or say --mixed if it is meant."
    )


def check_input(directory: RunDirectory, info: RunInfo, source: Source, job: Job, options: ResumeOptions) -> Change:
    """What happened to the input since the last session. RunChanged: it was edited without --rebase."""
    change = source.compare_input(info.input)
    if change is Change.EDITED and not options.rebase and _holds_records(directory):
        edit = survey_edit(directory, source, reader_of(job, source))
        # A table is often written anew as a whole; its cells tell whether anything was changed.
        if not source.is_table or edit.changed or edit.removed:
            raise RunChanged(
                f"The input {source.path} is not the one that {directory.path} began with: {edit}. "
                "Say --rebase to keep the results of unchanged rows and run the others, "
                "or name another directory with -o."
            )
    return change


def _other_kind_of_answers(directory: RunDirectory, info: RunInfo) -> str:
    held, now = ("made-up", "real") if info.simulated else ("real", "made-up")
    take_back = "run it with --simulate" if info.simulated else "leave --simulate out"
    return (
        f"{directory.path} holds {held} answers, and these would be {now}. "
        f"Name another directory with -o, or {take_back} to go on with the {held} ones."
    )


def _holds_records(directory: RunDirectory) -> bool:
    return any((directory / name).exists() and (directory / name).stat().st_size for name in (RESULTS, FAILURES))


def lapsed_limits(info: RunInfo) -> list[str]:
    """What somebody had set while the last session worked, which held for that session only."""
    last = info.sessions[-1] if info.sessions else None
    set_then = limits_after({}, last.steered) if last else {}
    if not set_then:
        return []
    listed = ", ".join(f"{name} {'none' if value is None else f'{value:g}'}" for name, value in set_then.items())
    return [f"limits that ctl set in the last session ({listed}) hold no more; the job's do"]
