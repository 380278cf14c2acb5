"""What `estimate` prints, and the line of it at the beginning of `run`."""

from collections.abc import Callable
from datetime import UTC, datetime

from msgspec.structs import replace

from arkbatch.core.job import Job
from arkbatch.core.money import Unknown
from arkbatch.core.sampling import Estimate, Range
from arkbatch.core.words import count, duration, printable, short
from arkbatch.reports.forecast import Forecast, forecasts
from arkbatch.reports.tables import grid

LOOKED_AT = 1000  # rows
HEADINGS = ("", "low", "expected", "high")


def forecasts_text(found: list[Forecast], next_command: str) -> str:
    return printable("\n".join([*(_text(each) for each in found), next_command]))


def foretold(job: Job, path: str, rows: int, now: float) -> str:
    """One line before the first call, from the first rows alone, so that a large input does not wait for it."""
    looked = min(rows, LOOKED_AT)
    found = forecasts(replace(job, input=path), datetime.fromtimestamp(now, UTC), {}, first=looked)
    times = rows / max(looked, 1)
    given = sum(each.estimate.input.expected or 0 for each in found) * times
    said = f"Estimate: about {short(given)} tokens of input"
    if len(found) == 1 and not isinstance(most := found[0].estimate.ceiling, Unknown):
        said += f", and at most {_money(most * times)} {found[0].estimate.currency} in all"
    basis = f" (from the first {count(looked)} rows)" if looked < rows else ""
    return f"{said}{basis}. `arkbatch estimate --sample 20` measures."


def _text(forecast: Forecast) -> str:
    estimate = forecast.estimate
    rows = [
        ("input tokens", *_cells(estimate.input, short)),
        ("output tokens", *_cells(estimate.output, short)),
        ("time", *_cells(estimate.seconds, duration)),
        *_cost("cost", estimate),
        *(_cost("on the batch lane", forecast.batch) if forecast.batch else []),
    ]
    said = [f"{count(estimate.rows)} rows for {forecast.model} ({forecast.endpoint}):", *grid(HEADINGS, rows)]
    if isinstance(estimate.cost, Unknown):
        said.append(f"  The cost is not known: {estimate.cost.reason}. Give a price with --prices FILE.")
    if not isinstance(estimate.ceiling, Unknown):
        most = f"{_money(estimate.ceiling)} {estimate.currency}"
        said.append(f"  At most {most}, each answer as long as its limit; max_tokens does not limit thinking.")
    elif not isinstance(estimate.cost, Unknown):
        said.append(f"  No ceiling can be given: {estimate.ceiling.reason}.")
    said.append(f"  How: {estimate.method}.")
    if 0 < estimate.sampled < estimate.rows:
        said.append(
            "  Rare answers that the sample did not meet, of a dearer price tier say, are in no bound: sample more."
        )
    return "\n".join(said)


def _cost(name: str, estimate: Estimate) -> list[tuple[str, ...]]:
    if isinstance(estimate.cost, Unknown):
        return []
    at_most = ", at most" if estimate.at_most else ""
    return [(f"{name} ({estimate.currency}{at_most})", *_cells(estimate.cost, _money))]


def _cells(values: Range, said: Callable[[float], str]) -> tuple[str, ...]:
    return tuple("-" if value is None else said(value) for value in (values.low, values.expected, values.high))


def _money(amount: float) -> str:
    return f"{amount:,.2f}" if amount >= 1 else f"{amount:.2g}"
