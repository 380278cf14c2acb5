"""Reports what a session finds out about the limits of the service.

It only looks, some times a second, at what the pace has learnt; it decides nothing.
"""

import math
from collections.abc import Callable

from arkbatch.core.job import SIMULATOR, Job
from arkbatch.core.text import duration_text
from arkbatch.engine.notifier import SessionNotifier
from arkbatch.limits.adaptive_limit import AdaptiveLimit
from arkbatch.limits.circuit_breaker import CircuitBreaker
from arkbatch.limits.fixed_limit import FixedLimit
from arkbatch.limits.pace_file import PaceNote
from arkbatch.monitor.observer import Observer


def server_name(job: Job) -> str:
    """The simulator's address changes with each session, so its name stands for it."""
    return SIMULATOR if job.simulated else job.base_url


class PaceReport:
    """Reports what one session finds out: changes to the observers, long outages to whom the job notifies."""

    def __init__(
        self,
        pace: AdaptiveLimit | FixedLimit,
        outage: CircuitBreaker,
        *,
        job: Job,
        observer: Observer,
        notifier: SessionNotifier,
        wall: Callable[[], float],
    ) -> None:
        self.pace = pace
        self._outage = outage
        self._was_away = 0.0  # seconds, of the outage that was told
        self._job = job
        self._observer = observer
        self._notifier = notifier
        self._wall = wall
        self._reason = pace.reason
        self._changed_at = wall()

    def tick(self, now: float) -> float:
        """Tell what is new."""
        self._notifier.look_for_news(self._outage.away_seconds(now))
        if self.pace.reason != self._reason:
            self._reason, self._changed_at = self.pace.reason, self._wall()
            self._observer.pace_changed(self._reason)
        if self._outage.is_away:
            if not self._was_away:
                self._observer.noted(f"{self._outage.trouble_text}; {self._outage.plan_text}")
            self._was_away = max(self._outage.away_seconds(now), self._was_away)
        elif self._was_away:
            self._observer.noted(f"the service is back after {duration_text(self._was_away)}")
            self._was_away = 0.0
        return math.inf

    def make_note(self, now: float) -> PaceNote:
        found, memory = self.pace.found, self.pace.memory()
        return PaceNote(
            model=self._job.model,
            base_url=server_name(self._job),
            at=self._wall(),
            rpm=found.rpm,
            concurrency=found.concurrency,
            met_rpm=memory.rpm,
            met_concurrency=memory.concurrency,
            reason=self.pace.reason,
            changed_at=self._changed_at,
            away=self._outage.reason,
            away_seconds=round(self._outage.total_seconds(now), 1),
        )
