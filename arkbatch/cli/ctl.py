"""`arkbatch ctl`: sends a command to the session that works on a run."""

import shlex
from typing import TYPE_CHECKING

import click

from arkbatch.cli.standard_streams import echo_text

if TYPE_CHECKING:
    from arkbatch.core.errors import RunDirectoryError
    from arkbatch.journal.run_directory import RunDirectory


@click.command(short_help="Pause, resume or stop a run at work, or set its limits.")
@click.argument("run_dir", metavar="RUN_DIR")
@click.argument("action", metavar="ORDER")
@click.argument("words", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--reason", default="", metavar="TEXT", help="Why; it is kept in run.json and run.log.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as one JSON line.")
def command(run_dir: str, action: str, words: tuple[str, ...], *, reason: str, as_json: bool) -> None:
    """Give an order to the session that works on a run, without stopping it.

    \b
    pause            begin no call; those in flight finish, and the process stays
    resume           begin calls again
    drain            end as with one Ctrl-C: the same command resumes later
    set NAME=VALUE   rpm, tpm, input_tpm, output_tpm (or none), concurrency, and
                     max_cost of a run with a budget; at once, for this session
    status           how it stands

    The order goes through a socket in the run directory that only its owner can open. It is not there on Windows.

    \b
    Examples:
      arkbatch ctl prompts.run pause --reason "the demo needs the quota"
      arkbatch ctl prompts.run set rpm=600 concurrency=40
      arkbatch ctl prompts.run status --json
    """
    from arkbatch.cli.cluster_bucket import place_of_leader
    from arkbatch.core.errors import UsageError
    from arkbatch.journal.run_directory import RunDirectory
    from arkbatch.journal.shard_files import ShardDirectory
    from arkbatch.monitor.commands import encode_line, parse_command
    from arkbatch.monitor.control_socket import NoSessionListens, send_command

    order = parse_command(action, words, reason)
    directory = RunDirectory(place_of_leader(run_dir))
    if not ShardDirectory(directory.path).is_planned:  # a run on several workers has its run.json after the first merge
        directory.read_info()
    try:
        answer = send_command(directory, order)
    except NoSessionListens as error:
        raise _nobody_works(directory, run_dir, error) from None
    if answer.error:
        raise UsageError(answer.error)
    if as_json:
        click.echo(encode_line(answer).decode().rstrip())
    else:
        echo_text(answer.said, err=False)


def _nobody_works(directory: "RunDirectory", run_dir: str, error: "RunDirectoryError") -> "RunDirectoryError":
    """Return the error when no session answers, with the command that begins one."""
    import time

    from arkbatch.core.errors import RunDirectoryError
    from arkbatch.journal.shard_files import ShardDirectory
    from arkbatch.reports.status.status import read_status

    if not directory.exists and ShardDirectory(directory.path).is_planned:
        command = f"arkbatch shard serve {shlex.quote(run_dir)}"
        return RunDirectoryError(f"No coordinator works on {run_dir} now. Start one with:  {command}")
    if writer := directory.who_writes():
        return RunDirectoryError(f"{error} It is being worked on by {writer}: stop it there.")
    go_on = read_status(run_dir, time.time).go_on or f"Look:  arkbatch status {shlex.quote(run_dir)}"
    return RunDirectoryError(f"Nobody works on {run_dir} now. {go_on}")
