"""`arkbatch cancel`: cancels the batches of a run, and keeps what was done before."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from arkbatch.batch_jobs.parcel import Parcel

from arkbatch.cli.options import summary_json_option
from arkbatch.cli.standard_streams import echo_text


@click.command(short_help="Cancel the batch files of a run, and keep what they did.")
@click.argument("run_dir", metavar="RUN_DIR")
@click.argument("parcel", nargs=-1, type=int)
@summary_json_option
def command(run_dir: str, *, parcel: tuple[int, ...], as_json: bool) -> int:
    """Cancel batches that were ordered with --lane files or job, wait until they have ended, and merge what was done.

    What was done before is paid and is recorded. The other rows are left, and are sent again by `arkbatch run`. Rows
    that were exported are taken back, without a service. Without a number all parcels are cancelled.

    \b
    Examples:
      arkbatch cancel night.run
      arkbatch cancel night.run 3
    """
    from arkbatch.batch_jobs.export_files import take_back
    from arkbatch.batch_jobs.parcel_journal import read_parcels
    from arkbatch.batch_jobs.parcel_records import Stage
    from arkbatch.cli.batch_run import run_batches
    from arkbatch.cli.retry import job_of_run
    from arkbatch.cli.session import this_command
    from arkbatch.engine.open_run import OpenRun
    from arkbatch.journal.run_directory import RunDirectory

    directory, chosen = RunDirectory(Path(run_dir)), frozenset(parcel)
    directory.read_info()
    is_open = [each for each in read_parcels(directory).open_parcels if not chosen or each.number in chosen]
    taken = take_back(directory, [each for each in is_open if each.stage == Stage.EXPORTED], time.time)
    if taken:
        click.echo(f"{taken} exported rows are free again.", err=True)
    if all(each.stage == Stage.EXPORTED for each in is_open):
        echo_text("No batch is open." if not taken else f"Look:  arkbatch status {run_dir}")
        return 0
    codes = [
        run_batches(
            job_of_run(run_dir, {"lane": lane}),
            lambda ready: OpenRun(ready, wall=time.time, command=this_command()),
            as_json=as_json,
            cancel=numbers,
        )
        for lane, numbers in lanes_to_cancel(is_open).items()
    ]
    return max(codes)


def lanes_to_cancel(parcels: "list[Parcel]") -> dict[str, frozenset[int]]:
    """Return the numbers of ordered parcels by the lane on which they were ordered."""
    from arkbatch.batch_jobs.parcel_records import Stage
    from arkbatch.batch_jobs.provider_forms import lane_of_form

    ordered = [each for each in parcels if each.stage != Stage.EXPORTED]
    lanes = sorted({lane_of_form(each.cut.form) for each in ordered})
    return {lane: frozenset(each.number for each in ordered if lane_of_form(each.cut.form) == lane) for lane in lanes}
