"""Keeps a journal durable: a sync each second, a snapshot each ten."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from arkbatch.core.input_info import Position
from arkbatch.engine.open_run import OpenRun
from arkbatch.limits.pace_file import PaceNote, write_pace
from arkbatch.monitor.observer import Observer

SYNC_SECONDS = 1.0
SNAPSHOT_EVERY = 10  # syncs


class PeriodicSync(Observer):
    """Syncs one journal. It is an observer, since `status` is to show soon what is noted."""

    def __init__(self, run: OpenRun) -> None:
        self._run = run
        self._is_due = asyncio.Event()
        self._has_news = False
        self._is_urgent = asyncio.Event()

    async def keep_syncing(
        self, has_written: asyncio.Event, resume_at: Callable[[], Position], note: Callable[[], PaceNote]
    ) -> None:
        """Sync a second after each write; endless. It rests while nothing is recorded, which may last for hours.

        Cancelled, it waits for the sync that runs, so that the journal can be closed next.

        has_written: set by the recorder with each write, and cleared here
        resume_at: a place in the input before which every row is recorded; note: what to keep of the pace
        """
        journal, syncs, in_thread = self._run.journal, 0, asyncio.get_running_loop().run_in_executor
        self._is_due = has_written
        with ThreadPoolExecutor(1, "journal") as thread:
            while True:
                await has_written.wait()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._is_urgent.wait(), SYNC_SECONDS)
                self._is_urgent.clear()
                has_written.clear()
                syncs += 1
                has_news, self._has_news = self._has_news, False
                if syncs % SNAPSHOT_EVERY and not has_news:
                    await in_thread(thread, journal.sync)
                else:
                    await in_thread(thread, journal.take_snapshot(resume_at()))
                    await in_thread(thread, write_pace, self._run.directory, note())

    def write_now(self) -> None:
        """Write what there is without the usual pause, since somebody may look at it."""
        self._has_news = True
        self._is_due.set()
        self._is_urgent.set()

    def noted(self, text: str) -> None:
        del text
        self._has_news = True
        self._is_due.set()

    def slow_call_noticed(self, text: str) -> None:
        self.noted(text)
