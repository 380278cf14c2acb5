"""`arkbatch report`: what happened in a run, as one HTML file that needs nothing else."""

import time
import webbrowser
from pathlib import Path

import click

from arkbatch.cli.standard_streams import echo_text


@click.command(short_help="Write what happened in a run as one HTML page.")
@click.argument("run_dir", metavar="RUN_DIR")
@click.option("-o", "output", metavar="FILE", help="Where to write it (default: report.html in the run directory).")
@click.option("--open", "open_", is_flag=True, help="Show it in the browser.")
@click.option("--json", "as_json", is_flag=True, help="Print what the page shows as one JSON line, and write no file.")
def command(run_dir: str, output: str | None, *, open_: bool, as_json: bool) -> None:
    """Write one HTML file: rows, failures, tokens, rates against limits, latency, retries, sessions.

    The file holds all it needs and asks no server for anything. It holds the beginnings of prompts that failed, so
    only you may read it, as you alone may read the run directory. A session may be running meanwhile.

    \b
    Examples:
      arkbatch report prompts.run --open
      arkbatch report prompts.run -o /tmp/night.html
    """
    from arkbatch.cli.sharded_runs import merged_run

    place = merged_run(run_dir)
    import msgspec

    from arkbatch.batch_jobs.parcel_report import parcel_notes
    from arkbatch.core.text import printable_json
    from arkbatch.journal.atomic_files import replace_file
    from arkbatch.journal.run_directory import RunDirectory
    from arkbatch.reports.page.page import page_data, render_page
    from arkbatch.reports.page.timeline import Follower
    from arkbatch.reports.status.find_run import explain_unreadable
    from arkbatch.reports.status.status import read_status

    status, directory = read_status(place, time.time), RunDirectory(Path(place))
    follower = Follower(directory)
    with explain_unreadable(Path(place)):
        follower.read_on()
        parcels = parcel_notes(directory, time.time)
    data = page_data(status, follower.timeline, time.time, parcels=parcels)
    if as_json:
        click.echo(printable_json(msgspec.json.encode(data)))
        return
    path = Path(output or (Path(run_dir) if place == run_dir else Path()) / "report.html")
    replace_file(path, render_page(data).encode())
    click.echo(f"Wrote {path}.")
    if open_ and not webbrowser.open(path.absolute().as_uri()):
        echo_text("No browser was found to open it.")
