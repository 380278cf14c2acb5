"""Asks how the batch of a parcel stands, and cancels it."""

import asyncio

from arkbatch.batch_jobs.parcel import Parcel, rows_done
from arkbatch.batch_jobs.parcel_context import ParcelContext
from arkbatch.batch_jobs.parcel_records import LOOKED, STOPPING, Stage
from arkbatch.batch_jobs.parcel_submission import SETTLING_SECONDS, ParcelSubmission, window_seconds
from arkbatch.batch_jobs.provider_forms import DONE, FAILED
from arkbatch.batch_jobs.service import BatchState, ServiceRefused, excess_in, is_token_limit
from arkbatch.core.calls import Cause, Kind

_OUTPUT_SECONDS = 600.0  # until the files of a batch that has ended must be there
_LOOK_AGAIN_SECONDS = 30.0
_OVERDUE_SECONDS = 86_400.0  # behind its own deadline, a batch that is still open is cancelled
_LONGEST_DELAY = 30 * 86_400.0  # behind the window, a deadline that a provider names is not believed
_CANCELLING_SECONDS = 7_200.0  # by the documents ten minutes, 25 were seen


class BatchFollowing:
    """Follows batches until they have ended."""

    def __init__(self, context: ParcelContext, ordering: ParcelSubmission) -> None:
        self._context = context
        self._journal = context.journal
        self._ordering = ordering
        self._without_files_since: dict[int, float] = {}

    async def follow_batch(self, parcel: Parcel) -> None:
        """Ask how the batch stands, and take in what is new."""
        context = self._context
        try:
            state = await context.service.look_at_batch(parcel.batch_id)
        except ServiceRefused as refused:
            if not refused.is_gone:
                raise
            found = await self._look_elsewhere(parcel, refused)
            if found is None:
                return
            state = found
        if state.has_ended and not self._waits_for_files(parcel, state):
            self._take_end(parcel, state)
            return
        if not state.has_ended and _is_news(parcel, state):
            self._journal.write_step(parcel.number, LOOKED, is_durable=False, state=state.word, counts=state.counts)
            context.say(_progress_of(parcel))
        await self._cancel_if_overdue(parcel)
        context.put_off(parcel, self._seconds_to_next_look(parcel))

    async def _look_elsewhere(self, parcel: Parcel, refused: ServiceRefused) -> BatchState | None:
        """A batch that the provider does not know under its id: in the list, or not there yet, or gone."""
        context = self._context
        found = await self._ordering.listed_batch(parcel)
        if found is not None:
            return found
        if context.is_given_up(
            parcel,
            refused,
            f"batch {parcel.batch_id}",
            patience_seconds=SETTLING_SECONDS,
            again_seconds=_LOOK_AGAIN_SECONDS,
        ):
            self._take_end(parcel, BatchState(parcel.batch_id, DONE, "gone", reason=refused.reason))
        return None

    async def _cancel_if_overdue(self, parcel: Parcel) -> None:
        """End a batch that its provider has forgotten. One that is not even ended by this holds up no other."""
        context, now = self._context, self._context.run.wall()
        if not parcel.is_stopping:
            if now > self._deadline_of(parcel) + _OVERDUE_SECONDS:
                await self.cancel_batch(parcel)
        elif now > parcel.stopping_at + _CANCELLING_SECONDS:
            hours = round((now - parcel.stopping_at) / 3600)
            said = f"parcel {parcel.number}: batch {parcel.batch_id} was cancelled {hours} hours ago and does not end"
            advice = (
                "run the same command again later, or ask the provider; its rows are not sent in another way before"
            )
            context.stuck[parcel.number] = Cause(Kind.UNFINISHED, "cancelling", said, advice)

    def _deadline_of(self, parcel: Parcel) -> float:
        """When the batch should have ended, by our clock.

        It is never before the window is over: a provider may name no time, or one by a clock that is wrong.
        """
        by_window = parcel.ordered_at + window_seconds(self._context.window)
        return max(by_window, parcel.expires_at) if parcel.expires_at < by_window + _LONGEST_DELAY else by_window

    def _seconds_to_next_look(self, parcel: Parcel) -> float:
        """Rarer with age, but always far less than the window."""
        pacing, age = self._context.pacing, self._context.run.wall() - parcel.stage_at
        return min(max(pacing.first, age / 60), pacing.longest)

    def _waits_for_files(self, parcel: Parcel, state: BatchState) -> bool:
        """A batch that did rows has a file of them, which may come a little later than the word."""
        if state.state != DONE or state.output_id or state.error_id or not rows_done(state.counts):
            return False
        now = asyncio.get_running_loop().time()
        return now < self._without_files_since.setdefault(parcel.number, now) + _OUTPUT_SECONDS

    def _take_end(self, parcel: Parcel, state: BatchState) -> None:
        if state.state == FAILED and is_token_limit(state.code, state.reason):
            self._ordering.wait_for_tokens(parcel, state.reason)
            return
        excess = excess_in(state.code, state.reason)
        if state.state == FAILED and excess and not (state.output_id or state.bad_lines):
            self._ordering.cut_smaller(parcel, excess, state.reason)
            return
        self._journal.write_step(
            parcel.number,
            Stage.ENDED,
            state=state.state,
            counts=state.counts,
            output_id=state.output_id,
            error_id=state.error_id,
            code=state.code,
            reason=state.reason,
            bad_lines=state.bad_lines,
            usage=state.usage,
        )

    async def cancel_batch(self, parcel: Parcel) -> None:
        """Ask the provider to end a batch; what was done before is paid, and is collected like the rest."""
        await self._context.service.cancel_batch(parcel.batch_id)
        self._journal.write_step(parcel.number, STOPPING)
        self._context.say(f"parcel {parcel.number}: cancelled; what was done before is paid and is collected")
        self._context.put_off(parcel, self._context.pacing.first)


def _is_news(parcel: Parcel, state: BatchState) -> bool:
    """Whether the state of a batch has another word, or a tenth more rows are done."""
    if state.word != parcel.state:
        return True
    before, now = rows_done(parcel.counts), rows_done(state.counts)
    return now - before >= max(1, parcel.cut.rows // 10)


def _progress_of(parcel: Parcel) -> str:
    counts = parcel.counts
    done = f", {rows_done(counts)} of {parcel.cut.rows} rows done" if counts else ""
    return f"parcel {parcel.number}: {parcel.state}{done}"
