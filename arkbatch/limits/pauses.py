"""The pauses of a run: those in force by name, and how long any of them was."""


class Pauses:
    """The pauses of a run, and how long it was paused. Times are seconds of one clock.

    Several pauses may be in force at a time (by hand, outside the allowed hours).

    since: when each pause in force began, by its name
    """

    def __init__(self) -> None:
        self.since: dict[str, float] = {}
        self._began = 0.0
        self._before = 0.0  # seconds, of pauses that have ended

    def begin_pause(self, name: str, now: float) -> bool:
        """Begin a pause, unless it is in force. Returns whether it is the only one."""
        is_first = not self.since
        if is_first:
            self._began = now
        self.since.setdefault(name, now)
        return is_first

    def end_pause(self, name: str, now: float) -> bool:
        """End a pause, if it is in force. Returns whether none is left."""
        if self.since.pop(name, None) is None or self.since:
            return False
        self._before += now - self._began
        return True

    def paused_seconds(self, now: float) -> float:
        """Return the seconds in which any pause was in force."""
        return self._before + (now - self._began if self.since else 0.0)
