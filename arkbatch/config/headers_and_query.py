"""Checks a job's own headers and query parameters, and fills in variables.

A secret stands in no job file and in no record: `env:NAME` names the variable that holds it. A key that arkbatch
knows goes only to the address that it was given for, also when a header carries it.
"""

import re
from collections.abc import Mapping

from arkbatch.config.base_url import PROVIDERS, is_owner_of
from arkbatch.config.job_file import job_file_error
from arkbatch.config.server_choice import Server
from arkbatch.config.variables import Variables
from arkbatch.core.errors import UsageError
from arkbatch.core.job import Additions
from arkbatch.core.secret import Secret
from arkbatch.core.secret_variables import ACCESS_KEY, NOTIFY, SECRET_KEY, SESSION_TOKENS
from arkbatch.protocol.setting_names import FROM_VARIABLE, key_in_additions

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Headers that arkbatch or HTTP itself sets.
_OURS = {
    *("accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "host"),
    *("te", "trailer", "transfer-encoding", "upgrade"),
}
_REQUEST_ID = "x-client-request-id"
_NEVER_SENT = {ACCESS_KEY, SECRET_KEY, *SESSION_TOKENS, NOTIFY}


def brings_key(headers: Mapping[str, str], query: Mapping[str, str]) -> bool:
    """Whether a header or a query parameter carries a key."""
    return bool(key_in_additions(headers, query))


def fill_in_variables(
    headers: Mapping[str, str], query: Mapping[str, str], variables: Variables, server: Server, label: str
) -> Additions:
    """Return headers and query as they are sent; raises UsageError for one that cannot be."""
    secrets: list[Secret] = []

    def value(path: str, text: str) -> str:
        if not text.startswith(FROM_VARIABLE):
            return text
        found = _variable_value(path, text.removeprefix(FROM_VARIABLE), variables, server, label)
        secrets.append(Secret(found))
        return found

    sent = {name: value(f"headers.{name}", text) for name, text in headers.items()}
    for name, text in sent.items():
        if not (text.isascii() and text.isprintable()):
            raise job_file_error(label, f"headers.{name} holds a character that a header cannot have")
    parameters = {name: value(f"query.{name}", text) for name, text in query.items()}
    return Additions(sent, parameters, tuple(secrets), brings_key(headers, query))


def check_header_names(headers: Mapping[str, str], label: str) -> None:
    """Raise UsageError for a header that a job cannot have."""
    for name in headers:
        _check_name(name, label)


def _check_name(name: str, label: str) -> None:
    if not _NAME.fullmatch(name):
        raise job_file_error(label, f"headers.{name} is not a valid header name")
    if name.lower() in _OURS:
        raise job_file_error(label, f"headers.{name} is set by arkbatch itself: leave it out")
    if name.lower() == _REQUEST_ID:
        raise job_file_error(
            label, f"headers.{name} differs with each call: give request_id_prefix, or request_id in a row"
        )


def _variable_value(path: str, name: str, variables: Variables, server: Server, label: str) -> str:
    if name in _NEVER_SENT:
        raise job_file_error(label, f"{path}: {name} is never sent as it is")
    for provider in PROVIDERS:
        if name == provider.key and not is_owner_of(provider, variables.address_for(provider), server.base_url):
            raise job_file_error(
                label,
                f"{path}: {name} goes only to the address that it was given for, and that is not {server.base_url}: "
                f"set {provider.address} to it, or take a variable with another name",
            )
    value = variables.get(name)
    if not value:
        raise UsageError(f"{label + ': ' if label else ''}{path}: {name} is set neither in the environment nor in .env")
    return value
