"""`arkbatch cost`: what runs have cost, to the last digit where the usage and the price are known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from arkbatch.reports.cost import By, Costs


@click.command(short_help="Show what runs have cost, by model, day, hour or prefix.")
@click.argument("run_dirs", metavar="RUN_DIR...", nargs=-1, required=True)
@click.option("--by", type=click.Choice(["model", "day", "hour", "prefix"]), default="model", help="How to group.")
@click.option("--reprice", is_flag=True, help="By today's prices instead of those that each run was done at.")
@click.option(
    "--prices",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --reprice: prices of your own (TOML), over ours.",
)
@click.option("--compare", metavar="OTHER", help="Put another run beside, with the difference.")
@click.option("--json", "as_json", is_flag=True, help="Print all that is known as one JSON line.")
@click.option("--csv", "as_csv", is_flag=True, help="Print a table for a sheet.")
def command(
    run_dirs: tuple[str, ...],
    *,
    by: By,
    reprice: bool,
    file: Path | None,
    compare: str | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    """Add up what the records of one or more runs have cost. Days and hours are those of Beijing, as the bill's.

    Every call is priced by its own length, at the prices that stood in the book when the run was done. Rows of
    unknown price are counted apart and never as 0. A prefix is a custom_id without its last part: task-a-17 counts
    for task-a.

    \b
    Examples:
      arkbatch cost nightly.run
      arkbatch cost *.run --by day --csv
      arkbatch cost nightly.run --reprice --prices mine.toml
      arkbatch cost monday.run --compare tuesday.run
    """
    import orjson

    from arkbatch.core.errors import UsageError
    from arkbatch.reports.cost import read_costs
    from arkbatch.reports.cost_text import compared_text, costs_csv, costs_text

    if file is not None and not reprice:
        raise UsageError("--prices changes nothing without --reprice: a run keeps the prices that it was done at")
    if as_csv and (as_json or compare):
        raise UsageError("--csv goes neither with --json nor with --compare: choose one")

    def costs_of(*directories: str) -> Costs:
        return read_costs(directories, by, reprice=reprice, prices=file)

    costs = costs_of(*run_dirs)
    if compare:
        other = costs_of(compare)
        both = {"run": costs.plain(), "other": other.plain()}
        click.echo(orjson.dumps(both).decode() if as_json else compared_text(costs, other))
    elif as_json:
        click.echo(orjson.dumps(costs.plain()).decode())
    else:
        click.echo(costs_csv(costs) if as_csv else costs_text(costs), nl=not as_csv)
