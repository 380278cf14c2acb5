"""One session over an opened run, from the first call to the last fsync.

A session builds what the job asks for, and works off the rows while the journal is kept durable and the observers are
told how it stands. `stop` lets the calls in flight finish, and cancelling `work` abandons them. Either way the journal
is closed in order, and the run can be resumed.

    rows (OpenRun) -> WorkerPool.work_off -> RowRunner.run -> CallRunner.run -> transport
                           |                                      |
                      OutcomeRecorder -> Journal                limiter
"""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext

import msgspec

from arkbatch.core.errors import StorageFull, UsageError
from arkbatch.core.input_info import Position
from arkbatch.core.row import BadRow, Row
from arkbatch.engine.command_handler import CommandHandler, LimitsInForce
from arkbatch.engine.notifier import SessionNotifier
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.pace_report import PaceReport
from arkbatch.engine.periodic_sync import PeriodicSync
from arkbatch.engine.progress_report import ProgressReport
from arkbatch.engine.recorder import OutcomeRecorder
from arkbatch.engine.refusal_report import RefusalReport
from arkbatch.engine.run_beside import run_together
from arkbatch.engine.run_hours import RunHours
from arkbatch.engine.session_parts import (
    SessionParts,
    build_dependencies,
    build_limiter,
    build_outage,
    build_pace,
    open_validation,
    pack_rows,
    read_in_groups,
    read_memory,
)
from arkbatch.engine.session_summary import summary_of
from arkbatch.engine.slow_call_report import SlowCallReport
from arkbatch.engine.ticker import keep_ticking
from arkbatch.engine.worker_pool import Ending, WorkerPool
from arkbatch.journal.run_directory import LOG
from arkbatch.journal.run_info import SessionInfo
from arkbatch.limits.leased_rates import LeasedRates
from arkbatch.limits.pace_file import write_pace
from arkbatch.monitor.commands import Command, CommandReply
from arkbatch.monitor.observer import Observer, ObserverGroup
from arkbatch.monitor.run_log import RunLog
from arkbatch.pricing.summary import UNWRITTEN, Summary
from arkbatch.protocol.structured_output import Validation
from arkbatch.transport.connection import open_connection
from arkbatch.transport.connection_slots import ConnectionSlots
from arkbatch.transport.transport import Transport

ABANDONED = "abandoned"
_COPIES_TOGETHER = 500  # rows recorded in one go
DISK_FULL = "disk full"


class Session:
    """One session of one run. Call `work` once, and `stop` from a signal handler or an observer.

    is_stopping: somebody asked for it
    rates: leases on limits that other workers share, None where the limits are this session's own
    transport: connections that sessions before it have used, None to open new ones
    rows_used_up: called when only calls in flight and rows that wait for a retry are left
    """

    def __init__(
        self,
        run: OpenRun,
        observers: Sequence[Observer] = (),
        chance: Callable[[], float] = random.random,
        rates: LeasedRates | None = None,
        transport: Transport | None = None,
        *,
        rows_used_up: Callable[[], None] = lambda: None,
    ) -> None:
        self._run = run
        self._observers = observers
        self._observer = Observer()
        self._chance = chance
        self._rates = rates
        self._transport = transport
        self._rows_used_up = rows_used_up
        self._parts: SessionParts | None = None
        self.is_stopping = False
        self._copied = 0

    def handle(self, command: Command) -> CommandReply:
        """Carry out a command while the session works. ArkbatchError: why it was not done."""
        if self._parts is None:
            raise UsageError("The session is only beginning. Try again in a moment.")
        return self._parts.commands.handle(command)

    def stop(self) -> None:
        """Send no more, and end when the calls in flight have ended."""
        self.is_stopping = True
        if self._parts is not None:
            self._observer.stopping(self._parts.in_flight)
            self._parts.pool.stop()

    async def work(self) -> Summary:
        """Work off the rows that have no record yet."""
        before = self._run.journal.resume_at
        if self._run.repeats is not None:  # rows that were passed over get their records last
            return await self._work_off(self._run.rows(), lambda _: before)
        return await self._work_off(self._run.rows(), lambda recorder: recorder.resume_at(before))

    async def work_again(self, rows: Iterator[Row | BadRow]) -> Summary:
        """Work off rows that have a record. The place where the input is resumed does not move."""
        unmoved = self._run.journal.resume_at
        return await self._work_off(rows, lambda _: unmoved)

    async def _work_off(
        self, rows: Iterator[Row | BadRow], resume_at: Callable[[OutcomeRecorder], Position]
    ) -> Summary:
        run, job, slots = self._run, self._run.job, ConnectionSlots()
        now, sync = asyncio.get_running_loop().time, PeriodicSync(run)
        with RunLog(run.directory / LOG, run.wall) as log, open_validation(job) as validation:
            refusals = RefusalReport(run.wall, sync.write_now)
            self._observer = ObserverGroup([*self._observers, log, sync, refusals])
            self._observer.opened(run.found)
            # The connection may be refused. It is opened first, so that no session has begun that must be ended.
            async with (
                self._open_transport(slots) as transport,
                SessionNotifier(run, self._observer) as notifier,
            ):
                info = run.begin_session(msgspec.to_builtins(job.limits))
                began, ending = now(), ABANDONED
                parts = self._parts = self._put_together(
                    rows,
                    info=info,
                    transport=transport,
                    slots=slots,
                    notifier=notifier,
                    validation=validation,
                    refusals=refusals,
                )
                if self.is_stopping:  # somebody asked before there was anything to stop
                    parts.pool.stop()
                ticking = (parts.hours, parts.pace_report, parts.slow_calls, parts.pool, refusals, parts.progress)
                recorder = parts.pool.recorder
                try:
                    chores = [
                        sync.keep_syncing(
                            recorder.has_written, lambda: resume_at(recorder), lambda: parts.make_pace_note(now())
                        ),
                        keep_ticking(ticking),
                        *self._keep_leases(parts),
                    ]
                    async with run_together(*chores):
                        ending = (await parts.pool.work_off(job.limits.concurrency)).value
                        if ending == Ending.FINISHED:
                            await self._record_copies(recorder)
                        if recorder.unwritten:
                            ending = UNWRITTEN
                except StorageFull:
                    ending = DISK_FULL
                    raise
                finally:
                    parts.slow_calls.tick(now())
                    self._observer.progressed(parts.progress.progress())
                    if ending != DISK_FULL:
                        write_pace(run.directory, parts.make_pace_note(now()))
                        run.journal.close(resume_at(recorder))
                        run.end_session(info, ending, now() - began)
                    self._observer.closed(ending)
                    self._parts = None  # a late Ctrl-C has nothing to stop, and soon there is no log to tell it
                summary = summary_of(run, ending, now() - began, parts)
                if self._copied:
                    summary.session["copied"] = self._copied
                notifier.tell_end(summary)
        return summary

    def _open_transport(self, slots: ConnectionSlots) -> AbstractAsyncContextManager[Transport]:
        if self._transport is not None:
            return nullcontext(self._transport)
        return open_connection(self._run.job, self._run.wall, slots, self._observer.detailed)

    async def _record_copies(self, recorder: OutcomeRecorder) -> None:
        """Record the rows that repeat the request of a row with a record."""
        for number, outcome in enumerate(self._run.copied_outcomes(), 1):
            recorder.add(outcome)
            self._copied = number
            if number % _COPIES_TOGETHER == 0:
                recorder.write()
                await asyncio.sleep(0)
        recorder.write()

    def _keep_leases(self, parts: SessionParts) -> "Iterator[asyncio._CoroutineLike[None]]":
        """The conversation about limits that other workers share, where there is one."""
        if self._rates is not None:
            limiter = parts.limiter
            yield self._rates.renew_leases(limiter, lambda: limiter.circuit_breaker.is_away, parts.cost_limit)

    def _put_together(
        self,
        rows: Iterator[Row | BadRow],
        *,
        info: SessionInfo,
        transport: Transport,
        slots: ConnectionSlots,
        notifier: SessionNotifier,
        validation: Validation | None,
        refusals: RefusalReport,
    ) -> SessionParts:
        run, job, observer, began = self._run, self._run.job, self._observer, asyncio.get_running_loop().time()
        pace = build_pace(job, began, read_memory(run))
        outage = build_outage(job, began, known=run.journal.ledger.done.count > 0)
        limiter = build_limiter(job, began, pace, outage, self._rates)
        hours = RunHours(job.hours, limiter, observer, notifier, wall=run.wall, now=began)
        hours.tick(began)
        dependencies = build_dependencies(
            run,
            limiter=limiter,
            transport=transport,
            observer=observer,
            call_prefix=f"{job.request_id_prefix}{run.info.run_id}-{info.number}",
            chance=self._chance,
            validation=validation,
        )
        pool = WorkerPool(pack_rows(read_in_groups(rows), job), dependencies, self._rows_used_up)
        slow_calls = SlowCallReport(limiter.slow_calls, observer, pool.hedging, run.wall)
        limits = LimitsInForce(job.limits)
        progress = ProgressReport(
            run=run,
            observer=observer,
            pool=pool,
            limiter=limiter,
            pace=pace,
            hours=hours,
            slow_calls=slow_calls,
            refusals=refusals,
            limits=limits,
            began=began,
        )
        commands = CommandHandler(
            run=run,
            session=info,
            pool=pool,
            limiter=limiter,
            pace=pace,
            slots=slots,
            cost_limit=dependencies.cost_limit,
            observer=observer,
            limits=limits,
            progress=progress.progress,
            stop=self.stop,
        )
        return SessionParts(
            pool,
            limiter,
            dependencies.cost_limit,
            dependencies.tools,
            PaceReport(pace, outage, job=job, observer=observer, notifier=notifier, wall=run.wall),
            hours,
            slow_calls,
            refusals,
            progress,
            commands,
        )
