"""`arkbatch answers`: what the model said, row by row, without the rest of the records."""

import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from arkbatch.reports.answers.results import Order
    from arkbatch.reports.status.status import Status


@click.command(short_help="Print the answers alone, or write them as CSV.")
@click.argument("run_dir", metavar="RUN_DIR")
@click.option("-o", "--output", metavar="FILE.csv", help="Write them as CSV, which a sheet opens.")
@click.option(
    "--order", type=click.Choice(["input", "completion"]), default="input", show_default=True, help="Of rows."
)
def command(run_dir: str, output: str | None, order: str) -> None:
    """Print the answers of a run, one JSON line each: row, custom_id, finish_reason and answer.

    Rows that failed or are not done yet have none. The run may still go on; what is recorded by now is printed. All
    that the service said, tokens and thoughts too, is in results.jsonl.

    \b
    Examples:
      arkbatch answers prompts.run -o prompts.csv
      arkbatch answers prompts.run > answers.jsonl
    """
    from arkbatch.core.text import counted, printable, printable_json
    from arkbatch.reports.answers.answers import as_json, iter_answers, write_table
    from arkbatch.reports.status.status import read_status

    by: Order = "input" if order == "input" else "completion"
    if output is None:
        for answer in iter_answers(run_dir, by):
            click.echo(printable_json(as_json(answer)))
    else:
        click.echo(printable(f"{counted(write_table(run_dir, output, by), 'answer')}:  {output}"))
    click.echo(printable(without(read_status(run_dir, time.time))), err=True, nl=False)


def without(status: "Status") -> str:
    """The rows that have no answer, and the command that sends them; nothing when all have one."""
    from arkbatch.core.text import counted

    parts = [counted(status.failed, "failed row")] if status.failed else []
    parts += [f"{counted(status.left, 'row')} not done yet"] if status.left else []
    return f"Without an answer: {', '.join(parts)}. {status.go_on}\n" if parts else ""
