"""Providers by name, each with its address, key and dialect.

A new provider is one more module with a `DIALECT`, and its name in the list below. General rules that know no provider
read most differences (`endpoints.usage`, `error_words`, `finish_reasons`, `retry_after`), so that an unknown one is
read well, too.
"""

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from urllib.parse import urlsplit

from arkbatch.protocol.dialects.dialect import Dialect
from arkbatch.protocol.error_words import Meaning

__all__ = ["NAMES", "Dialect", "all_dialects", "dialect_at", "dialect_named", "error_numbers"]

NAMES = (
    "openai",
    "azure",
    "deepseek",
    "dashscope",
    "dashscope-intl",
    "moonshot",
    "moonshot-intl",
    "zhipu",
    "zai",
    "minimax",
    "minimax-intl",
    "siliconflow",
    "qianfan",
    "hunyuan",
    "stepfun",
    "openrouter",
    "xai",
    "gemini",
    "mistral",
    "groq",
    "together",
    "fireworks",
    "cerebras",
    "deepinfra",
    "vllm",
    "sglang",
    "ollama",
    "lmstudio",
    "llamacpp",
)


def dialect_named(name: str) -> Dialect:
    """Return the dialect of a name in `NAMES`."""
    dialect: Dialect = import_module(f"{__name__}.{name.replace('-', '_')}").DIALECT
    return dialect


@cache
def all_dialects() -> tuple[Dialect, ...]:
    """Return all that are known."""
    return tuple(dialect_named(name) for name in NAMES)


def dialect_at(base_url: str) -> Dialect | None:
    """Return the dialect of an address by its host, None where nothing is known of it."""
    host = urlsplit(base_url).hostname or ""
    return next((each for each in all_dialects() if is_host_of(each, host)), None)


def is_host_of(dialect: Dialect, host: str) -> bool:
    """Return whether a host is one of the provider's own."""
    return any(host.endswith(own) if own.startswith(".") else host == own for own in dialect.hosts)


def error_numbers(provider: str, base_url: str) -> Mapping[str, Meaning]:
    """Return what a provider's own error codes mean: of the one that was named, or else of the address."""
    dialect = dialect_named(provider) if provider else dialect_at(base_url)
    return dialect.errors if dialect else {}
