"""`arkbatch estimate`: tokens, cost and time of a job before it runs."""

import shlex
import sys
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from arkbatch.cli.option_groups import GroupedCommand, input_option, trial_option
from arkbatch.cli.options import (
    endpoint_option,
    input_arguments,
    job_from,
    limit_options,
    request_options,
    table_options,
)
from arkbatch.cli.standard_streams import echo_text

if TYPE_CHECKING:
    from arkbatch.core.job import Job
    from arkbatch.pricing.summary import Summary


SAMPLE = 20  # rows, when nobody says how many


class _SampleSize(click.IntRange):
    """A number of rows that may be left out. Then the word after the flag is not a number, and the error says so."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, str) and not value.lstrip("-").isdecimal():
            self.fail(f"{value!r} is not a number; give --sample after the input, or as --sample={SAMPLE}.", param, ctx)
        rows: int = super().convert(value, param, ctx)
        return rows


@click.command(cls=GroupedCommand, short_help="Estimate tokens, cost and time before a run.")
@input_arguments
@input_option("-o", "--run-dir", metavar="RUN_DIR", help="Where a sample's results go, as those of `run`.")
@table_options
@request_options
@endpoint_option
@limit_options
@trial_option("--limit", type=int, metavar="N", help="Only the first N rows of the input.")
@trial_option(
    "--sample",
    is_flag=False,
    flag_value=SAMPLE,
    type=_SampleSize(1),
    metavar="[N]",
    help=f"Send N rows, spread over the input, and measure ({SAMPLE}).",
)
@trial_option("--simulate", is_flag=True, default=None, help="Answers from a simulator in this process; needs no key.")
@input_option("--json", "as_json", is_flag=True, help="Print all that is known as one JSON line.")
def command(input_: str, *, sample: int | None, as_json: bool, **flags: Any) -> int:
    """Estimate the tokens, the cost and the time of a job. Nothing is sent without --sample.

    The length of answers is not known before they come: without a sample there is an upper limit at best. With
    --sample 20, twenty rows are sent for real and kept as the first results of the run; `run` does not send them again.

    Input is guessed from characters, and measured by a sample.

    \b
    Examples:
      arkbatch estimate prompts.jsonl --model doubao-seed-1-6-251015
      arkbatch estimate job.toml --sample 20
    """
    from msgspec.structs import replace

    from arkbatch.cli.cluster_bucket import leave_shards_in_bucket
    from arkbatch.cli.remote import local_copy, local_job_words
    from arkbatch.core.errors import UsageError
    from arkbatch.core.job_sections import Notify, Schedule

    if sample:
        input_, flags, _ = local_job_words(input_, flags, leave_shards_in_bucket)
        local_input = input_
    else:
        local_input, flags = local_copy(input_, flags)
    job = job_from(local_input, flags if sample else {**flags, "dry_run": True})
    job = replace(job, notify=Notify(), hours=Schedule())
    if job.input == "-":
        raise UsageError("estimate reads the input twice: save standard input to a file first")
    tell = partial(_print_estimate, job, _run_command(input_, sys.argv[1:]), as_json=as_json)
    return tell() if sample is None else _with_sample(job, sample, tell, as_json=as_json)


def _with_sample(job: "Job", count: int, tell: Callable[..., int], *, as_json: bool) -> int:

    from arkbatch.cli.session import carry_out, this_command
    from arkbatch.cli.sharded_runs import leave_shards
    from arkbatch.core.errors import UsageError
    from arkbatch.engine.open_run import OpenRun
    from arkbatch.engine.session import Session
    from arkbatch.estimate.job_estimate import numbers_of_sample, rows_to_sample
    from arkbatch.journal.run_directory import RunDirectory

    async def work(session: Session, run: OpenRun) -> "Summary":
        return await session.work_again(rows_to_sample(run, job, count))

    def finish(summary: "Summary") -> int:
        if summary.halt is not None:
            raise UsageError(f"the sample could not be sent: {summary.halt.message}. {summary.halt.advice}")
        run_id = RunDirectory(Path(job.run_dir)).read_info().run_id
        return tell(numbers_of_sample(job, run_id, count), run_id)

    leave_shards(job.run_dir)
    return carry_out(
        job, lambda ready: OpenRun(ready, wall=time.time, command=this_command()), work, as_json=as_json, finish=finish
    )


def _print_estimate(job: "Job", run: str, sample: Collection[int] = (), run_id: str = "", *, as_json: bool) -> int:
    """Print the estimate. sample: the rows that were sent for it, in the run of that id."""
    import os

    import msgspec

    from arkbatch.core.errors import ExitCode
    from arkbatch.core.language import language_of
    from arkbatch.core.text import count_text, printable_json
    from arkbatch.estimate.estimate_text import forecasts_text
    from arkbatch.estimate.job_estimate import estimate_job

    if not sample and (answered := _count_answers(job.run_dir)):
        said = f"{count_text(answered, 'answer')} in {job.run_dir} {'was' if answered == 1 else 'were'} not looked at"
        echo_text(f"Note: {said}; --sample measures, and asks for none of them again.")
    found = estimate_job(job, sample, run_id)
    click.echo(
        printable_json(msgspec.json.encode(found))
        if as_json
        else forecasts_text(found, f"Run it:  {run}", language_of(os.environ))
    )
    return ExitCode.OK


def _count_answers(run_dir: str) -> int:
    """Return how many answers the run has, 0 if there is no run."""
    from arkbatch.journal.journal import read_ledger
    from arkbatch.journal.run_directory import RunDirectory

    directory = RunDirectory(Path(run_dir))
    return read_ledger(directory)[0].done.count if directory.exists else 0


def _run_command(input_: str, words: list[str]) -> str:
    """Return this command line with `run` in the place of `estimate`."""
    kept = list(words)
    for place, word in enumerate(words):
        if word == "--sample":
            kept[place] = ""
            if words[place + 1 : place + 2] and words[place + 1].isdecimal():
                kept[place + 1] = ""
        elif word.startswith("--sample=") or word == "--json":
            kept[place] = ""
    said = [word for word in kept if word]
    return shlex.join(["arkbatch", "run", *said[1:]] if said[:1] == ["estimate"] else ["arkbatch", "run", input_])
