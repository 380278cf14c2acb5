"""Checks that the job fits the server and the model before anything is sent.

Each message names the key or flag, and what to do.
"""

from collections.abc import Mapping
from typing import Any

from arkbatch.config.base_url import ARK
from arkbatch.config.encryption_choice import with_flavour
from arkbatch.config.job_file import Typed, job_file_error
from arkbatch.config.server_choice import Server
from arkbatch.core.errors import UsageError
from arkbatch.core.job import BATCH_FILE_LANES
from arkbatch.core.urls import is_local, origin
from arkbatch.engine.timezones import due_of, hours_of
from arkbatch.pricing.price_book import provider_of
from arkbatch.protocol.ark_only import why_ark_only
from arkbatch.protocol.endpoints.batch_lane import LANE, wrong_lane
from arkbatch.transport.auth import needs_project


def check_agreement(typed: Typed, server: Server, given: Mapping[str, Any], model: str) -> Typed:
    """Return what was typed, once it is known to fit the server and the model."""
    _check_server(typed, server, given)
    typed = with_flavour(typed, server)
    _check_project(typed, server, model)
    _check_places(typed)
    return typed


def _check_server(typed: Typed, server: Server, given: Mapping[str, Any]) -> None:
    is_ark_itself = provider_of(server.base_url) in {
        "ark",
        "byteplus",
    }  # the user's own server may be compatible with Ark
    if is_ark_itself and typed.file.lane == "files" and not given.get("simulate"):
        raise job_file_error(
            typed.label,
            'Ark takes no batch files over this API: lane = "job" has the same price (with a bucket of TOS), and so '
            'has lane = "batch" (for ep-bi-... endpoints)',
        )
    if typed.file.lane == "job" and not typed.file.files.bucket and not _sends_nothing(given):
        raise job_file_error(
            typed.label,
            'lane = "job" needs a bucket of TOS in the region of Ark: give bucket under [files] (--bucket). Without '
            "one, write the files with arkbatch export --form ark-job, make the job in Ark's console, and merge what "
            "comes of it with arkbatch collect",
        )
    if server.is_ark or given.get("simulate"):
        return
    if reason := why_ark_only(typed.file, typed.file.endpoint, server.base_url):
        raise job_file_error(typed.label, reason)


def _sends_nothing(given: Mapping[str, Any]) -> bool:
    return bool(given.get("simulate") or given.get("dry_run"))


def check_lane(typed: Typed, model: str) -> None:
    """Check a job on the batch lane, which has its own models and no hedging."""
    if reason := wrong_lane(model, typed.file.lane):
        raise job_file_error(typed.label, reason)
    _check_files(typed)
    if typed.file.hedge and typed.file.lane == LANE:
        raise job_file_error(
            typed.label, "hedge is for online calls: those of the batch lane are held for hours by nature"
        )


def _check_files(typed: Typed) -> None:
    """Refuse what batch files cannot carry."""
    file = typed.file
    if file.lane not in BATCH_FILE_LANES:
        return
    for is_said, what in (
        (bool(file.tools.module), "tools: a batch has no second round"),
        (file.encrypt, "encrypt = true: only Ark's online calls are encrypted"),
        (file.stream or bool(file.defaults.get("stream")), "stream = true: batch files are not streamed"),
        (file.hedge, "hedge = true: a batch is not a call that can be too slow"),
        (file.reading.dedupe, "dedupe = true: each row has a line of its own in a batch file"),
    ):
        if is_said:
            raise job_file_error(
                typed.label, f'lane = "{file.lane}" (--lane {file.lane}) does not go with {what}; leave one of them out'
            )


def _check_project(typed: Typed, server: Server, model: str) -> None:
    """Check the project before the first call, where the model is known.

    A model that a row names is checked when the row is sent.
    """
    if typed.file.lane == "job":  # a job that names no project is one of the default project
        return
    if server.access is not None and model and needs_project(model) and not typed.file.project:
        raise job_file_error(
            typed.label,
            f"an access key opens the plain model id {model} only together with its project: give project (--project), "
            f"or an inference endpoint (ep-...) as the model, or an API key ({ARK.key})",
        )


def _check_places(typed: Typed) -> None:
    """Refuse a time zone that this machine does not know."""
    try:
        hours_of(typed.file.hours)
        due_of(typed.file.hours)
    except UsageError as error:
        raise job_file_error(typed.label, str(error)) from None


def check_secrecy(server: Server, given: Mapping[str, Any]) -> None:
    """Refuse to send a key and prompts unencrypted beyond this machine."""
    if origin(server.base_url)[0] == "http" and not (is_local(server.base_url) or given.get("insecure")):
        raise UsageError(
            f"{server.base_url} would carry the key and the prompts unencrypted: write https://, "
            "or say --insecure if that network is yours"
        )
