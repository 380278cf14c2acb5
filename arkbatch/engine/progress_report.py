"""Tells the observers how the session stands, and `ctl` and `status` where they ask."""

import asyncio
import shlex
from datetime import UTC, datetime

from arkbatch.core.text import duration_text
from arkbatch.engine import ticker
from arkbatch.engine.command_handler import LimitsInForce
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.refusal_report import RefusalReport
from arkbatch.engine.run_hours import RunHours
from arkbatch.engine.slow_call_report import SlowCallReport
from arkbatch.engine.worker_pool import WorkerPool
from arkbatch.limits.adaptive_limit import AdaptiveLimit
from arkbatch.limits.fixed_limit import FixedLimit
from arkbatch.limits.limiter import Limiter
from arkbatch.limits.published_limits import ramp_at
from arkbatch.limits.rate_meter import LimitedBy
from arkbatch.monitor.command_replies import PAUSED
from arkbatch.monitor.deadline import SpeedUpOptions
from arkbatch.monitor.observer import Observer
from arkbatch.monitor.progress import Progress, RowRate
from arkbatch.pricing.amounts import amount_text

_QUIET_PART = 5  # after a quiet time, the next look comes after a fifth of it

_LIMITED_BY = {
    LimitedBy.REQUESTS: "your limit of requests a minute",
    LimitedBy.TOKENS: "your limit of tokens a minute",
    LimitedBy.CONCURRENCY: "the concurrency",
    LimitedBy.INPUT: "the input",
    LimitedBy.HELD: "a pause",
}


class ProgressReport:
    """Builds the progress of one session.

    began: loop time at which the session began
    """

    def __init__(
        self,
        *,
        run: OpenRun,
        observer: Observer,
        pool: WorkerPool,
        limiter: Limiter,
        pace: AdaptiveLimit | FixedLimit,
        hours: RunHours,
        slow_calls: SlowCallReport,
        refusals: RefusalReport,
        limits: LimitsInForce,
        began: float,
    ) -> None:
        self._run = run
        self._observer = observer
        self._pool = pool
        self._limiter = limiter
        self._pace = pace
        self._hours = hours
        self._slow_calls = slow_calls
        self._refusals = refusals
        self._limits = limits
        self._began = began
        self._now = asyncio.get_running_loop().time
        self._row_rate = RowRate(began)
        self._changed_at, self._counts = began, (0, 0, 0)

    def tick(self, now: float) -> float:
        """Tell the observers how it stands. The longer nothing changes, the later is the next look."""
        progress = self.progress(self._row_rate)
        self._hours.foresee_deadline(progress, self._speed_up_options(), self._pool.runner.latency.quantile(0.95))
        self._observer.progressed(progress)
        counts = (progress.recorded, progress.retried, progress.in_flight)
        if counts != self._counts:
            self._changed_at, self._counts = now, counts
        return min(max(ticker.TICK_SECONDS, (now - self._changed_at) / _QUIET_PART), ticker.LONGEST_TICK_SECONDS)

    def progress(self, rate: RowRate | None = None) -> Progress:
        """How the session stands. `rate`: rows a minute lately; without it, since the session began."""
        limiter, now = self._limiter, self._now()
        rate = rate or RowRate(self._began)
        found, recorded, limits = self._run.found, self._pool.recorder.recorded, self._limits.now
        limited_by = limiter.limited_by()
        left = max(0, found.to_send - recorded)
        refusals = self._refusals.refusals
        recent_rate = rate.rows_per_minute(now, recorded)
        calls_succeed = not (limiter.circuit_breaker.is_away or refusals)
        return Progress(
            total=max(found.total, left),
            left=left,
            failed=self._run.journal.ledger.failed.count,
            in_flight=limiter.in_flight,
            retried=self._pool.runner.retried,
            recorded=recorded,
            seconds=now - self._began,
            rows_per_minute=recent_rate if calls_succeed else 0.0,  # else nobody can tell how long the rest takes
            rpm=limiter.requests_per_minute(),
            tpm=limiter.tokens_per_minute(),
            rpm_limit=limits.rpm,
            tpm_limit=limits.tpm,
            bound_by=_service_text(limiter, now) if limited_by is LimitedBy.SERVER else _LIMITED_BY[limited_by],
            rpm_found=self._pace.found.rpm,
            concurrency_found=self._pace.found.concurrency,
            reason=self._pace.reason,
            waiting=", ".join(filter(None, (self._pause_text(now), self._hours.waiting))),
            stragglers=self._slow_calls.slow_calls_text,
            refused=refusals.how_often if refusals else "",
            refused_with=refusals.words if refusals else "",
            refused_calls=refusals.count if refusals else 0,
            cost=self._spent_text(),
        )

    def _spent_text(self) -> str:
        """What the run has cost so far; empty where nothing has a price, or no real call was made."""
        amounts = {} if self._run.job.simulated else self._run.bill.total_cost().amounts
        return " + ".join(f"{amount_text(amount)} {currency}" for currency, amount in sorted(amounts.items()))

    def _pause_text(self, now: float) -> str:
        since = self._limiter.pauses.get(PAUSED)
        if since is None:
            return ""
        moment = datetime.fromtimestamp(self._run.wall() - (now - since), UTC)
        return f"{PAUSED} since {moment:%H:%M} UTC"

    def _speed_up_options(self) -> SpeedUpOptions:
        job, limiter, limits = self._run.job, self._limiter, self._limits.now
        has_other_lane = job.lane == "online" and not job.simulated and ramp_at(job.base_url) is not None
        is_held = limiter.pauses or limiter.circuit_breaker.is_away
        return SpeedUpOptions(
            "" if is_held else limiter.limited_by().value,
            limits.concurrency,
            limits.rpm,
            limits.tpm,
            other_lane=has_other_lane,
            run_dir=shlex.quote(str(self._run.directory.path)),
        )


def _service_text(limiter: Limiter, now: float) -> str:
    away = f" for {duration_text(limiter.circuit_breaker.away_seconds(now))}" if limiter.circuit_breaker.is_away else ""
    return f"the server{away} ({limiter.reason})"
