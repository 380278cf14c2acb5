"""The options that several commands share, and the step from them to a `Job`."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec.structs import replace

from arkbatch.cli.option_groups import (
    ark_option,
    batch_option,
    budget_option,
    input_option,
    limit_option,
    model_option,
    table_option,
    unattended_option,
)
from arkbatch.core.job import Job


def parse_duration(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """Return seconds for `90`, `30m` or `12h`."""
    from arkbatch.protocol.ratelimit_headers import seconds_of

    if value is not None and seconds_of(value) is None:
        raise click.BadParameter(f"{value} is not a length of time, such as 90, 30m or 12h", ctx, param)
    return None if value is None else seconds_of(value)


class Number(click.types.FloatParamType):
    """The number type of click, named `number` in messages."""

    name = "number"


def parse_command_line(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str] | None:
    """Split a command line into words, as a shell does."""
    import shlex

    try:
        return shlex.split(value) or None if value is not None else None
    except ValueError as error:
        raise click.BadParameter(f"{error} in the command", ctx, param) from error


def parse_list(ctx: click.Context, param: click.Parameter, value: str | tuple[str, ...] | None) -> list[str] | None:
    """Return the values of a repeated option, or of a list with commas; None when it was not given."""
    del ctx, param
    if isinstance(value, str):
        value = tuple(word.strip() for word in value.split(",") if word.strip())
    return list(value) if value else None


ENDPOINTS = "NAME|/PATH"  # what --endpoint takes; the names are checked with the job file
endpoint_option = model_option(
    "--endpoint", metavar=ENDPOINTS, help="What rows ask for: chat, responses, embeddings, or a path such as /rerank."
)
summary_json_option = input_option(
    "--json", "as_json", is_flag=True, help="Print the summary as one JSON line also on a terminal."
)

F = TypeVar("F", bound=Callable[..., Any])

_SENDING = (
    limit_option("--concurrency", type=int, metavar="N", help="Calls in flight at once, at most (32; on Ark 512)."),
    limit_option("--rpm", type=Number(), metavar="N", help="Requests a minute, at most."),
    limit_option("--tpm", type=Number(), metavar="N", help="Tokens a minute, at most, input and output together."),
    limit_option("--input-tpm", type=Number(), metavar="N", help="Input tokens a minute, at most."),
    limit_option("--output-tpm", type=Number(), metavar="N", help="Output tokens a minute, at most."),
    limit_option(
        "--give-up-after",
        callback=parse_duration,
        metavar="TIME",
        help="Stop when the service has been away for this long (12h).",
    ),
    budget_option("--max-cost", type=Number(), metavar="N", help="The most that the whole run may cost, such as 50."),
    budget_option("--max-tokens", type=int, metavar="N", help="The most tokens that the whole run may use."),
    limit_option(
        "--fixed", "mode", flag_value="fixed", default=None, help="Keep to these limits; do not adapt to refusals."
    ),
    limit_option("--max-attempts", type=int, metavar="N", help="Attempts before a row is given up (default 5)."),
    limit_option(
        "--hedge/--no-hedge", default=None, help="Send a second call where an answer is far too late; both are paid."
    ),
    ark_option("--encrypt", is_flag=True, default=None, help="Encrypt the text of messages; needs arkbatch[seal]."),
    ark_option(
        "--certificate", metavar="PEM", help="With --encrypt: use this certificate and do not ask the service for one."
    ),
    ark_option("--project", metavar="P", help="The project of plain model ids, when an access key is used."),
    model_option("--insecure", is_flag=True, default=None, help="Allow http:// (unencrypted) to another machine."),
    limit_option(
        "--timeout", callback=parse_duration, metavar="TIME", help="Give up a call after this much silence (30m)."
    ),
)
_ASKING = (
    model_option("--model", metavar="M", help="Model id or endpoint id (ep-...) for rows that name none."),
    model_option("--set", "set_", multiple=True, metavar="KEY=VALUE", help="A request parameter: temperature=0.2."),
    budget_option("--prices", metavar="FILE", help="Your own prices (TOML); they win over those that arkbatch knows."),
    model_option("--provider", metavar="NAME", help="A provider by name: its address and key; see arkbatch providers."),
    model_option("--base-url", metavar="U", help="Another OpenAI-compatible server."),
    batch_option(
        "--lane",
        type=click.Choice(["online", "batch", "files", "job"]),
        help="Half price: batch (ep-bi-... endpoints of Ark), job (Ark's jobs), files (other providers).",
    ),
    input_option("--images", metavar="DIR", help="The directory of images and videos that rows name as files."),
    model_option("--tools", metavar="PY", help="Run the functions of this Python file when a model calls them."),
    model_option("--schema", metavar="FILE", help="Ask again where an answer does not fit this JSON Schema."),
    model_option(
        "--stream/--no-stream", default=None, help="Receive chat answers piece by piece; records stay the same."
    ),
)


_READING = (
    input_option(
        "--prompt",
        metavar="TEXT|@FILE",
        help="The prompt of each row, with {column} in it; @FILE reads it from a file.",
    ),
    input_option("--system", metavar="TEXT|@FILE", help="The system message of each row, with {column} in it."),
    input_option("--text", metavar="TEXT|@FILE", help="The text of each row to make a vector of, with {column} in it."),
    input_option("--id-column", metavar="NAME", help="The column whose value becomes the custom_id."),
    input_option("--image-column", metavar="NAME", help="The column with an image: an address, or a file in --images."),
    table_option("--encoding", metavar="NAME", help="The encoding of a table (found out by default): gb18030."),
    table_option("--delimiter", metavar="C", help="What separates the cells (found out by default): ';' or tab."),
    table_option(
        "--no-header",
        "header",
        flag_value=False,
        default=None,
        type=bool,
        help="The first record of a table is a row; columns are called 1, 2, 3 ...",
    ),
    table_option("--sheet", metavar="NAME", help="The sheet of a workbook (the first that is visible)."),
    table_option(
        "--empty",
        type=click.Choice(["fail", "skip", "send"]),
        help="A row whose prompt lacks a value: it fails (default), is skipped, or is sent without.",
    ),
    input_option(
        "--dedupe", is_flag=True, default=None, help="Send rows with equal requests once; each gets a record."
    ),
    table_option("--allow-empty", is_flag=True, default=None, help="Accept an input without rows."),
)
_TIMING = (
    unattended_option(
        "--window",
        metavar="HOURS",
        help='Send calls only in these hours: 22:00-08:00, "22:00-08:00 Asia/Shanghai"; always.',
    ),
    unattended_option(
        "--finish-by", metavar="TIME", help="Warn early if the run will not end by then: 08:00, or 2026-11-22 08:00."
    ),
)
_NOTICING = (
    unattended_option(
        "--notify",
        multiple=True,
        callback=parse_list,
        metavar="URL",
        help="Send a message to this address when the run ends.",
    ),
    unattended_option(
        "--notify-command",
        callback=parse_command_line,
        metavar="CMD",
        help="Give the message to this program, on standard input.",
    ),
    unattended_option(
        "--notify-on",
        callback=parse_list,
        metavar="K,...",
        help="When to send it: end,halt,budget,outage,late (the default), stop.",
    ),
)


def timing_options(command: F) -> F:
    """Add the options for the time of a run."""
    return _add_options(command, _TIMING)


def notification_options(command: F) -> F:
    """Add the options for notifications."""
    return _add_options(command, _NOTICING)


def notification_addresses(command: F) -> F:
    """Add the options for the addresses of notifications alone."""
    return _add_options(command, _NOTICING[:2])


def limit_options(command: F) -> F:
    """Add the options for limits, budget, retries and the connection."""
    return _add_options(command, _SENDING)


def request_options(command: F) -> F:
    """Add the options for the model and the request."""
    return _add_options(command, _ASKING)


def input_arguments(command: F) -> F:
    """Add the argument for one input or several, which become one text."""
    return click.argument("input_", metavar="INPUT|JOB.toml...", nargs=-1, required=True, callback=_one_text)(command)


def _one_text(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> str:
    from arkbatch.rows.several_files import joined_inputs

    del ctx, param
    return joined_inputs(value)


def table_options(command: F) -> F:
    """Add the options for the columns of an input and for the reading of tables."""
    return _add_options(command, _READING)


class _Port(click.IntRange):
    """A port that may be left out. Then the word after the flag is not a number, and the error says so."""

    name = "port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, str) and not value.isdecimal():
            self.fail(
                f"{value!r} is not a port; give --live after the input, or as --live=0 for any free port.", param, ctx
            )
        port: int = super().convert(value, param, ctx)
        return port


_SERVING = (
    unattended_option(
        "--live",
        is_flag=False,
        flag_value=0,
        type=_Port(0, 65535),
        metavar="[PORT]",
        help="Show the run in the browser, with a button that stops it (default port: any free one).",
    ),
    unattended_option(
        "--metrics",
        type=click.IntRange(0, 65535),
        metavar="PORT",
        help="Counters for Prometheus at http://127.0.0.1:PORT/metrics; needs arkbatch[metrics].",
    ),
)


def serving_options(command: F) -> F:
    """Add the options for the live page and the metrics."""
    return _add_options(command, _SERVING)


def _add_options(command: F, options: tuple[Callable[[F], F], ...]) -> F:
    for add_option in reversed(options):
        command = add_option(command)
    return command


def job_from(path: str, flags: dict[str, Any]) -> Job:
    """Return the job of a command line, with its paths relative to the working directory where possible."""
    from arkbatch.config.resolve import resolve_job

    flags = dict(flags)
    flags["set"] = list(flags.pop("set_", ())) or None
    job = resolve_job(path, flags, os.environ, Path.cwd())
    return replace(job, run_dir=short_path(job.run_dir), input=short_path(job.input))


def short_path(path: str) -> str:
    """Return the path relative to the working directory, if it is below it."""
    from arkbatch.rows.several_files import with_each_part

    return with_each_part(path, _short_part)


def _short_part(path: str) -> str:
    relative = os.path.relpath(path)
    return path if relative.startswith("..") or path == "-" else relative
