"""`arkbatch prices`: the rows of the price book, and when each was checked."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import click

from arkbatch.cli.standard_streams import echo_text, user_language
from arkbatch.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from arkbatch.pricing.price_book import PriceBook, PriceRow, Rates

HEADINGS = (
    "model",
    "per million",
    "lane",
    "input k",
    "output k",
    "input",
    "cached",
    "output",
    "audio, image",
    "since",
    "checked",
    "conf.",
)


@click.command(name="prices")
@click.argument("model", required=False)
@click.option(
    "--prices",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Prices of your own (TOML), over ours.",
)
@click.option("--provider", type=click.Choice(["ark", "byteplus"]), help="Only the list of this provider.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON, decimals as strings.")
def command(model: str | None, file: Path | None, provider: str | None, as_json: bool) -> None:
    """List the prices that costs are counted with, of all models or of MODEL.

    MODEL is a model id, with or without its date, or a name from your own [map].

    \b
    Example:
      arkbatch prices doubao-seed-1-6-251015
    """
    from arkbatch.pricing.price_files import price_book

    book = price_book(file)
    if provider:
        book = book.only_provider(provider)
    rows = book.rows if model is None else _rows_of(book, model)
    if as_json:
        click.echo(_rows_json(rows))
    else:
        echo_text("\n".join(_row_lines(rows, explained=model is not None)), err=False)


def _rows_of(book: PriceBook, model: str) -> tuple[PriceRow, ...]:
    """Return the model's rows at every provider, since each has its own price for the same id."""
    providers = {row.provider for row in book.rows}
    found = [row for provider in providers for row in book.only_provider(provider).rows_of(model)]
    if not found:
        raise UsageError(
            f"{model} is not in the price book; `arkbatch prices` lists what is. Give its price with --prices FILE, "
            "as [[model]] with family, currency and price.online = { input = ..., output = ... }"
        )
    return tuple(row for row in book.rows if row in found)


def _rows_json(rows: tuple[PriceRow, ...]) -> str:
    import msgspec

    from arkbatch.core.text import printable_json

    return printable_json(msgspec.json.format(msgspec.json.encode(rows), indent=2))


def _row_lines(rows: Iterable[PriceRow], *, explained: bool) -> Iterator[str]:
    from arkbatch.reports.text.tables import grid_lines

    rows = tuple(rows)
    yield from grid_lines(HEADINGS, [line for row in rows for line in _row_cells(row)], user_language(), "")
    for row in rows if explained else ():
        yield ""
        yield from _explain_row(row)


def _row_cells(row: PriceRow) -> Iterator[tuple[str, ...]]:
    dates = str(row.effective_from or ""), str(row.checked_on or ""), row.confidence
    if not row.tiers:
        yield (row.family, row.currency, "not known", *[""] * 6, *dates)
    for tier, spans in zip(row.tiers, _tier_spans(row), strict=True):
        for lane, rates in tier.price.items():
            yield (row.family, row.currency, lane, *spans, *_price_cells(rates), *dates)


def _tier_spans(row: PriceRow) -> Iterator[tuple[str, str]]:
    """Yield each tier's spans of input and output. Tiers with the same end of input differ in the span of output."""
    given = answered = shorter = Decimal(0)
    for tier in row.tiers:
        if tier.to_input != shorter:
            given, answered, shorter = shorter, Decimal(0), tier.to_input or Decimal(0)
        yield _span_text(given, tier.to_input), _span_text(answered, tier.to_output)
        answered = tier.to_output or Decimal(0)


def _span_text(start: Decimal, end: Decimal | None) -> str:
    if end is None:
        return user_language().say("over {start}", start=start) if start else user_language().say("any")
    return f"{start}-{end}"


def _price_cells(rates: Rates) -> tuple[str, str, str, str]:
    apart = (rates.audio_input, rates.audio_cached, rates.image_input)
    named = zip(("audio", "cached audio", "image"), apart, strict=True)
    others = ", ".join(f"{name} {price}" for name, price in named if price is not None)
    return str(rates.input), "-" if rates.cached is None else str(rates.cached), str(rates.output), others


def _explain_row(row: PriceRow) -> Iterator[str]:
    yield f"{row.family} at {row.provider or 'any provider'}, {row.currency} per million tokens, 1k = {row.k}"
    yield f"  ids         {', '.join(sorted(row.model_ids))}, each with or without its date"
    yield f"  since       {row.effective_from or 'not known'}"
    yield f"  checked on  {row.checked_on or 'not said'}, confidence {row.confidence or 'not said'}"
    if row.source:
        yield f"  source      {row.source}"
    if row.peak:
        hours = ", ".join(f"{start:%H:%M}-{end:%H:%M}" for start, end in row.peak.hours)
        yield f"  peak        weekdays {', '.join(map(str, row.peak.days))} (Monday is 1), {hours} in Beijing"
    if row.note:
        yield f"  note        {row.note}"
