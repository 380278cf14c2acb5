"""Looks at a session some times a second while something happens, and tells the observers how it stands.

What follows from time alone is found here too: hours that open and close, an outage that has lasted too long, calls
that take far longer than is usual.
"""

import asyncio
import shlex
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from arkbatch.core.job import Limits
from arkbatch.core.text import duration
from arkbatch.engine.command_handler import PAUSED
from arkbatch.engine.notifier import SessionNotifier
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.pace_report import PaceReport
from arkbatch.engine.run_hours import RunHours
from arkbatch.engine.slow_call_report import SlowCallReport
from arkbatch.engine.worker_pool import WorkerPool
from arkbatch.limits.limiter import Limiter
from arkbatch.limits.pace_file import PaceNote
from arkbatch.limits.published_limits import ramp_at
from arkbatch.limits.rate_meter import Bound
from arkbatch.monitor.eta import SpeedUpOptions
from arkbatch.monitor.observer import Observer
from arkbatch.monitor.progress import Progress, RowRate

TICK_SECONDS = 0.5
LONGEST_TICK_SECONDS = 60.0

_BOUND_BY = {
    Bound.REQUESTS: "your limit of requests a minute",
    Bound.TOKENS: "your limit of tokens a minute",
    Bound.CONCURRENCY: "the concurrency",
    Bound.INPUT: "the input",
    Bound.HELD: "a pause",
}


class SessionTicker:
    """limits: as they are now; began: loop time of the session's beginning."""

    def __init__(
        self,
        *,
        run: OpenRun,
        observer: Observer,
        engine: WorkerPool,
        limiter: Limiter,
        finding: PaceReport,
        timetable: RunHours,
        straggling: SlowCallReport,
        noticing: SessionNotifier,
        limits: Callable[[], Limits],
        began: float,
    ) -> None:
        self._run = run
        self._observer = observer
        self._engine = engine
        self._limiter = limiter
        self._finding = finding
        self._timetable = timetable
        self._straggling = straggling
        self._noticing = noticing
        self._limits = limits
        self._began = began
        self._now = asyncio.get_running_loop().time

    async def keep(self) -> None:
        """Endless."""
        recent, quiet = RowRate(self._began), _Quiet(self._began)
        while True:
            await asyncio.sleep(TICK_SECONDS if self._limiter.circuit_breaker.is_away else self._pause(quiet))
            self._look(recent)

    def _pause(self, quiet: "_Quiet") -> float:
        engine, now = self._engine, self._now()
        pause = quiet.pause(now, (engine.recorded, engine.retried, self._limiter.in_flight))
        return min(pause, self._timetable.changes_in(), max(TICK_SECONDS, self._straggling.next_in(now)))

    def _look(self, recent: RowRate) -> None:
        engine, limiter, now = self._engine, self._limiter, self._now()
        self._timetable.look(now)
        self._finding.look(now)
        stragglers = self._straggling.look(now)
        if engine.hedging is not None:
            engine.hedging.look(stragglers)
        self._noticing.look(limiter.circuit_breaker.lasts(now))
        if (cause := limiter.circuit_breaker.given_up(now)) is not None:
            engine.give_up(cause)
        standing = self.standing(recent)
        self._timetable.foresee(standing, self._means(), engine.latency.quantile(0.95))
        self._observer.progressed(standing)

    def last(self) -> None:
        """Tell how it stands at the end."""
        self._straggling.look(self._now())
        self._observer.progressed(self.standing())

    def note(self) -> PaceNote:
        """What the run directory keeps of it."""
        table, straggling = self._timetable, self._straggling
        return msgspec.structs.replace(
            self._finding.note(self._now()),
            waiting=table.waiting,
            outlook=table.outlook,
            straggling=straggling.number,
            stragglers=straggling.longest,
        )

    def standing(self, recent: RowRate | None = None) -> Progress:
        engine, limiter, now = self._engine, self._limiter, self._now()
        recent = recent or RowRate(self._began)
        ledger, found = self._run.journal.ledger, self._run.found
        limits = self._limits()
        bound, pace = limiter.limited_by(), self._finding.pace
        left = max(0, found.to_send + engine.requeued.added - engine.recorded)
        return Progress(
            total=max(found.total, left),
            left=left,
            failed=ledger.failed.count,
            in_flight=limiter.in_flight,
            retried=engine.retried,
            recorded=engine.recorded,
            seconds=now - self._began,
            rows_per_minute=recent.look(now, engine.recorded),
            rpm=limiter.requests_per_minute(),
            tpm=limiter.tokens_per_minute(),
            rpm_limit=limits.rpm,
            tpm_limit=limits.tpm,
            bound_by=_server(limiter, now) if bound is Bound.SERVER else _BOUND_BY[bound],
            rpm_found=pace.found.rpm,
            concurrency_found=pace.found.concurrency,
            reason=pace.reason,
            waiting=", ".join(filter(None, (self._paused(now), self._timetable.waiting))),
            stragglers=self._straggling.words,
        )

    def _paused(self, now: float) -> str:
        since = self._limiter.pauses.get(PAUSED)
        if since is None:
            return ""
        moment = datetime.fromtimestamp(self._run.wall() - (now - since), UTC)
        return f"{PAUSED} since {moment:%H:%M} UTC"

    def _means(self) -> SpeedUpOptions:
        job, limiter = self._run.job, self._limiter
        other_lane = job.lane == "online" and not job.simulated and ramp_at(job.base_url) is not None
        limits = self._limits()
        bound = "" if limiter.pauses or limiter.circuit_breaker.is_away else limiter.limited_by().value
        run_dir = shlex.quote(str(self._run.directory.path))
        return SpeedUpOptions(bound, limits.concurrency, limits.rpm, limits.tpm, other_lane=other_lane, run_dir=run_dir)


def _server(limiter: Limiter, now: float) -> str:
    away = f" for {duration(limiter.circuit_breaker.lasts(now))}" if limiter.circuit_breaker.is_away else ""
    return f"the server{away} ({limiter.reason})"


class _Quiet:
    """How long to look away: some times a second while things happen, and less often the longer nothing does.

    A run that waits for days on the batch lane would else wake up a million times to say the same.
    """

    def __init__(self, now: float) -> None:
        self._changed, self._seen = now, (0, 0, 0)

    def pause(self, now: float, seen: tuple[int, int, int]) -> float:
        if seen != self._seen:
            self._changed, self._seen = now, seen
        return min(max(TICK_SECONDS, (now - self._changed) / 5), LONGEST_TICK_SECONDS)
