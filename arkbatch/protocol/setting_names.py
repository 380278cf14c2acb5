"""How a user sets key, base URL and model, for advice that names them."""

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct

from arkbatch.core.secret_variables import ARK_KEY, OPENAI_KEY
from arkbatch.protocol.dialects import dialect_at, dialect_named

NONE: Mapping[str, str] = MappingProxyType({})
FROM_VARIABLE = "env:"  # a value that stands in a variable is written so
KEY_HEADERS = {"authorization", "api-key", "x-api-key", "x-goog-api-key"}
KEY_PARAMETERS = {"key", "api_key", "api-key", "access_token", "subscription-key"}


def key_in_additions(headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    """Return the variables, or else the settings, that hold a key among a job's own headers and query; "" for none."""
    found = [(f"headers.{name}", value) for name, value in headers.items() if name.lower() in KEY_HEADERS]
    found += [(f"query.{name}", value) for name, value in query.items() if name.lower() in KEY_PARAMETERS]
    return ", ".join(
        value.removeprefix(FROM_VARIABLE) if value.startswith(FROM_VARIABLE) else name for name, value in found
    )


class SettingNames(Struct, frozen=True):
    """What stands in advice in the place of `{key}`, `{address}` and `{model}`."""

    key: str
    address: str
    model: str

    def fill_in(self, advice: str) -> str:
        """Return the advice with the names in it."""
        if "{" not in advice:
            return advice
        filled = advice.replace("{key}", self.key).replace("{address}", self.address)
        return filled.replace("{model}", self.model)


ANY_SERVER = SettingNames(
    f"{ARK_KEY}, {OPENAI_KEY}", "ARK_BASE_URL, OPENAI_BASE_URL", "--model, ARK_MODEL or MODEL_NAME"
)
_DEFAULT = "default"
_ARK = (ARK_KEY, "ARK_BASE_URL", "ARK_MODEL")
_OTHER = (OPENAI_KEY, "OPENAI_BASE_URL", "MODEL_NAME")


def setting_names(
    provider: str,
    base_url: str,
    *,
    at_ark: bool,
    address_from: str = "",
    model_from: str = "",
    headers: Mapping[str, str] = NONE,
    query: Mapping[str, str] = NONE,
) -> SettingNames:
    """Return the names for one server.

    provider: by name, "" where the address says; at_ark: the address was named as Ark's
    headers, query: of the job, as the job file has them; a key that they carry is the one that is sent
    address_from, model_from: where these two were said, "" and "default" where nobody said it
    """
    dialect = dialect_named(provider) if provider else dialect_at(base_url)
    key, address, model = _ARK if at_ark else _OTHER
    if dialect is not None and not at_ark:
        key, address = dialect.key or key, "--base-url"
    key = key_in_additions(headers, query) or key
    if address_from not in ("", _DEFAULT):
        address = address_from
    own_model = model_from if model_from not in ("", _DEFAULT, "--model") else model
    return SettingNames(key, address, f"--model or {own_model}")
