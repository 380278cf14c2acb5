"""Keeps a session to its hours, and says early whether it will be late.

`tick` is called some times a second and asks the wall clock each time, so that one which was set, and a machine that
slept, are noticed at once. Outside its hours the limiter is paused: calls in flight end, and no other begins until the
hours have come. What an hour is, and what follows from a rate, is decided in `core.schedule` and `monitor.deadline`.
"""

import math
from collections.abc import Callable

from arkbatch.core.job_sections import Schedule
from arkbatch.core.schedule import ALWAYS, clock_text
from arkbatch.core.text import count_text, duration_text
from arkbatch.engine.notifier import SessionNotifier
from arkbatch.engine.timezones import due_of, hours_of
from arkbatch.limits.limiter import SHORTEST_WAIT, Limiter
from arkbatch.monitor.deadline import Deadline, SpeedUpOptions, describe_outlook, suggest_speed_up
from arkbatch.monitor.observer import Observer
from arkbatch.monitor.progress import Progress

HOLD = "outside its hours"


class RunHours:
    """One for each session.

    waiting: what a session outside its hours waits for, "" within them
    outlook: whether it will be done in time, "" while that is not known or nobody asked
    """

    def __init__(
        self,
        schedule: Schedule,
        limiter: Limiter,
        observer: Observer,
        noticing: SessionNotifier,
        *,
        wall: Callable[[], float],
        now: float,
    ) -> None:
        self._hours, due = hours_of(schedule), due_of(schedule)
        self._zone = self._hours.zone if self._hours else due.zone if due else None
        self._deadline = Deadline(due.first_moment_after(wall()), self._hours) if due else None
        self._schedule = schedule
        self._limiter = limiter
        self._observer = observer
        self._noticing = noticing
        self._wall = wall
        self._worked, self._looked_at = 0.0, now
        self._until = 0.0
        self.waiting = self.outlook = ""

    def tick(self, now: float) -> float:
        """Begin or end to wait. The next look is when the hours begin or end, unless somebody sets the clock."""
        if not (self._limiter.pauses or self._limiter.circuit_breaker.is_away):
            self._worked += now - self._looked_at
        self._looked_at = now
        if self._hours is None:
            return math.inf
        wall = self._wall()
        is_open, was_open = self._hours.is_open(wall), HOLD not in self._limiter.pauses
        if is_open and not was_open:
            self._go_on(wall)
        elif not is_open:
            self._wait_for_hours(wall, was_open=was_open)
        return max(self._hours.changes_at(wall) - wall, SHORTEST_WAIT)

    def foresee_deadline(self, standing: Progress, means: SpeedUpOptions, call_seconds: float) -> None:
        """Say whether it will be done in time, when that is new. `call_seconds`: that a long call takes."""
        if self._deadline is None:
            return
        wall = self._wall()
        news = self._deadline.check_outlook(wall, self._worked, standing.recorded, standing.left, call_seconds)
        if self._deadline.outlook is not None:
            self.outlook = describe_outlook(self._deadline.outlook, wall, self._zone)
        if news is None:
            return
        help_ = suggest_speed_up(news, means) if news.is_late else ""
        self._observer.noted(f"{self.outlook}{f'. What would help: {help_}' if help_ else ''}")
        self._noticing.tell_deadline(self.outlook, help_, is_late=news.is_late)

    def _go_on(self, wall: float) -> None:
        assert self._hours is not None
        self.waiting = ""
        self._limiter.resume(HOLD)
        self._observer.noted(
            f"its hours have come: going on until {self._clock_text(self._hours.changes_at(wall), wall)}"
        )

    def _wait_for_hours(self, wall: float, *, was_open: bool) -> None:
        assert self._hours is not None
        until = self._hours.changes_at(wall)
        if not was_open and until == self._until:
            return
        self._until, self.waiting = until, f"waiting for {self._clock_text(until, wall)}"
        if was_open:
            self._limiter.pause(HOLD)
        calls = self._limiter.in_flight
        ending = f"; {count_text(calls, 'call')} in flight {'ends' if calls == 1 else 'end'} first" if calls else ""
        text = f"{HOLD} ({self._schedule.window}): {self.waiting}, in {duration_text(until - wall)}{ending}"
        self._observer.noted(text if self._worked else f"{text}; --window {ALWAYS} begins at once")

    def _clock_text(self, moment: float, now: float) -> str:
        return clock_text(moment, now, self._zone)
