"""`arkbatch status`: how far a run is, also while a session writes to it."""

import time

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
    import msgspec

    from arkbatch.core.text import printable_json
    from arkbatch.reports.status.status import read_status
    from arkbatch.reports.status.text import status_text

    status = read_status(run_dir, time.time)
    click.echo(printable_json(msgspec.json.encode(status)) if as_json else status_text(status))
