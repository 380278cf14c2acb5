"""One session over an opened run, from the first call to the last fsync.

Puts together what the job asks for, and has the engine work while the journal is kept durable and the observers are
told how it goes. Whoever holds the session may ask it to stop, or give it orders; cancelling it abandons the calls in
flight. Either way the journal is closed in order and the run resumes.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from arkbatch.core.errors import ArkbatchError, StorageFull, UsageError
from arkbatch.core.input_info import Position
from arkbatch.core.job import Limits
from arkbatch.core.stats import Histogram
from arkbatch.core.types import BadRow, Row
from arkbatch.engine.command_handler import CommandHandler
from arkbatch.engine.cost_limit import MAX_COST, MAX_TOKENS, plain
from arkbatch.engine.notifier import SessionNotifier
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.pace_report import PaceReport
from arkbatch.engine.periodic_sync import PeriodicSync
from arkbatch.engine.run_hours import RunHours
from arkbatch.engine.slow_call_report import SlowCallReport
from arkbatch.engine.ticker import SessionTicker
from arkbatch.engine.wiring import (
    build_dependencies,
    build_limiter,
    build_outage,
    build_pace,
    pack_rows,
    read_in_groups,
    read_memory,
)
from arkbatch.engine.worker_pool import WorkerPool
from arkbatch.journal.run_directory import LOG, SessionInfo
from arkbatch.limits.pace_file import write_pace
from arkbatch.limits.rate_source import LeasedRates
from arkbatch.monitor.commands import Command, CommandReply
from arkbatch.monitor.observer import Observer, ObserverGroup
from arkbatch.monitor.run_log import RunLog
from arkbatch.pricing.summary import Summary, summarise
from arkbatch.transport.build import open_connection
from arkbatch.transport.connection_slots import ConnectionSlots
from arkbatch.transport.transport import Transport

if TYPE_CHECKING:
    from arkbatch.limits.limiter import Limiter

ABANDONED = "abandoned"
DISK_FULL = "disk full"


class Session:
    """One session of one run. `work` once; `stop` from a signal handler or an observer.

    is_stopping: somebody asked for it
    rates: leases on limits that other workers share, None where the limits are this session's own
    """

    def __init__(
        self,
        run: OpenRun,
        observers: Sequence[Observer] = (),
        chance: Callable[[], float] = random.random,
        rates: LeasedRates | None = None,
    ) -> None:
        self._run = run
        self._observers = observers
        self._observer = Observer()
        self._chance = chance
        self._rates = rates
        self.is_stopping = False
        self._engine: WorkerPool | None = None
        self._limiter: Limiter | None = None
        self._steering: CommandHandler | None = None

    def handle(self, order: Command) -> CommandReply:
        """Do what a person wants of the session while it works. ArkbatchError: why it was not done."""
        if self._steering is None:
            raise UsageError("The session is only beginning. Try again in a moment.")
        return self._steering.handle(order)

    @property
    def _limits(self) -> Limits:
        return self._steering.limits if self._steering else self._run.job.limits

    def stop(self) -> None:
        """Send no more, and end when the calls in flight have ended."""
        self.is_stopping = True
        if self._engine is not None:
            self._observer.stopping(self._engine.in_flight)
            self._engine.stop()

    async def work(self) -> Summary:
        """Work off the rows that have no record yet."""
        journal = self._run.journal
        return await self._work(self._run.rows(), lambda engine: engine.resume_at(journal.resume_at))

    async def work_again(self, rows: Iterator[Row | BadRow]) -> Summary:
        """Work off rows that have a record: where the input is to be resumed does not move."""
        unmoved = self._run.journal.resume_at
        return await self._work(rows, lambda _: unmoved)

    async def _work(self, rows: Iterator[Row | BadRow], resume_at: Callable[[WorkerPool], Position]) -> Summary:
        run, job, slots = self._run, self._run.job, ConnectionSlots()
        now, durable = asyncio.get_running_loop().time, PeriodicSync(run)
        with RunLog(run.directory / LOG, run.wall) as log:
            self._observer = ObserverGroup([*self._observers, log, durable])
            self._observer.opened(run.found)
            # First of all, since it may be refused: then no session has begun that would have to be ended.
            async with (
                open_connection(job, run.wall, slots, self._observer.detailed) as transport,
                SessionNotifier(run, self._observer) as noticing,
            ):
                info = run.begin_session(msgspec.to_builtins(job.limits))
                began, ending = now(), ABANDONED
                engine, telling = self._put_together(rows, info, transport, slots, noticing)
                if self.is_stopping:  # somebody asked before there was anything to stop
                    engine.stop()
                try:
                    sync = durable.keep(lambda: resume_at(engine), telling.note)
                    async with _beside(sync, telling.keep(), *self._leases(engine)):
                        ending = (await engine.work_off(job.limits.concurrency)).value
                except StorageFull:
                    ending = DISK_FULL
                    raise
                finally:
                    telling.last()
                    if ending != DISK_FULL:
                        write_pace(run.directory, telling.note())
                        run.journal.close(resume_at(engine))
                        run.end_session(info, ending, now() - began)
                    self._observer.closed(ending)
                    self._engine = None  # a late Ctrl-C has nothing to stop, and soon no log to be told in
                summary = summary_of(run, ending, now() - began, engine)
                noticing.ended(summary)
        return summary

    def _leases(self, engine: WorkerPool) -> "Iterator[asyncio._CoroutineLike[None]]":
        """The conversation about limits that other workers share, where there is one."""
        limiter = self._limiter
        if self._rates is not None and limiter is not None:
            yield self._rates.keep(limiter, lambda: limiter.circuit_breaker.is_away, engine.spending)

    def _put_together(
        self,
        rows: Iterator[Row | BadRow],
        info: SessionInfo,
        transport: Transport,
        slots: ConnectionSlots,
        noticing: SessionNotifier,
    ) -> tuple[WorkerPool, SessionTicker]:
        """Build all that works on these rows."""
        run, job, observer, clock = self._run, self._run.job, self._observer, asyncio.get_running_loop().time
        began = clock()
        pace = build_pace(job, began, read_memory(run))
        outage = build_outage(job, began, known=run.journal.ledger.done.count > 0)
        limiter = self._limiter = build_limiter(job, began, pace, outage, self._rates)
        timetable = RunHours(job.hours, limiter, observer, noticing, wall=run.wall, now=began)
        timetable.look(began)
        tools = build_dependencies(
            run,
            limiter=limiter,
            transport=transport,
            observer=observer,
            call_prefix=f"{job.request_id_prefix}{run.info.run_id}-{info.number}",
            chance=self._chance,
        )
        engine = self._engine = WorkerPool(pack_rows(read_in_groups(rows), job), tools)
        telling = SessionTicker(
            run=run,
            observer=observer,
            engine=engine,
            limiter=limiter,
            finding=PaceReport(pace, outage, job, observer, run.wall),
            timetable=timetable,
            straggling=SlowCallReport(limiter.slow_calls, observer, run.wall),
            noticing=noticing,
            limits=lambda: self._limits,
            began=began,
        )
        self._steering = CommandHandler(
            run=run,
            session=info,
            engine=engine,
            limiter=limiter,
            pace=pace,
            slots=slots,
            observer=observer,
            clock=clock,
            look=telling.standing,
            stop=self.stop,
        )
        return engine, telling


def summary_of(run: OpenRun, ending: str, seconds: float, engine: WorkerPool | None = None) -> Summary:
    """The summary of a session, also of one that had nothing to send."""
    return summarise(
        run.journal.ledger,
        engine.latency if engine else Histogram(),
        ending=ending,
        run_dir=str(run.directory.path),
        simulated=run.info.simulated,
        total=run.found.done + run.found.failed + run.found.left,
        session=_counted(engine) if engine else {"recorded": 0, "retried": 0},
        seconds=seconds,
        speeds=engine.speeds if engine else None,
        halt=engine.halt if engine else None,
        budget=_enough(engine) if engine else "",
        bill=run.bill,
    )


def _enough(engine: WorkerPool) -> str:
    """The budget with which a run goes on that ended for want of it."""
    spending, code = engine.spending, engine.halt.code if engine.halt else ""
    return plain(spending.suggested_budget(code)) if spending is not None and code in {MAX_COST, MAX_TOKENS} else ""


def _counted(engine: WorkerPool) -> dict[str, int]:
    counted = {"recorded": engine.recorded, "retried": engine.retried}
    if engine.hedging is not None:
        counted |= {"asked_again": engine.hedging.asked_again, "second_won": engine.hedging.won}
    return counted | ({"seconds_away": away} if (away := round(engine.seconds_away)) else {})


@asynccontextmanager
async def _beside(*chores: "asyncio._CoroutineLike[None]") -> AsyncIterator[None]:
    """Endless chores that run while the body does. One that fails ends the body with its error."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(chore) for chore in chores]
            yield
            for task in tasks:
                task.cancel()
    except* ArkbatchError as errors:
        raise errors.exceptions[0] from None
