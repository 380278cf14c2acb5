"""`arkbatch check`: reads every line of an input as a run would, and sends nothing."""

import shlex
import sys
from typing import Any

import click

from arkbatch.cli.option_groups import GroupedCommand, input_option
from arkbatch.cli.options import endpoint_option, input_arguments, job_from, request_options, table_options

_WITH_VALUE = (
    *("endpoint", "model", "base_url", "lane", "prices", "images", "tools", "schema"),
    *("prompt", "system", "text", "id_column", "image_column", "encoding", "delimiter", "sheet", "empty"),
)


@click.command(cls=GroupedCommand, short_help="Read every line of an input without sending anything.")
@input_arguments
@table_options
@request_options
@endpoint_option
@input_option("--json", "as_json", is_flag=True, help="Print all that was found as one JSON line.")
def command(input_: str, *, as_json: bool, **flags: Any) -> int:
    """Read every line of an input as a run would, and send nothing. No key is needed.

    Tells bad lines with their numbers, custom_ids that stand on several lines, rows by endpoint and model, and
    roughly how many tokens they take. INPUT may be .jsonl or .jsonl.gz.

    The exit code is 0 when every row can be sent, if need be with a --model, and 3 when some cannot.

    \b
    Examples:
      arkbatch check prompts.jsonl --model doubao-seed-1-6-251015
      arkbatch check job.toml --json
    """
    import os

    import msgspec

    from arkbatch.cli.remote import local_copy, name_of_input
    from arkbatch.cli.standard_streams import echo_note
    from arkbatch.core.errors import UsageError
    from arkbatch.core.language import language_of
    from arkbatch.core.text import printable_json
    from arkbatch.pricing.run_price_file import book_of_job
    from arkbatch.reports.status.check import inspect_input
    from arkbatch.reports.status.check_text import inspection_text

    local_input, local_flags = local_copy(input_, flags)
    job = job_from(local_input, {**local_flags, "dry_run": True})
    if job.input == "-":
        raise UsageError("check reads the input twice: save standard input to a file first")
    book_of_job(job)  # a mistake in the prices is met now, not when the run begins
    with _progress_line() as bar:
        found = inspect_input(job, bar.reset, bar.update)
    for warning in () if as_json else job.warnings:
        echo_note(warning)
    if as_json:
        click.echo(printable_json(msgspec.json.encode(found)))
    else:
        text = inspection_text(found, _run_command(input_, flags), language_of(os.environ))
        click.echo(
            text if local_flags is flags and local_input == input_ else text.replace(job.input, name_of_input(input_))
        )
    return found.exit_code


def _progress_line() -> Any:
    """Return a progress line for terminals, which appears if reading takes longer than a second."""
    from tqdm import tqdm

    return tqdm(unit=" rows", unit_scale=True, delay=1, leave=False, disable=not sys.stderr.isatty())


def _run_command(input_: str, flags: dict[str, Any]) -> str:
    """Return the same command line with `run` in the place of `check`."""
    from arkbatch.rows.several_files import parts_of

    words = ["arkbatch", "run", *parts_of(input_)]
    for name in _WITH_VALUE:
        if flags[name] is not None:
            words += [f"--{name.replace('_', '-')}", flags[name]]
    words += ["--no-header"] if flags["header"] is False else []
    words += [f"--{name.replace('_', '-')}" for name in ("allow_empty", "dedupe") if flags[name]]
    if flags["stream"] is not None:
        words.append("--stream" if flags["stream"] else "--no-stream")
    return shlex.join([*words, *(word for setting in flags["set_"] for word in ("--set", setting))])
