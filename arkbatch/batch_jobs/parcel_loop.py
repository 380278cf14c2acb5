"""The loop of a session over parcels: cut, send, wait, collect, begin again."""

import asyncio
from collections.abc import Callable, Sequence

from arkbatch.batch_jobs.journal_rebuilding import ParcelRebuilding
from arkbatch.batch_jobs.parcel import Parcel
from arkbatch.batch_jobs.parcel_context import ParcelContext
from arkbatch.batch_jobs.parcel_cutter import ParcelCutter
from arkbatch.batch_jobs.parcel_journal import PARCELS
from arkbatch.batch_jobs.parcel_planner import ParcelPlanner
from arkbatch.batch_jobs.parcel_records import Stage
from arkbatch.batch_jobs.parcel_worker import ParcelWorker
from arkbatch.batch_jobs.service import ServiceAway, ServiceRefused
from arkbatch.core.calls import Cause, Kind
from arkbatch.core.text import count_text

FINISHED, STOPPED, HALTED, ORDERED, REST = "finished", "stopped", "halted", "ordered", "rest online"
_MOST_EMPTY = 3  # parcels in a row that came back with nothing at all


class ParcelLoop:
    """Works on the parcels of one session until it ends.

    rows_left: how many rows have no record; tell: called after each round, for those who watch
    stopping: set when somebody stops the session
    """

    def __init__(
        self,
        context: ParcelContext,
        cutter: ParcelCutter,
        worker: ParcelWorker,
        *,
        rows_left: Callable[[], int],
        tell: Callable[[], None],
        stopping: asyncio.Event,
    ) -> None:
        self._context = context
        self._cutter = cutter
        self._worker = worker
        self._planner = ParcelPlanner(context, cutter, worker.ordering)
        self._rows_left = rows_left
        self._tell = tell
        self._stopping = stopping
        self._wants_rest = False

    async def work_until_end(self, *, detach: bool, cancel: frozenset[int] | None) -> str:
        while self._context.journal.is_incomplete and not self._has_halted() and not self._stopping.is_set():
            await self._rebuild_parcels()
        if self._has_halted():
            return HALTED
        if self._stopping.is_set():
            return STOPPED
        return await (self._work_on_rows(detach=detach) if cancel is None else self._cancel_parcels(cancel))

    async def _rebuild_parcels(self) -> None:
        """Find the parcels of this run at the provider, since `parcels.jsonl` is lost or damaged."""
        path = self._context.run.directory / PARCELS
        self._context.say(f"{path} is missing or damaged: the batches of this run are looked for at the provider")
        try:
            await ParcelRebuilding(self._context, self._cutter).rebuild_journal()
        except ServiceAway as away:
            await self._pause_for(self._worker.wait_for_service("the list of batches", away))
        except ServiceRefused as refused:
            said = f"{path} is missing or damaged, and the provider lists no batches: {refused.reason}"
            advice = (
                f"look in its console for batches of run {self._context.run.info.run_id}; if none is open, delete the "
                f"directory {self._context.journal.folder} and the file, and run the same command again"
            )
            self._context.stop_session(Cause(Kind.INVALID_REQUEST, refused.code, said, advice))

    async def _work_on_rows(self, *, detach: bool) -> str:
        self._cutter.begin_pass()
        while True:
            await self._worker.advance_all(self.open_parcels())
            if ending := self._tell_and_look():
                return ending
            self._wants_rest = self._wants_rest or self._planner.is_time_for_online(self._rows_left())
            if self._wants_rest:
                await self._worker.cancel_parcels(self.open_parcels())
            elif self._planner.cut_next(self.open_parcels()):
                continue
            if self._has_halted():
                return HALTED
            if not self.open_parcels() and (ending := self._ending_of_pass()):
                return ending
            if detach and self._is_all_ordered():
                return ORDERED
            if self._is_all_stuck(self.open_parcels()):
                return HALTED
            await self._pause_until_due()

    async def _cancel_parcels(self, numbers: frozenset[int]) -> str:
        """Cancel parcels, and merge what was done before."""
        chosen = [parcel for parcel in self.open_parcels() if not numbers or parcel.number in numbers]
        while True:
            await self._worker.cancel_parcels(chosen)
            await self._worker.advance_all(chosen)
            if ending := self._tell_and_look():
                return ending
            if self._is_all_stuck(chosen):
                return HALTED
            if not any(parcel.is_open for parcel in chosen):
                return FINISHED
            await self._pause_until_due()

    def _tell_and_look(self) -> str | None:
        """Tell those who watch how it stands; how the session ends, if it does."""
        self._tell()
        if self._has_halted():
            return HALTED
        return STOPPED if self._stopping.is_set() else None

    def _has_halted(self) -> bool:
        return self._context.halt is not None

    def _is_all_stuck(self, parcels: Sequence[Parcel]) -> bool:
        """Whether all that is open are batches that their provider does not end; then this is why the session ends."""
        stuck = [self._context.stuck.get(parcel.number) for parcel in parcels if parcel.is_open]
        if not stuck or None in stuck:
            return False
        cause = stuck[0]
        assert cause is not None
        self._context.stop_session(cause)
        return True

    def open_parcels(self) -> list[Parcel]:
        """The parcels that are open, without those that were exported."""
        return [parcel for parcel in self._context.journal.parcels.open_parcels if parcel.stage != Stage.EXPORTED]

    def _ending_of_pass(self) -> str | None:
        """How the session ends, now that no parcel is open; None: another pass begins."""
        left = self._rows_left()
        if not left:
            return FINISHED
        if self._context.run.job.files.rest == "online" and (self._wants_rest or self._cutter.is_exhausted):
            return REST
        if self._came_back_empty() >= _MOST_EMPTY:
            said = f"{count_text(left, 'row')} came back without a line from {_MOST_EMPTY} batches one after the other"
            advice = "look at the batches in the provider's console; go on with --lane online, or run the command again"
            self._context.stop_session(Cause(Kind.BAD_REPLY, "no_lines", said, advice))
            return HALTED
        self._cutter.begin_pass()
        return None

    def _came_back_empty(self) -> int:
        """How many of the last parcels brought nothing."""
        parcels = self._context.journal.parcels.by_number.values()
        merged = [parcel.merged for parcel in parcels if parcel.merged is not None]
        count = 0
        for step in reversed(merged):
            if step.done or step.failed or step.code == "spent":
                break
            count += 1
        return count

    def _is_all_ordered(self) -> bool:
        waiting = {Stage.STARTED, Stage.ENDED, Stage.MERGING, Stage.MERGED}
        is_all_cut = self._cutter.is_exhausted and not self._cutter.has_drafts
        return is_all_cut and all(parcel.stage in waiting for parcel in self.open_parcels())

    async def _pause_until_due(self) -> None:
        """Until the next parcel is due, or until somebody stops the session."""
        now, pacing = asyncio.get_running_loop().time(), self._context.pacing
        times = [self._context.retry_at.get(each.number, now + pacing.first) for each in self.open_parcels()]
        due = min(times, default=now)
        await self._pause_for(min(max(due - now, 0.05), pacing.longest))

    async def _pause_for(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return
