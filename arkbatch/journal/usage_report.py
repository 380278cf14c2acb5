"""Writes `usage.json`: the ledger's totals in the form that people and scripts read."""

from typing import Any

import orjson

from arkbatch.core.usage import add_usage
from arkbatch.journal.cost_account import CostAccount
from arkbatch.journal.ledger import Ledger, Marks, Tally

FORMAT = 1


def usage_report(ledger: Ledger, marks: Marks, costs: CostAccount | None = None) -> bytes:
    """Return totals over all, and by endpoint, model and service tier.

    stands_for: the bytes of the files that were added up; costs: adds fields of its own
    """
    report = {
        "format": FORMAT,
        "rows": {
            "succeeded": ledger.done.count,
            "failed": ledger.failed.count,
            "interrupted": len(ledger.interrupted),
        },
        "finish_reasons": by_count(ledger.finish_reasons),
        "usage": add_usage(*(tally.usage for tally in ledger.tallies)),
        "discarded": add_usage(*(tally.discarded for tally in ledger.tallies)),
        "by_model": [_by_model(tally) | (costs.usage_of(tally) if costs else {}) for tally in ledger.tallies],
        "stands_for": {"results.jsonl": marks.results_end, "failures.jsonl": marks.failures_end},
    }
    if costs:
        report |= costs.usage_of_all()
    return orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def by_count(counts: dict[str, int]) -> dict[str, int]:
    """Return the counts, the largest first."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _by_model(tally: Tally) -> dict[str, Any]:
    return {
        "endpoint": tally.endpoint,
        "model": tally.model,
        "service_tier": tally.service_tier,
        "succeeded": tally.succeeded,
        "failed": tally.failed,
        "attempts": tally.attempts,
        "usage": tally.usage,
        "discarded": tally.discarded,
    }
