"""Decides what a reply or a broken exchange means, as a `Verdict`.

Errors are classified by the tables of `error_codes` and the words of `error_words`; answers with status 200 by their
endpoint and the job's `ReplyPolicy`. Whether and when a row is tried again is decided in `backoff`, from the scope and
the `after` that are said here. Whether a `Halt` ends the run, where other rows are answered, is decided in
`engine.halt_watch`. An answer that is discarded carries its usage, since it was paid for.

The order for a 200: can it be read; does it hold an error; is it an answer; its finish reason (fail before retry); is
it empty.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import orjson
from msgspec import Struct
from msgspec.structs import replace

from arkbatch.core.calls import Again, Break, Broken, Cause, Done, Halt, Kind, Refused, Reply, Response, Scope, Verdict
from arkbatch.core.job_sections import ReplyPolicy
from arkbatch.core.row import Body
from arkbatch.protocol.endpoints.base import Answer, Endpoint, Problem
from arkbatch.protocol.endpoints.foreign_answers import as_chat_completion
from arkbatch.protocol.error_body import Complaint, complaint_in, error_in_success, one_line, plain_text, read_complaint
from arkbatch.protocol.error_codes import STATUS_OF_TYPE, Rule
from arkbatch.protocol.error_rules import rule_for
from arkbatch.protocol.error_words import Meaning
from arkbatch.protocol.finish_reasons import LENGTH, AnswerEnding, ending_of
from arkbatch.protocol.lenient_json import (
    Reread,
    dumps_strictly,
    json_lines,
    read_leniently,
    reread_value,
    text_holding_json,
    usage_in_unreadable,
)
from arkbatch.protocol.retry_after import asked_wait, http_date, reset_time
from arkbatch.protocol.setting_names import ANY_SERVER, SettingNames

LONGEST_WAIT = 3600.0  # seconds; a longer one is believed only of a quota that names the time of its return
UNBELIEVED_WAIT = 300.0  # what is waited instead: Azure names a day in the squeeze of a minute
SHORT_WAIT = 600.0  # a refusal for money or right that names so short a wait is meant as one
FOREIGN_SHAPE = "foreign_shape"
MAX_UNREADABLE_ANSWERS = 2  # of a row, where what cannot be read was billed

_NO_NUMBERS: Mapping[str, Meaning] = {}
_FINISH_KINDS = {AnswerEnding.BLOCKED: Kind.BLOCKED, AnswerEnding.CUT: Kind.TRUNCATED}
_POLICY_NAMES = {
    AnswerEnding.BLOCKED: "content_filter",
    AnswerEnding.CUT: "length",
}  # by which a job means all such words
_WAITED_OUT = (402, 403, 429, 503)
_BREAKS = {
    Break.CONNECT: (Kind.CONNECTION, "no connection"),
    Break.TIMEOUT: (Kind.TIMEOUT, "no answer in time"),
    Break.DROPPED: (Kind.CONNECTION, "the connection ended early"),
    Break.GARBLED: (Kind.BAD_REPLY, "what came was no HTTP"),
    Break.TOO_LARGE: (Kind.BAD_REPLY, "the reply is larger than allowed"),
}


def judge(
    response: Response,
    endpoint: Endpoint,
    policy: ReplyPolicy,
    *,
    wall: float,
    body: Body | None = None,
    numbers: Mapping[str, Meaning] = _NO_NUMBERS,
    longest_wait: float = LONGEST_WAIT,
    names: SettingNames = ANY_SERVER,
) -> Verdict:
    """Return what a response means.

    wall: unix time, for dates in the answer
    body: the request, to check that all of it was answered
    numbers: what codes of this provider mean
    longest_wait: seconds for which a quota that names the time of its return is waited for
    names: of the settings that advice names
    """
    if isinstance(response, Broken):
        return _judge_broken(response, endpoint)
    verdict: Verdict | Complaint
    if not 200 <= response.status < 300:
        verdict = read_complaint(response.body)
        parsed = None
    else:
        try:
            parsed = endpoint.parse(response.body)
        except orjson.JSONDecodeError:
            parsed, verdict = _judge_odd(response, endpoint, policy, body)
        else:
            if type(parsed) is str and (inner := text_holding_json(parsed)) is not None:
                parsed = inner
                verdict = _judge_reread(reread_value(inner, "json_in_text"), endpoint, policy, body)
            else:
                verdict = _judge_parsed(parsed, endpoint, policy, body)
    if isinstance(verdict, Complaint):
        errors = _Errors(response, wall, numbers, longest_wait, names)
        return _with_bill(errors.judge(verdict), parsed, endpoint)
    return verdict


def _judge_broken(broken: Broken, endpoint: Endpoint) -> Verdict:
    kind, words = _BREAKS[broken.how]
    detail = one_line(broken.detail)
    cause = Cause(kind, broken.how.value, f"{words}: {detail}" if detail else words)
    if broken.how is Break.TOO_LARGE:
        return Refused(cause)
    return _with_bill(Again(cause), orjson.loads(broken.body), endpoint) if broken.body else Again(cause)


def _with_bill(verdict: Verdict, parsed: Any, endpoint: Endpoint) -> Verdict:
    """Add what was counted of an answer that ended in an error or in nothing: it is discarded, and was paid for."""
    if not isinstance(parsed, dict):
        return verdict
    bill = endpoint.read({name: value for name, value in parsed.items() if name != "error"}, None)
    if any(bill.usage.values()) and isinstance(verdict, Again | Refused):
        return replace(verdict, usage=bill.usage, model=bill.model, service_tier=bill.service_tier)
    return verdict


def _judge_odd(
    reply: Reply, endpoint: Endpoint, policy: ReplyPolicy, body: Body | None
) -> tuple[Any, Verdict | Complaint]:
    """Judge what is not quite JSON by what can be read of it, which is returned too."""
    if (chunks := json_lines(reply.body)) is not None and (whole := as_chat_completion(chunks)) is not None:
        verdict = _judge_parsed(whole, endpoint, policy, body)
        if isinstance(verdict, Done):
            verdict = replace(verdict, body=dumps_strictly(whole), oddity=FOREIGN_SHAPE)
        return whole, verdict
    reread = read_leniently(reply.body, reply.headers.get("content-type", ""))
    if reread is not None:
        return reread.value, _judge_reread(reread, endpoint, policy, body)
    beginning = one_line(plain_text(reply.body)) or "an empty body"
    unread = Again(Cause(Kind.BAD_REPLY, "not_json", f"the reply is not JSON: {beginning}"))
    usage = usage_in_unreadable(reply.body)
    if usage is None:
        return None, unread
    return None, replace(_with_bill(unread, {"usage": usage}, endpoint), most=MAX_UNREADABLE_ANSWERS)


def _judge_reread(reread: Reread, endpoint: Endpoint, policy: ReplyPolicy, body: Body | None) -> Verdict | Complaint:
    verdict = _judge_parsed(reread.value, endpoint, policy, body)
    if isinstance(verdict, Done) and verdict.body is None:
        return replace(verdict, body=reread.body, oddity=reread.oddity)
    return verdict


def _judge_parsed(parsed: Any, endpoint: Endpoint, policy: ReplyPolicy, body: Body | None) -> Verdict | Complaint:
    """The verdict, or the error that a reply with a status of success tells of."""
    if type(parsed) is dict:
        if (said := error_in_success(parsed)) is not None:
            return said
    elif (listed := complaint_in(parsed)) is not None and listed.code:
        return listed
    answer = endpoint.read(parsed, body)
    if isinstance(answer, Answer):
        return _judge_answer(answer, policy)
    if endpoint.key == "messages" and (translated := as_chat_completion(parsed)) is not None:
        return _judge_foreign(endpoint.read(translated, body), translated, policy)
    if not answer.usage and (said := complaint_in(parsed)) is not None:
        return said
    return _judge_problem(answer)


def _judge_foreign(read: Answer | Problem, translated: Body, policy: ReplyPolicy) -> Verdict:
    """Judge an answer in the shape of another API; its record has the shape that readers know."""
    verdict = _judge_answer(read, policy) if isinstance(read, Answer) else _judge_problem(read)
    return (
        replace(verdict, body=dumps_strictly(translated), oddity=FOREIGN_SHAPE)
        if isinstance(verdict, Done)
        else verdict
    )


def _judge_problem(problem: Problem) -> Again:
    cause = Cause(Kind.BAD_REPLY, problem.code, problem.message)
    return Again(cause, usage=problem.usage, model=problem.model, service_tier=problem.service_tier)


def _judge_answer(answer: Answer, policy: ReplyPolicy) -> Verdict:
    reason = answer.finish_reason
    ending = ending_of(reason)
    names = (reason, _POLICY_NAMES.get(ending, reason))
    if not policy.fail_on_finish_reason.isdisjoint(names):
        return _rejected(answer, _cause_of_finish(reason, ending))
    if ending is AnswerEnding.BROKEN or not policy.retry_on_finish_reason.isdisjoint(names):
        return _discarded(answer, _cause_of_finish(reason, ending))
    if answer.empty and policy.on_empty != "keep":
        if reason in LENGTH and not answer.usage.get("output"):
            return _rejected(answer, Cause(Kind.TOO_LONG, reason, "the prompt left no room for an answer"))
        cause = Cause(Kind.EMPTY, "empty", _why_empty(reason))
        return _discarded(answer, cause) if policy.on_empty == "retry" else _rejected(answer, cause)
    return Done(answer.usage, answer.model, answer.service_tier, reason)


def _cause_of_finish(reason: str, ending: AnswerEnding) -> Cause:
    how = "was broken off" if ending is AnswerEnding.BROKEN else "ended"
    return Cause(_FINISH_KINDS.get(ending, Kind.BAD_REPLY), reason, f"the answer {how} with finish reason {reason}")


def _why_empty(reason: str) -> str:
    if reason in LENGTH:
        return "the answer has no content: the output allowance ran out before it; raise max_completion_tokens"
    return f"the answer has no content (finish reason {reason or 'not given'})"


def _rejected(answer: Answer, cause: Cause) -> Refused:
    return Refused(cause, answer.usage, answer.model, answer.service_tier)


def _discarded(answer: Answer, cause: Cause) -> Again:
    return Again(cause, usage=answer.usage, model=answer.model, service_tier=answer.service_tier, scope=Scope.ROW)


class _Errors(Struct, frozen=True, gc=False):
    """Judges the error of one reply, if it has one."""

    _reply: Reply
    _wall: float
    _numbers: Mapping[str, Meaning]
    _longest_wait: float
    _names: SettingNames

    def judge(self, said: Complaint) -> Verdict:
        reply, status = self._reply, _status(said, self._reply.status)
        rule, is_known = rule_for(said, status, self._numbers)
        code = said.code or said.type or f"http_{status}"
        cause = Cause(rule.kind, code, _message(said, reply), self._names.fill_in(rule.advice))
        if not is_known and (wish := reply.headers.get("x-should-retry")) is not None:
            rule = _overruled(rule, wish)
        # Dates in a reply are by the server's clock and not by ours.
        wall = http_date(reply.headers.get("date", "")) or self._wall
        asked = asked_wait(reply.headers, said.wait, said.message, wall)
        if rule.kind is Kind.QUOTA:
            return self._judge_quota(cause, rule, asked, said.message)
        after = asked if asked is None or asked <= LONGEST_WAIT else UNBELIEVED_WAIT
        if rule.advice:
            return _waited_out(cause, status, after) or Halt(cause, rule.confirm)
        if rule.scope is None:
            return Refused(cause)
        return Again(cause, rule.scope, rule.pause if after is None else after)

    def _judge_quota(self, cause: Cause, rule: Rule, asked: float | None, message: str) -> Verdict:
        """Wait for a quota that names the time of its return, if that is soon enough; else say when it returns."""
        scope = rule.scope or Scope.RATE
        waiting = Cause(cause.kind, cause.code, cause.message)
        if asked is None:
            return Halt(cause, rule.confirm) if rule.advice else Again(waiting, scope, rule.pause)
        if asked <= self._longest_wait:
            return Again(waiting, scope, asked, is_time_named=True)
        reset = reset_time(message)
        left = timedelta(seconds=round(asked))
        when = f"it resets at {reset} (in {left})" if reset else f"it resets in {left}"
        advice = rule.advice or "the quota is used up: wait until it resets"
        return Halt(replace(cause, advice=f"{advice}; {when}"))


def _waited_out(cause: Cause, status: int, after: float | None) -> Again | None:
    """Return the wait for money that comes back by itself: OpenRouter's running calls fill a share of the balance."""
    if cause.kind not in {Kind.BILLING, Kind.DENIED} or after is None or after > SHORT_WAIT:
        return None
    if status not in _WAITED_OUT:
        return None
    scope = Scope.RATE if status == 429 else Scope.CONCURRENCY
    return Again(Cause(Kind.RATE_LIMITED, cause.code, cause.message), scope, after)


def _status(said: Complaint, status: int) -> int:
    """Return the status by which an error is judged: one in a 200 has its own."""
    if status >= 300:
        return status
    return said.status or STATUS_OF_TYPE.get(said.type, status)


def _message(said: Complaint, reply: Reply) -> str:
    message = said.message or f"HTTP {reply.status} without a message"
    where = reply.headers.get("location") if 300 <= reply.status < 400 else None
    return one_line(f"{message} (to {where})") if where else message


def _overruled(rule: Rule, wish: str) -> Rule:
    """Return the rule that `x-should-retry` makes where we know no better; the scope stays if there was one."""
    if wish == "true":
        return Rule(rule.keys, rule.kind, rule.scope or Scope.ROW, pause=rule.pause)
    if wish == "false" and not rule.advice:
        return Rule(rule.keys, rule.kind)
    return rule
