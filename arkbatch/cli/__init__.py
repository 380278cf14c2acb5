"""The commands, one module each, imported only when called so that `--help` is quick.

Only this package reads argv, the environment and signals. A command module defines `command`, a click command.
An `ArkbatchError` becomes one line on stderr and its exit code; any other exception is a bug and keeps
its traceback.
"""

from __future__ import annotations

import errno
import importlib
import sys
from typing import NoReturn

import click

from arkbatch.cli.help_text import HelpContext, use_help_context

_NAMES_THAT_NO_FILE_HAS = {errno.ENAMETOOLONG, errno.ELOOP}

COMMANDS = {
    "run": "Send every row of a prompt file; run it again to resume.",
    "retry": "Send only the failed rows of a run again.",
    "cancel": "Cancel the batch files of a run, and keep what they did.",
    "export": "Write the rows as batch files, within a provider's limits.",
    "collect": "Merge output files of batches into a run.",
    "status": "Show how far a run is, what it used and what failed.",
    "ctl": "Pause, resume or stop a run at work, or set its limits.",
    "show": "Show everything about one row.",
    "answers": "Print the answers alone, or write them as CSV.",
    "vectors": "Write the vectors of a run as one numpy file.",
    "check": "Read every line of an input without sending anything.",
    "watch": "Show a run in the browser, kept up to date.",
    "report": "Write what happened in a run as one HTML page.",
    "estimate": "Estimate tokens, cost and time before a run.",
    "cost": "Show what runs have cost, by model, day, hour or prefix.",
    "providers": "List the providers that are known by name.",
    "prices": "List the prices that costs are counted with.",
    "notify": "Send a trial message to where a run would tell how it ends.",
    "shard": "Work off one input on several machines.",
    "merge": "Make one run directory of the shards of a run.",
    "init": "Write a commented job file and a small input to start from.",
    "simulate": "Serve an Ark look-alike on this machine.",
}


def _suggestion(word: str) -> str:
    """Return what somebody who types this word probably wants."""
    from arkbatch.core.text import suggest_name

    if word.endswith((".toml", ".jsonl", ".jsonl.gz")):
        return f"To run it: arkbatch run {word}"
    return suggest_name(word, COMMANDS, "Did you mean {}?") or "`arkbatch --help` lists them."


class LazyCommands(click.Group):
    """Lists the commands from the table above and imports one only when it is needed."""

    context_class = HelpContext

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"arkbatch.cli.{cmd_name}").command
        use_help_context(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"No such command '{args[0]}'. {_suggestion(args[0])}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _show_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    """Print the versions, and by which path calls go with the aiohttp that is installed."""
    if not wanted:
        return
    import asyncio

    from arkbatch import __version__
    from arkbatch.transport.aiohttp_trial import why_unusable
    from arkbatch.transport.transport import path_in_words

    click.echo(f"arkbatch, version {__version__}")
    click.echo(path_in_words(asyncio.run(why_unusable())))
    context.exit()


@click.group(cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the version and exit.",
)
def arkbatch() -> None:
    """Run large prompt files against Volcengine Ark (Doubao) or any OpenAI-compatible endpoint.

    \b
    Try it without a key:
      arkbatch init demo
      arkbatch run demo/job.toml --simulate
    """


def _check_words(words: list[str]) -> None:
    """Refuse a word that is not UTF-8: it can be written neither into a record nor into a request."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise click.UsageError(f"{word!a} is not UTF-8: rename the file, or write the word anew") from None


def _show_mistake(mistake: click.ClickException) -> None:
    """Print a mistake in the command line in the user's language, with the usage of its command."""
    import io

    from arkbatch.cli.standard_streams import echo_text

    shown = io.StringIO()
    mistake.show(shown)
    echo_text(shown.getvalue().removesuffix("\n"))


def _show_error(text: str) -> None:
    """Print an error in the user's language, as one line."""
    from arkbatch.cli.standard_streams import user_language
    from arkbatch.core.text import printable_text

    click.echo(printable_text(f"arkbatch: {user_language().translate_text(text)}"), err=True)


def _show_unusable_file(error: OSError) -> int:
    """Print which file could not be used and why. Return the exit code."""
    from arkbatch.core.errors import ExitCode

    if error.errno in _NAMES_THAT_NO_FILE_HAS:
        _show_error(f"{error.strerror}: {str(error.filename)[:80]}...")
        return ExitCode.USAGE
    _show_error(f"cannot use {error.filename}: {error.strerror}. Correct that and try again.")
    return ExitCode.RUN_DIRECTORY


def main() -> NoReturn:
    """The entry point of the `arkbatch` command."""
    from arkbatch.cli.standard_streams import make_lasting, open_closed_descriptors

    open_closed_descriptors()
    make_lasting("stderr")
    sys.exit(exit_code_of(sys.argv[1:]))


def exit_code_of(words: list[str]) -> int:
    """Run a command line and return its exit code. An error that arkbatch foresees is printed as one line."""
    from arkbatch.core.errors import ArkbatchError

    try:
        _check_words(words)
        code = arkbatch.main(words, prog_name="arkbatch", standalone_mode=False)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.Abort:
        code = 130
    except click.ClickException as mistake:
        _show_mistake(mistake)
        code = 2
    except OSError as error:
        if error.filename is None:
            raise
        code = _show_unusable_file(error)
    except ArkbatchError as error:
        _show_error(str(error))
        code = error.exit_code
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    main()
