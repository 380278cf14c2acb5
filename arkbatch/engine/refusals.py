"""What becomes of refused rows while it is not clear whether every row will meet the same refusal.

The judgement is the stopper's; here workers wait for it, and rows are recorded once it is known.
"""

import asyncio

from arkbatch.core.types import Cause, Failure
from arkbatch.engine.fail_fast import FailFast
from arkbatch.engine.recorder import OutcomeRecorder
from arkbatch.engine.requeue import Requeued
from arkbatch.rows.packing import failed_apart


class Refusals:
    """One session's."""

    def __init__(self, recording: OutcomeRecorder, requeued: Requeued) -> None:
        self._recording = recording
        self._requeued = requeued
        self._stopper = FailFast()
        self._held: list[Failure] = []
        self._known = asyncio.Event()

    @property
    def doubtful(self) -> bool:
        """Whether nothing new should be sent until what is under way has ended."""
        return self._stopper.doubtful

    def hold(self, failure: Failure) -> None:
        """Keep a failure until a row is answered: if the run halts for the same reason, its row is left to do."""
        self._held.append(failure)

    def add(self, failure: Failure) -> None:
        for own in failed_apart(failure):
            for each in self._stopper.refused(own):
                self._recording.add(each)
        if self._stopper.proven:
            self._known.set()

    def answered(self) -> None:
        """A row succeeded, so the refusals were the rows' own."""
        if self._held or not self._stopper.proven:
            self.record()

    def record(self) -> None:
        """Record what was held."""
        held, self._held = self._held, []
        for failure in (*self._stopper.release(), *held):
            self._recording.add(failure)
        self._known.set()

    def judged(self) -> Cause | None:
        """Why no row will work, if that is clear: the last worker to ask knows that nothing under way ended better."""
        halt = self._stopper.verdict(self._recording.without + len(self._requeued.rows))
        return None if halt is None else halt.cause

    async def known(self) -> None:
        """Wait until it is clear, or the session ends."""
        await self._known.wait()

    def ends(self) -> None:
        """The session ends: nobody is to wait any more."""
        self._known.set()
