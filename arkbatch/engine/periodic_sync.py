"""Keeps a journal durable while rows are recorded: a sync a second after a record, a snapshot every ten of them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from arkbatch.core.input_info import Position
from arkbatch.core.types import Outcome
from arkbatch.engine.open_run import OpenRun
from arkbatch.limits.pace_file import PaceNote, write_pace
from arkbatch.monitor.observer import Observer

SYNC_SECONDS = 1.0
SNAPSHOT_EVERY = 10  # syncs


class PeriodicSync(Observer):
    """Hears of what is recorded, and of what is noted and `status` is to show."""

    def __init__(self, run: OpenRun) -> None:
        self._run = run
        self._told = asyncio.Event()
        self._news = False

    async def keep(self, resume_at: Callable[[], Position], note: Callable[[], PaceNote]) -> None:
        """Endless; at rest while nothing is recorded, such as while calls are held open for hours.

        Cancelled, it waits for the sync under way: who closes the journal next is alone.
        resume_at: a place in the input before which every row is recorded; note: what to keep of the pace
        """
        journal, syncs, in_thread = self._run.journal, 0, asyncio.get_running_loop().run_in_executor
        with ThreadPoolExecutor(1, "journal") as thread:
            while True:
                await self._told.wait()
                await asyncio.sleep(SYNC_SECONDS)
                self._told.clear()
                syncs += 1
                if syncs % SNAPSHOT_EVERY and not self._take_news():
                    await in_thread(thread, journal.sync)
                else:
                    await in_thread(thread, journal.snapshot(resume_at()))
                    await in_thread(thread, write_pace, self._run.directory, note())

    def recorded(self, outcome: Outcome) -> None:
        del outcome
        self._told.set()

    def noted(self, text: str) -> None:
        del text
        self._news = True
        self._told.set()

    def slow_call_noticed(self, text: str) -> None:
        self.noted(text)

    def _take_news(self) -> bool:
        news, self._news = self._news, False
        return news
