"""Takes one parcel from its file to its records, step by step.

A service that cannot be reached is waited for here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from arkbatch.batch_jobs.output_merging import Merger
from arkbatch.batch_jobs.parcel import Parcel
from arkbatch.batch_jobs.parcel_context import ParcelContext, cause_of
from arkbatch.batch_jobs.parcel_polling import BatchFollowing
from arkbatch.batch_jobs.parcel_records import Stage
from arkbatch.batch_jobs.parcel_results import ParcelCollector
from arkbatch.batch_jobs.parcel_submission import ParcelSubmission
from arkbatch.batch_jobs.service import ServiceAway, ServiceRefused
from arkbatch.core.calls import Cause, Kind
from arkbatch.core.text import duration_text

_BACKOFF = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0)


class ParcelWorker:
    """Moves the parcels of one session on."""

    def __init__(self, context: ParcelContext, merger: Merger, is_stopping: Callable[[], bool]) -> None:
        self._context = context
        self.ordering = ParcelSubmission(context)
        self._following = BatchFollowing(context, self.ordering)
        self._collecting = ParcelCollector(context, merger)
        self._is_stopping = is_stopping
        self._failures_in_a_row = 0
        self._away_since: float | None = None
        self._next_cancel: dict[int, float] = {}  # by parcel, when to ask again for its end (loop time)

    @property
    def seconds_away(self) -> float:
        """How long the service could not be reached, 0 while it can."""
        return 0.0 if self._away_since is None else asyncio.get_running_loop().time() - self._away_since

    async def advance_all(self, parcels: Sequence[Parcel]) -> None:
        """Do whatever is due for each parcel."""
        context = self._context
        for parcel in parcels:
            while context.halt is None and not self._is_stopping() and context.is_due(parcel):
                stage = (parcel.stage, parcel.stage_at)
                await self._try_action(parcel, self._advance_parcel(parcel))
                if (parcel.stage, parcel.stage_at) == stage:
                    break

    async def _try_action(self, parcel: Parcel, action: Awaitable[None]) -> None:
        """One action. A service that is away is waited for; a refusal that nobody expected ends the session."""
        try:
            await action
        except ServiceAway as away:
            self._context.put_off(parcel, self.wait_for_service(f"parcel {parcel.number}", away))
        except ServiceRefused as refused:
            self._context.stop_session(cause_of(refused, parcel))
        else:
            self._failures_in_a_row, self._away_since = 0, None

    def wait_for_service(self, what: str, away: ServiceAway) -> float:
        """Seconds until the next try of a service that cannot be reached; after `give_up_after` the session ends."""
        now = asyncio.get_running_loop().time()
        self._away_since = now if self._away_since is None else self._away_since
        pause = max(_BACKOFF[min(self._failures_in_a_row, len(_BACKOFF) - 1)], away.after or 0.0)
        self._failures_in_a_row += 1
        if now - self._away_since > self._context.run.job.retry.give_up_after:
            said = f"the provider gave no usable answer for {duration_text(now - self._away_since)}: {away}"
            advice = "run the same command again when it is back; nothing is ordered twice"
            self._context.stop_session(Cause(Kind.CONNECTION, "away", said, advice))
        else:
            self._context.say(f"{what}: no usable answer from the provider ({away}); next try in {pause:g} s")
        return pause

    async def _advance_parcel(self, parcel: Parcel) -> None:
        match parcel.stage:
            case Stage.CUT:
                await self.ordering.upload_parcel(parcel)
            case Stage.PUTTING:
                await self.ordering.find_file(parcel)
            case Stage.PUT:
                await self.ordering.order_if_allowed(parcel)
            case Stage.STARTING:
                await self.ordering.find_batch(parcel)
            case Stage.STARTED:
                await self._following.follow_batch(parcel)
            case Stage.ENDED | Stage.MERGING:
                await self._collecting.collect_answers(parcel)
            case Stage.MERGED:
                await self._collecting.delete_files(parcel)
            case _:
                return

    async def cancel_parcels(self, parcels: Sequence[Parcel]) -> None:
        """Take back what is not ordered, and ask for the end of what is."""
        now = asyncio.get_running_loop().time()
        for parcel in parcels:
            if parcel.stage in {Stage.CUT, Stage.PUTTING, Stage.PUT}:
                self.ordering.take_back(parcel)
            elif parcel.stage != Stage.STARTED or parcel.is_stopping:
                continue
            elif self._next_cancel.get(parcel.number, 0.0) <= now:
                await self._try_action(parcel, self._following.cancel_batch(parcel))
                self._next_cancel[parcel.number] = self._context.retry_at.get(parcel.number, 0.0)
