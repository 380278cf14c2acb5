"""Decides whether a refusal that seems to concern every row ends the run.

A refusal for the key, a right, the address or the model may concern one row alone: a firewall dislikes one prompt, a
gateway has one dead key among ten. Where rows are answered, it fails its row, and the run halts after several different
rows in a row with the same refusal. "In a row" goes by the start of the calls: an answer to a call that started
earlier proves nothing of the refusals of later ones. And since a refusal comes at once and a long answer after minutes,
only refusals count to which no older call under way can be an exception, unless far more rows are refused than calls
are under way. A missing quota may be a limit of the minute: it is waited out
once or twice before the run halts. Moderation and length are never counted, since a sorted file brings such rows
together.

Pure: `now` is in seconds on the caller's clock.
"""

import math

from msgspec import Struct
from msgspec.structs import replace

from arkbatch.core.calls import Again, Cause, Confirm, Done, Halt, Kind, Refused, Scope, Verdict

ROWS_TO_HALT = 3  # different rows, of refusals that would halt
ROWS_REFUSED_TO_HALT = 20  # of refused parameters: the account or the model changed, and not the rows
WAIT_BEFORE_ANSWERS = (10.0,)  # seconds until a missing quota is tried again, and halts if it stands
WAITS_AFTER_ANSWERS = (60.0, 120.0)
_MAX_ROWS_COUNTED = 10_000
_EARLY_SECONDS = 0.5  # by which a call may go before a wait is over and still be the probe
_COUNTED_REFUSALS = {Kind.INVALID_REQUEST, Kind.NOT_FOUND}


class EndedCall(Struct, frozen=True, gc=False):
    """What is needed of a call that ended.

    now, sent_at: when it ended and when it started
    in_flight: calls under way; oldest_in_flight: when the oldest of them started
    """

    row: int
    model: str
    now: float
    sent_at: float
    in_flight: int = 0
    oldest_in_flight: float = math.inf


class _Streak(Struct):
    """Refusals with the same words. `rows`: when the call of each row started."""

    words: tuple[Kind, str]
    rows: dict[int, float]


class _Doubt(Struct):
    """A missing quota that is being waited for. `waits`: those that are still to come after `until`."""

    until: float
    waits: tuple[float, ...]


class _Model(Struct):
    """What is known of one model."""

    has_answered: bool
    streak: _Streak | None = None
    doubt: _Doubt | None = None


class HaltWatch:
    """One session's.

    has_answered: some row was answered in an earlier session of the run
    """

    def __init__(self, *, has_answered: bool = False) -> None:
        self._has_answered = has_answered
        self._models: dict[str, _Model] = {}

    def note_answer(self, model: str, sent_at: float) -> None:
        """Note that a call which started at that time was answered."""
        known = self._models.get(model) or self._begin_model(model)
        known.has_answered, known.doubt = True, None
        if known.streak is not None:
            _end_streak(known, sent_at)

    def _begin_model(self, model: str) -> _Model:
        known = self._models[model] = _Model(self._has_answered)
        return known

    def weigh_verdict(self, call: EndedCall, verdict: Verdict) -> Verdict:
        """Return the verdict with its consequence for the run."""
        known = self._models.get(call.model) or self._begin_model(call.model)
        match verdict:
            case Done():
                self.note_answer(call.model, call.sent_at)
            case Halt():
                return _weigh_halt(known, call, verdict)
            case Refused(cause=cause) if cause.kind in _COUNTED_REFUSALS and not verdict.usage:
                if known.has_answered and _is_enough(known, call, cause, ROWS_REFUSED_TO_HALT):
                    return Halt(_said_together(known, cause))
            case Refused():
                _end_streak(known, call.sent_at)
            case Again():
                pass
        return verdict


def _weigh_halt(known: _Model, call: EndedCall, halt: Halt) -> Verdict:
    match halt.confirm:
        case Confirm.NOTHING:
            return halt
        case Confirm.AFTER_A_WHILE:
            return _waited_for(known, call, halt)
        case Confirm.AFTER_ANSWERS if not known.has_answered:
            return halt
    if _is_enough(known, call, halt.cause, ROWS_TO_HALT):
        return Halt(_said_together(known, halt.cause))
    return Refused(halt.cause, is_doubtful=True)


def _is_enough(known: _Model, call: EndedCall, cause: Cause, needed: int) -> bool:
    """Count a refusal. Returns whether so many different rows have met the same one in a row that the run halts."""
    words = (cause.kind, cause.code)
    if known.streak is None or known.streak.words != words:
        known.streak = _Streak(words, {})
    rows = known.streak.rows
    if len(rows) < _MAX_ROWS_COUNTED:
        rows[call.row] = call.sent_at
    certain = sum(at < call.oldest_in_flight for at in rows.values()) if len(rows) >= needed else 0
    return certain >= needed or len(rows) >= needed + 2 * call.in_flight


def _end_streak(known: _Model, sent_at: float) -> None:
    """Forget the refusals of calls that started before one that ended otherwise."""
    if known.streak is not None:
        known.streak.rows = {row: at for row, at in known.streak.rows.items() if at > sent_at}


def _waited_for(known: _Model, call: EndedCall, halt: Halt) -> Halt | Again:
    """Wait for a missing quota; halt when it stands after the last wait."""
    doubt = known.doubt
    if doubt is None:
        first, *rest = WAITS_AFTER_ANSWERS if known.has_answered else WAIT_BEFORE_ANSWERS
        known.doubt = doubt = _Doubt(call.now + first, tuple(rest))
    elif call.sent_at >= doubt.until - _EARLY_SECONDS:
        if not doubt.waits:
            return Halt(halt.cause)
        known.doubt = doubt = _Doubt(call.now + doubt.waits[0], doubt.waits[1:])
    cause = replace(halt.cause, advice="")
    return Again(cause, Scope.RATE, max(0.0, doubt.until - call.now))


def _said_together(known: _Model, cause: Cause) -> Cause:
    rows = len(known.streak.rows) if known.streak else 1
    advice = cause.advice or "Correct the parameter in the job file ([defaults]) or with --set, then run it again."
    said = f"{rows} rows in a row were refused alike: {cause.message}"
    return Cause(cause.kind, cause.code, said, advice)
