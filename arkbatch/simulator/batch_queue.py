"""The batch lane: the ids that belong on it, and the queue of its calls.

Calls wait with an open connection. Times are the loop's. A cancelled call leaves the queue.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from random import Random

from arkbatch.simulator import refusals
from arkbatch.simulator.limits import TurnedAway
from arkbatch.simulator.refusals import Refusal
from arkbatch.simulator.settings import Settings

BATCH_ID = "ep-bi-"


def wrong_lane(model: str, settings: Settings, *, batch: bool) -> Refusal | None:
    """Refuse a batch endpoint online, and any other id on the batch lane."""
    if not settings.lanes or model.startswith(BATCH_ID) == batch:
        return None
    return refusals.NO_SUCH_MODEL


class BatchQueue:
    """Works on `batch_slots` calls at a time; at most `batch_queue` others wait, in order."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._slots = settings.batch_slots and asyncio.Semaphore(settings.batch_slots)
        self._inside = 0

    def turned_away(self) -> TurnedAway | None:
        """Return why a call cannot join the queue now, or None."""
        slots, queue, seconds = self._settings.batch_slots, self._settings.batch_queue, self._settings.batch_retry_after
        if slots is None or queue is None or self._inside < slots + queue:
            return None
        return TurnedAway(refusals.OVERLOADED, seconds or 0, say=seconds is not None)

    @asynccontextmanager
    async def wait_turn(self, chance: Random) -> AsyncIterator[None]:
        """Wait for a slot and for the call's holding time; the body keeps the slot."""
        self._inside += 1
        try:
            async with self._slots or nullcontext():
                hold = self._settings.batch_hold
                await asyncio.sleep(hold * (0.5 + 0.5 * chance.expovariate(1)) if hold else 0)
                yield
        finally:
            self._inside -= 1
