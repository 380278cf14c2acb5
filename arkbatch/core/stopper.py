"""Tells a refusal that concerns one row from one that will meet every row.

The first rows of a session are held back while they are refused alike: when twenty in a row get the same answer and
none has succeeded, the fault is in the job and not in the rows, and burning the night on it would help nobody. Held
rows are recorded as soon as anything else happens.
"""

from arkbatch.core.records import Cause, Failure, Halt, Kind

ENOUGH = 20
_SUSPECT = {Kind.INVALID_REQUEST, Kind.NOT_FOUND}  # what a wrong default or model looks like


class Stopper:
    """Holds refusals until it is clear what they are. Nothing that was billed is ever held."""

    def __init__(self) -> None:
        self._held: list[Failure] = []
        self._proven = False

    def refused(self, failure: Failure) -> list[Failure] | Halt:
        """The failures to record now, or the end of the run; then the held rows stay undone."""
        cause = failure.cause
        suspect = cause.kind in _SUSPECT and not failure.usage and not self._proven
        if not suspect or (self._held and self._held[0].cause.code != cause.code):
            return [*self.proven(), failure]
        self._held.append(failure)
        if len(self._held) < ENOUGH:
            return []
        self._held.clear()
        return Halt(
            Cause(
                cause.kind,
                cause.code,
                f"The first {ENOUGH} rows were all refused alike: {cause.message}",
                cause.advice or "Correct the parameter in the job file ([defaults]) or with --set, then run it again.",
            )
        )

    def proven(self) -> list[Failure]:
        """Rows can succeed, or fail differently: hold nothing any more. Returns what was held."""
        self._proven = True
        held, self._held = self._held, []
        return held
