"""Reads a job file, applies the flags to it, and checks the result.

`JobFile` lists everything that may be typed; every key is optional. A mistake is reported in one line that names the
key or the flag, the value and what is allowed. No API parameter is known by name: `[defaults]` is passed through.
`config.resolve` decides what variables say and where the paths lead.
"""

import datetime as dt
import math
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from arkbatch.config.error_text import explain_mistake, value_text
from arkbatch.config.flag_values import Labels, lay_over
from arkbatch.core.errors import JobError, UsageError
from arkbatch.core.job_sections import Notify, Sections
from arkbatch.core.secret import Secret
from arkbatch.core.text import suggest_name
from arkbatch.core.toml_text import TomlError, parse_toml
from arkbatch.monitor.notification import MASK
from arkbatch.protocol.endpoints import NAMES
from arkbatch.protocol.endpoints.passthrough import PATH, is_path, problem_of_path
from arkbatch.protocol.ratelimit_headers import seconds_of

# What is left out on the batch lane: calls are held open for up to three days there, and thousands at once are usual.
BATCH_DEFAULTS: Mapping[str, Mapping[str, float]] = {
    "limits": {"concurrency": 1000},
    "timeouts": {"read": 259_200.0},
    "retry": {"patience": 604_800.0},
}
# Seconds, or a text such as "90s", "5m" or "12h".
DURATIONS: Mapping[str, tuple[str, ...]] = {
    "timeouts": ("connect", "read", "call"),
    "retry": ("first_delay", "max_delay", "patience", "give_up_after"),
    "notify": ("outage_after",),
    "tools": ("timeout",),
}
_DURATION_EXAMPLES = ('"90s"', '"5m"', '"12h"')
_DURATION_PATTERN = r"^\d+(\.\d+)?(ms|s|m|h|d)?(\d+(\.\d+)?(ms|s|m|h|d))*$"
AUTO = "auto"  # limits = "auto" says what saying nothing says: what the service grants is found out
# Keys of a request that have a better place than [defaults].
MISPLACED = {
    "model": "write model at the top of the job file, or give --model",
    "messages": "each row has its own, or [template] builds them",
    "prompt": "each row has its own, or [template] builds it",
    "input": "each row has its own, or [template] builds it",
}
# Names under which people write a key, without _ and -. It would be stored with each run, and shared with the file.
KEY_NAMES = {
    *("apikey", "arkapikey", "openaiapikey", "accesskey", "secretkey", "secret", "password", "authorization"),
    *("xapikey", "xgoogapikey", "subscriptionkey", "ocpapimsubscriptionkey", "cookie", "proxyauthorization"),
}


class JobFile(Sections, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a job file may contain."""

    input: Annotated[
        str | list[str] | None,
        Meta(description="The rows: JSON lines, a table or a JSON list, relative to this file, or a list of such."),
    ] = None
    run_dir: Annotated[
        str | None, Meta(description="Where results go, relative to this file; by default <this file>.run.")
    ] = None
    endpoint: Annotated[
        str,
        Meta(
            description="For rows that do not say by their url or their form what they ask for: chat, responses, "
            "embeddings, multimodal_embeddings, tokenization, or a path below the base URL, such as /rerank."
        ),
    ] = "chat"
    model: Annotated[
        str | None,
        Meta(description='Model id or endpoint id (ep-...) of rows that name none; "" if each row names its own.'),
    ] = None
    base_url: Annotated[
        str | None, Meta(description="Address of the API without the last path, by default Ark in Beijing.")
    ] = None
    provider: Annotated[
        str, Meta(description="A provider by name, such as deepseek: its address and key; see arkbatch providers.")
    ] = ""
    certificate: Annotated[
        str, Meta(description="With encrypt: the certificate's file, relative to this one; else the service is asked.")
    ] = ""
    request_id_prefix: Annotated[
        str,
        Meta(
            pattern="^[A-Za-z0-9._-]{0,40}$",
            description="Begins each X-Client-Request-Id, so that your calls are found in a server's log.",
        ),
    ] = ""
    notify: Notify = Notify()


class Typed(NamedTuple):
    """A job file as read, its name in messages, and the folder of its paths.

    Without a job file, `file` holds the flags alone and `folder` is None.
    limits_said: which limits the file or a flag sets; endpoint_said: whether the endpoint was set
    """

    file: JobFile
    label: str
    folder: Path | None
    limits_said: frozenset[str] = frozenset()
    endpoint_said: bool = False


def read_job_file(path: str, given: Mapping[str, Any], cwd: Path) -> Typed:
    """Read a job file and apply the flags; an input file has flags alone."""
    if path.endswith(".toml"):
        return build_job_file(_parse_file(cwd / path, path), given, path, (cwd / path).parent)
    return build_job_file({}, given)


def build_job_file(raw: dict[str, Any], given: Mapping[str, Any], label: str = "", folder: Path | None = None) -> Typed:
    """Apply the flags to the tables of a job and check the result.

    label: how to call the file in messages
    """
    if isinstance(said := raw.get("limits"), str):
        if said != AUTO:
            raise job_file_error(label, f'limits = {value_text(said)} is not allowed: it must be a table, or "{AUTO}"')
        raw = {name: table for name, table in raw.items() if name != "limits"}
    labels = lay_over(raw, given)
    endpoint_said = "endpoint" in raw
    if not endpoint_said and _asks_for_vectors(raw.get("template")):
        raw["endpoint"] = "embeddings"
    if raw.get("lane") == "batch":
        _lay_under(raw, BATCH_DEFAULTS)
    if key := _key_in(raw):
        instead = "set ARK_API_KEY in the environment or in .env"
        if key.startswith(("headers.", "query.")):
            instead = f'put it into a variable and write {key} = "env:NAME"'
        raise job_file_error(label, f"{key}: a key does not belong here, {instead}")
    if odd := _odd_value(raw, (), labels):
        raise job_file_error(label, odd)
    try:
        _read_durations(raw)
        file = msgspec.convert(raw, JobFile, dec_hook=_decode_secret)
    except msgspec.ValidationError as error:
        mistake = explain_mistake(error, _without_addresses(raw), JobFile, labels)
        raise job_file_error(label, mistake + _duration_hint(raw)) from None
    _check_meaning(file, label)
    return Typed(file, label, folder, frozenset(raw.get("limits", ())), endpoint_said)


def _read_durations(raw: dict[str, Any]) -> None:
    """Turn durations such as "5m" into seconds, in place. What is no duration stays, and is refused as a mistake."""
    for table, names in DURATIONS.items():
        values = raw.get(table)
        if isinstance(values, dict):
            raw[table] = {name: _in_seconds(value) if name in names else value for name, value in values.items()}


def _duration_hint(raw: Mapping[str, Any]) -> str:
    """Return how durations are written, if one was written in another way."""
    tables = ((names, raw.get(table)) for table, names in DURATIONS.items())
    values = (table.get(name) for names, table in tables if isinstance(table, dict) for name in names)
    is_odd = any(isinstance(value, str) for value in values)
    return f", in seconds, or a text such as {', '.join(_DURATION_EXAMPLES)}" if is_odd else ""


def _in_seconds(value: Any) -> Any:
    seconds = seconds_of(value) if isinstance(value, str) else None
    return value if seconds is None else seconds


def _asks_for_vectors(template: Any) -> bool:
    """Whether a template builds the text of embeddings and no chat message."""
    return isinstance(template, dict) and "input" in template and "user" not in template


def _decode_secret(kind: type, value: Any) -> Secret:
    assert kind is Secret
    if not isinstance(value, str):
        raise ValueError("an address is text in quotes")  # noqa: TRY004 - what msgspec makes a mistake of
    return Secret(value)


def _without_addresses(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the tables without the values under [notify], whose addresses hold tokens."""
    table = raw.get("notify")
    if not isinstance(table, dict):
        return {**raw, "notify": MASK} if "notify" in raw else raw
    return {**raw, "notify": {key: value if key == "on" else MASK for key, value in table.items()}}


def _lay_under(raw: dict[str, Any], defaults: Mapping[str, Mapping[str, float]]) -> None:
    """Set values for keys that were left out."""
    for table, values in defaults.items():
        said = raw.setdefault(table, {})
        if isinstance(said, dict):
            raw[table] = {**values, **said}


def job_file_error(label: str, text: str) -> UsageError:
    """Return an error about the job file, or about the flag that it names."""
    return JobError(f"{label}: {text}") if label and not text.startswith("--") else UsageError(text)


def _parse_file(file: Path, label: str) -> dict[str, Any]:
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"job file {label} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise JobError(f"{label}: not UTF-8 at byte {error.start}") from error
    try:
        return parse_toml(text)
    except TomlError as error:
        raise JobError(f"{label}: {error}{_line_of(text, str(error))}") from error


def _line_of(text: str, message: str) -> str:
    """Return the line that a TOML error names, since its number alone says less."""
    where = re.search(r"at line (\d+), column", message)
    lines = text.split("\n")[int(where[1]) - 1 :] if where else []
    return f" in: {re.sub(r'://.*', f'://{MASK}', lines[0].strip()[:80])}" if lines else ""


def _key_in(raw: Mapping[str, Any]) -> str:
    """Return the path of an API key in the file, for a message without it."""
    tables = {"": raw} | {f"{name}.": table for name, table in raw.items() if isinstance(table, dict)}
    names = ((prefix, name) for prefix, table in tables.items() for name in table if not _is_in_variable(table[name]))
    return next((prefix + name for prefix, name in names if re.sub("[_-]", "", name.lower()) in KEY_NAMES), "")


def _is_in_variable(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("env:")


def _odd_value(value: Any, path: tuple[str, ...], labels: Labels) -> str:
    """Explain a TOML value that JSON does not have."""
    name = labels.get(path) or ".".join(path)
    match value:
        case dict():
            return next(filter(None, (_odd_value(value[key], (*path, key), labels) for key in value)), "")
        case list():
            return next(filter(None, (_odd_value(item, path, labels) for item in value)), "")
        case dt.date() | dt.time():
            return f"{name} = {value} is a date or time: write it as text in quotes"
        case float() if not math.isfinite(value):
            return f"{name} = {value} is not a finite number"
        case _:
            return ""


def _check_meaning(file: JobFile, label: str) -> None:
    """Check what concerns several fields together."""
    for key, advice in MISPLACED.items():
        if key in file.defaults:
            raise job_file_error(label, f"defaults.{key} would stand in every row: {advice}")
    if both := sorted(file.replies.retry_on_finish_reason & file.replies.fail_on_finish_reason):
        raise job_file_error(
            label, f'"{both[0]}" is in retry_on_finish_reason and in fail_on_finish_reason: choose one'
        )
    if file.stream and file.lane == "batch":
        raise job_file_error(
            label, 'stream = true, and the batch lane does not stream: leave it out, or lane = "batch"'
        )
    if file.confidential and not file.encrypt:
        raise job_file_error(label, "confidential = true is a way to encrypt: write encrypt = true as well")
    if file.encrypt and file.endpoint != "chat":
        raise job_file_error(label, f'encrypt = true works for chat only, and endpoint is "{file.endpoint}"')
    if reason := unknown_endpoint(file.endpoint):
        raise job_file_error(label, reason)
    wanted = "user" if file.endpoint in {"chat", "responses"} else "input"
    if file.template and file.template.makes_requests and getattr(file.template, wanted) is None:
        raise job_file_error(label, f'template.{wanted} is missing, and endpoint is "{file.endpoint}"')


def unknown_endpoint(name: str) -> str | None:
    """Return why this is not an endpoint, or None."""
    if is_path(name):
        reason = problem_of_path(name)
        return f"endpoint {reason}" if reason else None
    if name in NAMES:
        return None
    meant = suggest_name(name, NAMES, '; did you mean "{}"?')
    return f'endpoint = "{name}" is not allowed: it must be {", ".join(NAMES)}, or {PATH}{meant}'


def job_file_schema() -> bytes:
    """Return the JSON Schema of a job file.

    `python -m arkbatch.config.job_file > arkbatch/job.schema.json` writes the one that is shipped.
    """
    said = msgspec.json.schema(JobFile)
    tables = said["$defs"][JobFile.__name__]["properties"]
    for table, names in DURATIONS.items():
        properties = said["$defs"][tables[table]["$ref"].rpartition("/")[2]]["properties"]
        for name in names:
            properties[name] = _with_text(properties[name])
    said = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "arkbatch job file", **said}
    return msgspec.json.format(msgspec.json.encode(said, order="deterministic"), indent=2) + b"\n"


def _with_text(number: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a duration: a number, or a text with its unit."""
    about = {key: value for key, value in number.items() if key in {"default", "description"}}
    form = {key: value for key, value in number.items() if key not in about}
    text = {"type": "string", "pattern": _DURATION_PATTERN}
    return {**about, "anyOf": [*form.get("anyOf", [form]), text]}


if __name__ == "__main__":
    sys.stdout.buffer.write(job_file_schema())
