"""`arkbatch init`: a small job that runs as it is, with every section of a job file explained in place.

The files are package data in `starter`, two of them under other names: git would obey a `.gitignore` that lies
in the source tree. Nothing is overwritten, so either all of them are written or none.
"""

import shlex
from importlib.resources import files
from pathlib import Path

import click

from arkbatch.core.errors import UsageError

STARTER = {
    "job.toml": "job.toml",
    "prompts.jsonl": "prompts.jsonl",
    ".env.example": "env.example",
    ".gitignore": "gitignore",
}
SCHEMA_HERE = "../../job.schema.json"


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
def command(directory: Path) -> None:
    """Write a commented job file, a small input, .env.example and .gitignore into DIR.

    Files that are already there are left alone: then nothing is written.

    \b
    Example:
      arkbatch init demo
    """
    refuse_to_overwrite(directory)
    try:
        write_starter(directory)
    except OSError as error:
        raise UsageError(f"{directory} cannot be written: {error.strerror}") from error
    click.echo(f"Wrote {', '.join(STARTER)} into {directory}.\n{next_commands(directory)}")


def refuse_to_overwrite(directory: Path) -> None:
    if there := [name for name in STARTER if (directory / name).exists()]:
        raise UsageError(
            f"{directory} already holds {', '.join(there)}, so nothing was written: choose another directory"
        )


def write_starter(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    schema = Path(str(files("arkbatch") / "job.schema.json")).as_uri()
    for name, data in STARTER.items():
        text = (files("arkbatch.cli") / "starter" / data).read_text(encoding="utf-8")
        with (directory / name).open("x", encoding="utf-8", newline="\n") as file:
            file.write(text.replace(SCHEMA_HERE, schema))


def next_commands(directory: Path) -> str:
    """Two: a trial in a run directory of its own, because made-up and real answers are never mixed in one."""
    job, trial, env = (shlex.quote(str(directory / name)) for name in ("job.toml", "trial.run", ".env"))
    return (
        f"Try it, with made-up answers and no key:\n"
        f"  arkbatch run {job} --simulate -o {trial}\n"
        f"Run it, once ARK_API_KEY stands in {env} (see .env.example there):\n"
        f"  arkbatch run {job}"
    )
