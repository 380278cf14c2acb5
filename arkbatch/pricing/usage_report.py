"""`usage.json`: the ledger's totals in the form that people and scripts read."""

from typing import Any

import orjson

from arkbatch.core.types import add_usage
from arkbatch.journal.ledger import Ledger, Marks, Tally
from arkbatch.pricing.run_cost import Bill
from arkbatch.pricing.subtotal import Charge

FORMAT = 1


def usage_report(ledger: Ledger, marks: Marks, bill: Bill | None = None) -> bytes:
    """Totals over all, and by endpoint, model and service tier; `stands_for` names the bytes that were added up.

    With a bill also what they cost, in decimals as strings, and the rows of the price book that say so.
    """
    charges = {(each.endpoint, each.model, each.service_tier): each for each in bill.charges} if bill else {}
    report = {
        "format": FORMAT,
        "rows": {
            "succeeded": ledger.done.count,
            "failed": ledger.failed.count,
            "interrupted": len(ledger.interrupted),
        },
        "usage": add_usage(*(tally.usage for tally in ledger.tallies)),
        "discarded": add_usage(*(tally.discarded for tally in ledger.tallies)),
        "by_model": [
            _by_model(tally) | _cost(charges.get((tally.endpoint, tally.model, tally.service_tier)))
            for tally in ledger.tallies
        ],
        "stands_for": {"results.jsonl": marks.results_end, "failures.jsonl": marks.failures_end},
    }
    if bill:
        report |= {"cost": bill.cost().plain(), "discarded_cost": bill.thrown().plain()}
        report["prices"] = bill.pricer.used().plain()
    return orjson.dumps(report, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _cost(charge: Charge | None) -> dict[str, Any]:
    if charge is None:
        return {}
    said = {"lane": charge.lane, "cost": charge.cost.plain(), "discarded_cost": charge.thrown.plain()}
    return said | ({"no_price_because": charge.reason} if charge.reason else {})


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
