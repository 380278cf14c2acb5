"""Tells a refusal that concerns one row from one that will meet every row.

The first rows of a session are held back while they are refused alike. When twenty are held and none has succeeded,
nothing new is sent until all that is under way has ended: a refusal comes at once and a long answer after minutes,
so the first to come in say nothing of the first that went out. If the rest ends no better, the fault is in the job
and not in the rows, and burning the night on it would help nobody. Held rows are recorded as soon as anything else
happens. What is held is bounded by twenty and the rows of the calls in flight.
"""

from arkbatch.core.types import Cause, Failure, Halt, Kind

ENOUGH = 20
_SUSPECT = {Kind.INVALID_REQUEST, Kind.NOT_FOUND}  # what a wrong default or model looks like


class FailFast:
    """Holds refusals until it is clear what they are. Nothing that was billed is ever held.

    proven: rows can succeed, or fail differently; nothing is held any more
    """

    def __init__(self) -> None:
        self._held: list[Failure] = []
        self.proven = False

    @property
    def doubtful(self) -> bool:
        """Whether nothing new should be sent until what is under way has ended."""
        return len(self._held) >= ENOUGH

    def refused(self, failure: Failure) -> list[Failure]:
        """The failures to record now; none while this one is held."""
        cause = failure.cause
        suspect = cause.kind in _SUSPECT and not failure.usage and not self.proven
        if not suspect or (self._held and self._held[0].cause.code != cause.code):
            return [*self.release(), failure]
        self._held.append(failure)
        return []

    def release(self) -> list[Failure]:
        """Hold nothing any more. Returns what was held."""
        self.proven = True
        held, self._held = self._held, []
        return held

    def verdict(self, open_rows: int) -> Halt | None:
        """The end of the run, once no other row is open than those that are held; they stay undone."""
        if not self.doubtful or open_rows > len(self._held):
            return None
        cause = self._held[0].cause
        said = f"The first {len(self._held)} rows were all refused alike: {cause.message}"
        self._held.clear()
        return Halt(Cause(cause.kind, cause.code, said, cause.advice or _ADVICE))


_ADVICE = "Correct the parameter in the job file ([defaults]) or with --set, then run it again."
