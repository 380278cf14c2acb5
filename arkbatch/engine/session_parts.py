"""Builds the parts of a session from its job."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from arkbatch.core.errors import ArkbatchError
from arkbatch.core.job import Job
from arkbatch.core.row import BadRow, Row
from arkbatch.engine.call import Dependencies
from arkbatch.engine.command_handler import CommandHandler
from arkbatch.engine.cost_limit import CostLimit, build_cost_limit
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.pace_report import PaceReport, server_name
from arkbatch.engine.progress_report import ProgressReport
from arkbatch.engine.refusal_report import RefusalReport
from arkbatch.engine.run_hours import RunHours
from arkbatch.engine.schema_process import SchemaProcess
from arkbatch.engine.slow_call_report import SlowCallReport
from arkbatch.engine.tool_loop import ToolLoop
from arkbatch.engine.tool_module import load_tool_module
from arkbatch.engine.worker_pool import WorkerPool
from arkbatch.limits.adaptive_limit import AdaptiveLimit
from arkbatch.limits.circuit_breaker import CircuitBreaker
from arkbatch.limits.fixed_limit import FixedLimit
from arkbatch.limits.leased_rates import LeasedRates
from arkbatch.limits.limiter import Limiter
from arkbatch.limits.pace_file import PaceNote, read_pace
from arkbatch.limits.published_limits import published_limits, ramp_at
from arkbatch.limits.slow_calls import CallsInFlight
from arkbatch.limits.starting_point import Memory
from arkbatch.limits.token_rate import TokenRate
from arkbatch.limits.token_split import Allowance, SplitTokenRates, TokenGrowth
from arkbatch.monitor.observer import Observer
from arkbatch.protocol.dialects import error_numbers
from arkbatch.protocol.setting_names import setting_names
from arkbatch.protocol.structured_output import Validation
from arkbatch.rows.media_files import Images
from arkbatch.rows.packing import Packer, packing_of
from arkbatch.transport.transport import Transport

_TOGETHER, _CLOSE = 16, 1 << 16  # rows, and bytes of the input from the first to the last


class SessionParts(Struct, frozen=True):
    """What works on the rows of one session."""

    pool: WorkerPool
    limiter: Limiter
    cost_limit: CostLimit | None
    tools: ToolLoop | None
    pace_report: PaceReport
    hours: RunHours
    slow_calls: SlowCallReport
    refusals: RefusalReport
    progress: ProgressReport
    commands: CommandHandler

    @property
    def in_flight(self) -> int:
        """Calls of the service, and rows whose tools are at work."""
        return self.limiter.in_flight + (self.tools.at_work if self.tools is not None else 0)

    def make_pace_note(self, now: float) -> PaceNote:
        """What the run directory keeps of the limits and of the slow calls."""
        return msgspec.structs.replace(
            self.pace_report.make_note(now),
            waiting=self.hours.waiting,
            refused=found.full_text if (found := self.refusals.refusals) else "",
            outlook=self.hours.outlook,
            straggling=self.slow_calls.number,
            stragglers=self.slow_calls.longest,
        )


def read_in_groups(rows: Iterator[Row | BadRow]) -> Iterator[Row | BadRow]:
    """The same rows, some read at a time, as far as they are small.

    A row that is read in the midst of all else that is done for one takes twice as long as one behind another: the
    processor has to fetch the code for it anew.
    """
    read: list[Row | BadRow] = []
    try:
        for row in rows:
            read.append(row)
            if len(read) == _TOGETHER or abs(row.offset - read[0].offset) >= _CLOSE:
                yield from read
                read.clear()
    except ArkbatchError:  # what was read before it is as good as ever
        yield from read
        raise
    yield from read


def pack_rows(rows: Iterator[Row | BadRow], job: Job) -> Iterator[Row | BadRow]:
    """The rows, put together where the job wants it."""
    most = packing_of(job.embeddings.pack, at_ark=job.at_ark)
    return rows if most is None else Packer(rows, most)


def build_pace(job: Job, now: float, memory: Memory | None = None) -> AdaptiveLimit | FixedLimit:
    """The pace of a job: given limits are ceilings, and what the service grants below them is found out.

    Without a given rate it begins, at Ark, from the published limit of the model and as slowly as Ark advises.
    """
    limits, entry = job.limits, None
    if limits.mode == "fixed":
        return FixedLimit(limits.concurrency)
    is_found = limits.rpm is None and job.lane == "online"  # the batch lane has a line and no rate
    ramp = ramp_at(job.base_url) if is_found else None
    if is_found:
        entry = published_limits(job.model, job.base_url)
    return AdaptiveLimit(
        now,
        concurrency=limits.concurrency,
        rate=limits.rpm,
        ramp=ramp,
        start=entry.start if entry else None,
        memory=memory,
    )


def build_outage(job: Job, now: float, *, known: bool) -> CircuitBreaker:
    """`known`: the service has answered before."""
    return CircuitBreaker(now, width=job.limits.concurrency, give_up_after=job.retry.give_up_after, known=known)


def build_limiter(
    job: Job, now: float, pace: AdaptiveLimit | FixedLimit, outage: CircuitBreaker, rates: LeasedRates | None = None
) -> Limiter:
    """The limiter of a job, with the given limits; with leases on shared limits, these stand in their place."""
    limits = job.limits
    if rates is not None:
        slow_calls = CallsInFlight() if job.lane == "online" else None
        return Limiter(
            concurrency=limits.concurrency, shares=[rates], pace=rates.pace, outage=outage, slow_calls=slow_calls
        )
    return Limiter(
        concurrency=limits.concurrency,
        requests_per_minute=limits.rpm,
        tokens=TokenRate(limits.tpm, now) if limits.tpm else None,
        shares=_further_limits(job, now),
        pace=pace,
        outage=outage,
        # The batch lane holds calls for hours, by nature.
        slow_calls=CallsInFlight() if job.lane == "online" else None,
    )


def _further_limits(job: Job, now: float) -> list[Allowance]:
    """What is kept beside the limit of all tokens."""
    given, generated = job.limits.input_tpm, job.limits.output_tpm
    shares: list[Allowance] = []
    if given or generated:
        parts = (TokenRate(limit, now) if limit else None for limit in (given, generated))
        shares.append(SplitTokenRates(*parts))
    if job.lane == "online" and ramp_at(job.base_url) is not None:
        shares.append(TokenGrowth(now))
    return shares


def read_memory(run: OpenRun) -> Memory | None:
    """What an earlier session found about this model at this address."""
    note, job = read_pace(run.directory), run.job
    if note is None or (note.model, note.base_url) != (job.model, server_name(job)):
        return None
    return note.memory(run.wall())


@contextmanager
def open_validation(job: Job) -> Iterator[Validation | None]:
    """The check of answers against the job's schema, None if it has none."""
    if not job.schema_text:
        yield None
        return
    with closing(SchemaProcess(job.schema_text)) as process:
        yield Validation(process.misfit, job.validate.attempts)


def _tool_loop(job: Job, observer: Observer, validation: Validation | None) -> ToolLoop | None:
    """Who calls the tools for which a model asks, if the job has any."""
    if not job.functions:
        return None
    return ToolLoop(load_tool_module(Path(job.tools.module), "tools.module"), job.tools, observer, validation)


def build_dependencies(
    run: OpenRun,
    *,
    limiter: Limiter,
    transport: Transport,
    observer: Observer,
    call_prefix: str,
    chance: Callable[[], float],
    validation: Validation | None,
) -> Dependencies:
    job = run.job
    tools = _tool_loop(job, observer, validation)
    return Dependencies(
        limiter=limiter,
        transport=transport,
        journal=run.journal,
        observer=observer,
        retry=job.retry,
        replies=job.replies,
        model=job.model,
        call_prefix=call_prefix,
        chance=chance,
        wall=run.wall,
        cost_limit=build_cost_limit(job, run.journal.ledger, run.bill, run.wall),
        files=Images(job.images) if job.images else None,
        check=tools.check_reply if tools else validation,
        tools=tools,
        hedge=job.limits.concurrency if job.hedge and limiter.slow_calls is not None else 0,
        error_numbers={} if job.simulated else error_numbers(job.provider, job.base_url),
        setting_names=setting_names(
            job.provider,
            job.base_url,
            at_ark=job.at_ark,
            address_from=job.base_url_from,
            model_from=job.model_from,
            headers=job.headers,
            query=job.query,
        ),
        has_answered=run.journal.ledger.done.count > 0,
    )
