"""Stops a run after twenty refused rows, when every row would be refused.

The first rows of a session that are refused for the same reason are held back, without a record. When twenty are held
and no row has succeeded, no new row is sent until all calls in flight have ended. A refusal comes at once and a long
answer takes minutes, so the first replies say nothing about the calls that are still in flight. If the others end no
better, the fault is in the job and not in the rows: the run stops, and the held rows stay undone. As soon as a row
ends otherwise, the held rows are recorded and no row is held any more.
"""

import asyncio
from collections.abc import Sequence

from arkbatch.core.calls import Cause, Kind
from arkbatch.core.outcomes import Failure

ROWS_TO_STOP = 20
_SUSPECT = {Kind.INVALID_REQUEST, Kind.NOT_FOUND}  # what a wrong default or model looks like
_ADVICE = "Correct the parameter in the job file ([defaults]) or with --set, then run it again."


class FailFast:
    """Holds refused rows until it is clear whether every row is refused. A row that was billed is never held."""

    def __init__(self) -> None:
        self._held: list[Failure] = []
        self._doubtful: list[Failure] = []  # as `hold_failures` says
        self._is_clear = asyncio.Event()
        self.is_proven = False  # rows can succeed or fail differently, so no refused row is held any more
        self.holds_any = True  # the next row that is answered releases what is held
        self.is_doubtful = False  # nothing new should be sent until the calls in flight have ended

    def add_refused(self, refused: Sequence[Failure]) -> list[Failure]:
        """Take in refused rows. Returns the failures to record now, none while these are held."""
        to_record: list[Failure] = []
        for failure in refused:
            cause = failure.cause
            is_suspect = cause.kind in _SUSPECT and not failure.usage and not self.is_proven
            if is_suspect and (not self._held or self._held[0].cause.code == cause.code):
                self._held.append(failure)
                self.is_doubtful = len(self._held) >= ROWS_TO_STOP
            else:
                to_record += [*self.release_held(), failure]
        return to_record

    def hold_failures(self, failures: Sequence[Failure]) -> None:
        """Keep failures until a row is answered. If the run halts for the same reason, their rows are left to do."""
        self._doubtful += failures
        self.holds_any = True

    def release_held(self) -> list[Failure]:
        """Hold no refused row any more. Returns what was held, to be recorded."""
        self.is_proven, self.holds_any, self.is_doubtful = True, False, False
        self._is_clear.set()
        released = [*self._held, *self._doubtful]
        self._held, self._doubtful = [], []
        return released

    def cause_to_halt(self, rows_in_work: int) -> Cause | None:
        """Why every row would be refused. None while rows other than the held ones are in work."""
        if not self.is_doubtful or rows_in_work > len(self._held) + len(self._doubtful):
            return None
        cause = self._held[0].cause
        said = f"The first {len(self._held)} rows were all refused for the same reason: {cause.message}"
        self._held.clear()
        self.is_doubtful = False
        return Cause(cause.kind, cause.code, said, cause.advice or _ADVICE)

    async def wait_until_clear(self) -> None:
        """Wait until it is clear, or until the session ends."""
        await self._is_clear.wait()

    def end_waiting(self) -> None:
        """Let nobody wait any more."""
        self._is_clear.set()
