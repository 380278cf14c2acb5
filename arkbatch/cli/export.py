"""`arkbatch export`: writes batch files for a provider's console, a colleague or `vllm run-batch`."""

import sys
import time
from pathlib import Path
from typing import Any

import click

from arkbatch.cli.options import ENDPOINTS, input_arguments, job_from, request_options

_SHOWN = 5


@click.command(short_help="Write the rows as batch files, within a provider's limits.")
@input_arguments
@click.option("-o", "--output", "folder", required=True, metavar="DIR", help="The directory for the files.")
@click.option("--form", default="", metavar="NAME", help="The provider's form: openai, azure, zhipu, vllm, ark-job ...")
@click.option("--run-dir", metavar="RUN_DIR", help="The run that the answers will belong to.")
@click.option("--endpoint", metavar=ENDPOINTS, help="What rows ask for if they do not say.")
@request_options
@click.option("--limit", type=int, metavar="N", help="Only the first N rows of the input.")
@click.option("--rows", type=click.IntRange(1), metavar="N", help="Rows in one file, at most.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as one JSON line.")
def command(input_: str, *, folder: str, form: str, rows: int | None, as_json: bool, **flags: Any) -> int:
    """Write every row that has no record into batch files: one endpoint and one model a file, within the form's limits.

    Nothing is sent, and no key is needed. Upload the files in the provider's console, or run them with `vllm
    run-batch`; then merge what came of them with `arkbatch collect`. Rows that no batch file can hold are left out
    and told.

    \b
    Examples:
      arkbatch export prompts.jsonl --model doubao-seed-1-6-251015 --form ark-job -o parts/
      arkbatch export job.toml -o parts/ --rows 5000
    """
    from msgspec.structs import replace

    from arkbatch.batch_jobs.export_files import as_json as exported_json
    from arkbatch.batch_jobs.export_files import export_run
    from arkbatch.batch_jobs.provider_forms import form_for
    from arkbatch.cli.session import this_command
    from arkbatch.core.text import count_text, printable_text
    from arkbatch.engine.open_run import OpenRun

    job = job_from(input_, {**flags, "dry_run": True})
    job = replace(job, files=replace(job.files, rows=rows or job.files.rows, form=form or job.files.form))
    chosen = form_for(job.base_url, job.files.form)
    with OpenRun(job, wall=time.time, command=this_command(), stdin=sys.stdin.buffer) as run:
        exported = export_run(run, chosen, Path(folder))
        run.journal.close()
    if as_json:
        click.echo(exported_json(exported))
    for file in exported.files:
        said = f"{file.path}: {count_text(file.rows, 'row')}, {file.bytes:,} bytes, about {file.tokens:,} input tokens"
        click.echo(printable_text(f"{said}, {file.endpoint}, {file.model or 'no model'}"), err=True)
    for row, reason in exported.left_out[:_SHOWN]:
        click.echo(printable_text(f"Left out, row {row}: {reason}"), err=True)
    if more := len(exported.left_out) - _SHOWN:
        click.echo(f"Left out: {more} more rows, with --json." if more > 0 else "", err=True, nl=more > 0)
    if chosen.note:
        click.echo(f"Note: {chosen.note}.", err=True)
    click.echo(f"Then:  arkbatch collect {job.run_dir} OUTPUT.jsonl ERRORS.jsonl", err=True)
    return 0
