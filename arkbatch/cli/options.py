"""The options that `run`, `retry` and `check` share, and what turns them into a `Job`."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec.structs import replace

from arkbatch.cli.option_groups import OptionGroup, option
from arkbatch.core.job import Job


def span(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    """A length of time in seconds, from `90`, `30m` or `12h`."""
    from arkbatch.protocol.ratelimit_headers import seconds_of

    if value is not None and seconds_of(value) is None:
        raise click.BadParameter(f"{value} is not a length of time, such as 90, 30m or 12h", ctx, param)
    return None if value is None else seconds_of(value)


class Number(click.types.FloatParamType):
    """As click's own, but called by a word that people know."""

    name = "number"


def words(ctx: click.Context, param: click.Parameter, value: str | None) -> list[str] | None:
    """A command line in its words, as a shell would cut it."""
    import shlex

    try:
        return shlex.split(value) or None if value is not None else None
    except ValueError as error:
        raise click.BadParameter(f"{error} in the command", ctx, param) from error


def listed(ctx: click.Context, param: click.Parameter, value: str | tuple[str, ...] | None) -> list[str] | None:
    """What was given several times, or with commas; None when it was not given."""
    del ctx, param
    if isinstance(value, str):
        value = tuple(word.strip() for word in value.split(",") if word.strip())
    return list(value) if value else None


ENDPOINTS = "NAME|/PATH"  # what --endpoint takes; the names are checked with the job file

F = TypeVar("F", bound=Callable[..., Any])

_SENDING = (
    option(
        "--concurrency",
        type=int,
        metavar="N",
        help="Calls in flight at once, at most (32; on Ark 512).",
        group=OptionGroup.LIMITS,
    ),
    option("--rpm", type=Number(), metavar="N", help="Requests a minute, at most.", group=OptionGroup.LIMITS),
    option(
        "--tpm",
        type=Number(),
        metavar="N",
        help="Tokens a minute, at most, input and output together.",
        group=OptionGroup.LIMITS,
    ),
    option("--input-tpm", type=Number(), metavar="N", help="Input tokens a minute, at most.", group=OptionGroup.LIMITS),
    option(
        "--output-tpm", type=Number(), metavar="N", help="Output tokens a minute, at most.", group=OptionGroup.LIMITS
    ),
    option(
        "--give-up-after",
        callback=span,
        metavar="TIME",
        help="Stop when the service has been away for this long (12h).",
        group=OptionGroup.LIMITS,
    ),
    option(
        "--max-cost",
        type=Number(),
        metavar="N",
        help="The most that the whole run may cost, such as 50.",
        group=OptionGroup.BUDGET,
    ),
    option(
        "--max-tokens",
        type=int,
        metavar="N",
        help="The most tokens that the whole run may use.",
        group=OptionGroup.BUDGET,
    ),
    option(
        "--fixed",
        "mode",
        flag_value="fixed",
        default=None,
        help="Keep to these limits; do not adapt to refusals.",
        group=OptionGroup.LIMITS,
    ),
    option(
        "--max-attempts",
        type=int,
        metavar="N",
        help="Attempts before a row is given up (default 5).",
        group=OptionGroup.LIMITS,
    ),
    option(
        "--hedge/--no-hedge",
        default=None,
        help="Send a second call where an answer is far too late; both are paid.",
        group=OptionGroup.LIMITS,
    ),
    option(
        "--encrypt",
        is_flag=True,
        default=None,
        help="Encrypt the text of messages; needs arkbatch[seal].",
        group=OptionGroup.ARK,
    ),
    option(
        "--certificate",
        metavar="PEM",
        help="With --encrypt: use this certificate and do not ask the service for one.",
        group=OptionGroup.ARK,
    ),
    option(
        "--project",
        metavar="P",
        help="The project of plain model ids, when an access key is used.",
        group=OptionGroup.ARK,
    ),
    option(
        "--insecure",
        is_flag=True,
        default=None,
        help="Allow http:// (unencrypted) to another machine.",
        group=OptionGroup.MODEL,
    ),
    option(
        "--timeout",
        callback=span,
        metavar="TIME",
        help="Give up a call after this much silence (30m).",
        group=OptionGroup.LIMITS,
    ),
)
_ASKING = (
    option(
        "--model",
        metavar="M",
        help="Model id or endpoint id (ep-...) for rows that name none.",
        group=OptionGroup.MODEL,
    ),
    option(
        "--set",
        "set_",
        multiple=True,
        metavar="KEY=VALUE",
        help="A request parameter: temperature=0.2.",
        group=OptionGroup.MODEL,
    ),
    option(
        "--prices",
        metavar="FILE",
        help="Your own prices (TOML); they win over those that arkbatch knows.",
        group=OptionGroup.BUDGET,
    ),
    option(
        "--provider",
        metavar="NAME",
        help="A provider by name: its address and key; see arkbatch providers.",
        group=OptionGroup.MODEL,
    ),
    option("--base-url", metavar="U", help="Another OpenAI-compatible server.", group=OptionGroup.MODEL),
    option(
        "--lane",
        type=click.Choice(["online", "batch", "files", "job"]),
        help="Half price: batch (ep-bi-... endpoints of Ark), job (Ark's jobs), files (other providers).",
        group=OptionGroup.BATCH_FILES,
    ),
    option(
        "--images",
        metavar="DIR",
        help="The directory of images and videos that rows name as files.",
        group=OptionGroup.INPUT_AND_OUTPUT,
    ),
    option(
        "--tools",
        metavar="PY",
        help="Run the functions of this Python file when a model calls them.",
        group=OptionGroup.MODEL,
    ),
    option(
        "--schema",
        metavar="FILE",
        help="Ask again where an answer does not fit this JSON Schema.",
        group=OptionGroup.MODEL,
    ),
    option(
        "--stream/--no-stream",
        default=None,
        help="Receive chat answers piece by piece; records stay the same.",
        group=OptionGroup.MODEL,
    ),
)


_READING = (
    option(
        "--prompt",
        metavar="TEXT|@FILE",
        help="The prompt of each row, with {column} in it; @FILE reads it from a file.",
        group=OptionGroup.INPUT_AND_OUTPUT,
    ),
    option(
        "--system",
        metavar="TEXT|@FILE",
        help="The system message of each row, with {column} in it.",
        group=OptionGroup.INPUT_AND_OUTPUT,
    ),
    option(
        "--text",
        metavar="TEXT|@FILE",
        help="The text of each row to make a vector of, with {column} in it.",
        group=OptionGroup.INPUT_AND_OUTPUT,
    ),
    option(
        "--id-column",
        metavar="NAME",
        help="The column whose value becomes the custom_id.",
        group=OptionGroup.INPUT_AND_OUTPUT,
    ),
    option(
        "--image-column",
        metavar="NAME",
        help="The column with an image: an address, or a file in --images.",
        group=OptionGroup.INPUT_AND_OUTPUT,
    ),
    option(
        "--encoding",
        metavar="NAME",
        help="The encoding of a table (found out by default): gb18030.",
        group=OptionGroup.TABLES,
    ),
    option(
        "--delimiter",
        metavar="C",
        help="What separates the cells (found out by default): ';' or tab.",
        group=OptionGroup.TABLES,
    ),
    option(
        "--no-header",
        "header",
        flag_value=False,
        default=None,
        type=bool,
        help="The first record of a table is a row; columns are called 1, 2, 3 ...",
        group=OptionGroup.TABLES,
    ),
    option(
        "--sheet", metavar="NAME", help="The sheet of a workbook (the first that is visible).", group=OptionGroup.TABLES
    ),
    option(
        "--empty",
        type=click.Choice(["fail", "skip", "send"]),
        help="A row whose prompt lacks a value: it fails (default), is skipped, or is sent without.",
        group=OptionGroup.TABLES,
    ),
    option(
        "--dedupe",
        is_flag=True,
        default=None,
        help="Send rows with equal requests once; each gets a record.",
        group=OptionGroup.INPUT_AND_OUTPUT,
    ),
    option("--allow-empty", is_flag=True, default=None, help="Accept an input without rows.", group=OptionGroup.TABLES),
)
_TIMING = (
    option(
        "--window",
        metavar="HOURS",
        help='Send calls only in these hours: 22:00-08:00, "22:00-08:00 Asia/Shanghai"; always.',
        group=OptionGroup.UNATTENDED,
    ),
    option(
        "--finish-by",
        metavar="TIME",
        help="Warn early if the run will not end by then: 08:00, or 2026-11-22 08:00.",
        group=OptionGroup.UNATTENDED,
    ),
)
_NOTICING = (
    option(
        "--notify",
        multiple=True,
        callback=listed,
        metavar="URL",
        help="Send a message to this address when the run ends.",
        group=OptionGroup.UNATTENDED,
    ),
    option(
        "--notify-command",
        callback=words,
        metavar="CMD",
        help="Give the message to this program, on standard input.",
        group=OptionGroup.UNATTENDED,
    ),
    option(
        "--notify-on",
        callback=listed,
        metavar="K,...",
        help="When to send it: end,halt,budget,outage,late (the default), stop.",
        group=OptionGroup.UNATTENDED,
    ),
)


def timing(command: F) -> F:
    """Options about when."""
    return _with(command, _TIMING)


def noticing(command: F) -> F:
    """Options about who is told what happens."""
    return _with(command, _NOTICING)


def told(command: F) -> F:
    """Options about who is told, and not about what."""
    return _with(command, _NOTICING[:2])


def sending(command: F) -> F:
    """Options about how fast and how often."""
    return _with(command, _SENDING)


def asking(command: F) -> F:
    """Options about what is asked."""
    return _with(command, _ASKING)


def inputs(command: F) -> F:
    """The inputs of a command, as one text."""
    return click.argument("input_", metavar="INPUT|JOB.toml...", nargs=-1, required=True, callback=_one_text)(command)


def _one_text(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> str:
    from arkbatch.rows.several_files import joined_inputs

    del ctx, param
    return joined_inputs(value)


def reading(command: F) -> F:
    """Options about the columns of an input, and how they are read."""
    return _with(command, _READING)


class _Port(click.IntRange):
    """A port that may be left out; the word behind the flag is then taken for it."""

    name = "port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, str) and not value.isdecimal():
            self.fail(
                f"{value!r} is not a port; give --live after the input, or as --live=0 for any free port.", param, ctx
            )
        port: int = super().convert(value, param, ctx)
        return port


_SERVING = (
    option(
        "--live",
        is_flag=False,
        flag_value=0,
        type=_Port(0, 65535),
        metavar="[PORT]",
        help="Show the run in the browser, with a button that stops it (default port: any free one).",
        group=OptionGroup.UNATTENDED,
    ),
    option(
        "--metrics",
        type=click.IntRange(0, 65535),
        metavar="PORT",
        help="Counters for Prometheus at http://127.0.0.1:PORT/metrics; needs arkbatch[metrics].",
        group=OptionGroup.UNATTENDED,
    ),
)


def serving(command: F) -> F:
    """Options about what is served of a session on this machine."""
    return _with(command, _SERVING)


def _with(command: F, options: tuple[Callable[[F], F], ...]) -> F:
    for add_option in reversed(options):
        command = add_option(command)
    return command


def job_from(path: str, flags: dict[str, Any]) -> Job:
    """The job of a command line. Its paths are as short as they can be said from here."""
    from arkbatch.config.resolve import resolve_job

    flags = dict(flags)
    flags["set"] = list(flags.pop("set_", ())) or None
    job = resolve_job(path, flags, os.environ, Path.cwd())
    return replace(job, run_dir=short_path(job.run_dir), input=short_path(job.input))


def short_path(path: str) -> str:
    """Relative to the working directory where it lies below it."""
    from arkbatch.rows.several_files import with_each_part

    return with_each_part(path, _short_part)


def _short_part(path: str) -> str:
    relative = os.path.relpath(path)
    return path if relative.startswith("..") or path == "-" else relative
