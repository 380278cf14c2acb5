"""The summary of a session's end, which is printed as one JSON line."""

from typing import Any

import msgspec
from msgspec import Struct

from arkbatch.core.calls import Cause
from arkbatch.core.errors import ExitCode
from arkbatch.core.histogram import Histogram
from arkbatch.core.stream_speed import Speeds
from arkbatch.core.usage import add_usage
from arkbatch.journal.ledger import Ledger
from arkbatch.journal.usage_report import by_count
from arkbatch.pricing.amounts import Money
from arkbatch.pricing.run_cost import Bill

UNWRITTEN = "unwritten rows"  # rows whose outcome no form of record could hold


class Summary(Struct, frozen=True):
    """The end of a session, and the state of the whole run.

    ending: "finished", "stopped", "halted", "unwritten rows", or "nothing left" when there was nothing to send
    usage: over the whole run, every billed attempt; discarded: the part of it that was discarded
    failures: rows that stand failed, by kind; finish_reasons: answers by how they ended
    cost, discarded_cost: the same in money; no_price_because: why a part of it has no price
    budget: one that is large enough to continue with, when the run ended at its budget
    p50, p95: seconds, over the answers of this session
    first_token_p50, first_token_p95, tokens_per_second_p50: of those that were streamed; None: nothing was measured
    """

    ending: str
    run_dir: str
    simulated: bool
    succeeded: int
    failed: int
    left: int
    failures: dict[str, int]
    usage: dict[str, int]
    discarded: dict[str, int]
    session: dict[str, int]
    seconds: float
    p50: float | None
    p95: float | None
    first_token_p50: float | None = None
    first_token_p95: float | None = None
    tokens_per_second_p50: float | None = None
    halt: Cause | None = None
    cost: Money | None = None
    discarded_cost: Money | None = None
    no_price_because: str = ""
    budget: str = ""
    finish_reasons: dict[str, int] = {}

    @property
    def exit_code(self) -> ExitCode:
        if self.ending == "halted":
            return ExitCode.HALTED
        if self.ending == "stopped":
            return ExitCode.INTERRUPTED
        if self.ending == "ordered":
            return ExitCode.ORDERED
        if self.ending == UNWRITTEN:
            return ExitCode.UNEXPECTED
        return ExitCode.FAILED_ROWS if self.failed else ExitCode.OK

    def to_builtins(self) -> dict[str, Any]:
        """Return plain JSON values."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        plain["cost"] = self.cost and self.cost.to_builtins()
        plain["discarded_cost"] = self.discarded_cost and self.discarded_cost.to_builtins()
        return plain


def summarise(
    ledger: Ledger,
    latency: Histogram,
    *,
    ending: str,
    run_dir: str,
    simulated: bool,
    total: int,
    session: dict[str, int],
    seconds: float,
    speeds: Speeds | None = None,
    halt: Cause | None = None,
    budget: str = "",
    bill: Bill | None = None,
) -> Summary:
    """`total`: rows that have ended and that are to; `session`: counts of this session alone."""
    speeds = speeds or Speeds()
    failures: dict[str, int] = {}
    for tally in ledger.failures:
        failures[tally.kind] = failures.get(tally.kind, 0) + tally.rows
    return Summary(
        ending=ending,
        run_dir=run_dir,
        simulated=simulated,
        succeeded=ledger.done.count,
        failed=ledger.failed.count,
        left=max(0, total - ledger.count_ended()),
        failures=failures,
        usage=add_usage(*(tally.usage for tally in ledger.tallies)),
        discarded=add_usage(*(tally.discarded for tally in ledger.tallies)),
        session=session,
        seconds=round(seconds, 3),
        p50=_quantile_of(latency, 0.5, 3),
        p95=_quantile_of(latency, 0.95, 3),
        first_token_p50=_quantile_of(speeds.first_token, 0.5, 3),
        first_token_p95=_quantile_of(speeds.first_token, 0.95, 3),
        tokens_per_second_p50=_quantile_of(speeds.tokens_per_second, 0.5, 1),
        halt=halt,
        cost=bill.total_cost() if bill else None,
        discarded_cost=bill.discarded_cost() if bill else None,
        no_price_because=bill.no_price_reason if bill else "",
        budget=budget,
        finish_reasons=by_count(ledger.finish_reasons),
    )


def _quantile_of(measured: Histogram, share: float, digits: int) -> float | None:
    return round(measured.quantile(share), digits) if measured.count else None
