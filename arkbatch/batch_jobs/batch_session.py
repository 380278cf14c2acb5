"""One process that works on the parcels of a run.

What one parcel needs is known to `parcel_worker`. Whoever ends the process early loses nothing: batches run on, and the
next session finds them.
"""

import asyncio
from collections.abc import Sequence

import msgspec

from arkbatch.batch_jobs.batch_commands import BatchCommands, batches_text, states_of
from arkbatch.batch_jobs.output_merging import Check, Merger
from arkbatch.batch_jobs.parcel import Parcel
from arkbatch.batch_jobs.parcel_context import Pacing, ParcelContext
from arkbatch.batch_jobs.parcel_cutter import ParcelCutter
from arkbatch.batch_jobs.parcel_journal import ParcelJournal, read_parcels
from arkbatch.batch_jobs.parcel_loop import REST, ParcelLoop
from arkbatch.batch_jobs.parcel_records import Stage
from arkbatch.batch_jobs.parcel_worker import ParcelWorker
from arkbatch.batch_jobs.provider_forms import Form, lane_of_form
from arkbatch.batch_jobs.service import BatchService
from arkbatch.core.errors import RunDirectoryError, UsageError
from arkbatch.core.outcomes import Failure, Outcome
from arkbatch.core.text import count_text
from arkbatch.engine.notifier import SessionNotifier
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.session_summary import summary_of
from arkbatch.journal.run_info import SessionInfo
from arkbatch.monitor.commands import Command, CommandReply
from arkbatch.monitor.observer import Observer
from arkbatch.monitor.progress import Progress
from arkbatch.pricing.summary import Summary

FAREWELL = "abandoned"


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
        self._refuse_others(read_parcels(run.directory).open_parcels)
        self._journal = ParcelJournal(run.directory, run.wall)
        self._cutter = ParcelCutter(run, self._journal, self._form, self._record_failure, only)
        self._merger = Merger(
            run.job,
            run.journal,
            wall=run.wall,
            check=self._check,
            told=self._count_outcome,
            learned=self._cutter.learn_usage,
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
        self._loop = ParcelLoop(
            self._context,
            self._cutter,
            self._worker,
            rows_left=self._rows_left,
            tell=self._tell_watchers,
            stopping=self._stopping,
        )
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
            ending = await self._loop.work_until_end(detach=detach, cancel=cancel)
        except Exception:
            self._close_session(info, ending, time() - began)
            raise
        except BaseException:  # cancelled: nothing more is written, as after a kill
            self._cutter.abandon_drafts()
            self._journal.close()
            raise
        self._close_session(info, ending, time() - began)
        summary = summary_of(run, ending, time() - began)
        halt = self._context.halt
        if halt is not None:
            self._observer.halted(halt)
        summary = msgspec.structs.replace(summary, halt=halt, session={"recorded": self._recorded, "retried": 0})
        if self._notifier is not None and ending != REST:
            self._notifier.tell_end(summary)
        return summary

    def _refuse_others(self, parcels: Sequence[Parcel]) -> None:
        """Refuse to work beside parcels that this session cannot collect: their rows may be paid already."""
        path = self._run.directory.path
        if exported := [each for each in parcels if each.stage == Stage.EXPORTED]:
            rows = sum(each.cut.rows for each in exported)
            raise RunDirectoryError(
                f"{count_text(rows, 'row')} of {path} were exported: arkbatch collect {path} FILE... merges what came "
                f"of them, and arkbatch cancel {path} takes them back."
            )
        lane = lane_of_form(self._form.name)
        if others := [each for each in parcels if each.is_open and lane_of_form(each.cut.form) != lane]:
            rows, other = sum(each.cut.rows for each in others), lane_of_form(others[0].cut.form)
            raise RunDirectoryError(
                f"{count_text(rows, 'row')} of {path} were ordered with --lane {other}: the same command with it "
                f"collects them, and arkbatch cancel {path} takes them back."
            )

    def _close_session(self, info: SessionInfo, ending: str, seconds: float) -> None:
        self._cutter.abandon_drafts()
        self._journal.close()
        self._run.journal.close()
        self._run.end_session(info, ending, seconds)
        self._observer.progressed(self._progress())
        self._observer.closed(ending)

    def _rows_left(self) -> int:
        ledger = self._run.journal.ledger
        if self._only is not None:
            return sum(number not in ledger for number in self._only)
        return max(0, self._run.found.total - ledger.count_ended(self._run.info.last_row))

    # ---- records and news

    def _tell_watchers(self) -> None:
        self._observer.progressed(self._progress())
        if self._notifier is not None:
            self._notifier.look_for_news(self._worker.seconds_away)

    def _parcels(self) -> list[Parcel]:
        return self._loop.open_parcels()

    def _progress(self) -> Progress:
        """How the session stands, for the bar, the page, the metrics and `ctl`."""
        parcels, seconds = self._parcels(), asyncio.get_running_loop().time() - self._began
        return Progress(
            total=self._run.found.total,
            left=self._rows_left(),
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
        self._count_outcome(failure)

    def _count_outcome(self, outcome: Outcome) -> None:
        if not (isinstance(outcome, Failure) and outcome.interrupted):
            self._recorded += 1
        self._observer.recorded(outcome)
