"""`arkbatch run`: sends every row that has no record yet."""

import sys
import time
from typing import Any

import click

from arkbatch.cli.options import ENDPOINTS, asking, job_from, noticing, sending, serving, timing


@click.command(short_help="Send every row of a prompt file; run it again to resume.")
@click.argument("input_", metavar="INPUT.jsonl|JOB.toml")
@click.option("-o", "--run-dir", metavar="RUN_DIR", help="Where results go (default: the input's name with .run).")
@click.option("--endpoint", metavar=ENDPOINTS, help="What rows ask for if they do not say; a path: /rerank.")
@asking
@sending
@timing
@noticing
@click.option("--limit", type=int, metavar="N", help="Only the first N rows of the input; those done before count.")
@click.option("--simulate", is_flag=True, default=None, help="Answers from a simulator in this process; needs no key.")
@click.option("--dry-run", is_flag=True, default=None, help="Show what would be sent, and send nothing.")
@click.option("--rebase", is_flag=True, help="The input was edited: keep unchanged rows' results, run the others.")
@click.option("--mixed", is_flag=True, help="The model or a parameter changed, and that is meant.")
@serving
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON line also on a terminal.")
def command(
    input_: str, *, rebase: bool, mixed: bool, live: int | None, metrics: int | None, as_json: bool, **flags: Any
) -> int:
    """Send every row of a prompt file to chat or embeddings, and record each answer.

    Run the same command again to resume: rows that have a record are not sent twice. INPUT may be .jsonl, .jsonl.gz
    or - for standard input.

    \b
    Examples:
      arkbatch run prompts.jsonl --model doubao-seed-1-6-251015 --rpm 600
      arkbatch run job.toml --simulate
      arkbatch run job.toml --live
      arkbatch run prompts.jsonl -o nightly.run --set temperature=0.2 --set thinking.type=disabled
    """
    from arkbatch.cli.serve_options import Serving
    from arkbatch.cli.session import carry_out, this_command
    from arkbatch.engine.open_run import OpenRun, ResumeOptions

    job = job_from(input_, flags)
    if flags["dry_run"]:
        from arkbatch.cli.dry_run import show_plan

        return show_plan(job, input_, as_json=as_json)
    return carry_out(
        job,
        lambda ready: OpenRun(
            ready, ResumeOptions(rebase, mixed), wall=time.time, command=this_command(), stdin=sys.stdin.buffer
        ),
        lambda session, _: session.work(),
        as_json=as_json,
        serving=Serving(live, metrics),
    )
