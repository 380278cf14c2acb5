"""Hands outcomes to the journal, and knows which rows have none yet.

What ends in one round of the event loop is written together, since one write costs as much as half of all else that is
done for a row. `keep_writing` is a task of the worker pool: when the journal cannot be written, its error ends
the pool.

This is the last guard of a paid answer. An outcome that cannot be written as it is, whatever the reply held, is written
as a failure of its row, with what it billed. The other outcomes of the same round are written all the same.
"""

import asyncio
from collections.abc import Iterator
from typing import Protocol

from msgspec.structs import replace

from arkbatch.core.calls import Cause, Kind
from arkbatch.core.errors import ArkbatchError
from arkbatch.core.input_info import Position
from arkbatch.core.outcomes import Failure, Outcome
from arkbatch.core.row import BadRow, Row
from arkbatch.core.usage import CONTRADICTORY, NO_USAGE, Usage
from arkbatch.monitor.observer import Observer
from arkbatch.rows.packing import split_failure, split_outcome

UNRECORDABLE = "unrecordable"
_LARGEST_COUNT = 1 << 53  # no bill has more tokens, and every reader of JSON holds such a number


class OutcomeStore(Protocol):
    """Where outcomes are kept, which is a journal as a rule.

    `record` keeps all that it is given, or raises and keeps none of it.
    """

    def record(self, *outcomes: Outcome) -> None: ...


class OutcomeRecorder:
    """Records the outcomes of one session. Made inside a running loop.

    recorded: rows that have a record of this session
    unwritten: rows whose outcome could not be written in any form
    """

    def __init__(self, journal: OutcomeStore, observer: Observer) -> None:
        self._journal = journal
        self._observer = observer
        self._unrecorded: dict[int, Position] = {}  # rows that were read and have no record, oldest first
        self._last: Position | None = None
        self._ended: list[Outcome] = []  # in this round of the loop
        self._has_ended = asyncio.Event()
        self.has_written = asyncio.Event()  # set with each write, and cleared by whoever makes it durable
        self._is_broken = False
        self.recorded = self.unwritten = 0

    def begin(self, row: Row | BadRow) -> None:
        """Note that the row was read. It will have a record, or stays undone."""
        for each in row.members:
            self._last = self._unrecorded[each.number] = Position(each.number - 1, each.offset)

    def resume_at(self, before: Position) -> Position:
        """A place in the input before which every row is recorded: the oldest row in work, or the last one read.

        before: what held when the session began
        """
        self.write()
        return next(iter(self._unrecorded.values()), self._last or before)

    @property
    def in_work(self) -> int:
        """Rows that were read and have no outcome so far."""
        return len(self._unrecorded) - len(self._ended)

    def add(self, outcome: Outcome) -> None:
        """Have it written at the end of this round of the loop, with all else that ends in it."""
        try:
            if outcome.usage and max(outcome.usage.values()) > _LARGEST_COUNT:
                outcome = _with_countable_usage(outcome)
            if len(outcome.row.members) == 1:
                self._ended.append(outcome)
            else:
                self._ended.extend(split_outcome(outcome))
        except Exception as error:  # noqa: BLE001 - an answer of many rows that cannot be told apart
            self._ended.extend(split_failure(_as_failure(outcome, error)))
        if not self._has_ended.is_set():
            self._has_ended.set()

    def add_interrupted(self, failure: Failure) -> None:
        """Keep what rows have billed that did not come to an end.

        The next session sends them. Rows that had failed for good before stay failed.
        """
        for own in split_failure(failure):
            is_left = all(earlier.interrupted for earlier in own.row.before)
            self.recorded -= is_left
            self.add(replace(own, interrupted=is_left))

    async def keep_writing(self) -> None:
        """Write what ends, round by round; endless. ArkbatchError: the journal takes no more."""
        while True:
            await self._has_ended.wait()
            self.write()

    def write(self) -> None:
        """Write what has ended. ArkbatchError: the journal takes no more, and nothing is written from then on."""
        self._has_ended.clear()
        if not self._ended or self._is_broken:
            return
        ended, self._ended = self._ended, []
        try:
            written = self._write_all(ended)
        except ArkbatchError:
            self._is_broken = True
            raise
        self.has_written.set()
        self.recorded += len(written)
        for outcome in written:
            self._unrecorded.pop(outcome.row.number, None)
            self._observer.recorded(outcome)

    def _write_all(self, outcomes: list[Outcome]) -> list[Outcome]:
        try:
            self._journal.record(*outcomes)
        except ArkbatchError:
            raise
        except Exception:  # noqa: BLE001 - one of them holds what no record can hold; the others are not to suffer
            return [written for outcome in outcomes if (written := self._write_alone(outcome)) is not None]
        return outcomes

    def _write_alone(self, outcome: Outcome) -> Outcome | None:
        """Write one outcome, in the fullest form that can be written. None: in no form, so the row stays undone."""
        for form in _forms_of(outcome):
            try:
                self._journal.record(form)
            except ArkbatchError:
                raise
            except Exception:  # noqa: BLE001, S112 - the next form holds less
                continue
            return form
        self.unwritten += 1
        return None


def _forms_of(outcome: Outcome) -> Iterator[Outcome]:
    """The outcome, then failures that keep less and less of what came back, the bill to the last."""
    yield outcome
    failure = _as_failure(outcome, None)
    yield failure
    without_calls = replace(failure, calls=[], messages=None)
    yield without_calls
    yield replace(without_calls, model="", service_tier="", cause=Cause(Kind.BAD_REPLY, UNRECORDABLE, _UNREADABLE))


_UNREADABLE = "the reply holds values that no record can hold"


def _as_failure(outcome: Outcome, error: Exception | None) -> Failure:
    """A failure of this row in the place of what cannot be written, with the same bill and without the reply."""
    said = f"{_UNREADABLE} ({type(error).__name__})" if error else _UNREADABLE
    cause = outcome.cause if isinstance(outcome, Failure) else Cause(Kind.BAD_REPLY, UNRECORDABLE, said)
    return Failure(
        row=outcome.row,
        cause=cause,
        model=outcome.model,
        service_tier=outcome.service_tier,
        attempts=outcome.attempts,
        calls=[replace(call, tokens=_countable_usage(call.tokens)) for call in outcome.calls],
        usage=_countable_usage(outcome.usage),
        seconds=outcome.seconds,
        interrupted=isinstance(outcome, Failure) and outcome.interrupted,
    )


def _with_countable_usage(outcome: Outcome) -> Outcome:
    """The outcome without counts that would spoil every sum: the answer is kept, its usage as far as it can be.

    The usage says that it does not add up, so that nobody takes it for the whole.
    """
    calls = [replace(call, tokens=_countable_usage(call.tokens)) for call in outcome.calls]
    counted = _countable_usage(outcome.usage)
    usage = {**counted, CONTRADICTORY: counted.get(CONTRADICTORY, 0) + 1}
    if isinstance(outcome, Failure):
        return replace(outcome, usage=usage, calls=calls)
    return replace(outcome, usage=usage, discarded=_countable_usage(outcome.discarded), calls=calls)


def _countable_usage(usage: Usage) -> Usage:
    """The usage without counts that are none: larger than any bill, below 0, or not whole."""
    counts = {meter: count for meter, count in usage.items() if isinstance(count, int) and 0 <= count <= _LARGEST_COUNT}
    return counts or NO_USAGE
