"""The output of `cost --bill`: a table for people, with notes, and CSV for spreadsheets."""

import csv
import io
from collections.abc import Callable, Iterator
from decimal import Decimal

from arkbatch.core.language import Language
from arkbatch.core.text import count_text, number_text, printable_text
from arkbatch.pricing.amounts import ZERO, amount_text
from arkbatch.pricing.reconcile import ENDPOINT, Amounts, Billed, Ours, Pair, Side
from arkbatch.reports.cost.reconcile import Reconciliation, plain_tokens
from arkbatch.reports.text.tables import grid_lines

ALL_DAYS = "all days"
NO_DAY = "(no day)"
_NAMED = 5  # keys, in a note


def reconciliation_text(found: Reconciliation, language: Language) -> str:
    """Return the comparison by item and day, then the notes.

    Items that are on the bill alone take one line each.
    """
    currencies = sorted({currency for pair in found.sides.pairs for currency in _currencies_of(pair)})
    only = currencies[0] if len(currencies) == 1 else ""
    money = f"list price{', ' + only if only else ''}"
    headings = ("item", "day", "side", "tokens: ours", "billed", "difference", f"{money}: ours", "billed", "difference")
    lines = [
        (*_pair_cells(pair, language.say(day), only, language), _amounts_text(_payable_amounts(pair), only))
        for pair, day in _shown_pairs(found)
    ]
    table = grid_lines((*headings, "to pay"), lines, language, "") if lines else ["Neither side has a call."]
    return printable_text("\n".join([*table, "", *_note_lines(found)]))


def _shown_pairs(found: Reconciliation) -> Iterator[tuple[Pair, str]]:
    by_item = {item.item: [pair for pair in found.sides.pairs if pair.item == item.item] for item in found.sides.items}
    for whole in found.sides.items:
        days = by_item[whole.item]
        if whole.ours is not None:
            yield from ((pair, pair.day or NO_DAY) for pair in days)
        if whole.ours is None or len(days) > 1:
            yield whole, ALL_DAYS if len(days) > 1 else days[0].day or NO_DAY


def _pair_cells(pair: Pair, day: str, only: str, language: Language) -> tuple[str, ...]:
    ours, billed = pair.ours, pair.billed
    return (
        pair.item or language.say("(no model)"),
        day,
        "" if pair.side is Side.BOTH else language.say(pair.side.value),
        number_text(ours.tokens) if ours else "",
        _tokens_text(billed.tokens) if billed else "",
        _signed_text(pair.tokens_over, _tokens_text),
        _cost_text(ours, only) if ours else "",
        _amounts_text(billed.listed, only) if billed else "",
        _difference_text(pair, only),
    )


def _cost_text(ours: Ours, only: str) -> str:
    unpriced = f"{ours.cost.unpriced} without a price" if ours.cost.unpriced else ""
    return " + ".join(part for part in (_amounts_text(ours.cost.amounts, only), unpriced) if part)


def _difference_text(pair: Pair, only: str) -> str:
    if pair.ours and pair.ours.cost.unpriced:
        return "not whole"
    return " + ".join(
        _signed_text(amount, amount_text) + ("" if only else f" {currency}")
        for currency, amount in pair.cost_over.items()
    )


def _note_lines(found: Reconciliation) -> Iterator[str]:
    sides = found.sides
    first, last = sides.days
    yield (
        f"Days are Beijing's, as on the bill{f', which names {first} to {last}' if first else ''}; a call answered "
        "around midnight may be billed on the other day."
    )
    yield (
        "The bill has all calls on an endpoint or key, other programs' too; calls that were in flight when a process "
        "died are on the bill alone."
    )
    yield (
        "List prices are before discounts, free quota and packages; to pay is after them. Storage of caches and "
        "network plug-ins are in no record."
    )
    if any(pair.ours and pair.ours.cost.unpriced for pair in sides.pairs):
        yield "Rows without a price are in no amount of ours. Give one with --reprice --prices FILE."
    yield from _notes_on_keys(found)
    if found.guessed:
        yield (
            f"{number_text(found.guessed)} tokens are of records that do not say which endpoint was asked; "
            "they stand under the model of their job."
        )
    if found.simulated:
        yield f"Simulated, so that no bill can hold its calls: {', '.join(found.simulated)}."
    if sides.apart is not None:
        yield (
            f"Left out: {count_text(sides.apart.lines, 'line')} of the bill on items that are neither endpoint nor "
            f"key, {_amounts_text(sides.apart.payable, '')} to pay."
        )
    others = {unit for pair in sides.pairs if pair.billed for unit in pair.billed.others}
    if others:
        yield f"The bill also counts {', '.join(sorted(others))}; their money is in it, and they are no tokens."


def _notes_on_keys(found: Reconciliation) -> Iterator[str]:
    sides = found.sides
    named = ", ".join(sides.keys[:_NAMED]) + (" ..." if len(sides.keys) > _NAMED else "")
    if sides.keys and any(pair.billed and pair.item.startswith(ENDPOINT) for pair in sides.pairs):
        yield "This bill tells the same money by endpoint and by key: never add the two."
    if sides.key:
        yield f"All calls are taken to have gone with {sides.key}."
        if sides.key not in sides.keys:
            yield f"The bill has no line of {sides.key}" + (f"; its keys are {named}." if named else ".")
    elif any(pair.ours and not pair.item.startswith(ENDPOINT) for pair in sides.pairs):
        yield (
            "Calls by model id are on no endpoint's line. Name the key that they went with: --key apikey-..."
            + (f" (on this bill: {named})." if named else ", on a bill that is split by key.")
        )


def reconciliation_csv(found: Reconciliation) -> str:
    """Return a line for each item, day and currency.

    Tokens stand once, so that a spreadsheet may add the column up.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [
            *("item", "day", "side", "tokens_ours", "tokens_billed", "tokens_difference", "currency"),
            *("cost_ours", "list_price_billed", "difference", "payable", "rows_without_price"),
        ]
    )
    for pair in found.sides.pairs:
        writer.writerows(_csv_rows(pair))
    return out.getvalue()


def _csv_rows(pair: Pair) -> Iterator[list[str | int]]:
    ours, billed = pair.ours, pair.billed
    tokens: list[str | int] = [
        ours.tokens if ours else 0,
        plain_tokens(billed.tokens if billed else ZERO),
        plain_tokens(pair.tokens_over),
    ]
    unpriced = ours.cost.unpriced if ours else 0
    for currency in sorted(_currencies_of(pair)) or [""]:
        amounts = (
            ours.cost.amounts if ours else {},
            billed.listed if billed else {},
            pair.cost_over,
            billed.payable if billed else {},
        )
        said = [_plain_amount(each.get(currency, ZERO)) for each in amounts]
        yield [printable_text(pair.item), pair.day, pair.side.value, *tokens, currency, *said, unpriced]
        tokens, unpriced = [0, "0", "0"], 0


def _currencies_of(pair: Pair) -> set[str]:
    listed: set[str] = set(pair.billed.listed) if pair.billed else set()
    return listed | (set(pair.ours.cost.amounts) if pair.ours else set())


def _payable_amounts(pair: Pair) -> Amounts:
    return (pair.billed or Billed()).payable


def _amounts_text(amounts: Amounts, only: str) -> str:
    return " + ".join(
        amount_text(amount) + ("" if only else f" {currency}") for currency, amount in sorted(amounts.items())
    )


def _signed_text(amount: Decimal, text: Callable[[Decimal], str]) -> str:
    return f"{'-' if amount < 0 else '+'}{text(abs(amount))}" if amount else "0"


def _tokens_text(number: Decimal) -> str:
    return f"{number.normalize():,f}"


def _plain_amount(amount: Decimal) -> str:
    return f"{amount:f}"
