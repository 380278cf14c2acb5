"""The options of `load_job` and of the functions for tables: those of `arkbatch run`, with underscores and types."""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from os import PathLike
from typing import Any, Literal, TypedDict

import orjson

from arkbatch.core.errors import ArkbatchError, UsageError

FilePath = str | PathLike[str]


class SharedOptions(TypedDict, total=False):
    """What a job and a table may be told; `arkbatch run --help` says what each one means.

    parameters: request parameters, such as {"temperature": 0.2}, where the command line has --set
    give_up_after, timeout: seconds, or a text such as "12h"
    """

    model: str
    endpoint: str
    base_url: str
    provider: str
    run_dir: FilePath
    system: str
    id_column: str
    image_column: str
    encoding: str
    delimiter: str
    header: bool
    sheet: str
    empty: Literal["fail", "skip", "send"]
    allow_empty: bool
    dedupe: bool
    parameters: Mapping[str, Any]
    concurrency: int
    rpm: float
    tpm: float
    input_tpm: float
    output_tpm: float
    fixed: bool
    max_cost: float
    max_tokens: int
    max_attempts: int
    give_up_after: float | str
    timeout: float | str
    stream: bool
    hedge: bool
    lane: Literal["online", "batch", "files", "job"]
    tools: FilePath
    images: FilePath
    prices: FilePath
    encrypt: bool
    certificate: FilePath
    project: str
    insecure: bool
    window: str
    finish_by: str
    notify: Sequence[str]
    notify_command: Sequence[str]
    notify_on: Sequence[str]
    limit: int
    simulate: bool
    dry_run: bool


class JobOptions(SharedOptions, total=False):
    """What a job may be told: also its template, and the file of a JSON schema."""

    prompt: str
    text: str
    schema: FilePath


_PATHS = ("run_dir", "schema", "tools", "images", "prices", "certificate")


def flags_of(options: Mapping[str, Any], known: Sequence[str]) -> dict[str, Any]:
    """Return the options as the flags that `config.resolve` takes. UsageError: there is no such option.

    known: the names of the flags
    """
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name != "parameters" and name not in known:
            near = get_close_matches(name, [*known, "parameters"], 1)
            hint = f" Did you mean {near[0]}?" if near else " Request parameters go into parameters={...}."
            raise UsageError(f"{name} is not an option.{hint}")
    parameters = given.pop("parameters", {})
    if parameters:
        given["set"] = [f"{name}={orjson.dumps(value).decode()}" for name, value in parameters.items()]
    return given | {name: str(given[name]) for name in _PATHS if name in given}


@contextlib.contextmanager
def parameter_names() -> Iterator[None]:
    """Let messages name parameters as Python does: `run_dir` where the command line says `--run-dir`."""
    try:
        yield
    except ArkbatchError as error:
        error.args = tuple(_in_python(text) if isinstance(text, str) else text for text in error.args)
        raise


def _in_python(message: str) -> str:
    """Commands that the message prints stay as they are: they are for a terminal."""
    parts = re.split(r"(`[^`]*`|:  arkbatch .*|\barkbatch [a-z]+ .*)", message)
    return "".join(part if number % 2 else _renamed(part) for number, part in enumerate(parts))


def _renamed(text: str) -> str:
    text = re.sub(r"--set\b", "parameters", text)
    return re.sub(r"(?<![\w-])--([a-z][a-z-]*)", lambda match: match[1].replace("-", "_"), text)
