"""The options of `load_job` and of the table functions, with their types."""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, TypedDict

import orjson

from arkbatch.core.errors import ArkbatchError, UsageError
from arkbatch.core.text import suggest_name

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


def flags_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options as the flags that `config.resolve` takes. UsageError: there is no such option."""
    given = {name: value for name, value in options.items() if value is not None}
    known = JobOptions.__required_keys__ | JobOptions.__optional_keys__
    for name, value in given.items():
        if name not in known:
            hint = suggest_name(name, known, "Did you mean {}?")
            others = f"Request parameters: parameters={{{name!r}: {value!r}}}."
            raise UsageError(f"{name} is not an option. {hint or others}")
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
        error.args = tuple(name_parameters(text) if isinstance(text, str) else text for text in error.args)
        raise


def name_parameters(message: str) -> str:
    """Return a message with parameters in place of options; commands in it stay, since they are for a terminal."""
    parts = re.split(r"(`[^`]*`|:  arkbatch .*|\barkbatch [a-z]+ .*)", message)
    return "".join(part if number % 2 else _rename_options(part) for number, part in enumerate(parts))


_SWITCHES = {name for name, kind in SharedOptions.__annotations__.items() if kind is bool} | {"rebase", "mixed"}


def _rename_options(text: str) -> str:
    text = re.sub(r"--set\b", "parameters", text)
    text = re.sub(r"(?<![\w-])-o\b", "run_dir", text)
    return re.sub(r"(?<![\w-])--([a-z][a-z-]*)", _name_of_flag, text)


def _name_of_flag(flag: re.Match[str]) -> str:
    name = flag[1].replace("-", "_")
    if name.startswith("no_") and name.removeprefix("no_") in _SWITCHES:
        return f"{name.removeprefix('no_')}=False"
    return f"{name}=True" if name in _SWITCHES else name
