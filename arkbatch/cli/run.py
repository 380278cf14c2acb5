"""`arkbatch run`: sends every row that has no record yet."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from arkbatch.cli.live_and_metrics import Serving
    from arkbatch.core.job import Job
    from arkbatch.engine.resume_check import ResumeOptions
    from arkbatch.engine.session import Session
    from arkbatch.pricing.summary import Summary

from arkbatch.cli.option_groups import (
    GroupedCommand,
    batch_option,
    cluster_option,
    input_option,
    resume_option,
    trial_option,
)
from arkbatch.cli.options import (
    endpoint_option,
    input_arguments,
    job_from,
    limit_options,
    notification_options,
    request_options,
    serving_options,
    summary_json_option,
    table_options,
    timing_options,
)


@click.command(cls=GroupedCommand, short_help="Send every row of a prompt file; run it again to resume.")
@input_arguments
@input_option("-o", "--run-dir", metavar="RUN_DIR", help="Where results go (default: the input's name with .run).")
@input_option(
    "--answers", metavar="FILE", help="At the end, write the rows with their answers: .csv, .parquet, .xlsx ..."
)
@table_options
@request_options
@endpoint_option
@limit_options
@timing_options
@notification_options
@trial_option("--limit", type=int, metavar="N", help="Only the first N rows of the input; those done before count.")
@trial_option("--simulate", is_flag=True, default=None, help="Answers from a simulator in this process; needs no key.")
@trial_option("--dry-run", is_flag=True, default=None, help="Show what the run would do now, and send nothing.")
@resume_option("--rebase", is_flag=True, help="The input was edited: keep unchanged rows' results, run the others.")
@resume_option("--mixed", is_flag=True, help="The model or a parameter changed, and that is meant.")
@batch_option("--rest", type=click.Choice(["parcels", "online"]), help="How rows go that a batch file gives back.")
@batch_option("--keep-files", is_flag=True, default=None, help="Keep batch files at the provider when they are merged.")
@batch_option("--bucket", metavar="NAME", help="With --lane job: the bucket of TOS.")
@batch_option("--detach", is_flag=True, help="With --lane files or job: end once everything is ordered (exit code 6).")
@serving_options
@summary_json_option
@cluster_option("--engine", type=click.Choice(["local", "ray"]), default="local", help="Where workers run (local).")
@cluster_option("--address", default="local", metavar="A", help="Of Ray: local (its own), auto or HOST:PORT.")
@cluster_option("--workers", type=click.IntRange(1), default=2, metavar="N", help="With --engine ray: so many workers.")
def command(
    input_: str,
    *,
    rebase: bool,
    mixed: bool,
    live: int | None,
    metrics: int | None,
    as_json: bool,
    answers: str | None,
    detach: bool,
    engine: str,
    address: str,
    workers: int,
    **flags: Any,
) -> int:
    """Send every row of a prompt file to chat or embeddings, and record each answer.

    Run the same command again to resume: rows that have a record are not sent twice. INPUT may be JSON lines, a JSON
    list, CSV, TSV, Excel, Parquet or Arrow, also compressed, or - for standard input. With --prompt the columns of a
    row make its prompt.

    \b
    Examples:
      arkbatch run prompts.jsonl --model doubao-seed-1-6-251015 --rpm 600
      arkbatch run reviews.csv --prompt 'Label this review: {text}' --id-column id --answers labelled.csv
      arkbatch run job.toml --simulate
      arkbatch run job.toml --live
      arkbatch run job.toml --engine ray --address local --workers 2
      arkbatch run prompts.jsonl -o nightly.run --set temperature=0.2 --set thinking.type=disabled
    """
    from arkbatch.cli.live_and_metrics import Serving
    from arkbatch.rows.object_storage import is_remote

    serving = Serving(live, metrics)
    if engine == "ray" and not flags["dry_run"]:
        from arkbatch.cli.cluster_lead import run_on_ray
        from arkbatch.rows.several_files import parts_of

        _refuse_on_a_cluster(flags, rebase=rebase, mixed=mixed, detach=detach)
        code, run_dir = run_on_ray(
            parts_of(input_), flags, address=address, workers=workers, as_json=as_json, serving=serving
        )
        if answers is not None:
            write_answers_of(run_dir, answers)
        return code
    from arkbatch.cli.cluster_bucket import leave_shards_in_bucket
    from arkbatch.cli.remote import local_job_words
    from arkbatch.engine.resume_check import ResumeOptions

    input_, flags, target = local_job_words(input_, flags, leave_shards_in_bucket)
    job = job_from(input_, flags)
    if flags["dry_run"]:
        from arkbatch.cli.dry_run import show_plan

        planned = show_plan(job, input_, as_json=as_json, options=ResumeOptions(rebase, mixed))
        job_from(input_, {**flags, "dry_run": None})  # what a run would refuse, such as a missing key, is refused now
        return planned
    if answers is not None:
        from arkbatch.reports.answers.answers import check_file

        check_file(answers.rpartition("/")[2] if is_remote(answers) else answers)
    code = _run_here(job, ResumeOptions(rebase, mixed), serving, target, as_json=as_json, detach=detach)
    if answers is not None:
        write_answers_of(job.run_dir, answers)
    return code


def _run_here(
    job: "Job", options: "ResumeOptions", serving: "Serving", target: str, *, as_json: bool, detach: bool
) -> int:
    """Run a job on this machine. It is uploaded to the address `target`, "" for nowhere."""
    from arkbatch.batch_jobs.open_session import refuse_open_parcels
    from arkbatch.cli.remote import keep_uploaded, upload_run
    from arkbatch.cli.session import carry_out, this_command
    from arkbatch.cli.sharded_runs import leave_shards
    from arkbatch.core.job import BATCH_FILE_LANES
    from arkbatch.engine.open_run import OpenRun
    from arkbatch.journal.run_directory import RunDirectory

    leave_shards(job.run_dir)

    def open_run(ready: "Job") -> OpenRun:
        return OpenRun(ready, options, wall=time.time, command=this_command(), stdin=sys.stdin.buffer)

    async def work(session: "Session", _: OpenRun) -> "Summary":
        if not target:
            return await session.work()
        async with keep_uploaded(job.run_dir, target, lambda text: click.echo(text, err=True)):
            return await session.work()

    def go_online() -> int:
        from arkbatch.cli.batch_run import online_job

        return carry_out(online_job(job), open_run, work, as_json=as_json, serving=serving)

    if job.lane in BATCH_FILE_LANES:
        from arkbatch.cli.batch_run import run_batches

        code = run_batches(job, open_run, as_json=as_json, detach=detach, go_online=go_online, serving=serving)
    else:
        refuse_open_parcels(RunDirectory(Path(job.run_dir)))
        code = go_online()
    if target:
        upload_run(job.run_dir, target)
        click.echo(f"Uploaded:  {target}", err=True)
    return code


def _refuse_on_a_cluster(flags: dict[str, Any], **switches: bool) -> None:
    """Raise UsageError if an option is for a run on one machine."""
    from arkbatch.core.errors import UsageError

    given = [name for name, is_set in switches.items() if is_set]
    given += [name for name in ("limit", "rest", "keep_files") if flags.get(name) is not None]
    if given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(f"--engine ray does not take {names}. Leave it out, or run without --engine ray.")


def write_answers_of(run_dir: str, file: str) -> None:
    """Write the rows of a run with their answers, and say so on standard error."""
    import os
    from pathlib import Path

    from arkbatch.cli.remote import input_of_run, remote_file
    from arkbatch.cli.sharded_runs import merged_run
    from arkbatch.cli.standard_streams import echo_note
    from arkbatch.core.language import language_of
    from arkbatch.core.text import printable_text
    from arkbatch.journal.run_directory import RunDirectory
    from arkbatch.reports.answers.answer_table import TableOptions
    from arkbatch.reports.answers.answers import read_schema, write_answers
    from arkbatch.rows.object_storage import is_remote

    if is_remote(run_dir):
        run_dir = merged_run(run_dir)
    info = RunDirectory(Path(run_dir)).read_info()
    options = TableOptions(schema=read_schema(info, ""), input=input_of_run(run_dir))
    if is_remote(file):
        with remote_file(file, replace=True) as place:
            written = write_answers(run_dir, place, options)
        click.echo(printable_text(f"Answers:  {file}, {written.rows:,} rows"), err=True)
    else:
        written = write_answers(run_dir, file, options)
        language = language_of(os.environ)
        click.echo(printable_text(f"{language.say('Answers:')}  {language.translate_text(str(written))}"), err=True)
    for note in written.notes:
        echo_note(note)
