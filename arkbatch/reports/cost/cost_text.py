"""The output of `cost`: tables for people, CSV for spreadsheets."""

import csv
import io
from collections.abc import Iterator
from decimal import Decimal

from arkbatch.core.language import Language
from arkbatch.core.text import number_text, printable_text
from arkbatch.core.usage import add_usage
from arkbatch.pricing.amounts import EXACT, ZERO, Money, amount_text
from arkbatch.protocol.endpoints.usage import TOOL_CALL_METERS
from arkbatch.reports.cost.cost import CostLine, Costs
from arkbatch.reports.text.summary import cost_text
from arkbatch.reports.text.tables import grid_lines

METERS = ("input", "cached", "output", "reasoning")


def costs_text(costs: Costs, language: Language) -> str:
    """Return one line for each group, then the total and what is missing in it."""
    headings = (costs.by, "answers", *METERS, "cost", "of it discarded")
    lines = [_line_cells(line) for line in costs.lines]
    prices = "today's prices" if costs.repriced else "the prices that each run was done at"
    said = [
        *grid_lines(headings, lines, language, ""),
        f"Total: {cost_text(costs.cost, costs.discarded_cost, '') or 'nothing was billed'}, by {prices}.",
        *(f"Without a price: {reason}. Give one with --reprice --prices FILE." for reason in costs.reasons),
        *_tool_calls_text(costs),
        "Not included, as no reply tells it: storage of explicit caches, free quota, discounts of your contract.",
    ]
    return printable_text("\n".join(said))


def _tool_calls_text(costs: Costs) -> list[str]:
    """Return what was counted and is in no price: calls of the tools that a provider has built in."""
    usage = add_usage({}, *(line.usage for line in costs.lines))
    meters = sorted(TOOL_CALL_METERS & usage.keys())
    counted = [f"{number_text(usage[meter])} {meter.replace('_', ' ')}" for meter in meters]
    return [f"Not included, as tool calls have no price here: {', '.join(counted)}."] if counted else []


def _line_cells(line: CostLine) -> tuple[str, ...]:
    tokens = (number_text(line.usage[meter]) if line.usage.get(meter) else "" for meter in METERS)
    return (line.name, number_text(line.rows), *tokens, _money_text(line.cost), _money_text(line.discarded_cost))


def _money_text(amount: Money) -> str:
    return str(amount) if amount.amounts or amount.unpriced else ""


def compared_text(one: Costs, other: Costs, language: Language) -> str:
    """Return two runs side by side, group by group, with the difference in each currency."""
    left, right = ({line.name: line for line in costs.lines} for costs in (one, other))
    nothing = CostLine("")
    lines = [
        (name, *_pair_cells(left.get(name, nothing), right.get(name, nothing)))
        for name in sorted(left.keys() | right.keys())
    ]
    lines.append((language.say("total"), *_pair_cells(_total_line(one), _total_line(other))))
    first, second = ", ".join(one.runs), ", ".join(other.runs)
    headings = (one.by, f"answers: {first}", second, f"cost: {first}", second, "difference")
    return printable_text("\n".join(grid_lines(headings, lines, language, "")))


def _total_line(costs: Costs) -> CostLine:
    return CostLine("total", sum(line.rows for line in costs.lines), cost=costs.cost)


def _pair_cells(left: CostLine, right: CostLine) -> tuple[str, ...]:
    return (
        number_text(left.rows),
        number_text(right.rows),
        _money_text(left.cost),
        _money_text(right.cost),
        _difference_text(left, right),
    )


def _difference_text(left: CostLine, right: CostLine) -> str:
    parts = []
    for currency in sorted(left.cost.amounts.keys() | right.cost.amounts.keys()):
        amounts = left.cost.amounts.get(currency, ZERO), right.cost.amounts.get(currency, ZERO)
        parts.append(f"{_signed_text(EXACT.subtract(amounts[1], amounts[0]))} {currency}")
    if left.cost.unpriced or right.cost.unpriced:
        parts.append("not whole: rows without a price")
    return ", ".join(parts)


def _signed_text(amount: Decimal) -> str:
    return f"{'-' if amount < 0 else '+'}{amount_text(abs(amount))}"


def costs_csv(costs: Costs) -> str:
    """Return a line for each group and currency, with every digit of the amounts."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([costs.by, "rows", *METERS, "currency", "cost", "discarded_cost", "rows_without_price"])
    for line in costs.lines:
        writer.writerows(_csv_rows(line))
    return out.getvalue()


def _csv_rows(line: CostLine) -> Iterator[list[str | int]]:
    tokens = [line.usage.get(meter, 0) for meter in METERS]
    for currency in sorted(line.cost.amounts) or [""]:
        amounts = (money.amounts.get(currency, ZERO) for money in (line.cost, line.discarded_cost))
        said = [f"{amount:f}" if currency else "" for amount in amounts]
        # Tokens and rows stand once, so that a spreadsheet may add the column up.
        yield [printable_text(line.name), line.rows, *tokens, currency, *said, line.cost.unpriced]
        line = CostLine(line.name)
        tokens = [0] * len(METERS)
