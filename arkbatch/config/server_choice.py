"""Chooses the server and its key by flags, job file, variables and defaults.

Flags and the job file take precedence over variables, except for keys, which come from variables alone. The `OPENAI`
variables choose the server only when neither an ARK key nor an ARK address is set. The variables of Ark's official SDK
have the same meaning here (`VOLC_ACCESSKEY`, `VOLC_SECRETKEY`, `E2E_CERTIFICATE_PATH`, `VOLC_ARK_ENCRYPTION`), but a
value that the SDK would ignore is refused.

**A key goes only to the address that it was given for**: to the origin of its own `..._BASE_URL`, or, while that is
not set, to the hosts of its provider. The address selects the key, so two keys in one environment are never mixed up,
and an unknown address from a job file or a flag gets no key. A server on this machine needs no key. Where one place
sets both a key and an address, a different key from a stronger place is refused and not sent to that address.
"""

import shlex
from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec import Struct

from arkbatch.config.base_url import (
    ARK,
    OPENAI,
    PROVIDERS,
    Address,
    Provider,
    checked_url,
    is_owner_of,
    named_providers,
)
from arkbatch.config.variables import Variables
from arkbatch.core.errors import UsageError
from arkbatch.core.secret import NO_KEY, Access, Secret
from arkbatch.core.secret_variables import ACCESS_KEY, SECRET_KEY, SESSION_TOKENS
from arkbatch.core.urls import is_local, origin
from arkbatch.transport.control_plane import CONTROL_PLANE
from arkbatch.transport.tos_bucket import REGION

FLAVOUR, CONFIDENTIAL = "VOLC_ARK_ENCRYPTION", "AICC"
CERTIFICATE_PATH = "E2E_CERTIFICATE_PATH"
CONTROL_PLANE_URL = "ARK_CONTROL_PLANE"
STORAGE_URL, STORAGE_REGION = "TOS_ENDPOINT", "TOS_REGION"


class Server(Struct, frozen=True):
    """The server that receives the calls.

    key: None when no key may be sent there; `missing` then says what to do
    model: what the environment says, "" for nothing
    access: an access key that buys keys for it, when there is no API key
    is_ark: it is Ark, or a server on this machine that may stand in for it, so Ark's own features may be used
    at_ark: it is Ark, or was named as Ark's address
    query: the query of the base URL
    model_from, base_url_from: where the environment's model and the base URL were set
    confidential: encryption uses the flavour of confidential computing
    certificate: path of the certificate to encrypt with, "" for none
    """

    base_url: str
    key: Secret | None
    model: str
    missing: str
    access: Access | None = None
    is_ark: bool = False
    confidential: bool = False
    certificate: str = ""
    at_ark: bool = False
    query: Mapping[str, str] = {}
    model_from: str = ""
    base_url_from: str = ""


def choose_server(variables: Variables, flag: Address, file: Address, label: str = "the job file") -> Server:
    """Choose the address by flag, job file, environment and default, then its key."""
    address, said_by = _chosen_address(variables, flag, file, label)
    base_url = address.url
    owners = [one for one in (*PROVIDERS, *named_providers()) if is_owner_of(one, variables.address_for(one), base_url)]
    # Ark's address under the OPENAI names is common: there both own it, and one has a key.
    owner = next((one for one in owners if variables.get(one.key)), owners[0] if owners else None)
    key = _find_key(variables, owner) if owner else None
    is_ark = owner is ARK or is_local(base_url)
    access = find_access_key(variables, base_url) if key is None and is_ark else None
    if key is None and access is None and is_local(base_url):
        key = NO_KEY
    missing = _missing_key_text(owner, base_url, has_key=bool(variables.get(OPENAI.key)))
    if owner is ARK and said_by == "default":
        missing += f"; for another OpenAI-compatible server set {OPENAI.key}, {OPENAI.address} and {OPENAI.model}"
    if not is_ark and key is None and variables.get(ACCESS_KEY):
        missing += f" ({ACCESS_KEY} is Ark's own and opens nothing there)"
    model_name = (owner or OPENAI).model
    return Server(
        base_url,
        key,
        variables.get(model_name),
        missing,
        access,
        is_ark,
        is_ark and _is_confidential(variables),
        variables.get(CERTIFICATE_PATH) if is_ark else "",
        owner is ARK,
        address.query,
        variables.origin_of(model_name),
        said_by,
    )


def _chosen_address(variables: Variables, flag: Address, file: Address, label: str) -> tuple[Address, str]:
    """Return the address, and where it was set."""
    if flag.url:
        return flag, flag.said_by or "--base-url"
    if file.url:
        return file, file.said_by or label
    speaks = [one for one in PROVIDERS if variables.get(one.key) or variables.get(one.address)]
    provider = speaks[0] if speaks else ARK
    named = variables.full_address_for(provider)
    return (named, variables.origin_of(provider.address)) if named.url else (Address(provider.default), "default")


def _is_confidential(variables: Variables) -> bool:
    """Read VOLC_ARK_ENCRYPTION; a misspelt value is refused, since the SDK would ignore it."""
    value = variables.get(FLAVOUR)
    if value not in {"", CONFIDENTIAL}:
        raise UsageError(f"{FLAVOUR} = {value} is not a way to encrypt: the only value is {CONFIDENTIAL}")
    return bool(value)


def find_access_key(variables: Variables, base_url: str) -> Access | None:
    """Return the access key; a local server needs a named control plane for one."""
    names = [name for name in (ACCESS_KEY, SECRET_KEY) if variables.get(name)]
    url = variables.get(CONTROL_PLANE_URL)
    if not names or (is_local(base_url) and not url):
        return None
    if len(names) == 1:
        missing = SECRET_KEY if names[0] == ACCESS_KEY else ACCESS_KEY
        raise UsageError(f"{names[0]} is set and {missing} is not: an access key works only with its secret")
    control_plane = checked_url(url, CONTROL_PLANE_URL) if url else CONTROL_PLANE
    token = next(filter(None, map(variables.get, SESSION_TOKENS)), "")
    region = variables.get(STORAGE_REGION) or REGION
    address = variables.get(STORAGE_URL) or f"https://tos-{region}.volces.com"
    storage = checked_url(address if "://" in address else f"https://{address}", STORAGE_URL)
    return Access(
        Secret(variables.get(ACCESS_KEY)),
        Secret(variables.get(SECRET_KEY)),
        control_plane,
        Secret(token),
        storage.replace("//tos-s3-", "//tos-"),  # the same storage where it speaks S3
        region,
    )


def _find_key(variables: Variables, provider: Provider) -> Secret | None:
    """Return the provider's key; refuse it when the source of the address holds another one."""
    place, source = variables.source_of(provider.key), variables.source_of(provider.address)
    if place is None:
        return None
    key = place.get(provider.key)
    if source and source.get(provider.key) not in {"", key}:
        raise UsageError(
            f"{provider.key} in {place.name} is not the one beside {provider.address} in {source.name}: "
            "unset one of the two, so that no key goes to the wrong server"
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UsageError(f"{provider.key} in {place.name} holds a space or a letter that no key has: copy it again")
    return Secret(key)


def _missing_key_text(owner: Provider | None, base_url: str, *, has_key: bool) -> str:
    """Return what to do where no key may be sent. has_key: OPENAI_API_KEY is set, for another address."""
    scheme, host, _ = origin(base_url)
    if owner:
        instead = f" (or {ACCESS_KEY} and {SECRET_KEY})" if owner is ARK else ""
        return f"no API key for {host}: set {owner.key}{instead} in the environment or in .env, or try --simulate"
    if has_key:
        return (
            f"no API key for {scheme}://{host}: {OPENAI.key} is set, but a key is sent only to the address that it was "
            f"given for. If it is the key of this server, run this first:  {_export_text(OPENAI, base_url)}"
        )
    return (
        f"no API key for {scheme}://{host}: a key is sent only to the address that it was given for, "
        f"so set {OPENAI.key} and {OPENAI.address}={base_url} together, in the environment or in .env"
    )


def withheld_keys(variables: Variables, server: Server) -> tuple[str, ...]:
    """Return a warning about a key that is set but is not sent to this server, with the command that sends it."""
    if server.key not in {None, NO_KEY} or server.access is not None:
        return ()
    provider = next((one for one in (OPENAI, ARK) if variables.get(one.key)), None)
    if provider is None:
        return ()
    said = (
        f"{provider.key} is set, but is not sent to {urlsplit(server.base_url).netloc}, since a key goes only to the "
        f"address that it was given for. If this server needs the key, run this first:  "
        f"{_export_text(provider, server.base_url)}"
    )
    return (said,)


def _export_text(provider: Provider, base_url: str) -> str:
    """Return the command after which a provider's key belongs to this address."""
    return f"export {provider.address}={shlex.quote(base_url)}"
