"""`arkbatch answers`: the rows of the input with what the model said of each."""

import time
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from arkbatch.reports.answers.answer_table import TableOptions
    from arkbatch.reports.status.status import Status


def comma_separated(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Return the words between commas."""
    del ctx, param
    return tuple(word.strip() for word in (value or "").split(",") if word.strip())


@click.command(short_help="Write the input's rows with their answers: CSV, JSON lines, Parquet, a sheet.")
@click.argument("run_dir", metavar="RUN_DIR")
@click.option("-o", "--output", metavar="FILE", help="By its ending: .csv, .tsv, .jsonl, .parquet or .xlsx.")
@click.option(
    "--with",
    "extras",
    callback=comma_separated,
    metavar="K,...",
    help="More columns: tokens, cost, model, seconds, request_id, attempts, reasoning, answers, row, custom_id.",
)
@click.option("--only", type=click.Choice(["done", "failed"]), help="Only rows that have an answer, or that failed.")
@click.option("--columns", callback=comma_separated, metavar="NAME,...", help="These columns, in this order.")
@click.option("--schema", metavar="FILE", help="A column for each property of this JSON Schema (the run's, if any).")
@click.option("--json-columns", is_flag=True, help="A column for each field of answers that are JSON objects.")
@click.option("--vectors", is_flag=True, help="The vectors of embeddings, as a list in the column vector.")
@click.option("--defuse", is_flag=True, help="In CSV, put ' before text that a sheet would run as a formula.")
@click.option("--input", "input_", metavar="FILE", default="", help="The input, if it is no longer where it was.")
@click.option("--force", is_flag=True, help="Replace what is at an address in object storage (s3://...).")
def command(run_dir: str, output: str | None, *, defuse: bool, schema: str | None, force: bool, **chosen: Any) -> None:
    """Write every row of the input, in its order: its own columns, then answer, error and finish_reason.

    Rows that failed or are not done yet are there too, and error says why. Without -o they are printed as JSON lines.
    The run may still go on: what is recorded by now is written. A column that the input has already is called
    answer_2.

    \b
    Examples:
      arkbatch answers prompts.run -o prompts.csv
      arkbatch answers prompts.run -o prompts.parquet --with tokens,cost
      arkbatch answers prompts.run --only failed
    """
    import os

    from arkbatch.cli.remote import input_of_run, remote_file
    from arkbatch.cli.sharded_runs import merged_run
    from arkbatch.cli.standard_streams import echo_note
    from arkbatch.core.json_numbers import dumps_as_written
    from arkbatch.core.language import language_of
    from arkbatch.core.text import printable_json, printable_text
    from arkbatch.reports.answers.answers import iter_answers, write_answers
    from arkbatch.reports.status.status import read_status
    from arkbatch.rows.object_storage import is_remote

    say = language_of(os.environ).translate_text
    run_dir, named = merged_run(run_dir), run_dir
    options = _table_options(run_dir, schema, chosen | {"input_": chosen["input_"] or input_of_run(run_dir)})
    if output is None or output == "-":
        for row in iter_answers(run_dir, options):
            click.echo(printable_json(dumps_as_written(row)))
    else:
        if is_remote(output):
            with remote_file(output, replace=force) as place:
                written = write_answers(run_dir, place, options, defuse=defuse)
            click.echo(printable_text(say(str(written).replace(place, output))))
        else:
            written = write_answers(run_dir, output, options, defuse=defuse)
            click.echo(printable_text(say(str(written))))
        for note in written.notes:
            echo_note(note)
    unanswered = unanswered_text(read_status(run_dir, time.time)).replace(run_dir, named)
    click.echo(printable_text(say(unanswered)), err=True, nl=False)


def _table_options(run_dir: str, schema: str | None, chosen: dict[str, Any]) -> "TableOptions":
    from pathlib import Path

    from arkbatch.journal.run_directory import RunDirectory
    from arkbatch.reports.answers.answer_table import TableOptions
    from arkbatch.reports.answers.answers import read_schema

    return TableOptions(
        extras=chosen["extras"],
        only=chosen["only"] or "",
        columns=chosen["columns"],
        schema=read_schema(RunDirectory(Path(run_dir)).read_info(), schema or ""),
        json_columns=chosen["json_columns"],
        vectors=chosen["vectors"],
        input=chosen["input_"],
    )


def unanswered_text(status: "Status") -> str:
    """Return how many rows have no answer, and the command that sends them; "" when all have one."""
    from arkbatch.core.text import count_text

    parts = [count_text(status.failed, "failed row")] if status.failed else []
    parts += [f"{count_text(status.left, 'row')} not done yet"] if status.left else []
    return f"Without an answer: {', '.join(parts)}. {status.go_on}\n" if parts else ""
