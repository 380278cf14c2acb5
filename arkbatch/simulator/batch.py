"""The batch lane: which ids belong on it, and the line in which its calls wait, held open, until their turn comes.

Times are the loop's. A call that is cancelled leaves the line.
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
    """Batch endpoints do not exist online, and nothing else exists on the batch lane."""
    if not settings.lanes or model.startswith(BATCH_ID) == batch:
        return None
    return refusals.NO_SUCH_MODEL


class BatchQueue:
    """First come, first served: `batch_slots` calls are worked on, the others wait, `batch_queue` of them at most."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._slots = settings.batch_slots and asyncio.Semaphore(settings.batch_slots)
        self._inside = 0

    def turned_away(self) -> TurnedAway | None:
        """Why a call cannot join the line now."""
        slots, queue, seconds = self._settings.batch_slots, self._settings.batch_queue, self._settings.batch_retry_after
        if slots is None or queue is None or self._inside < slots + queue:
            return None
        return TurnedAway(refusals.OVERLOADED, seconds or 0, say=seconds is not None)

    @asynccontextmanager
    async def wait_turn(self, chance: Random) -> AsyncIterator[None]:
        """Lets a call pass after it got a slot and was held there for its time; the slot is its own to the end."""
        self._inside += 1
        try:
            async with self._slots or nullcontext():
                hold = self._settings.batch_hold
                await asyncio.sleep(hold * (0.5 + 0.5 * chance.expovariate(1)) if hold else 0)
                yield
        finally:
            self._inside -= 1
