"""The names under which a user sets the key, the base URL and the model of a run, for advice that names them."""

from msgspec import Struct

from arkbatch.core.secret_variables import ARK_KEY, OPENAI_KEY
from arkbatch.protocol.dialects import dialect_at, dialect_named


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
    provider: str, base_url: str, *, at_ark: bool, address_from: str = "", model_from: str = ""
) -> SettingNames:
    """Return the names for one server.

    provider: by name, "" where the address says; at_ark: the address was named as Ark's
    address_from, model_from: where these two were said, "" and "default" where nobody said it
    """
    dialect = dialect_named(provider) if provider else dialect_at(base_url)
    key, address, model = _ARK if at_ark else _OTHER
    if dialect is not None and not at_ark:
        key, address = dialect.key or key, "--base-url"
    if address_from not in ("", _DEFAULT):
        address = address_from
    own_model = model_from if model_from not in ("", _DEFAULT, "--model") else model
    return SettingNames(key, address, f"--model or {own_model}")
