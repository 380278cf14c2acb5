"""Resolves what the user typed into one frozen `Job`.

Flags take precedence over the job file (`config.job_file`), that over the environment and `.env`
(`config.server_choice`), and these over the defaults beside the fields in `core.job_sections`. Keys come from the
environment alone. Paths in a job file are relative to it, paths in flags to the working directory. The input must
exist; only its first line is read here.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from arkbatch.config.base_url import ARK, NOWHERE, OPENAI, checked_address, provider_address
from arkbatch.config.encryption_choice import certificate_text
from arkbatch.config.flag_values import given_flags
from arkbatch.config.headers_and_query import brings_key, check_header_names, fill_in_variables
from arkbatch.config.job_file import Typed, build_job_file, job_file_error, read_job_file
from arkbatch.config.named_files import resolve_image_folder, resolve_tools, resolve_validation, with_texts
from arkbatch.config.server_choice import Server, choose_server, find_access_key, withheld_keys
from arkbatch.config.server_fit import check_agreement, check_lane, check_secrecy
from arkbatch.config.variables import Variables, exposed_files, read_variables
from arkbatch.core.errors import JobError, UsageError
from arkbatch.core.job import CERTIFICATE_TEXT, ENDPOINT_SAID, Additions, Job
from arkbatch.core.job_sections import Limits, Notify, Sections
from arkbatch.core.secret import NO_KEY
from arkbatch.core.secret_variables import NOTIFY
from arkbatch.limits.published_limits import ramp_at
from arkbatch.monitor.notify_channels import build_channels, with_addresses
from arkbatch.rows.columnar import is_data_set
from arkbatch.rows.first_look import names_model
from arkbatch.rows.input_file import COMPRESSIONS
from arkbatch.rows.several_files import joined_inputs, parts_of, stands_for_several, with_each_part
from arkbatch.rows.source import JSON_LINES, TABLES, first_records, missing_input, open_source
from arkbatch.rows.workbook import WORKBOOKS
from arkbatch.transport.proxies import check_proxy

STDIN = "-"
SIMULATED_MODEL = "simulated"
MOST_AT_ONCE = 512  # at a service whose limits are looked for: 30,000 calls a minute of a second each
INPUT_SUFFIXES = (*JSON_LINES, ".json", *TABLES, *WORKBOOKS, ".parquet", ".arrow", ".feather", ".txt")
# Sections that name files, which are made complete here, and what follows from these.
PLACES = {"images", "validate", "tools", "defaults"}


def resolve_job(path: str, flags: Mapping[str, Any], environ: Mapping[str, str], cwd: str | Path) -> Job:
    """Return one complete job.

    path: a .toml file, an input file, or "-" for standard input
    flags: by the names in FLAG_PATHS and OTHER_FLAGS; None means not given. `set` is a list of "key=value".
    `simulate` and `dry_run` need no key, since nothing is sent to a service.
    """
    given = with_texts(given_flags(flags), Path(cwd))
    typed = read_job_file(path, given, Path(cwd))
    source, first = _resolve_input(path, typed, Path(cwd), given.get("input"))
    variables = read_variables(environ, [typed.folder, Path(cwd)] if typed.folder else [Path(cwd)])
    server = _resolve_server(typed, given, variables)
    said = [
        (given.get("model"), "--model"),
        (typed.file.model, Path(typed.label).name),
        (server.model or None, server.model_from),
    ]
    model, model_from = next((one for one in said if one[0] is not None), (None, ""))
    typed = check_agreement(typed, server, given, model or "")
    check_lane(typed, model or "")
    server = _with_storage_key(typed, server, given, variables)
    return Job(
        **_common_fields(typed, server, given, Path(cwd), variables),
        limits=_resolve_limits(typed, server.base_url, simulated=bool(given.get("simulate"))),
        input=source,
        run_dir=_run_dir(path, given.get("run_dir"), typed, Path(cwd)),
        model=_missing_model_text(typed, given, server, first) if model is None else model,
        model_from=model_from,
        row_limit=_row_limit(given.get("limit")),
        certificate=certificate_text(typed, server, given, Path(cwd)),
        notify=_resolve_notify(typed, given, environ, [typed.folder, Path(cwd)] if typed.folder else [Path(cwd)]),
    )


def resolve_retry(
    tables: Mapping[str, Any],
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    folders: Sequence[str | Path],
    *,
    input_path: str,
    run_dir: str,
) -> Job:
    """Return the job of an existing run, for another try at its failed rows.

    tables: as `core.job.job_tables` wrote them; folders: where a `.env` is looked for
    The model is that of the run, so that a retry asks the same model unless a flag names another.
    """
    given = given_flags(flags)
    tables = dict(tables)
    kept, endpoint_said = tables.pop(CERTIFICATE_TEXT, ""), tables.pop(ENDPOINT_SAID, False)
    typed = build_job_file(tables, {name: value for name, value in given.items() if name != "set"})
    typed = typed._replace(endpoint_said=endpoint_said)
    flag = checked_address(given["base_url"], "--base-url") if given.get("base_url") else NOWHERE
    kept_address = checked_address(typed.file.base_url, "base_url") if typed.file.base_url else NOWHERE
    variables = read_variables(environ, [Path(folder) for folder in folders])
    server = choose_server(variables, flag, kept_address, "the run")
    if given.get("simulate"):
        server = msgspec.structs.replace(server, key=NO_KEY, access=None)
    server = _with_key(typed, server)
    if server.key is None and server.access is None and not given.get("dry_run"):
        raise UsageError(server.missing)
    model = given.get("model") or typed.file.model or ""
    typed = check_agreement(typed, server, given, model)
    server = _with_storage_key(typed, server, given, variables)
    check_secrecy(server, given)
    if not given.get("simulate"):
        check_proxy(server.base_url)
    return Job(
        **_common_fields(typed, server, given, Path(), variables),
        limits=typed.file.limits,
        input=input_path,
        run_dir=run_dir,
        model=model,
        model_from="--model" if given.get("model") else "the run",
        certificate=certificate_text(typed, server, given, Path(), kept),
        notify=_resolve_notify(typed, given, environ, [Path.cwd(), *(Path(folder) for folder in folders)]),
    )


def resolve_notify(path: str | None, flags: Mapping[str, Any], environ: Mapping[str, str], cwd: str | Path) -> Notify:
    """Return who would be notified, by a job file or by flags and environment alone."""
    given, here = given_flags(flags), Path(cwd)
    typed = build_job_file({}, given) if path is None else read_job_file(path, given, here)
    return _resolve_notify(typed, given, environ, [typed.folder, here] if typed.folder else [here])


def _common_fields(
    typed: Typed, server: Server, given: Mapping[str, Any], cwd: Path, variables: Variables
) -> dict[str, Any]:
    """Return the fields of a job that runs and retries resolve alike."""
    kept = Sections.__struct_fields__
    query = {**server.query, **typed.file.query}
    check_header_names(typed.file.headers, typed.label)
    additions = Additions()
    if not (given.get("simulate") or given.get("dry_run")):
        additions = fill_in_variables(typed.file.headers, query, variables, server, typed.label)
    return {
        **{name: getattr(typed.file, name) for name in kept if name not in {"limits", *PLACES}},
        "images": resolve_image_folder(typed, given, cwd),
        **resolve_validation(typed, given, cwd),
        **resolve_tools(typed, given, cwd),
        "endpoint": typed.file.endpoint,
        "endpoint_said": typed.endpoint_said,
        "base_url": server.base_url,
        "base_url_from": server.base_url_from,
        "query": query,
        "additions": additions,
        "warnings": (
            *exposed_files(variables),
            *(() if given.get("simulate") or _brings_key(typed) else withheld_keys(variables, server)),
        ),
        "api_key": server.key or NO_KEY,
        "provider": typed.file.provider,
        "request_id_prefix": typed.file.request_id_prefix,
        "prices_file": given.get("prices", ""),
        "at_ark": server.at_ark or bool(given.get("simulate")),
        "simulated": bool(given.get("simulate")),
        "access": server.access,
    }


def _resolve_notify(
    typed: Typed, given: Mapping[str, Any], environ: Mapping[str, str], folders: Sequence[Path]
) -> Notify:
    """Return who is notified, once that is known to be possible."""
    if given.get("dry_run"):
        return Notify()
    urls = [] if "notify" in given else read_variables(environ, folders).get(NOTIFY).split()
    folder = None if "notify_command" in given else typed.folder
    said = with_addresses(typed.file.notify, urls, folder)
    said_by = "--notify" if "notify" in given else NOTIFY if urls else f"{typed.label}: notify.urls"
    build_channels(said, insecure=bool(given.get("insecure")), said_by=said_by)
    return said


def _resolve_server(typed: Typed, given: Mapping[str, Any], variables: Variables) -> Server:
    flag, file = given.get("base_url") or "", typed.file.base_url or ""
    provider = given.get("provider") or ""
    server = choose_server(
        variables,
        checked_address(flag, "--base-url")
        if flag
        else provider_address(provider, f"--provider {provider}", given=file),
        checked_address(file, f"{typed.label}: base_url", JobError)
        if file
        else provider_address(typed.file.provider, f"provider in {Path(typed.label).name}", given=flag),
        Path(typed.label).name,
    )
    if given.get("simulate"):  # a real key has no business in a simulator
        return msgspec.structs.replace(server, key=NO_KEY, access=None)
    server = _with_key(typed, server)
    if server.key is None and server.access is None and not given.get("dry_run"):
        raise UsageError(server.missing)
    check_secrecy(server, given)
    check_proxy(server.base_url)
    return server


def _with_storage_key(typed: Typed, server: Server, given: Mapping[str, Any], variables: Variables) -> Server:
    """The server with the access key that batch inference jobs and their bucket need, beside any API key."""
    if typed.file.lane != "job" or given.get("simulate") or given.get("dry_run"):
        return server
    access = find_access_key(variables, server.base_url)
    if access is None:
        raise job_file_error(
            typed.label,
            'lane = "job" needs an access key (VOLC_ACCESSKEY and VOLC_SECRETKEY), since jobs are made by Ark\'s '
            "management API over files in TOS; an API key does not open it",
        )
    return msgspec.structs.replace(server, access=access)


def _with_key(typed: Typed, server: Server) -> Server:
    """Return the server; it needs no key where the job's own headers carry one."""
    if not _brings_key(typed):
        return server
    return msgspec.structs.replace(server, key=NO_KEY, access=None)


def _brings_key(typed: Typed) -> bool:
    return brings_key(typed.file.headers, typed.file.query)


def _resolve_limits(typed: Typed, base_url: str, *, simulated: bool) -> Limits:
    """Return the limits, with the default concurrency that suits the server."""
    limits = typed.file.limits
    if "concurrency" in typed.limits_said or simulated or ramp_at(base_url) is None:
        return limits
    return msgspec.structs.replace(limits, concurrency=MOST_AT_ONCE)


def _missing_model_text(typed: Typed, given: Mapping[str, Any], server: Server, first: bytes) -> str:
    if given.get("simulate"):
        return SIMULATED_MODEL
    if given.get("dry_run") or names_model(first):
        return ""
    name = ARK.model if server.at_ark else OPENAI.model
    place = f"write model in {typed.label}, " if typed.label else ""
    raise UsageError(
        f'no model: {place}give --model, or set {name} in the environment (--model "" if each row names its own)'
    )


def _resolve_input(path: str, typed: Typed, cwd: Path, instead: str | None = None) -> tuple[str, bytes]:
    """Return the path of the rows, which must exist, and the first row. instead: an input that takes its place."""
    if instead is not None:
        file, name = Path(with_each_part(instead, lambda part: cwd / part)), instead
    elif typed.folder is None:
        if path == STDIN:
            return STDIN, b""
        file, name = Path(with_each_part(path, lambda part: cwd / part)), path
    elif typed.file.input is None:
        raise JobError(f'{typed.label}: no input: write input = "prompts.jsonl" (relative to the job file)')
    elif typed.file.input == STDIN:
        return STDIN, b""
    else:
        folder, said = typed.folder, typed.file.input
        said = said if isinstance(said, str) else joined_inputs(said)
        file, name = Path(with_each_part(said, lambda part: folder / part)), f"{typed.label}: input {said}"
    if not file.is_file() and not is_data_set(file) and not stands_for_several(file):
        raise missing_input(name, file)
    first = first_records(open_source(file, typed.file.reading), 1)
    return str(file), first[0][2] if first else b""


def _run_dir(path: str, flag: str | None, typed: Typed, cwd: Path) -> str:
    """Return the run directory by flag, by job file, or `<name>.run` beside the input."""
    if flag:
        return str(cwd / flag)
    if typed.folder and typed.file.run_dir:
        return str(typed.folder / typed.file.run_dir)
    if path == STDIN:
        return str(cwd / "stdin.run")
    if stands_for_several(cwd / path):
        folders = {(cwd / part).parent for part in parts_of(path)}
        folder = folders.pop() if len(folders) == 1 else cwd
        return f"{folder}.run" if folder != cwd else str(cwd / "input.run")
    name = (cwd / path).name.removesuffix(".toml")
    for suffix in (*COMPRESSIONS, *INPUT_SUFFIXES):
        name = name[: -len(suffix)] if name.lower().endswith(suffix) and len(name) > len(suffix) else name
    return str((cwd / path).with_name(f"{name}.run"))


def _row_limit(rows: int | None) -> int | None:
    if rows is not None and rows < 1:
        raise UsageError(f"--limit {rows} is not allowed: it must be 1 or more")
    return rows
