"""Counts of what calls used, by meter, and their sums.

A `Usage` maps meters to counts; an absent meter means zero. Only `protocol.endpoints` knows which meters exist.
"""

from collections.abc import Iterable, Mapping

Usage = Mapping[str, int]
NO_USAGE: Usage = {}
ASSUMED = "assumed"  # the meter of tokens that are included in the others although no reply reported them
UNCOUNTED = "uncounted"  # the meter of replies that have content and report no output tokens
CONTRADICTORY = "contradictory"  # the meter of replies whose counts do not add up
REPORTED_TICKS = "reported_usd_ticks"  # the meter of what the provider says it billed
TICKS_PER_USD = 10**10


def add_usage(*usages: Usage) -> dict[str, int]:
    """Return the sum of usages, meter by meter."""
    total: dict[str, int] = {}
    for usage in usages:
        for meter, count in usage.items():
            total[meter] = total.get(meter, 0) + count
    return total


def assumed_usage(usage: Usage) -> Usage:
    """Return the usage assumed for an abandoned call, from that of its answered twin."""
    tokens = total_tokens((usage,))
    return {**usage, ASSUMED: tokens} if tokens else NO_USAGE


def total_tokens(usages: Iterable[Usage]) -> int:
    """Return input and output tokens together, as a tokens-per-minute limit counts them."""
    return sum(usage.get("input", 0) + usage.get("output", 0) for usage in usages)
