"""The limits that a provider publishes for its models, from a packaged table.

They are where a pace begins to look for the true limit. An account may have been given more, or share what it has
with others, and an endpoint can have less; so nothing here is a ceiling, and a model that is not in the table is
no error. `limits.starting_point` uses the numbers. Published tokens a minute are not kept: where those are what
is scarce, the service refuses, and the rate of calls that it grants is found all the same.
"""

import tomllib
from collections.abc import Iterator
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct, field

from arkbatch.limits.starting_point import Ramp, Start
from arkbatch.pricing.price_book import normal_name, provider_of, without_date

TABLE = "limits-ark.toml"


class Published(Struct, frozen=True, forbid_unknown_fields=True):
    """One entry: these models have this limit a minute, each of them for itself.

    models: names as `normal_name` spells them, without the date; `*` stands for anything
    """

    models: tuple[str, ...]
    checked_on: date
    confidence: str
    rpm: float | None = None

    def fits(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.models)

    @property
    def start(self) -> Start:
        return Start(rpm=self.rpm)


class _LimitTable(Struct, frozen=True, forbid_unknown_fields=True):
    provider: str
    source: str
    limits: tuple[Published, ...] = field(name="limit")


def published_limits(model: str, base_url: str) -> Published | None:
    """The entry for a model at this address; None where nothing is published, as for endpoint ids (`ep-...`)."""
    name = without_date(normal_name(model))
    return next((one for one in provider_entries(provider_of(base_url)) if one.fits(name)), None)


def provider_entries(provider: str) -> Iterator[Published]:
    """The entries of a provider, in the order of the table."""
    table = _read_table()
    return iter(table.limits if table.provider == provider else ())


@cache  # a worker asks once for each shard
def _read_table() -> _LimitTable:
    text = files("arkbatch").joinpath("data", TABLE).read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), _LimitTable)


def ramp_at(base_url: str) -> Ramp | None:
    """How steeply traffic may begin at this address: Ark and its sister BytePlus refuse steep ramps."""
    return Ramp() if provider_of(base_url) in {"ark", "byteplus"} else None
