"""The calls of one row in this session, with verdicts, usage and waits."""

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from arkbatch.core.calls import Again, Cause, Done, Halt, Refused, Reply, Response, Scope, Verdict
from arkbatch.core.outcomes import OUTRUN, Attempt, Failure, Success
from arkbatch.core.row import BadRow, Row
from arkbatch.core.usage import NO_USAGE, Usage, add_usage
from arkbatch.engine.backoff import spends_attempt
from arkbatch.limits.circuit_breaker import may_be_outage

_CALLS_KEPT = 20  # a row that waits out a night of overload has thousands


class AttemptLog(Struct, eq=False, gc=False):
    """The calls of one row. It grows by one verdict a call, and ends as an outcome.

    sent: calls made; spent: attempts used up, of which a rate reply uses none
    rejected: answers that were counted apart; rounds: replies that called tools; messages: what is sent since then
    waited: seconds kept waiting by replies that concern every row
    refused_at: when the last such reply came, less the time for which the run was held until then
    doubted_at: when the last attempt was spent that may have been the service's fault
    condemned: why the row is given up, unless the service turns out to be at fault
    """

    sent: int = 0
    spent: int = 0
    rejected: int = 0
    rounds: int = 0
    messages: list[Any] | None = None
    waited: float = 0.0
    refused_at: float | None = None
    doubted_at: float | None = None
    condemned: Cause | None = None
    _calls: list[Attempt] = []
    _discarded: dict[str, int] = {}
    _rounds: dict[str, int] = {}  # billed by replies that called tools
    _reply: Reply | None = None
    _model: str = ""
    _tier: str = ""
    _seconds: float = 0.0
    _began: float | None = None  # when the first call was sent

    @property
    def last_id(self) -> str:
        return self._calls[-1].id if self._calls else ""

    @property
    def billed(self) -> bool:
        """Replies were billed, and none of them is the row's answer."""
        return bool(self._discarded or self._rounds)

    def note_resumption(self, now: float, held: float = 0.0) -> None:
        """The row goes on; what passed since it was refused counts as waiting.

        held: seconds so far in which the whole run was held back on purpose, which is no waiting
        """
        if self.refused_at is not None:
            self.waited += now - held - self.refused_at
            self.refused_at = None

    def spent_on(self, verdict: Again) -> int:
        """How many attempts it has spent of those that count for such a failure."""
        return self.spent if verdict.most is None else self.rejected

    def give_attempt_back(self) -> None:
        """The attempt spent last was the service's fault."""
        self.spent -= 1
        self.doubted_at = self.condemned = None

    def passed_on(self, *, with_bill: bool) -> "AttemptLog":
        """What a part of a pack brings along from the whole: its calls, and for one of the parts what they billed."""
        part = AttemptLog()
        part._calls = [each if with_bill else replace(each, tokens=NO_USAGE) for each in self._calls]
        part._discarded = self._discarded if with_bill else {}
        part._reply, part._model, part._tier = self._reply, self._model, self._tier
        part._seconds, part._began, part.sent, part.waited = self._seconds, self._began, self.sent, self.waited
        return part

    def add_call(self, client_id: str, response: Response, verdict: Verdict, now: float, held: float = 0.0) -> None:
        self._seconds += response.seconds
        reply = response if isinstance(response, Reply) else None
        self._reply = reply or self._reply
        after, began = 0.0, now - response.seconds
        if self._began is None:
            self._began = began
        else:
            after = round(began - self._began, 3)
        call = _make_attempt(client_id, response, reply, verdict, after)
        if len(self._calls) < _CALLS_KEPT or self._calls[-1].tokens:  # what was billed is never forgotten
            self._calls.append(call)
        else:
            self._calls[-1] = call
        if not isinstance(verdict, Done):
            self._add_no_answer(verdict, now, held)
        elif verdict.goes_on:
            self._add_round(verdict)
        else:
            self.spent += 1
            self.doubted_at = None

    def _add_no_answer(self, verdict: Again | Refused | Halt, now: float, held: float) -> None:
        if not isinstance(verdict, Halt):
            self._model, self._tier = verdict.model or self._model, verdict.service_tier or self._tier
            if verdict.usage:
                self._discarded = add_usage(self._discarded, verdict.usage)
        if isinstance(verdict, Again) and verdict.most is not None:
            self.rejected += 1
            self.doubted_at = None
        elif isinstance(verdict, Again) and not spends_attempt(verdict):
            self.refused_at = now - held if verdict.scope is not Scope.SERVICE else None
        else:
            self.spent += 1
            self.doubted_at = now if isinstance(verdict, Again) and may_be_outage(verdict.cause) else None

    def _add_round(self, done: Done) -> None:
        """The next round has all of the attempts."""
        self.rounds += 1
        self.spent = self.rejected = 0
        self.doubted_at = None
        self._model, self._tier = done.model or self._model, done.service_tier or self._tier
        self._rounds = add_usage(self._rounds, done.usage)

    def first_call_began(self, now: float) -> None:
        """The first call was sent at this time, although another may end before it."""
        if not self._calls:
            self._began = now

    def add_lost_call(self, client_id: str, began: float, now: float, winner: Done | Refused, usage: Usage) -> None:
        """A call lost to another one of this row, and is discarded with what it used."""
        self._seconds += now - began
        self._discarded = add_usage(self._discarded, usage)
        call = Attempt(
            id=client_id,
            verdict=OUTRUN,
            seconds=round(now - began, 3),
            tokens=usage,
            model=winner.model if usage else None,
            service_tier=winner.service_tier if usage else None,
            after=round(began - (self._began or began), 3),
        )
        self._calls.append(call)

    def make_success(self, row: Row, reply: Reply, done: Done) -> Success:
        has_more = self._discarded or self._rounds
        usage = add_usage(self._discarded, self._rounds, done.usage) if has_more else done.usage
        return Success(
            row=row,
            reply=reply,
            model=done.model,
            service_tier=done.service_tier,
            attempts=self.sent,
            calls=self._calls,
            usage=usage,
            discarded=self._discarded,
            seconds=self._seconds,
            messages=self.messages,
            finish_reason=done.finish_reason,
            oddity=done.oddity,
        )

    def make_failure(self, row: Row | BadRow, cause: Cause) -> Failure:
        return Failure(
            row=row,
            cause=cause,
            reply=self._reply,
            model=self._model,
            service_tier=self._tier,
            attempts=self.sent,
            calls=self._calls,
            usage=add_usage(self._discarded, self._rounds) if self._rounds else self._discarded,
            seconds=self._seconds,
            messages=self.messages,
        )


def _make_attempt(client_id: str, response: Response, reply: Reply | None, verdict: Verdict, after: float) -> Attempt:
    word, code, tokens, model, service_tier = "done", "", NO_USAGE, None, None
    if not isinstance(verdict, Done):
        word, code = verdict.cause.kind.value, verdict.cause.code
        if not isinstance(verdict, Halt) and verdict.usage:
            tokens, model, service_tier = verdict.usage, verdict.model, verdict.service_tier
    elif verdict.goes_on:
        word, tokens, model, service_tier = "tools", verdict.usage, verdict.model, verdict.service_tier
    return Attempt(
        id=client_id,
        verdict=word,
        seconds=round(response.seconds, 3),
        request_id=reply.headers.get("x-request-id", "") if reply else "",
        status=reply.status if reply else 0,
        code=code,
        tokens=tokens,
        model=model,
        service_tier=service_tier,
        after=after,
    )
