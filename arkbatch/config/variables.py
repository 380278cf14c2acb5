"""Reads environment variables and `.env` files.

The real environment takes precedence over the `.env` beside the job, and that over the `.env` of the working
directory. `os.environ` is neither read nor changed here; the caller passes it in.
"""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from arkbatch.config.base_url import NOWHERE, Address, Provider, checked_address
from arkbatch.core.errors import UsageError
from arkbatch.core.secret_variables import SECRETS

ENVIRONMENT = "the environment"


class VariableSource(NamedTuple):
    """A place where variables are set: the real environment, or one `.env` file."""

    name: str
    values: Mapping[str, str]

    def get(self, name: str) -> str:
        """Return the value, or ""; an empty value counts as not set."""
        return self.values.get(name, "").strip()


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

    def full_address_for(self, provider: Provider) -> Address:
        text = self.get(provider.address)
        return checked_address(text, provider.address) if text else NOWHERE

    def origin_of(self, name: str) -> str:
        """Return where a variable is set, for messages."""
        place = self.source_of(name)
        return name if place is None or place.name == ENVIRONMENT else f"{name} in .env"


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
    files = [place for place in variables.places if place.name != ENVIRONMENT and any(map(_is_secret, place.values))]
    open_to_others = [place.name for place in files if Path(place.name).stat().st_mode & 0o044]
    return tuple(f"others can read the keys in {name}:  chmod 600 {shlex.quote(name)}" for name in open_to_others)


def _is_secret(name: str) -> bool:
    """Whether a variable holds a secret: one of ours, or by its name the key of another provider or gateway."""
    return name in SECRETS or name.upper().endswith(("KEY", "TOKEN", "SECRET", "PASSWORD"))
