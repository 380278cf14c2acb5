"""What a session came to: its summary, with the budget with which the run can go on."""

import asyncio

from arkbatch.core.histogram import Histogram
from arkbatch.engine.cost_limit import MAX_COST, MAX_TOKENS, plain_amount
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.session_parts import SessionParts
from arkbatch.pricing.summary import Summary, summarise


def summary_of(run: OpenRun, ending: str, seconds: float, parts: SessionParts | None = None) -> Summary:
    """The summary of a session, also of one that had nothing to send."""
    runner = parts.pool.runner if parts else None
    return summarise(
        run.journal.ledger,
        runner.latency if runner else Histogram(),
        ending=ending,
        run_dir=str(run.directory.path),
        simulated=run.info.simulated,
        total=run.found.done + run.found.failed + run.found.left,
        session=_session_counts(parts) if parts else {"recorded": 0, "retried": 0},
        seconds=seconds,
        speeds=runner.speeds if runner else None,
        halt=parts.pool.halt_cause if parts else None,
        budget=_suggested_budget(parts) if parts else "",
        bill=run.bill,
    )


def _suggested_budget(parts: SessionParts) -> str:
    """A budget with which a run can go on that ended for want of it, "" for any other end."""
    cause = parts.pool.halt_cause
    if parts.cost_limit is None or cause is None or cause.code not in {MAX_COST, MAX_TOKENS}:
        return ""
    return plain_amount(parts.cost_limit.suggested_budget(cause.code))


def _session_counts(parts: SessionParts) -> dict[str, int]:
    pool = parts.pool
    counted = {"recorded": pool.recorder.recorded, "retried": pool.runner.retried}
    if pool.hedging is not None:
        counted |= {"asked_again": pool.hedging.asked_again, "second_won": pool.hedging.won}
    away = round(parts.limiter.circuit_breaker.total_seconds(asyncio.get_running_loop().time()))
    return counted | ({"seconds_away": away} if away else {})
