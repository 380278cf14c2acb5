"""`arkbatch collect`: merges the output files of batches that somebody else ran."""

import time
from pathlib import Path

import click

# Which count, and what it is of: one thing, and what is said of it.
_REMARKS = (
    ("recorded_before", "row", "in these files had a record already, which stays"),
    ("without_a_line", "row", "without a line: still to be done"),
    ("doubled_lines", "doubled line", ""),
    ("lines_of_no_row", "line", "of no row of this run"),
    ("lines_of_open_batches", "line", "of batches that are still ordered: arkbatch run collects them"),
    ("ambiguous_ids", "line", "whose custom_id several rows have"),
)


@click.command(short_help="Merge output files of batches into a run.")
@click.argument("run_dir", metavar="RUN_DIR")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="Print what was merged as one JSON line.")
def command(run_dir: str, *, files: tuple[str, ...], as_json: bool) -> int:
    """Merge output and error files that were fetched from a console, by a colleague, or from `vllm run-batch`.

    Give all files of an export together. Each line is judged and priced as an answer of `arkbatch run` is. A row
    without a line stays undone; doubled lines and lines of no row are reported. Then `status`, `cost`, `retry` and
    `answers` work.

    \b
    Examples:
      arkbatch collect night.run output.jsonl errors.jsonl
    """
    import orjson

    from arkbatch.batch_jobs.collect_files import collect_files
    from arkbatch.cli.retry import job_of_run
    from arkbatch.cli.session import this_command
    from arkbatch.core.text import count_text
    from arkbatch.engine.open_run import OpenRun

    with OpenRun(job_of_run(run_dir, {"dry_run": True}), wall=time.time, command=this_command()) as run:
        session = run.begin_session({})
        collected = collect_files(run, [Path(file) for file in files])
        run.journal.close()
        run.end_session(session, "collected", 0.0)
        left = max(0, run.found.total - run.journal.ledger.count_ended(run.info.last_row))
    merged = collected.merged
    said = {
        "succeeded": merged.done,
        "failed": merged.failed,
        "left": left,
        "recorded_before": collected.recorded,
        "without_a_line": merged.missing,
        "doubled_lines": merged.doubled,
        "lines_of_no_row": merged.unknown,
        "lines_of_open_batches": collected.refused,
        "ambiguous_ids": collected.ambiguous,
    }
    if as_json:
        click.echo(orjson.dumps(said))
    click.echo(f"{count_text(merged.done, 'row')} succeeded, {merged.failed} failed, {left} left.", err=True)
    for name, one, more in _REMARKS:
        if said[name]:
            click.echo(f"  {count_text(said[name], one)} {more}".rstrip(), err=True)
    click.echo(f"Look:  arkbatch status {run_dir}", err=True)
    return 3 if merged.failed else 0
