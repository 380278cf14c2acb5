"""The output of `estimate`, and the line of an estimate at the beginning of `run`."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from msgspec.structs import replace

from arkbatch.core.job import Job
from arkbatch.core.language import Language
from arkbatch.core.text import duration_text, number_text, printable_text, short_number
from arkbatch.estimate.build_estimate import Forecast, Question, make_forecasts
from arkbatch.estimate.confidence import MIN_SAMPLE, MISSED
from arkbatch.estimate.forecast import Estimate, Range, combined_cost
from arkbatch.estimate.input_sizes import by_kind
from arkbatch.estimate.lane_comparison import Way
from arkbatch.pricing.amounts import Unknown
from arkbatch.pricing.billed_usage import FREE
from arkbatch.reports.text.tables import grid_lines

LOOKED_AT = 1000  # rows
HEADINGS = ("", "low", "expected", "high")


def forecasts_text(found: list[Forecast], next_command: str, language: Language = Language.ENGLISH) -> str:
    """Return all that is known, with the command that runs it as the last line."""
    lines = [*(_forecast_text(each, language) for each in found), *_sum_lines(found, language), next_command]
    return printable_text(language.translate_text("\n".join(lines)))


def forecast_line(job: Job, path: str, rows: int, now: float) -> str:
    """Return one line before the first call.

    It looks at the first rows alone, so that a large input does not delay the run.
    """
    looked = min(rows, LOOKED_AT)
    job = replace(job, input=path)
    found = make_forecasts(Question(job, datetime.fromtimestamp(now, UTC)), by_kind(job, first=looked))
    times = rows / max(looked, 1)
    given = sum(each.estimate.input.expected or 0 for each in found) * times
    basis = f" (from the first {number_text(looked)} rows)" if looked < rows else ""
    of = " in the first round of tools" if job.functions else ""
    parts = [f"about {short_number(given)} tokens of input{of}", *_in_short(found, times)]
    return f"Estimate: {', '.join(parts)}{basis}. `arkbatch estimate --sample 20` measures."


def _in_short(found: list[Forecast], times: float) -> Iterator[str]:
    if len(found) != 1:
        return
    estimate, other = found[0].estimate, found[0].other
    if not isinstance(most := estimate.ceiling, Unknown):
        beside = other.ceiling if other else None
        on_other = (
            f" ({_money_text(beside * times)} on the {found[0].other_lane} lane)" if isinstance(beside, float) else ""
        )
        yield f"at most {_money_text(most * times)} {estimate.currency} in all{on_other}"
    if estimate.seconds.low is not None:
        yield f"{duration_text(estimate.seconds.low * times)} at least by the limits given"


def _forecast_text(forecast: Forecast, language: Language) -> str:
    estimate = forecast.estimate
    time = "time still to come" if estimate.recorded else "time"
    rows = [
        (language.say("input tokens"), *_range_cells(estimate.input, short_number)),
        (language.say("output tokens"), *_range_cells(estimate.output, short_number)),
        (
            language.say(time),
            *_range_cells(estimate.seconds, duration_text),
        ),
        *_cost_cells(language.say("cost"), estimate),
    ]
    said = [
        f"{number_text(estimate.rows)} rows for {forecast.model} ({forecast.endpoint}):",
        *grid_lines(HEADINGS, rows, language),
    ]
    if isinstance(estimate.cost, Unknown):
        advice = "" if forecast.endpoint in FREE else " Give a price with --prices FILE."
        said.append(f"  The cost is not known: {estimate.cost.reason}.{advice}")
    else:
        said += _ceiling_lines(estimate)
    said.append(f"  How: {estimate.method}.")
    said += _ways_lines(forecast, language)
    return "\n".join(said)


def _ways_lines(forecast: Forecast, language: Language) -> list[str]:
    """Return the ways to send the rows, with prices and waiting times side by side, and why some have no price."""
    if len(forecast.ways) < 2:
        return []
    rows = [
        (f"{way.name} ({way.flag})", *map(language.say, _way_cells(way)), language.say(way.waits))
        for way in forecast.ways
    ]
    table = grid_lines(("", *HEADINGS[1:], "at most", "answers"), rows, language)
    return ["Ways to send them:", *table, *_missing_price_lines(forecast)]


def _missing_price_lines(forecast: Forecast) -> Iterator[str]:
    """Return each reason for a missing price once, unless it was said of the estimate itself."""
    cost = forecast.estimate.cost
    reasons: dict[str, list[str]] = {}
    for way in forecast.ways:
        if way.no_price and not (isinstance(cost, Unknown) and way.no_price == cost.reason):
            reasons.setdefault(way.no_price, []).append(way.name)
    for reason, names in reasons.items():
        yield f"  No price for {', '.join(names)}: {reason}."


def _way_cells(way: Way) -> tuple[str, ...]:
    """Return low, expected, high and ceiling of the cost, or dashes where there is no price."""
    estimate = way.estimate
    if estimate is None or isinstance(estimate.cost, Unknown):
        return ("-", "-", "-", "no price")
    most = "-" if isinstance(estimate.ceiling, Unknown) else f"{_money_text(estimate.ceiling)} {estimate.currency}"
    return (*_range_cells(estimate.cost, _money_text), most)


def _ceiling_lines(estimate: Estimate) -> list[str]:
    """Return what may lie above the high bound, and what cannot be exceeded."""
    guessed = estimate.sampled >= MIN_SAMPLE and estimate.recorded < estimate.rows
    said: list[str] = []
    if estimate.output.high == 0:
        return said  # an embedding, whose cost is that of its input
    if guessed:
        missed = 1 / (1 - MISSED ** (1 / estimate.sampled))
        said.append(
            f"  Of a kind of answer that fewer than 1 row in {missed:.0f} has, the sample may hold none. High takes "
            "those to be a little longer than the longest it holds; much dearer ones are in no bound: sample more."
        )
    if isinstance(estimate.ceiling, Unknown):
        said.append(f"  No ceiling can be given: {estimate.ceiling.reason}.")
        return said
    most = f"{_money_text(estimate.ceiling)} {estimate.currency}"
    if guessed and not isinstance(estimate.surely, Unknown):
        surely = f"{_money_text(estimate.surely)} {estimate.currency}"
        said.append(f"  However long those are within their limits, it is below {surely} in 19 of 20 samples.")
    said.append(f"  At most {most}, each answer as long as its limit; max_tokens does not limit thinking.")
    return said


def _sum_lines(found: list[Forecast], language: Language) -> list[str]:
    """Return the sum, where there are several kinds of rows."""
    whole = combined_cost([each.estimate for each in found]) if len(found) > 1 else None
    if whole is None:
        return []
    return [
        "All of them:",
        *grid_lines(
            HEADINGS,
            [(f"{language.say('cost')} ({found[0].estimate.currency})", *_range_cells(whole, _money_text))],
            language,
        ),
    ]


def _cost_cells(name: str, estimate: Estimate) -> list[tuple[str, ...]]:
    if isinstance(estimate.cost, Unknown):
        return []
    at_most = ", at most" if estimate.at_most else ""
    return [(f"{name} ({estimate.currency}{at_most})", *_range_cells(estimate.cost, _money_text))]


def _range_cells(values: Range, said: Callable[[float], str]) -> tuple[str, ...]:
    return tuple("-" if value is None else said(value) for value in (values.low, values.expected, values.high))


def _money_text(amount: float) -> str:
    return f"{amount:,.2f}" if amount >= 1 else f"{amount:.2g}"
