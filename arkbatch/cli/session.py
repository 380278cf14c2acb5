"""Runs a session for `run` and `retry`, with observers, signals, the simulator and the summary."""

import asyncio
import contextlib
import os
import shlex
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol

import click
import orjson
from msgspec import UNSET

from arkbatch.api.background import loop_factory
from arkbatch.api.jobs import with_simulator
from arkbatch.cli.live_and_metrics import Serving, session_of
from arkbatch.cli.signals import interrupt_at_once, stop_on_signals
from arkbatch.cli.standard_streams import echo_note, make_lasting
from arkbatch.core.errors import ExitCode, RunDirectoryError
from arkbatch.core.job import Job
from arkbatch.core.language import language_of
from arkbatch.core.text import number_text, printable_json, printable_text
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.session import Session
from arkbatch.engine.session_summary import summary_of
from arkbatch.estimate.estimate_text import forecast_line
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.monitor.commands import Command, CommandReply, SetLimits
from arkbatch.monitor.control_socket import HERE, accept_commands
from arkbatch.monitor.notification import mask_command_line
from arkbatch.monitor.observer import Observer
from arkbatch.monitor.progress_bar import ProgressBar, ProgressLines
from arkbatch.pricing.summary import Summary
from arkbatch.protocol.ark_only import remarks_on
from arkbatch.reports.status.advice import NO_ROWS, next_step, read_answers_step
from arkbatch.reports.status.status import read_status
from arkbatch.reports.text.summary import found_line, summary_text, target_line
from arkbatch.transport.fd_limit import allow_files


def carry_out(
    job: Job,
    open_run: Callable[[Job], OpenRun],
    work: Callable[[Session, OpenRun], Awaitable[Summary]],
    *,
    as_json: bool,
    serving: Serving = Serving(),
    finish: Callable[[Summary], int] | None = None,
) -> int:
    """Open the run, work, and print how it ended. The same command resumes the run, whatever happens.

    finish: what to do at the end instead of printing the summary
    """
    serving.check_extras()
    # What tools print is not to stand between the summary and who reads it.
    quiet = contextlib.redirect_stdout(sys.stderr) if job.functions else contextlib.nullcontext()
    with quiet, asyncio.Runner(loop_factory=loop_factory()) as runner:
        try:
            summary = runner.run(_carry_out(job, open_run, work, serving=serving, foretell=finish is None))
        except (KeyboardInterrupt, asyncio.CancelledError):
            return tell_interrupted(job.run_dir)
    return print_summary(summary, as_json=as_json) if finish is None else finish(summary)


def tell_interrupted(run_dir: str = "", *, batches: bool = False) -> int:
    """Print what an interrupted session has done, and how to resume it. Return the exit code.

    run_dir: whose rows are counted, "" to count none
    batches: batch files were ordered, which the interrupt does not end
    """
    language = language_of(os.environ)
    click.echo(language.say("Interrupted. What was recorded is safe."), err=True)
    if batches:
        click.echo(language.say("Ordered batches run on."), err=True)
    if run_dir:
        _print_counts(run_dir)
    click.echo(language.say_next(f"Resume with:  {this_command()}"), err=True)
    return ExitCode.INTERRUPTED


def _print_counts(run_dir: str) -> None:
    """Print how many rows have their record. A run that was not begun yet has none."""
    if not RunDirectory(Path(run_dir)).exists:
        return
    language, status = language_of(os.environ), read_status(run_dir, time.time)
    counts = language.say(
        "{done} succeeded, {failed} failed, {left} left",
        done=number_text(status.done),
        failed=number_text(status.failed),
        left=number_text(status.left),
    )
    click.echo(f"  {language.say('rows')}  {counts}", err=True)


async def _carry_out(
    job: Job,
    open_run: Callable[[Job], OpenRun],
    work: Callable[[Session, OpenRun], Awaitable[Summary]],
    *,
    serving: Serving,
    foretell: bool,
) -> Summary:
    allow_files(job.limits.concurrency * (2 if job.simulated else 1))
    async with told_simulated(job) as ready, AsyncExitStack() as served:
        # The page goes last, so that it still shows how the run stands when it is closed.
        with ExitStack() as opened:
            with interrupt_at_once():
                run = opened.enter_context(open_run(ready))
            click.echo(printable_text(target_line(run.job, run.found.to_send, language_of(os.environ))), err=True)
            click.echo(printable_text(found_line(run.found, language_of(os.environ))), err=True)
            for note in run.notes:
                click.echo(printable_text(f"  {language_of(os.environ).translate_text(note)}"), err=True)
            print_remarks(run.job)
            if not run.found.to_send:
                return summary_of(run, "nothing left", 0.0)
            if foretell and run.found.fresh:
                forecast = forecast_line(run.job, str(run.input), run.found.total, time.time())
                click.echo(language_of(os.environ).translate_text(forecast), err=True)
            session = await session_of(run, progress_observer(), serving, served)
            with stop_on_signals(session):
                async with accept_session_commands(session, run):
                    return await work(session, run)


@asynccontextmanager
async def told_simulated(job: Job, *, said: bool = False) -> AsyncIterator[Job]:
    """Do as `api.jobs.with_simulator`, and print that answers are made up, unless that was printed before."""
    if job.simulated and not said:
        notice = "Simulated: no request leaves this machine, and the answers mean nothing."
        click.echo(language_of(os.environ).say(notice), err=True)
    async with with_simulator(job) as ready:
        yield ready


def print_remarks(job: Job) -> None:
    """Print what is to be known about a job before its first call. A command at the end of a line stands alone."""
    for remark in (*job.warnings, *remarks_on(job)):
        echo_note(remark)


class TakesCommands(Protocol):
    """A session that carries out the commands of `arkbatch ctl`."""

    def handle(self, command: Command) -> CommandReply: ...


@asynccontextmanager
async def accept_session_commands(session: TakesCommands, run: OpenRun) -> AsyncIterator[None]:
    """Let `arkbatch ctl` reach the session meanwhile. If the socket cannot be opened, the run goes on without it."""

    def obey(command: Command) -> CommandReply:
        if isinstance(command.do, SetLimits) and command.do.concurrency is not UNSET:
            allow_files(command.do.concurrency * (2 if run.job.simulated else 1))
        return session.handle(command)

    async with AsyncExitStack() as stack:
        if HERE:
            try:
                await stack.enter_async_context(accept_commands(run.directory, obey))
            except RunDirectoryError as error:
                click.echo(f"{error}.", err=True)
        yield


def progress_observer() -> Observer:
    language = language_of(os.environ)
    return ProgressBar(language=language) if sys.stderr.isatty() else ProgressLines(language=language)


def print_summary(summary: Summary, *, as_json: bool, place: str = "") -> ExitCode:
    """Print how a session ended. place: where the run is read that the user names by an address in a bucket."""
    make_lasting("stdout")  # who reads the summary may have gone, and the exit code still says how the run ended
    if as_json or not sys.stdout.isatty():
        click.echo(printable_json(orjson.dumps(summary.to_builtins())))
    next_command = _next_command(summary, place or summary.run_dir)
    click.echo(summary_text(summary, next_command, language_of(os.environ)), err=True)
    return summary.exit_code


def _next_command(summary: Summary, place: str) -> str:
    """Return the last line that is printed: the command to run next."""
    if summary.halt and summary.budget:
        flag = "--" + summary.halt.code.replace("_", "-")
        return f"Resume with a larger budget:  {_with_budget(flag, summary.budget)}"
    if summary.left and summary.ending in {"finished", "nothing left"}:
        return read_status(place, time.time).go_on  # a retry has ended, and rows that never failed are left
    if summary.left:
        return f"Resume with:  {this_command()}"
    if summary.failed:
        command = this_command()
        return next_step(summary.failures, summary.run_dir, command if command.startswith("arkbatch run ") else "")
    if not summary.succeeded:
        return NO_ROWS
    if any(word.partition("=")[0] == "--answers" for word in sys.argv):
        return f"Read one answer:  arkbatch show {shlex.quote(summary.run_dir)} 1"
    return read_answers_step(RunDirectory(Path(place)).read_info(), summary.run_dir)


def _with_budget(flag: str, budget: str) -> str:
    """Return this command line with another budget."""
    words = mask_command_line(sys.argv[1:])
    place = next((number for number, word in enumerate(words) if word.partition("=")[0] == flag), len(words))
    given = words[place].partition("=")[2] if place < len(words) else ""
    rest = words[place + (1 if given else 2) :]
    return shlex.join(["arkbatch", *words[:place], flag, budget, *rest])


def this_command() -> str:
    """Return this command line without the addresses of notifications, which are secrets."""
    return shlex.join(["arkbatch", *mask_command_line(sys.argv[1:])])
