"""`arkbatch init`: writes a small commented job that runs as it is.

The files are package data in `starter`, two of them under other names: git would obey a `.gitignore` that lies
in the source tree. Nothing is overwritten, so either all of them are written or none.
"""

import shlex
from importlib.resources import files
from pathlib import Path

import click

from arkbatch.cli.standard_streams import echo_text
from arkbatch.core.errors import UsageError

STARTER = {
    "job.toml": "job.toml",
    "prompts.jsonl": "prompts.jsonl",
    ".env.example": "env.example",
    ".gitignore": "gitignore",
}
SCHEMA_HERE = "../../job.schema.json"
ARK, OPENAI = "ark", "openai"
# The lines of the starter that differ for a server that is not Ark. MODEL_NAME names the model when the job has none.
_OPENAI_LINES = {
    'model = "doubao-seed-1-6-251015" # a model id or an endpoint id (ep-...), for rows that name none': (
        'model = "gpt-4.1-mini" # the name of the model at your server, for rows that name none'
    ),
    '# base_url = "https://ark.cn-beijing.volces.com/api/v3"': (
        'base_url = "https://api.openai.com/v1" # another server: its address here and as OPENAI_BASE_URL in .env'
    ),
}
_OPENAI_ENV = """\
# The key of the server that speaks the OpenAI protocol; git ignores this file. An empty value means not set.
OPENAI_API_KEY=

# Another server than api.openai.com: its address, here and as base_url in job.toml. The key goes to that one only.
# OPENAI_BASE_URL=
"""


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--provider",
    type=click.Choice([ARK, OPENAI]),
    default=ARK,
    help="openai: a job and an .env for OpenAI, or a server that speaks its protocol.",
)
def command(directory: Path, provider: str) -> None:
    """Write a commented job file, a small input, .env.example and .gitignore into DIR.

    Files that are already there are left alone: then nothing is written.

    \b
    Examples:
      arkbatch init demo
      arkbatch init demo --provider openai
    """
    names = [*STARTER, *([".env"] if provider == OPENAI else [])]
    refuse_to_overwrite(directory, names)
    try:
        write_starter(directory, provider)
    except OSError as error:
        raise UsageError(f"{directory} cannot be written: {error.strerror}") from error
    echo_text(f"Wrote {', '.join(names)} into {directory}.\n{next_commands(directory, provider)}", err=False)


def refuse_to_overwrite(directory: Path, names: list[str]) -> None:
    if there := [name for name in names if (directory / name).exists()]:
        raise UsageError(
            f"{directory} already holds {', '.join(there)}, so nothing was written: choose another directory"
        )


def write_starter(directory: Path, provider: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    schema = Path(str(files("arkbatch") / "job.schema.json")).as_uri()
    for name, data in STARTER.items():
        text = (files("arkbatch.cli") / "starter" / data).read_text(encoding="utf-8")
        _write_new(directory / name, for_provider(text.replace(SCHEMA_HERE, schema), provider))
    if provider == OPENAI:
        _write_new(directory / ".env", _OPENAI_ENV)


def for_provider(text: str, provider: str) -> str:
    """Return a file of the starter with the lines that the provider needs."""
    for ark, openai in _OPENAI_LINES.items() if provider == OPENAI else ():
        text = text.replace(ark, openai)
    return text


def _write_new(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8", newline="\n") as file:
        file.write(text)


def next_commands(directory: Path, provider: str = ARK) -> str:
    """Return two commands: a trial, and the run. The trial has its own run directory, since its answers are made up."""
    job, trial, env = (shlex.quote(str(directory / name)) for name in ("job.toml", "trial.run", ".env"))
    key = (
        f"OPENAI_API_KEY stands in {env}"
        if provider == OPENAI
        else f"ARK_API_KEY stands in {env} (see .env.example there)"
    )
    return (
        f"Try it, with made-up answers and no key:\n"
        f"  arkbatch run {job} --simulate -o {trial}\n"
        f"Run it, once {key}:\n"
        f"  arkbatch run {job}"
    )
