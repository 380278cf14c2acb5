"""`arkbatch watch`: serves the report page of a run in another process."""

import asyncio
import time
from functools import partial
from pathlib import Path

import click

from arkbatch.cli.signals import wait_for_stop
from arkbatch.cli.standard_streams import echo_text


@click.command(short_help="Show a run in the browser, kept up to date.")
@click.argument("run_dir", metavar="RUN_DIR")
@click.option("--port", default=0, type=click.IntRange(0, 65535), metavar="N", help="Default: any free one.")
def command(run_dir: str, port: int) -> None:
    """Serve the report page of a run to this machine alone, and keep it up to date until Ctrl-C.

    The run may be working in another process, or be over, or begin again. It is only read: stop it where it runs.
    The address holds a token, without which the page is not shown.

    \b
    Examples:
      arkbatch watch prompts.run
      arkbatch watch prompts.run --port 8380
    """
    from arkbatch.reports.status.status import read_status

    read_status(run_dir, time.time)  # says so at once if this is no run directory
    asyncio.run(_serve_page(run_dir, port))


async def _serve_page(run_dir: str, port: int) -> None:
    from arkbatch.batch_jobs.parcel_report import parcel_notes
    from arkbatch.journal.run_directory import RunDirectory
    from arkbatch.reports.serve.live import Look, serve_page

    parcels = partial(parcel_notes, RunDirectory(Path(run_dir)), time.time)
    async with serve_page(Look(run_dir, time.time, parcels=parcels), port=port) as url:
        echo_text(f"Watching {run_dir} until Ctrl-C:  {url}")
        await wait_for_stop()
