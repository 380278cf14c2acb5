"""`arkbatch cost`: what runs have cost, also beside a bill of the provider."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from arkbatch.cli.standard_streams import echo_text, user_language

if TYPE_CHECKING:
    from arkbatch.reports.cost.cost import By, Costs


@click.command(short_help="Show what runs have cost, by model, day, hour or prefix.")
@click.argument("run_dirs", metavar="RUN_DIR...", nargs=-1, required=True)
@click.option("--by", type=click.Choice(["model", "day", "hour", "prefix"]), help="How to group (default: model).")
@click.option("--reprice", is_flag=True, help="By today's prices instead of those that each run was done at.")
@click.option(
    "--prices",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --reprice: prices of your own (TOML), over ours.",
)
@click.option("--compare", metavar="OTHER", help="Put another run beside, with the difference.")
@click.option(
    "--bill",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.csv",
    help="Put the console's split bill beside, by endpoint or key and day.",
)
@click.option(
    "--key", default="", metavar="apikey-...", help="With --bill: the key's item there that all calls went with."
)
@click.option("--json", "as_json", is_flag=True, help="Print all that is known as one JSON line.")
@click.option("--csv", "as_csv", is_flag=True, help="Print a table for a sheet.")
def command(
    run_dirs: tuple[str, ...],
    *,
    by: By | None,
    reprice: bool,
    file: Path | None,
    compare: str | None,
    bill: Path | None,
    key: str,
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
      arkbatch cost *.run --bill split-bill.csv
    """
    from arkbatch.cli.sharded_runs import readable_place

    is_merged = by not in {None, "model"} or reprice or bill is not None  # else the ledgers of the shards tell
    run_dirs = tuple(readable_place(each, is_merged=is_merged) for each in run_dirs)
    compare = compare and readable_place(compare, is_merged=is_merged)
    from arkbatch.core.errors import UsageError

    if file is not None and not reprice:
        if _has_prices((*run_dirs, *([compare] if compare else []))):
            raise UsageError("--prices changes nothing without --reprice: a run keeps the prices that it was done at")
        reprice = True  # there is no cost yet that a price could alter
    if as_csv and (as_json or compare):
        raise UsageError("--csv goes neither with --json nor with --compare: choose one")
    if bill is not None and (by or compare):
        raise UsageError("--bill goes by endpoint or key and day; it takes neither --by nor --compare")
    if key and bill is None:
        raise UsageError("--key says which key on a bill is yours: give the bill too, with --bill FILE.csv")
    if bill is not None:
        _print_reconciliation(run_dirs, bill, key, reprice, file, as_json=as_json, as_csv=as_csv)
    else:
        _print_costs(run_dirs, by or "model", compare, reprice, file, as_json=as_json, as_csv=as_csv)


def _has_prices(run_dirs: tuple[str, ...]) -> bool:
    """Whether a call of one of these runs has a cost."""
    import time

    from arkbatch.reports.status.status import read_status

    return any(read_status(each, time.time).cost["amounts"] for each in run_dirs)


def _print_costs(
    run_dirs: tuple[str, ...],
    by: By,
    compare: str | None,
    reprice: bool,
    file: Path | None,
    *,
    as_json: bool,
    as_csv: bool,
) -> None:
    import orjson

    from arkbatch.core.text import printable_json
    from arkbatch.reports.cost.cost import read_costs
    from arkbatch.reports.cost.cost_text import compared_text, costs_csv, costs_text

    def costs_of(*directories: str) -> Costs:
        return read_costs(directories, by, reprice=reprice, prices=file)

    costs = costs_of(*run_dirs)
    if compare:
        other = costs_of(compare)
        both = {"run": costs.to_builtins(), "other": other.to_builtins()}
        if as_json:
            click.echo(printable_json(orjson.dumps(both)))
        else:
            echo_text(compared_text(costs, other, user_language()), err=False)
    elif as_json:
        click.echo(printable_json(orjson.dumps(costs.to_builtins())))
    elif as_csv:
        click.echo(costs_csv(costs), nl=False)
    else:
        echo_text(costs_text(costs, user_language()), err=False)


def _print_reconciliation(
    run_dirs: tuple[str, ...],
    bill: Path,
    key: str,
    reprice: bool,
    file: Path | None,
    *,
    as_json: bool,
    as_csv: bool,
) -> None:
    import orjson

    from arkbatch.core.text import printable_json
    from arkbatch.reports.cost.reconcile import read_reconciliation
    from arkbatch.reports.cost.reconcile_text import reconciliation_csv, reconciliation_text

    found = read_reconciliation(run_dirs, bill, key, reprice=reprice, prices=file)
    if as_json:
        click.echo(printable_json(orjson.dumps(found.to_builtins())))
    elif as_csv:
        click.echo(reconciliation_csv(found), nl=False)
    else:
        echo_text(reconciliation_text(found, user_language()), err=False)
