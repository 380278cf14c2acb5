"""One process that works on the parcels of a run: it cuts, sends, waits, collects and begins again with the rest.

What one parcel needs is known to `parcel_worker`. Whoever ends the process early loses nothing: batches run on, and the
next session finds them.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from arkbatch.batch_jobs.batch_commands import BatchCommands, batches_text, states_of
from arkbatch.batch_jobs.merging import Check, Merger
from arkbatch.batch_jobs.parcel import Parcel, Stage
from arkbatch.batch_jobs.parcel_context import Pacing, ParcelContext
from arkbatch.batch_jobs.parcel_journal import PARCELS, ParcelJournal, read_parcels
from arkbatch.batch_jobs.parcel_rows import ParcelCutter
from arkbatch.batch_jobs.parcel_worker import ParcelWorker
from arkbatch.batch_jobs.planning import ParcelPlanner
from arkbatch.batch_jobs.provider_forms import Form
from arkbatch.batch_jobs.rebuilding import ParcelRebuilding
from arkbatch.batch_jobs.service import BatchService, ServiceAway, ServiceRefused
from arkbatch.core.errors import RunDirectoryError, UsageError
from arkbatch.core.text import count_text
from arkbatch.core.types import Cause, Failure, Kind, Outcome
from arkbatch.engine.notifier import SessionNotifier
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.session import summary_of
from arkbatch.journal.run_directory import SessionInfo
from arkbatch.monitor.commands import Command, CommandReply
from arkbatch.monitor.observer import Observer
from arkbatch.monitor.progress import Progress
from arkbatch.pricing.summary import Summary

FINISHED, STOPPED, HALTED, ORDERED, REST = "finished", "stopped", "halted", "ordered", "rest online"
FAREWELL = "abandoned"

_MOST_EMPTY = 3  # parcels in a row that came back with nothing at all


class BatchSession:
    """One session. `work` once; `stop` from a signal handler: batches run on."""

    def __init__(
        self,
        run: OpenRun,
        service: BatchService,
        form: Form,
        *,
        observer: Observer,
        notifier: SessionNotifier | None = None,
        check: Check | None = None,
        pacing: Pacing | None = None,
    ) -> None:
        self._run = run
        self._service = service
        self._form = form
        self._observer = observer
        self._notifier = notifier
        self._pacing = pacing or Pacing(form.poll_seconds)
        self._stopping = asyncio.Event()
        self._wants_rest = False
        self._recorded = 0
        self._check = check
        self._began = 0.0
        self._only: frozenset[int] | None = None
        self._commands: BatchCommands | None = None

    def stop(self) -> None:
        """Send no more and end soon. Batches that are ordered run on."""
        self._stopping.set()

    @property
    def is_stopping(self) -> bool:
        return self._stopping.is_set()

    def handle(self, command: Command) -> CommandReply:
        """Carry out a command of `arkbatch ctl` while the session works. ArkbatchError: why it was not done."""
        if self._commands is None:
            raise UsageError("The session is only beginning. Try again in a moment.")
        return self._commands.handle(command)

    async def work(
        self,
        *,
        detach: bool = False,
        cancel: frozenset[int] | None = None,
        only: frozenset[int] | None = None,
    ) -> Summary:
        """Work until every row has a record, or until nothing more can be done.

        detach: end once everything is ordered
        cancel: cut nothing, cancel these parcels (all when it is empty), and merge what they come to
        only: the rows to send, None for all that are left
        """
        run, time = self._run, asyncio.get_running_loop().time
        self._refuse_exported()
        self._journal = ParcelJournal(run.directory, run.wall)
        self._cutter = ParcelCutter(run, self._journal, self._form, self._record_failure, only)
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
        self._planner = ParcelPlanner(self._context, self._cutter, self._worker.ordering)
        info, began, ending = run.begin_session(msgspec.to_builtins(run.job.limits)), time(), FAREWELL
        self._began, self._only = began, only
        self._commands = BatchCommands(
            run,
            info,
            self._observer,
            progress=self._progress,
            is_stopping=self._stopping.is_set,
            stop=self.stop,
        )
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
        summary = msgspec.structs.replace(summary, halt=halt, session={"recorded": self._recorded, "retried": 0})
        if self._notifier is not None and ending != REST:
            self._notifier.tell_end(summary)
        return summary

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
        self._observer.progressed(self._progress())
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
            if ending := self._tell_progress():
                return ending
            self._wants_rest = self._wants_rest or self._planner.is_time_for_online(self._left())
            if self._wants_rest:
                await self._worker.cancel(self._parcels())
            elif self._planner.cut_next(self._parcels()):
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
            if ending := self._tell_progress():
                return ending
            if self._is_all_stuck(chosen):
                return HALTED
            if not any(parcel.is_open for parcel in chosen):
                return FINISHED
            await self._pause()

    def _tell_progress(self) -> str | None:
        """Tell the observers how it stands; how the session ends, if it does."""
        self._observer.progressed(self._progress())
        if self._notifier is not None:
            self._notifier.look_for_news(self._worker.seconds_away)
        if self._has_halted():
            return HALTED
        return STOPPED if self.is_stopping else None

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
        ledger = self._run.journal.ledger
        if self._only is not None:
            return sum(number not in ledger for number in self._only)
        return max(0, self._run.found.total - ledger.count_ended(self._run.info.last_row))

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

    # ---- records and news

    def _progress(self) -> Progress:
        """How the session stands, for the bar, the page, the metrics and `ctl`."""
        parcels, seconds = self._parcels(), asyncio.get_running_loop().time() - self._began
        return Progress(
            total=self._run.found.total,
            left=self._left(),
            failed=self._run.journal.ledger.failed.count,
            in_flight=sum(parcel.cut.rows for parcel in parcels if parcel.is_ordered),
            retried=0,
            recorded=self._recorded,
            seconds=seconds,
            rows_per_minute=60 * self._recorded / seconds if seconds else 0.0,
            rpm=0.0,
            tpm=0.0,
            bound_by="the batches of the provider",
            waiting=batches_text(parcels),
            parcels=states_of(parcels) or {"open": 0},
        )

    def _record_failure(self, failure: Failure) -> None:
        self._run.journal.record(failure)
        self._count(failure)

    def _count(self, outcome: Outcome) -> None:
        if not (isinstance(outcome, Failure) and outcome.interrupted):
            self._recorded += 1
        self._observer.recorded(outcome)
