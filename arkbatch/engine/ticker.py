"""Lets the parts of a session act on time alone, several times a second.

A part says in how many seconds it wants to look again. While the session is busy that is soon, and a run that waits
for days on the batch lane does not wake up a million times to find nothing new.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

TICK_SECONDS = 0.5
LONGEST_TICK_SECONDS = 60.0


class Ticking(Protocol):
    """A part of a session that does something when its time has come."""

    def tick(self, now: float) -> float:
        """Do what is due. Returns the seconds until the next look, infinite where any time will do.

        now: loop time
        """
        ...


async def keep_ticking(parts: Sequence[Ticking]) -> None:
    """Let all parts look, in this order, as soon as one of them wants to. Endless."""
    loop = asyncio.get_running_loop()
    while True:
        now = loop.time()
        await asyncio.sleep(min([part.tick(now) for part in parts]))
