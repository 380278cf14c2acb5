"""What one session billed for one row.

All three give the same values, so that a bill comes out the same however the records are read. A call keeps the model
and the service tier that its own reply named, because an answer discarded may have come from another than the one
that was kept. `pricing.run_cost` prices the calls; the ledger decides which lines count.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct, field

from arkbatch.core.outcomes import Outcome, Success
from arkbatch.core.row import Before
from arkbatch.core.usage import Usage
from arkbatch.journal.ledger import Ledger
from arkbatch.journal.record_format import Entry, record_decoder

# Ark's price lists have no row for these, and their replies count nothing: nothing was billed.
FREE = frozenset({"tokenization"})


_ROUND = "tools"  # the verdict of a call whose reply called tools


class BilledCall(Struct, gc=False):
    """One call in a record, as far as its cost needs it."""

    verdict: str
    tokens: dict[str, int] = {}
    model: str | None = None
    service_tier: str | None = None


class BilledEntry(Entry):
    """A line as it is read for its cost. `asked_model` is "" in lines written before it was kept."""

    finished_at: datetime = datetime.fromtimestamp(0, UTC)
    calls: list[BilledCall] = field(default_factory=list)
    asked_model: str = ""


decode_billed = record_decoder(BilledEntry)


class BilledReply(Struct, frozen=True, gc=False):
    """A call that was billed and whose reply is not the row's answer.

    model, service_tier: None where they are those of the row
    """

    usage: Usage
    model: str | None = None
    service_tier: str | None = None


class Spent(Struct, frozen=True, gc=False):
    """What one session billed for one row.

    model, service_tier: what the reply named; asked_model: what the request named, "" where the record does not say
    kept: of the answering call, None when there is none; discarded: each call whose answer was discarded
    rounds: each call that called tools, on the way to an answer that was kept
    at: unix time of the record; earlier: what the row's earlier records billed
    """

    endpoint: str
    model: str
    service_tier: str
    asked_model: str
    at: float
    kept: Usage | None
    discarded: Sequence[BilledReply] = ()
    rounds: Sequence[BilledReply] = ()
    earlier: Sequence[Before] = ()

    @property
    def all_usages(self) -> Iterator[Usage]:
        """Yield the usage of each call."""
        yield from (call.usage for call in (*self.discarded, *self.rounds))
        if self.kept is not None:
            yield self.kept


def spent_by(outcome: Outcome, at: float) -> Spent | None:
    """Return what a fresh outcome billed itself; None when nothing was billed."""
    row = outcome.row
    endpoint = getattr(row, "endpoint", "")
    if endpoint in FREE or outcome.copy_of:
        return None
    if isinstance(outcome, Success):
        usage, discarded = outcome.usage, outcome.discarded
        discarded_calls = _discarded_calls(outcome.calls, discarded, _ROUND) if discarded else ()
        rounds = _tool_rounds(outcome.calls) if outcome.messages is not None else ()
        kept = _without_usage(usage, discarded, *(each.usage for each in rounds)) if discarded or rounds else usage
        return Spent(
            endpoint,
            outcome.model,
            outcome.service_tier,
            row.asked_model,
            at,
            kept,
            discarded_calls,
            rounds,
            row.before,
        )
    if not outcome.usage:
        return None
    discarded_calls = _discarded_calls(outcome.calls, outcome.usage)
    return Spent(
        endpoint, outcome.model, outcome.service_tier, row.asked_model, at, None, discarded_calls, (), row.before
    )


def spent_of(entry: BilledEntry) -> Spent | None:
    """Return what a line billed itself, as `spent_by`; None when nothing was billed."""
    if entry.endpoint in FREE or entry.copy_of:
        return None
    own = _without_usage(entry.usage, *(earlier.usage for earlier in entry.before)) if entry.before else entry.usage
    at = entry.finished_at.timestamp()
    if entry.error is None:
        discarded_calls = _discarded_calls(entry.calls, entry.discarded, _ROUND) if entry.discarded else ()
        rounds = _tool_rounds(entry.calls) if len(entry.calls) > 1 else ()
        kept = (
            _without_usage(own, entry.discarded, *(each.usage for each in rounds)) if entry.discarded or rounds else own
        )
        return Spent(
            entry.endpoint,
            entry.model,
            entry.service_tier,
            entry.asked_model,
            at,
            kept,
            discarded_calls,
            rounds,
            entry.before,
        )
    if not any(own.values()):
        return None
    discarded_calls = _discarded_calls(entry.calls, own)
    return Spent(
        entry.endpoint, entry.model, entry.service_tier, entry.asked_model, at, None, discarded_calls, (), entry.before
    )


def spent_before(earlier: Before, before: Sequence[Before] = ()) -> Spent | None:
    """Return what an earlier record of the row billed, whose line is no longer in the files.

    before: those that were earlier still
    """
    if not any(earlier.usage.values()):
        return None
    at = earlier.at.timestamp() if earlier.at else 0.0
    calls = earlier.calls or (earlier.usage,)
    served = earlier.served or ((None, None),) * len(calls)
    discarded_calls = [BilledReply(usage, *by) for usage, by in zip(calls, served, strict=True)]
    return Spent(
        earlier.endpoint,
        earlier.model,
        earlier.service_tier,
        earlier.asked_model,
        at,
        None,
        discarded_calls,
        (),
        before,
    )


def new_in(entry: BilledEntry, ledger: Ledger) -> Iterator[Spent]:
    """Yield what a line adds to the lines that the ledger has folded, by the ledger's own rules."""
    if entry.row in ledger.done:
        return
    for number, earlier in enumerate(() if ledger.keeps_failure_of(entry.row) else entry.before):
        if (spent := spent_before(earlier, entry.before[:number])) is not None:
            yield spent
    if (spent := spent_of(entry)) is not None:
        yield spent


def _discarded_calls(calls: Iterable[Any], together: Usage, but: str = "") -> Sequence[BilledReply]:
    """Return the calls whose replies were discarded; calls with the verdict `but` are left out."""
    billed = (call for call in calls if call.tokens and call.verdict not in ("done", but))
    each = [BilledReply(call.tokens, call.model, call.service_tier) for call in billed]
    return each or (BilledReply(together),)


def _tool_rounds(calls: Iterable[Any]) -> Sequence[BilledReply]:
    billed = (call for call in calls if call.tokens and call.verdict == _ROUND)
    return [BilledReply(call.tokens, call.model, call.service_tier) for call in billed]


def _without_usage(usage: Usage, *parts: Usage) -> dict[str, int]:
    left = dict(usage)
    for part in parts:
        for meter, count in part.items():
            left[meter] = left.get(meter, 0) - count
    return left
