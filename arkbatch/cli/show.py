"""`arkbatch show`: everything about one row of a run."""

import click


@click.command(short_help="Show everything about one row.")
@click.argument("run_dir", metavar="RUN_DIR")
@click.argument("name", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print the record with its input, one JSON line for each row.")
def command(run_dir: str, name: str, *, as_json: bool) -> None:
    """Show everything about one row: its input, the request, each call with its ids, and the answer or the error.

    ID is the number of a line in the input, a custom_id, or the id of a request: ours (X-Client-Request-Id) or the
    server's (X-Request-Id). A custom_id that stands on several lines shows each of them, ten at most.

    \b
    Examples:
      arkbatch show prompts.run 17
      arkbatch show prompts.run review-042 --json
    """
    from arkbatch.cli.sharded_runs import merged_run

    place = merged_run(run_dir)
    import os

    from arkbatch.core.language import language_of
    from arkbatch.core.text import printable_json
    from arkbatch.reports.status.show import find_rows
    from arkbatch.reports.status.show_text import show_text

    found = find_rows(place, name)
    if as_json:
        for row in found.rows:
            click.echo(printable_json(row.to_json()))
    else:
        click.echo(show_text(found, run_dir, language_of(os.environ)))
