"""Reads environment variables and `.env` files, and chooses the server and its key.

The real environment takes precedence over the `.env` beside the job, and that over the `.env` of the working
directory. Two providers are known by their variables: `ARK_API_KEY`, `ARK_BASE_URL`, `ARK_MODEL`, and, for anything
else with the OpenAI protocol, `OPENAI_API_KEY`, `OPENAI_BASE_URL`, `MODEL_NAME`. The second group chooses the server
only when neither an ARK key nor an ARK address is set. Flags and the job file take precedence over variables, except
for keys, which come from variables alone. The variables of Ark's official SDK have the same meaning here
(`VOLC_ACCESSKEY`, `VOLC_SECRETKEY`, `E2E_CERTIFICATE_PATH`, `VOLC_ARK_ENCRYPTION`), but a value that the SDK would
ignore is refused.

**A key goes only to the address that it was given for**: to the origin of its own `..._BASE_URL`, or, while that is
not set, to the hosts of its provider. The address selects the key, so two keys in one environment are never mixed up,
and an unknown address from a job file or a flag gets no key. A server on this machine needs no key. Where one place
sets both a key and an address, a different key from a stronger place is refused and not sent to that address.

`os.environ` is neither read nor changed here; the caller passes it in.
"""

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from msgspec import Struct

from arkbatch.core.errors import UsageError
from arkbatch.core.secret import NO_KEY, Access, Secret
from arkbatch.core.secret_variables import ACCESS_KEY, ARK_KEY, OPENAI_KEY, SECRET_KEY, SECRETS, SESSION_TOKENS
from arkbatch.core.urls import DEFAULT_PORTS, is_local, origin
from arkbatch.protocol.dialects import NAMES as DIALECTS
from arkbatch.protocol.dialects import all_dialects, dialect_named
from arkbatch.transport.control_plane import CONTROL_PLANE
from arkbatch.transport.tos_bucket import REGION

FLAVOUR, CONFIDENTIAL = "VOLC_ARK_ENCRYPTION", "AICC"
CERTIFICATE_PATH = "E2E_CERTIFICATE_PATH"
CONTROL_PLANE_URL = "ARK_CONTROL_PLANE"
STORAGE_URL, STORAGE_REGION = "TOS_ENDPOINT", "TOS_REGION"
ENVIRONMENT = "the environment"
_KEYS_IN_QUERIES = {"key", "apikey", "accesstoken", "token", "secret", "sig", "signature", "subscriptionkey", "code"}
CALL_PATHS = ("/chat/completions", "/completions", "/embeddings", "/responses")


class Provider(NamedTuple):
    """The variables of one provider, and its hosts (a leading dot includes subdomains)."""

    name: str
    key: str
    address: str
    model: str
    default: str
    hosts: tuple[str, ...]


ARK = Provider(
    "Volcengine Ark",
    ARK_KEY,
    "ARK_BASE_URL",
    "ARK_MODEL",
    "https://ark.cn-beijing.volces.com/api/v3",
    (".volces.com", ".bytepluses.com"),
)
OPENAI = Provider(
    "OpenAI",
    OPENAI_KEY,
    "OPENAI_BASE_URL",
    "MODEL_NAME",
    "https://api.openai.com/v1",
    ("api.openai.com",),
)
PROVIDERS = (ARK, OPENAI)


def _named_providers() -> "list[Provider]":
    """Return the providers known by name; their keys go to their own hosts alone."""
    return [
        Provider(each.title, each.key, "", OPENAI.model, each.base_url, each.hosts)
        for each in all_dialects()
        if each.key and each.key != OPENAI.key
    ]


def provider_address(name: str, said_by: str = "") -> "Address":
    """Return the address of a named provider, none for ""; UsageError for an unknown name.

    said_by: where the name was set, for people
    """
    if not name:
        return NOWHERE
    if name not in DIALECTS:
        near = get_close_matches(name, DIALECTS, 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f"{name} is not a known provider: {hint}`arkbatch providers` lists them")
    dialect = dialect_named(name)
    if not dialect.base_url:
        own = dialect.hosts[0].lstrip(".")
        raise UsageError(
            f"{dialect.title} has an address for each customer: give it too, base_url = https://NAME.{own}/..."
        )
    return Address(dialect.base_url, said_by=said_by)


class VariableSource(NamedTuple):
    """A place where variables are set: the real environment, or one `.env` file."""

    name: str
    values: Mapping[str, str]

    def get(self, name: str) -> str:
        """Return the value, or ""; an empty value counts as not set."""
        return self.values.get(name, "").strip()


class Address(NamedTuple):
    """A base URL, and the query that followed its question mark."""

    url: str
    query: Mapping[str, str] = {}
    said_by: str = ""  # where it was said, for people; "" for what usually says it


NOWHERE = Address("")


class Variables(NamedTuple):
    """All sources of variables, strongest first."""

    places: Sequence[VariableSource]

    def source_of(self, name: str) -> VariableSource | None:
        return next((place for place in self.places if place.get(name)), None)

    def get(self, name: str) -> str:
        place = self.source_of(name)
        return place.get(name) if place else ""

    def address_for(self, provider: Provider) -> str:
        """Return the base URL that is set for a provider, "" for none."""
        return self.full_address_for(provider).url

    def full_address_for(self, provider: Provider) -> "Address":
        text = self.get(provider.address)
        return checked_address(text, provider.address) if text else NOWHERE

    def origin_of(self, name: str) -> str:
        """Return where a variable is set, for messages."""
        place = self.source_of(name)
        return name if place is None or place.name == ENVIRONMENT else f"{name} in .env"


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


def read_variables(environ: Mapping[str, str], folders: Sequence[Path]) -> Variables:
    """Read the environment and the `.env` of each folder; the first folder is the strongest."""
    files = dict.fromkeys(folder / ".env" for folder in folders)
    return Variables(
        [VariableSource(ENVIRONMENT, environ), *(_read_variable_file(file) for file in files if file.is_file())]
    )


def _read_variable_file(file: Path) -> VariableSource:
    from dotenv import dotenv_values

    try:
        # A key may contain a dollar sign, so nothing is interpolated.
        values = dotenv_values(file, interpolate=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from error
    return VariableSource(str(file), {name: value for name, value in values.items() if value})


def exposed_files(variables: Variables) -> tuple[str, ...]:
    """Return warnings about `.env` files with keys that other users of this machine can read."""
    if os.name != "posix":
        return ()
    files = [place for place in variables.places if place.name != ENVIRONMENT and set(place.values) & SECRETS]
    open_to_others = [place.name for place in files if Path(place.name).stat().st_mode & 0o044]
    return tuple(f"others can read the keys in {name}:  chmod 600 {shlex.quote(name)}" for name in open_to_others)


def withheld_keys(variables: Variables, server: "Server") -> tuple[str, ...]:
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


def choose_server(variables: Variables, flag: Address, file: Address, label: str = "the job file") -> Server:
    """Choose the address by flag, job file, environment and default, then its key."""
    address, said_by = _chosen_address(variables, flag, file, label)
    base_url = address.url
    owners = [
        one for one in (*PROVIDERS, *_named_providers()) if is_owner_of(one, variables.address_for(one), base_url)
    ]
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


def is_owner_of(provider: Provider, address: str, base_url: str) -> bool:
    """Whether a provider's key may go to this base URL.

    address: the one that is set for the provider
    """
    if address:
        return origin(address) == origin(base_url)
    scheme, host, _ = origin(base_url)
    own = any(host.endswith(name) if name.startswith(".") else host == name for name in provider.hosts)
    return own and scheme == "https"


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


def checked_url(text: str, label: str, error: type[UsageError] = UsageError) -> str:
    """Return a base URL without its last slash and its query.

    label: names who set it when it is wrong
    """
    return checked_address(text, label, error).url


def checked_address(text: str, label: str, error: type[UsageError] = UsageError) -> Address:
    """Return a base URL without its last slash, and its query apart.

    Messages do not show values of a query, since they may be keys.
    """
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as wrong:
        raise error(f"{label} = {text.partition('?')[0]} is not a URL: {wrong}") from wrong
    if parts.password is not None or parts.username is not None:
        raise error(f"{label} has a user name or password in it: a key belongs into {ARK.key} or {OPENAI.key}")
    if parts.scheme not in DEFAULT_PORTS or not host:
        raise error(f"{label} = {text.partition('?')[0]} is not a URL: it begins with https://, such as {ARK.default}")
    if parts.fragment or "#" in text:
        raise error(f"{label} has a # in it: a base URL ends before that, {parts.scheme}://{host}{parts.path}")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in query:
        if re.sub("[_-]", "", name.lower()) in _KEYS_IN_QUERIES:
            raise error(f'{label} has a key in it: write [query] {name} = "env:NAME" into the job file instead')
    url = f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
    for path in CALL_PATHS:
        if url.endswith(path):
            raise error(f"{label} = {url} is too long: write {url.removesuffix(path)}, without {path}")
    return Address(url, query)
