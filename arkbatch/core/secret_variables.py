"""Environment variables whose values are secrets."""

from collections.abc import Mapping

ARK_KEY, OPENAI_KEY = "ARK_API_KEY", "OPENAI_API_KEY"
ACCESS_KEY, SECRET_KEY = "VOLC_ACCESSKEY", "VOLC_SECRETKEY"
SESSION_TOKENS = ("VOLC_SESSION_TOKEN", "VOLC_SESSIONTOKEN")  # both spellings are in use
NOTIFY = "ARKBATCH_NOTIFY"  # addresses with tokens in them
SECRETS = frozenset({ARK_KEY, OPENAI_KEY, ACCESS_KEY, SECRET_KEY, *SESSION_TOKENS, NOTIFY})


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without its secrets, for a user's program that needs no key."""
    return {name: value for name, value in environ.items() if name not in SECRETS}
