"""What one session billed for one row, read from a fresh outcome, from a line, or from what a line carries along.

All three give the same values, so that a bill comes out the same however the records are read. A call keeps the model
and the service tier that its own reply named, because an answer discarded may have come from another than the one
that was kept. Which prices they have is known to `bill`; which lines count is the ledger's to say.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct, field

from arkbatch.core.types import Before, Outcome, Success, Usage
from arkbatch.journal.ledger import Ledger
from arkbatch.journal.record_format import Entry

# Ark's price lists have no row for these, and their replies count nothing: nothing was billed.
FREE = frozenset({"tokenization"})


_ROUND = "tools"  # the verdict of a call whose reply called tools


class BilledCall(Struct, gc=False):
    """What is needed of a call in a record."""

    verdict: str
    tokens: dict[str, int] = {}
    model: str | None = None
    service_tier: str | None = None


class BilledEntry(Entry):
    """A line as it is read for its cost. `asked_model` is "" in lines written before it was kept."""

    finished_at: datetime = datetime.fromtimestamp(0, UTC)
    calls: list[BilledCall] = field(default_factory=list)
    asked_model: str = ""


decode_billed = msgspec.json.Decoder(BilledEntry).decode


class Thrown(Struct, frozen=True, gc=False):
    """A call whose answer was billed and is not the row's. None: the model or tier is that of its row."""

    usage: Usage
    model: str | None = None
    service_tier: str | None = None


class Spent(Struct, frozen=True, gc=False):
    """What one session billed for one row.

    model, service_tier: what the reply named; asked_model: what the request named, "" where the record does not say
    kept: of the answering call, None when there is none; thrown: each call whose answer was discarded
    rounds: each call that called tools, on the way to an answer that was kept
    at: unix time of the record; earlier: what the row's earlier records billed
    """

    endpoint: str
    model: str
    service_tier: str
    asked_model: str
    at: float
    kept: Usage | None
    thrown: Sequence[Thrown] = ()
    rounds: Sequence[Thrown] = ()
    earlier: Sequence[Before] = ()

    @property
    def usages(self) -> Iterator[Usage]:
        """Of each call."""
        yield from (call.usage for call in (*self.thrown, *self.rounds))
        if self.kept is not None:
            yield self.kept


def spent_by(outcome: Outcome, at: float) -> Spent | None:
    """The part of a fresh outcome that is its own; None when nothing was billed."""
    row = outcome.row
    endpoint = getattr(row, "endpoint", "")
    if endpoint in FREE or outcome.copy_of:
        return None
    if isinstance(outcome, Success):
        usage, discarded = outcome.usage, outcome.discarded
        thrown = _thrown(outcome.calls, discarded, _ROUND) if discarded else ()
        rounds = _rounds(outcome.calls) if outcome.messages is not None else ()
        kept = _less(usage, discarded, *(each.usage for each in rounds)) if discarded or rounds else usage
        return Spent(
            endpoint, outcome.model, outcome.service_tier, row.asked_model, at, kept, thrown, rounds, row.before
        )
    if not outcome.usage:
        return None
    thrown = _thrown(outcome.calls, outcome.usage)
    return Spent(endpoint, outcome.model, outcome.service_tier, row.asked_model, at, None, thrown, (), row.before)


def spent_of(entry: BilledEntry) -> Spent | None:
    """The same from a line read back."""
    if entry.endpoint in FREE or entry.copy_of:
        return None
    own = _less(entry.usage, *(earlier.usage for earlier in entry.before)) if entry.before else entry.usage
    at = entry.finished_at.timestamp()
    if entry.error is None:
        thrown = _thrown(entry.calls, entry.discarded, _ROUND) if entry.discarded else ()
        rounds = _rounds(entry.calls) if len(entry.calls) > 1 else ()
        kept = _less(own, entry.discarded, *(each.usage for each in rounds)) if entry.discarded or rounds else own
        return Spent(
            entry.endpoint, entry.model, entry.service_tier, entry.asked_model, at, kept, thrown, rounds, entry.before
        )
    if not any(own.values()):
        return None
    thrown = _thrown(entry.calls, own)
    return Spent(entry.endpoint, entry.model, entry.service_tier, entry.asked_model, at, None, thrown, (), entry.before)


def spent_before(earlier: Before, before: Sequence[Before] = ()) -> Spent | None:
    """What an earlier record of the row billed, when that record is not in the files any more.

    before: those that were earlier still
    """
    if not any(earlier.usage.values()):
        return None
    at = earlier.at.timestamp() if earlier.at else 0.0
    calls = earlier.calls or (earlier.usage,)
    served = earlier.served or ((None, None),) * len(calls)
    thrown = [Thrown(usage, *by) for usage, by in zip(calls, served, strict=True)]
    return Spent(
        earlier.endpoint, earlier.model, earlier.service_tier, earlier.asked_model, at, None, thrown, (), before
    )


def new_in(entry: BilledEntry, ledger: Ledger) -> Iterator[Spent]:
    """What a line adds that the lines which the ledger has folded did not have, by the ledger's own rules."""
    if entry.row in ledger.done:
        return
    for number, earlier in enumerate(() if ledger.keeps_failure_of(entry.row) else entry.before):
        if (spent := spent_before(earlier, entry.before[:number])) is not None:
            yield spent
    if (spent := spent_of(entry)) is not None:
        yield spent


def _thrown(calls: Iterable[Any], together: Usage, but: str = "") -> Sequence[Thrown]:
    """The calls that were billed for nothing; all but those of that verdict, where there is an answer."""
    billed = (call for call in calls if call.tokens and call.verdict not in ("done", but))
    each = [Thrown(call.tokens, call.model, call.service_tier) for call in billed]
    return each or (Thrown(together),)


def _rounds(calls: Iterable[Any]) -> Sequence[Thrown]:
    billed = (call for call in calls if call.tokens and call.verdict == _ROUND)
    return [Thrown(call.tokens, call.model, call.service_tier) for call in billed]


def _less(usage: Usage, *parts: Usage) -> dict[str, int]:
    left = dict(usage)
    for part in parts:
        for meter, count in part.items():
            left[meter] = left.get(meter, 0) - count
    return left
