"""Builds the estimate of a job from row sizes and a measured sample.

Rows are grouped by endpoint and model, since each has its own prices. The same rows are also priced on the other lane
where that has a price: batch for online rows, and the other way round. `estimate.forecast` does the arithmetic.
"""

from collections.abc import Mapping
from datetime import datetime
from random import Random

from msgspec import Struct

from arkbatch.core.job import BATCH_FILE_LANES, Job
from arkbatch.core.usage import Usage
from arkbatch.estimate.confidence import fit_line
from arkbatch.estimate.extrapolate import Measured, Price
from arkbatch.estimate.forecast import (
    Ceiling,
    Estimate,
    RunPace,
    from_sample,
    without_sample,
)
from arkbatch.estimate.input_sizes import Inputs
from arkbatch.estimate.lane_comparison import Way, ways_to_send
from arkbatch.estimate.measured_rows import Kind, MeasuredRecords, Sums
from arkbatch.estimate.strata import Sizes
from arkbatch.limits.token_estimator import OVERHEAD
from arkbatch.pricing.amounts import Cost, Unknown
from arkbatch.pricing.billed_usage import FREE
from arkbatch.pricing.pricer import Pricer
from arkbatch.pricing.run_cost import BATCH, ONLINE, Bill, lane_of
from arkbatch.pricing.run_price_file import book_of_job
from arkbatch.pricing.tariff import Tariff
from arkbatch.protocol.endpoints.batch_lane import batch_name, online_name

NOTHING_BILLED = Unknown("no price list of Ark has it, and its replies count no tokens: nothing seems to be billed")


class Forecast(Struct, frozen=True):
    """The estimate of one endpoint and model, on both lanes.

    lane, other_lane: online or batch; other: None where the other lane has no price
    ways: all ways in which the rows could be sent, the job's own first
    """

    endpoint: str
    model: str
    lane: str
    estimate: Estimate
    other_lane: str
    other: Estimate | None
    ways: list[Way] = []


class Question(Struct, frozen=True):
    """What all estimates of one job have in common.

    records: what was sent of it; None when nothing was, or when it is ignored
    seed: the same for each question about a run
    """

    job: Job
    now: datetime
    records: MeasuredRecords | None = None
    seed: str = ""


def make_forecasts(question: Question, kinds: Mapping[Kind, Inputs]) -> list[Forecast]:
    """Return a forecast for each kind of row in the input."""
    return [_make_forecast(question, kind, inputs) for kind, inputs in kinds.items()]


def bills_of(job: Job, kind: Kind) -> dict[str, Bill]:
    """Return bills for the records of a kind, on both lanes."""
    return {endpoint: Bill(Pricer(book_of_job(job)), job.model) for endpoint in (kind[0], _other_lane(kind[0]))}


def _other_lane(endpoint: str) -> str:
    """Return the same API on the other lane."""
    return online_name(endpoint) if lane_of(endpoint) == BATCH else batch_name(endpoint)


def _make_forecast(question: Question, kind: Kind, inputs: Inputs) -> Forecast:
    endpoint, model = kind
    other, job = _other_lane(endpoint), question.job
    if endpoint in FREE:
        unbilled = _estimate_rows(question, kind, inputs, endpoint, NOTHING_BILLED)
        return Forecast(endpoint, model, ONLINE, unbilled, BATCH, None)
    asked = job.defaults.get("service_tier")
    bill, tier = Bill(Pricer(book_of_job(job)), job.model), asked if isinstance(asked, str) else ""
    if job.lane in BATCH_FILE_LANES:  # rows of batch files are rows of the online API at the batch price
        tier = BATCH
    beside = bill.tariff_of(model, lane_of(other), "")
    own = _estimate_rows(question, kind, inputs, endpoint, bill.tariff_of(model, lane_of(endpoint), tier))
    if job.lane in BATCH_FILE_LANES:
        beside = bill.tariff_of(model, ONLINE, "")

    def estimate(priced_as: str, tariff: Tariff | Unknown) -> Estimate | None:
        return None if isinstance(tariff, Unknown) else _estimate_rows(question, kind, inputs, priced_as, tariff)

    return Forecast(
        endpoint,
        model,
        BATCH if tier == BATCH else lane_of(endpoint),
        own,
        ONLINE if tier == BATCH else lane_of(other),
        estimate(other, beside),
        ways_to_send(job, endpoint, model, bill, estimate),
    )


def _estimate_rows(question: Question, kind: Kind, inputs: Inputs, endpoint: str, tariff: Tariff | Unknown) -> Estimate:
    """Estimate the rows of this kind, priced as if they were sent to this endpoint."""
    price, ceiling = _price_functions(tariff, question.now)
    if question.job.functions and online_name(endpoint) == "chat":
        ceiling = _in_rounds
    limits = question.job.limits
    pace = RunPace(limits.concurrency, limits.rpm, limits.tpm, limits.input_tpm, limits.output_tpm)
    sample, left = _measured_and_left(question.records, inputs)
    if not any(one.usage for one in sample):
        return without_sample(left, price, ceiling, pace)
    assert question.records is not None
    sums = question.records.kinds.get(kind) or Sums(bills_of(question.job, kind))
    recorded = sums.recorded_on(endpoint)
    chance = Random(f"{question.seed} {kind}").random  # noqa: S311  nothing to guess
    return from_sample(left, recorded, sample, price=price, ceiling=ceiling, pace=pace, chance=chance)


def _measured_and_left(records: MeasuredRecords | None, inputs: Inputs) -> tuple[list[Measured], Sizes]:
    """Return the sample, and the sizes of the rows that are left.

    Guessed input tokens of both are corrected by what the sample measured.
    """
    went_of = {} if records is None else records.sampled
    found = [(sent, went_of[sent.number]) for sent in inputs.sample if sent.number in went_of]
    told = [(sent.tokens, went.usage["input"]) for sent, went in found if went.usage.get("input")]
    start, slope = fit_line(told) if told else (OVERHEAD, 1.0)
    sample = [Measured(start + slope * sent.tokens, sent.ceiling, went.usage, went.seconds) for sent, went in found]
    return sample, inputs.sizes_left(start, slope)


def _in_rounds(given: int, answered: int) -> Unknown:
    """Return why a row whose model may call tools has no ceiling."""
    del given, answered
    return Unknown("tools are called in rounds, each of which is a call")


def _price_functions(tariff: Tariff | Unknown, now: datetime) -> tuple[Price, Ceiling]:
    def price(usage: Usage) -> Cost | Unknown:
        return tariff if isinstance(tariff, Unknown) else tariff.cost_of_call(usage, now)

    def ceiling(given: int, answered: int) -> Cost | Unknown:
        return tariff if isinstance(tariff, Unknown) else tariff.highest_cost(given, answered, now)

    return price, ceiling
