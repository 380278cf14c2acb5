"""`arkbatch status`: how far a run is, also while a session writes to it."""

import time
from pathlib import Path

import click


@click.command(short_help="Show how far a run is, what it used and what failed.")
@click.argument("run_dir", metavar="RUN_DIR")
@click.option("--json", "as_json", is_flag=True, help="Print all that is known as one JSON line.")
def command(run_dir: str, *, as_json: bool) -> None:
    """Show how far a run is: rows done, failed and left, usage by model, failures with what to do about them.

    It only reads, so it may be called while a session is running, and then tells how fast that goes. The last line
    is the command that goes on.

    \b
    Examples:
      arkbatch status prompts.run
      arkbatch status prompts.run --json
    """
    import os

    import msgspec

    from arkbatch.batch_jobs.parcel_report import parcel_facts, parcel_lines
    from arkbatch.cli.remote import readable_run
    from arkbatch.cli.sharded_runs import count_shards
    from arkbatch.core.language import language_of
    from arkbatch.core.text import printable_json, printable_text
    from arkbatch.journal.run_directory import RunDirectory
    from arkbatch.reports.status.status import read_status
    from arkbatch.reports.status.status_text import status_text

    with readable_run(run_dir, with_records=False) as place:
        count_shards(place)
        status, directory = read_status(place, time.time), RunDirectory(Path(place))
        if as_json:
            facts = msgspec.to_builtins(status) | {"parcels": parcel_facts(directory), "run_dir": run_dir}
            click.echo(printable_json(msgspec.json.encode(facts)))
            return
        *lines, go_on = status_text(status, language_of(os.environ)).split("\n")
        text = "\n".join([*lines, *map(printable_text, parcel_lines(directory)), go_on])
        click.echo(text.replace(place, run_dir))
