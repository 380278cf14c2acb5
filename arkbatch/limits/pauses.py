"""Why nobody is let through just now, and for how long that was so. Pure: `now` comes in, in seconds of one clock.

Several reasons may stand at a time (a pause by hand, the hours of the night); what counts is whether any does. It
does not know who waits.
"""


class Holds:
    """since: when each hold that stands was put, by its name."""

    def __init__(self) -> None:
        self.since: dict[str, float] = {}
        self._began = 0.0
        self._before = 0.0  # seconds, in holds that are over

    def put(self, name: str, now: float) -> bool:
        """Whether it is the first; one that stands already is put no later for that."""
        is_first = not self.since
        if is_first:
            self._began = now
        self.since.setdefault(name, now)
        return is_first

    def lift(self, name: str, now: float) -> bool:
        """Whether none is left now; one that does not stand is none."""
        if self.since.pop(name, None) is None or self.since:
            return False
        self._before += now - self._began
        return True

    def seconds(self, now: float) -> float:
        """How long any stood so far."""
        return self._before + (now - self._began if self.since else 0.0)
