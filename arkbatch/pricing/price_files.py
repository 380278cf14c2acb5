"""Loads price books: the packaged files, a user's `--prices FILE`, and a job's `[prices]`.

All have one form: `[[model]]` entries, `[map]` from a user's name to a family, and at the top what all entries have in
common. A user's entry is complete or refused: a price of input without one of output, or a price without a currency,
would silently lead to a wrong bill.
"""

import tomllib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from arkbatch.core.errors import JobError
from arkbatch.core.text import suggest_name
from arkbatch.core.toml_text import TomlError, parse_toml
from arkbatch.pricing.price_book import PriceBook, PriceRow, find_faults, normal_name

PACKAGED = ("prices-ark.toml", "prices-byteplus.toml")
SHARED = ("provider", "currency", "k", "effective_from", "checked_on", "source", "confidence", "note")


@cache  # reading them takes 40 ms, and a worker opens a run for each shard
def packaged_prices() -> PriceBook:
    """Return the list prices of all providers that arkbatch ships. All callers share them: change nothing in it."""
    book = PriceBook()
    for name in PACKAGED:
        text = files("arkbatch").joinpath("data", name).read_text(encoding="utf-8")
        part = from_table(tomllib.loads(text, parse_float=Decimal), name)
        book = PriceBook(book.rows + part.rows, book.names | part.names)
    return book


def price_book(file: Path | None = None, table: Mapping[str, Any] | None = None) -> PriceBook:
    """Return the packaged book, under the job's `[prices]`, under `--prices FILE`."""
    book = packaged_prices()
    for own, where in _own_books(file, table):
        book = with_known_families(own.laid_over(book), where)
    return book


def prices_at(
    provider: str, file: Path | None = None, table: Mapping[str, Any] | None = None, *, may_be_unused: bool = False
) -> PriceBook:
    """Return the prices of `price_book` that hold at one server.

    provider: whose list prices hold there; "" at a server that is in no list, where all prices of the user hold
    may_be_unused: a table without any price for this server is no error
    """
    if file is None and not table:
        return _packaged_prices_at(provider)
    whole = price_book(file, table)
    book = packaged_prices().only_provider(provider)
    for own, where in _own_books(file, table):
        held = own.only_provider(provider) if provider else _of_any_provider(own)
        if own.rows and not held.rows and not may_be_unused:
            named = ", ".join(sorted({row.provider for row in own.rows}))
            raise JobError(
                f"{where} has no price that holds here: its prices are those of {named}, and this server has those of "
                f"{provider}. Take the line provider = ... out of it for prices that hold at every server"
            )
        book = held.laid_over(book)
    return PriceBook(book.rows, whole.names)


@cache
def _packaged_prices_at(provider: str) -> PriceBook:
    """Return the list prices that hold at one server. All callers share them."""
    whole = packaged_prices()
    return PriceBook(whole.only_provider(provider).rows, whole.names)


def _own_books(file: Path | None, table: Mapping[str, Any] | None) -> Iterator[tuple[PriceBook, str]]:
    """Yield the user's own books, the weaker first, each with the place where it was given."""
    if table:
        yield from_table(table, "[prices]"), "[prices]"
    if file is not None:
        yield read_price_file(file), str(file)


def _of_any_provider(book: PriceBook) -> PriceBook:
    return PriceBook(tuple(structs.replace(row, provider="") for row in book.rows), book.names)


def read_price_file(file: Path) -> PriceBook:
    try:
        table = parse_toml(file.read_text(encoding="utf-8"), parse_float=Decimal)
    except OSError as error:
        raise JobError(f"cannot read the prices in {file}: {error.strerror}") from error
    except (TomlError, UnicodeDecodeError) as error:
        raise JobError(f"{file} is not TOML: {error}") from error
    return from_table(table, str(file))


def from_table(table: Mapping[str, Any], where: str) -> PriceBook:
    """Return a parsed table as a book; JobError names the entry and the key that is wrong."""
    if strange := sorted(table.keys() - {"map", "model", *SHARED}):
        known = ["map", "model", *SHARED]
        hint = suggest_name(strange[0], known, "did you mean {}?") or f"known are {', '.join(known)}"
        raise JobError(f"{where}: {strange[0]} is not a key of a price table: {hint}")
    shared = {key: table[key] for key in SHARED if key in table}
    models, names = table.get("model", []), table.get("map", {})
    if not isinstance(models, list) or not isinstance(names, Mapping):
        raise JobError(f"{where}: write each model as [[model]] and the names as [map]")
    rows = [_parse_row(entry, shared, f"{where}: model {number}") for number, entry in enumerate(models, 1)]
    _refuse_twice(rows, where)
    return PriceBook(tuple(rows), _parse_names(names, where))


def with_known_families(book: PriceBook, where: str) -> PriceBook:
    """Return the book, if every name in its `[map]` leads to a family with prices."""
    for name, family in book.names.items():
        if not book.rows_of(family):
            raise JobError(f'{where}: "{name}" is mapped to "{family}", which is not in the price book')
    return book


def _parse_row(entry: Any, shared: dict[str, Any], where: str) -> PriceRow:
    if not isinstance(entry, Mapping):
        raise JobError(f"{where} is not a table")
    named = f"{where} ({entry['family']})" if "family" in entry else where
    fields = shared | dict(entry)
    if "price" in fields:
        if "tier" in fields:
            raise JobError(f"{named} has prices both with and without tiers")
        fields["tier"] = [{"price": fields.pop("price")}]
    try:
        row = msgspec.convert(fields, PriceRow)
    except msgspec.ValidationError as error:
        raise JobError(f"{named} is not a whole price: {error}; input, output and currency are needed") from error
    for fault in find_faults(row):
        raise JobError(f"{named}: {fault}")
    return row


def _refuse_twice(rows: list[PriceRow], where: str) -> None:
    """Refuse an id that stands for two families, and a family with two prices for one day."""
    seen: dict[tuple[str, str], str] = {}
    days: set[tuple[Any, ...]] = set()
    for row in rows:
        for name in row.model_ids:
            if seen.setdefault((row.provider, name), row.family) != row.family:
                raise JobError(f"{where}: {name} belongs to {row.family} and to {seen[row.provider, name]}")
        day = (row.provider, normal_name(row.family), row.effective_from)
        if day in days:
            raise JobError(f"{where}: {row.family} stands twice with the same effective_from")
        days.add(day)


def _parse_names(names: Mapping[str, Any], where: str) -> dict[str, str]:
    for name, family in names.items():
        if not isinstance(family, str):
            raise JobError(f'{where}: [map] leads from a name to a family: "{name}" = "doubao-seed-1.6"')
    return dict(names)
