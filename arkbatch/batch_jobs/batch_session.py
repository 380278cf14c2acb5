"""One process that works on the parcels of a run: it cuts, sends, waits, collects and begins again with the rest.

What one parcel needs is known to `parcel_worker`. Whoever ends the process early loses nothing: batches run on, and the
next session finds them.
"""

import asyncio
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from arkbatch.batch_jobs.cutting import Caps, caps_of
from arkbatch.batch_jobs.forms import MARGIN, Form
from arkbatch.batch_jobs.merging import Check, Merger
from arkbatch.batch_jobs.parcel import Parcel, Stage
from arkbatch.batch_jobs.parcel_context import Pacing, ParcelContext
from arkbatch.batch_jobs.parcel_journal import PARCELS, ParcelJournal, read_parcels
from arkbatch.batch_jobs.parcel_rows import ParcelCutter
from arkbatch.batch_jobs.parcel_worker import ParcelWorker
from arkbatch.batch_jobs.rebuilding import ParcelRebuilding
from arkbatch.batch_jobs.service import BatchService, ServiceAway, ServiceRefused
from arkbatch.core.errors import RunDirectoryError
from arkbatch.core.text import count_text
from arkbatch.core.types import Cause, Failure, Kind, Outcome
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.session import summary_of
from arkbatch.engine.timezones import due_of
from arkbatch.journal.run_directory import SessionInfo
from arkbatch.monitor.observer import Observer
from arkbatch.pricing.amounts import ZERO
from arkbatch.pricing.summary import Summary

FINISHED, STOPPED, HALTED, ORDERED, REST = "finished", "stopped", "halted", "ordered", "rest online"
FAREWELL = "abandoned"

_MOST_EMPTY = 3  # parcels in a row that came back with nothing at all
_GUESSED_SECONDS = 10.0  # an online call, while no pace is known


class BatchSession:
    """One session. `work` once; `stop` from a signal handler: batches run on."""

    def __init__(
        self,
        run: OpenRun,
        service: BatchService,
        form: Form,
        *,
        observer: Observer,
        check: Check | None = None,
        pacing: Pacing | None = None,
    ) -> None:
        self._run = run
        self._service = service
        self._form = form
        self._observer = observer
        self._pacing = pacing or Pacing(form.poll_seconds)
        self._stopping = asyncio.Event()
        self._wants_rest = False
        self._recorded = 0
        self._check = check
        due = due_of(run.job.hours)
        self._due = None if due is None else due.first_moment_after(run.wall())

    def stop(self) -> None:
        """Send no more and end soon. Batches that are ordered run on."""
        self._stopping.set()

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    async def work(self, *, detach: bool = False, cancel: frozenset[int] | None = None) -> Summary:
        """Work until every row has a record, or until nothing more can be done.

        detach: end once everything is ordered
        cancel: cut nothing, cancel these parcels (all when it is empty), and merge what they come to
        """
        run, time = self._run, asyncio.get_running_loop().time
        self._refuse_exported()
        self._journal = ParcelJournal(run.directory, run.wall)
        self._cutter = ParcelCutter(run, self._journal, self._form, self._record_failure)
        self._merger = Merger(
            run.job,
            run.journal,
            wall=run.wall,
            check=self._check,
            told=self._count,
            learned=self._cutter.learn,
        )
        self._context = ParcelContext(
            run,
            self._journal,
            self._service,
            self._form,
            pacing=self._pacing,
            say=self._observer.noted,
            detail=self._observer.detailed,
            record=self._record_failure,
            accepts_loss=cancel is not None,
        )
        self._worker = ParcelWorker(self._context, self._merger, self._stopping.is_set)
        info, began, ending = run.begin_session(msgspec.to_builtins(run.job.limits)), time(), FAREWELL
        self._observer.opened(run.found)
        try:
            ending = await self._rebuild_and_work(detach=detach, cancel=cancel)
        except Exception:
            self._close(info, ending, time() - began)
            raise
        except BaseException:  # cancelled: nothing more is written, as after a kill
            self._cutter.abandon()
            self._journal.close()
            raise
        self._close(info, ending, time() - began)
        summary = summary_of(run, ending, time() - began)
        halt = self._context.halt
        if halt is not None:
            self._observer.halted(halt)
        return msgspec.structs.replace(summary, halt=halt, session={"recorded": self._recorded, "retried": 0})

    def _refuse_exported(self) -> None:
        """Rows that were exported may be paid already by somebody else."""
        exported = [each for each in read_parcels(self._run.directory).holding if each.stage == Stage.EXPORTED]
        if exported:
            rows, path = sum(each.cut.rows for each in exported), self._run.directory.path
            raise RunDirectoryError(
                f"{count_text(rows, 'row')} of {path} were exported: arkbatch collect {path} FILE... merges what came "
                f"of them, and arkbatch cancel {path} takes them back."
            )

    def _close(self, info: SessionInfo, ending: str, seconds: float) -> None:
        self._cutter.abandon()
        self._journal.close()
        self._run.journal.close()
        self._run.end_session(info, ending, seconds)
        self._observer.closed(ending)

    # ---- the loop

    async def _rebuild_and_work(self, *, detach: bool, cancel: frozenset[int] | None) -> str:
        while self._journal.is_incomplete and not self._has_halted() and not self.is_stopping:
            await self._rebuild()
        if self._has_halted():
            return HALTED
        if self.is_stopping:
            return STOPPED
        return await (self._work(detach=detach) if cancel is None else self._cancel(cancel))

    async def _rebuild(self) -> None:
        """Find the parcels of this run at the provider, since `parcels.jsonl` is lost or damaged."""
        path = self._run.directory / PARCELS
        self._observer.noted(f"{path} is missing or damaged: the batches of this run are looked for at the provider")
        try:
            await ParcelRebuilding(self._context, self._cutter).rebuild()
        except ServiceAway as away:
            await self._pause_for(self._worker.wait_for_service("the list of batches", away))
        except ServiceRefused as refused:
            said = f"{path} is missing or damaged, and the provider lists no batches: {refused.reason}"
            advice = (
                f"look in its console for batches of run {self._run.info.run_id}; if none is open, delete the "
                f"directory {self._journal.folder} and the file, and run the same command again"
            )
            self._context.stop(Cause(Kind.INVALID_REQUEST, refused.code, said, advice))

    async def _work(self, *, detach: bool) -> str:
        self._cutter.begin_pass()
        while True:
            await self._worker.advance_all(self._parcels())
            if self._has_halted():
                return HALTED
            if self.is_stopping:
                return STOPPED
            if self._is_time_for_online():
                self._wants_rest = True
                await self._worker.cancel(self._parcels())
            elif self._cut_next():
                continue
            if self._has_halted():
                return HALTED
            if not self._parcels() and (ending := self._ending_of_pass()):
                return ending
            if detach and self._is_all_ordered():
                return ORDERED
            if self._is_all_stuck(self._parcels()):
                return HALTED
            await self._pause()

    async def _cancel(self, numbers: frozenset[int]) -> str:
        """Cancel parcels, and merge what was done before."""
        chosen = [parcel for parcel in self._parcels() if not numbers or parcel.number in numbers]
        while True:
            await self._worker.cancel(chosen)
            await self._worker.advance_all(chosen)
            if self._has_halted() or self._is_all_stuck(chosen):
                return HALTED
            if self.is_stopping:
                return STOPPED
            if not any(parcel.is_open for parcel in chosen):
                return FINISHED
            await self._pause()

    def _has_halted(self) -> bool:
        return self._context.halt is not None

    def _is_all_stuck(self, parcels: Sequence[Parcel]) -> bool:
        """Whether all that is open are batches that their provider does not end; then this is why the session ends."""
        stuck = [self._context.stuck.get(parcel.number) for parcel in parcels if parcel.is_open]
        if not stuck or None in stuck:
            return False
        cause = stuck[0]
        assert cause is not None
        self._context.stop(cause)
        return True

    def _parcels(self) -> list[Parcel]:
        return [parcel for parcel in self._journal.parcels.open if parcel.stage != Stage.EXPORTED]

    def _ending_of_pass(self) -> str | None:
        """How the session ends, now that no parcel is open; None: another pass begins."""
        left = self._left()
        if not left:
            return FINISHED
        if self._run.job.files.rest == "online" and (self._wants_rest or self._cutter.is_exhausted):
            return REST
        if self._came_back_empty() >= _MOST_EMPTY:
            said = f"{count_text(left, 'row')} came back without a line from {_MOST_EMPTY} batches one after the other"
            advice = "look at the batches in the provider's console; go on with --lane online, or run the command again"
            self._context.stop(Cause(Kind.BAD_REPLY, "no_lines", said, advice))
            return HALTED
        self._cutter.begin_pass()
        return None

    def _left(self) -> int:
        return max(0, self._run.found.total - self._run.journal.ledger.ended(self._run.info.last_row))

    def _came_back_empty(self) -> int:
        """How many of the last parcels brought nothing."""
        merged = [parcel.merged for parcel in self._journal.parcels.by_number.values() if parcel.merged is not None]
        count = 0
        for step in reversed(merged):
            if step.done or step.failed or step.code == "spent":
                break
            count += 1
        return count

    def _is_all_ordered(self) -> bool:
        waiting = {Stage.STARTED, Stage.ENDED, Stage.MERGING, Stage.MERGED}
        is_all_cut = self._cutter.is_exhausted and not self._cutter.has_drafts
        return is_all_cut and all(parcel.stage in waiting for parcel in self._parcels())

    async def _pause(self) -> None:
        """Until the next parcel is due, or until somebody stops the session."""
        now = asyncio.get_running_loop().time()
        due = min(
            (self._context.retry_at.get(each.number, now + self._pacing.first) for each in self._parcels()), default=now
        )
        await self._pause_for(min(max(due - now, 0.05), self._pacing.longest))

    async def _pause_for(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    # ---- cutting, within the limits of tokens and money

    def _cut_next(self) -> bool:
        """Cut one parcel, if it may be sent now."""
        waiting = {Stage.CUT, Stage.PUTTING, Stage.PUT, Stage.STARTING}
        if self._wants_rest or any(parcel.stage in waiting for parcel in self._parcels()):
            return False
        if self._cutter.is_exhausted and not self._cutter.has_drafts:
            return False
        made = self._cutter.cut(self._caps, self._room())
        if isinstance(made, Cause):
            if not self._parcels():
                self._context.stop(made)
            return False
        if made is not None:
            self._observer.noted(
                f"parcel {made.number}: {count_text(made.cut.rows, 'row')} for {made.cut.model or made.cut.endpoint}"
            )
        return made is not None

    def _caps(self, model: str) -> Caps:
        caps = caps_of(self._form, self._run.job.files)
        learned = self._worker.ordering.learned_limit(model)
        return msgspec.structs.replace(caps, tokens=min(caps.tokens, int(learned * MARGIN))) if learned else caps

    def _room(self) -> Decimal | None:
        """What is left of the budget when every open parcel costs the most that it can."""
        most = self._run.job.limits.max_cost
        if most is None:
            return None
        spent = sum(self._run.bill.cost().amounts.values(), ZERO)
        held = sum((Decimal(each.cut.ceiling or 0) for each in self._journal.parcels.holding), ZERO)
        return Decimal(str(most)) - spent - held

    def _is_time_for_online(self) -> bool:
        """Whether what is left needs the rest of the time online, to be done by `finish_by`."""
        job = self._run.job
        if self._due is None or job.files.rest != "online" or self._wants_rest:
            return self._wants_rest
        seconds_left = self._due - self._run.wall()
        needed = max(600.0, 1.5 * _GUESSED_SECONDS * self._left() / job.limits.concurrency)
        return seconds_left < needed

    # ---- records and news

    def _record_failure(self, failure: Failure) -> None:
        self._run.journal.record(failure)
        self._count(failure)

    def _count(self, outcome: Outcome) -> None:
        if not (isinstance(outcome, Failure) and outcome.interrupted):
            self._recorded += 1
        self._observer.recorded(outcome)
