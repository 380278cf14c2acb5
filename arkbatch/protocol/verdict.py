"""What a reply or a broken exchange means: the one place where a `Verdict` is made.

Errors are classified by the table in `rules`; answers with status 200 by their endpoint and the job's
`ReplyPolicy`. Whether and when a row is tried again is decided in `retry`, from the scope and the `after` that are
said here. An answer that is discarded carries its usage, since it was paid for.

The order for a 200: is it JSON; does it hold an error; is it an answer; its finish reason (fail before retry); is it
empty.
"""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, assert_never

import orjson
from msgspec.structs import replace

from arkbatch.core.job import ReplyPolicy
from arkbatch.core.types import (
    Again,
    Body,
    Break,
    Broken,
    Cause,
    Done,
    Halt,
    Kind,
    Refused,
    Reply,
    Response,
    Scope,
    Verdict,
)
from arkbatch.protocol.endpoints.base import Answer, Endpoint, Problem
from arkbatch.protocol.error_body import Complaint, complaint, of_json, one_line, plain_text
from arkbatch.protocol.error_codes import STATUS_OF_TYPE, Rule, rule_for

LONGEST_WAIT = 3600.0  # seconds; the longest that an answer can make us wait before we ask again

_RESET = re.compile(r"reset at (\d{4}-\d\d-\d\d)[ T](\d\d:\d\d(?::\d\d)?)\s*([+-]\d\d:?\d\d)?")
_FINISH_KINDS = {"content_filter": Kind.BLOCKED, "length": Kind.TRUNCATED}
_BREAKS = {
    Break.CONNECT: (Kind.CONNECTION, "no connection"),
    Break.TIMEOUT: (Kind.TIMEOUT, "no answer in time"),
    Break.DROPPED: (Kind.CONNECTION, "the connection ended early"),
    Break.GARBLED: (Kind.BAD_REPLY, "what came was no HTTP"),
    Break.TOO_LARGE: (Kind.BAD_REPLY, "the reply is larger than allowed"),
}


def judge(
    response: Response, endpoint: Endpoint, policy: ReplyPolicy, *, wall: float, body: Body | None = None
) -> Verdict:
    """`wall` is unix time, for dates in the answer; `body` the request, to check that all of it was answered."""
    match response:
        case Reply():
            if 200 <= response.status < 300:
                return _judge_success(response, endpoint, policy, wall, body)
            return _judge_error(complaint(response.body), response, wall)
        case Broken():
            return _judge_broken(response, endpoint)
        case _:
            assert_never(response)


def _judge_broken(broken: Broken, endpoint: Endpoint) -> Verdict:
    kind, words = _BREAKS[broken.how]
    detail = one_line(broken.detail)
    cause = Cause(kind, broken.how.value, f"{words}: {detail}" if detail else words)
    if broken.how is Break.TOO_LARGE:
        return Refused(cause)
    return _with_bill(Again(cause), orjson.loads(broken.body), endpoint) if broken.body else Again(cause)


def _with_bill(verdict: Verdict, parsed: Any, endpoint: Endpoint) -> Verdict:
    """What was counted of an answer that ended in an error or in nothing: it is discarded, and was paid for."""
    if not isinstance(parsed, dict):
        return verdict
    bill = endpoint.read({name: value for name, value in parsed.items() if name != "error"}, None)
    if bill.usage and isinstance(verdict, Again | Refused):
        return replace(verdict, usage=bill.usage, model=bill.model, service_tier=bill.service_tier)
    return verdict


def _judge_success(reply: Reply, endpoint: Endpoint, policy: ReplyPolicy, wall: float, body: Body | None) -> Verdict:
    try:
        parsed = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        beginning = one_line(plain_text(reply.body)) or "an empty body"
        return Again(Cause(Kind.BAD_REPLY, "not_json", f"the reply is not JSON: {beginning}"))
    answer = endpoint.read(parsed, body)
    if isinstance(answer, Answer):
        return _judge_answer(answer, policy)
    if not answer.usage and (said := of_json(parsed)) is not None:
        return _with_bill(_judge_error(said, reply, wall), parsed, endpoint)
    return _judge_problem(answer)


def _judge_problem(problem: Problem) -> Again:
    cause = Cause(Kind.BAD_REPLY, problem.code, problem.message)
    return Again(cause, usage=problem.usage, model=problem.model, service_tier=problem.service_tier)


def _judge_answer(answer: Answer, policy: ReplyPolicy) -> Verdict:
    reason = answer.finish_reason
    if reason in policy.fail_on_finish_reason:
        return _rejected(answer, _cause_of_finish(reason))
    if reason in policy.retry_on_finish_reason:
        return _discarded(answer, _cause_of_finish(reason))
    if answer.empty and policy.on_empty != "keep":
        cause = Cause(Kind.EMPTY, "empty", _why_empty(reason))
        return _discarded(answer, cause) if policy.on_empty == "retry" else _rejected(answer, cause)
    return Done(answer.usage, answer.model, answer.service_tier, reason)


def _cause_of_finish(reason: str) -> Cause:
    return Cause(_FINISH_KINDS.get(reason, Kind.BAD_REPLY), reason, f"the answer ended with {reason}")


def _why_empty(reason: str) -> str:
    if reason == "length":
        return "the answer has no content: the output allowance ran out before it; raise max_completion_tokens"
    return f"the answer has no content (finish reason {reason or 'not given'})"


def _rejected(answer: Answer, cause: Cause) -> Refused:
    return Refused(cause, answer.usage, answer.model, answer.service_tier)


def _discarded(answer: Answer, cause: Cause) -> Again:
    return Again(cause, usage=answer.usage, model=answer.model, service_tier=answer.service_tier, scope=Scope.ROW)


def _judge_error(said: Complaint, reply: Reply, wall: float) -> Verdict:
    status = _status(said, reply.status)
    rule, known = rule_for(status, said.code, said.type, said.message)
    code = said.code or said.type or f"http_{status}"
    cause = Cause(rule.kind, code, _message(said, reply), rule.advice)
    if not known and (wish := reply.headers.get("x-should-retry")) is not None:
        rule = _overruled(rule, wish)
    wall = (
        _http_date(reply.headers.get("date", "")) or wall
    )  # dates in an answer are by the server's clock, not by ours
    after = _retry_after(reply.headers.get("retry-after"), wall)
    if rule.advice:
        return _halted(cause, wall)
    if rule.scope is None:
        return Refused(cause)
    return Again(cause, rule.scope, rule.pause if after is None else after)


def _status(said: Complaint, status: int) -> int:
    """An error that comes with status 200 is judged as if it had come with its own."""
    if status >= 300:
        return status
    return said.status or STATUS_OF_TYPE.get(said.type, status)


def _message(said: Complaint, reply: Reply) -> str:
    message = said.message or f"HTTP {reply.status} without a message"
    where = reply.headers.get("location") if 300 <= reply.status < 400 else None
    return one_line(f"{message} (to {where})") if where else message


def _overruled(rule: Rule, wish: str) -> Rule:
    """`x-should-retry` decides where we know no better; the scope stays if there was one."""
    if wish == "true":
        return Rule(rule.keys, rule.kind, rule.scope or Scope.ROW, pause=rule.pause)
    if wish == "false" and not rule.advice:
        return Rule(rule.keys, rule.kind)
    return rule


def _halted(cause: Cause, wall: float) -> Halt | Again:
    """A quota that names the time of its return is waited for when that is soon, and told to the user otherwise."""
    reset = _reset_time(cause.message) if cause.kind is Kind.QUOTA else None
    if reset is None:
        return Halt(cause)
    remaining = reset.timestamp() - wall
    if remaining <= LONGEST_WAIT:
        return Again(Cause(cause.kind, cause.code, cause.message), Scope.RATE, max(0.0, remaining))
    left = timedelta(seconds=round(remaining))
    return Halt(Cause(cause.kind, cause.code, cause.message, f"{cause.advice}; it resets at {reset} (in {left})"))


def _reset_time(message: str) -> datetime | None:
    """`... will reset at 2026-07-10 16:59:53 +0800 CST`; without a zone it is China's."""
    found = _RESET.search(message)
    if found is None:
        return None
    day, clock, zone = found.groups()
    try:
        return datetime.fromisoformat(f"{day}T{clock}{zone or '+08:00'}")
    except ValueError:
        return None


def _retry_after(value: str | None, wall: float) -> float | None:
    """Seconds, from seconds or from an HTTP date (RFC 9110, 10.2.3); None when there is nothing to obey."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        date = _http_date(value)
        if date is None:
            return None
        seconds = date - wall
    return min(max(0.0, seconds), LONGEST_WAIT) if seconds == seconds else None  # noqa: PLR0124 - NaN


def _http_date(value: str) -> float | None:
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
