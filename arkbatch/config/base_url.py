"""Base URLs: which are allowed, whose they are, and those of named providers.

Two providers are known by their variables: `ARK_API_KEY`, `ARK_BASE_URL`, `ARK_MODEL`, and, for anything else with the
OpenAI protocol, `OPENAI_API_KEY`, `OPENAI_BASE_URL`, `MODEL_NAME`. The others have an entry in `protocol/dialects`.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from arkbatch.core.errors import UsageError
from arkbatch.core.secret_variables import ARK_KEY, OPENAI_KEY
from arkbatch.core.text import suggest_name
from arkbatch.core.urls import DEFAULT_PORTS, origin
from arkbatch.protocol.dialects import NAMES as DIALECTS
from arkbatch.protocol.dialects import all_dialects, dialect_named

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


class Address(NamedTuple):
    """A base URL, and the query that followed its question mark."""

    url: str
    query: Mapping[str, str] = {}
    said_by: str = ""  # where it was said, for people; "" for what usually says it


NOWHERE = Address("")


def named_providers() -> list[Provider]:
    """Return the providers known by name; their keys go to their own hosts alone."""
    return [
        Provider(each.title, each.key, "", OPENAI.model, each.base_url, each.hosts)
        for each in all_dialects()
        if each.key and each.key != OPENAI.key
    ]


def provider_address(name: str, said_by: str = "", *, given: str = "") -> Address:
    """Return the address of a named provider, none for ""; UsageError for an unknown name.

    said_by: where the name was set, for people
    given: a base URL that was set elsewhere, for a provider with an address for each customer
    """
    if not name:
        return NOWHERE
    if name not in DIALECTS:
        hint = suggest_name(name, DIALECTS, "did you mean {}? ")
        raise UsageError(f"{name} is not a known provider: {hint}`arkbatch providers` lists them")
    dialect = dialect_named(name)
    if not dialect.base_url and given:
        return NOWHERE
    if not dialect.base_url:
        own = dialect.hosts[0].lstrip(".")
        raise UsageError(
            f"{dialect.title} has an address for each customer: give it too, base_url = https://NAME.{own}/..."
        )
    return Address(dialect.base_url, said_by=said_by)


def is_owner_of(provider: Provider, address: str, base_url: str) -> bool:
    """Whether a provider's key may go to this base URL.

    address: the one that is set for the provider
    """
    if address:
        return origin(address) == origin(base_url)
    scheme, host, _ = origin(base_url)
    own = any(host.endswith(name) if name.startswith(".") else host == name for name in provider.hosts)
    return own and scheme == "https"


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
