"""Makes one call of a row: permit, exchange, verdict, report of its end.

What follows from a verdict is decided by `row_runner`. Everything of the outside world comes in by `Dependencies`, so
that a test can put in something else.
"""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from arkbatch.core.calls import (
    NO_HEADERS,
    Break,
    Broken,
    Call,
    CallResult,
    Cause,
    Done,
    Halt,
    Kind,
    Refused,
    Reply,
    Response,
    Verdict,
)
from arkbatch.core.errors import Halted
from arkbatch.core.job_sections import ReplyPolicy, RetryPolicy
from arkbatch.core.json_numbers import dumps_as_written
from arkbatch.core.row import Row, Size
from arkbatch.core.usage import NO_USAGE, Usage, assumed_usage
from arkbatch.engine.attempt_log import AttemptLog
from arkbatch.engine.call_ceiling import CostReservation
from arkbatch.engine.cost_limit import CostLimit
from arkbatch.engine.halt_watch import EndedCall, HaltWatch
from arkbatch.engine.recorder import OutcomeStore
from arkbatch.engine.tool_loop import ToolLoop
from arkbatch.limits.limiter import Limiter
from arkbatch.limits.permit import Permit
from arkbatch.monitor.observer import Observer
from arkbatch.protocol.endpoints import ENDPOINTS, Endpoint
from arkbatch.protocol.endpoints.usage import meters_of_usage
from arkbatch.protocol.error_words import Meaning
from arkbatch.protocol.setting_names import ANY_SERVER, SettingNames
from arkbatch.protocol.verdict import judge
from arkbatch.rows.media_files import Images
from arkbatch.transport.transport import Transport

UNREADABLE = "unreadable"
_LONGEST_USAGE = 10_000  # bytes


class Dependencies(Struct, frozen=True):
    """What the engine works with; every touch of the world is in here.

    model: the job's model; call_prefix: begins each client request id, row and attempt follow
    chance: evenly from [0, 1); wall: unix time
    cost_limit: keeps the budget, None when there is none
    files: what rows may name in their requests, None when they may not
    check: a second look at a good reply, which may find it unfit, None when the first is enough
    tools: runs the tools that models call, None when the job has none
    hedge: make a second call where one takes too long, with so many calls at once; 0: never
    error_numbers: what the provider's own error codes mean; has_answered: rows were answered in earlier sessions
    setting_names: by which advice names the settings of this run
    """

    limiter: Limiter
    transport: Transport
    journal: OutcomeStore
    observer: Observer
    retry: RetryPolicy
    replies: ReplyPolicy
    model: str
    call_prefix: str
    chance: Callable[[], float]
    wall: Callable[[], float]
    cost_limit: CostLimit | None = None
    files: Images | None = None
    check: Callable[[Row, Reply, Done], Awaitable[Verdict]] | None = None
    tools: ToolLoop | None = None
    hedge: int = 0
    error_numbers: Mapping[str, Meaning] = {}
    has_answered: bool = False
    setting_names: SettingNames = ANY_SERVER


class PreparedRow(Struct, frozen=True):
    """A row with what is needed to call for it."""

    row: Row
    endpoint: Endpoint
    size: Size


class Admission(Struct, frozen=True, gc=False):
    """What one call was granted: a permit, and its part of the budget if there is a budget."""

    permit: Permit
    reservation: CostReservation | None


class StartedCall(Struct, frozen=True, gc=False):
    """A call that is ready to send or in flight."""

    admission: Admission
    call: Call


class CallRunner:
    """Makes the calls of one session.

    The end of each call is told to four: the limiter, the budget, the row's attempt log and the observer.
    """

    def __init__(self, dependencies: Dependencies) -> None:
        self._needs = dependencies
        self._time = asyncio.get_running_loop().time
        self._in_flight: dict[str, float] = {}  # when each call in flight was permitted, the oldest first
        self._halt_watch = HaltWatch(has_answered=dependencies.has_answered)

    def prepare_row(self, row: Row) -> PreparedRow:
        """The row with its endpoint and its size."""
        endpoint = ENDPOINTS[row.endpoint]
        return PreparedRow(row, endpoint, endpoint.size(row.body))

    async def run(self, prepared: PreparedRow, log: AttemptLog) -> CallResult | Cause | None:
        """Call once. None: the session stops, so no call is made; a cause: the budget is used up."""
        started = await self.start_call(prepared, log)
        if not isinstance(started, StartedCall):
            return started
        return self.end_call(started, prepared, log, await self.send_and_judge(started, prepared))

    # ---- the steps of it

    async def start_call(self, prepared: PreparedRow, log: AttemptLog) -> StartedCall | CallResult | Cause | None:
        """Wait for admission and make the call ready. A result: it cannot be sent; otherwise as `run`."""
        limiter, budget, reservation = self._needs.limiter, self._needs.cost_limit, None
        demand = limiter.demand_of(prepared.row, prepared.size)
        if budget is not None:
            granted = await budget.admit(prepared.row, prepared.size, demand.tokens.output)
            if granted is None or isinstance(granted, Cause):
                return granted
            reservation = granted
        permit = await limiter.acquire(demand, untried=not log.sent)
        if permit is None:
            return None
        return self.begin_call(Admission(permit, reservation), prepared, log)

    async def admit_second(self, prepared: PreparedRow) -> Admission | None:
        """Wait for admission of a second call. None: the budget has no room for it, or the session stops."""
        limiter, budget, reservation = self._needs.limiter, self._needs.cost_limit, None
        demand = limiter.demand_of(prepared.row, prepared.size)
        if budget is not None:
            reservation = budget.admit_now(prepared.row, prepared.size, demand.tokens.output)
            if reservation is None:
                return None
        permit = None
        try:
            permit = await limiter.acquire(demand)
        finally:
            if permit is None and budget is not None and reservation is not None:
                budget.settle(reservation, prepared.row, NO_USAGE, model="", service_tier="", answered=False)
        return None if permit is None else Admission(permit, reservation)

    def begin_call(self, admission: Admission, prepared: PreparedRow, log: AttemptLog) -> StartedCall | CallResult:
        """Make the call ready. A result: it cannot be sent, and the admission was given back."""
        needs, row, permit = self._needs, prepared.row, admission.permit
        # Encoded for each call, so that only rows on their way have their images in memory, and none that waits.
        body = dumps_as_written(row.body) if needs.files is None else needs.files.encode_request(row.body)
        if isinstance(body, Cause):
            result = CallResult(Broken(Break.CONNECT, body.message), Refused(body))
            needs.limiter.release_unsent(permit)
            self._settle_cost(admission, prepared, result)
            return result
        if log.sent:  # before its first call a row has not waited
            log.note_resumption(permit.at, needs.limiter.paused_seconds(permit.at))
            self.forgive_outage(log)
        log.sent += 1
        client_id = _own_call_id(row, log.sent) if row.request_id else f"{needs.call_prefix}-{row.number}-{log.sent}"
        model, stream = row.asked_model, row.body.get("stream") is True
        moved = permit.flight.note_data if stream and permit.flight is not None else None
        call = Call(client_id, row.endpoint, prepared.endpoint.path, body, NO_HEADERS, model, stream, moved)
        self._in_flight[client_id] = permit.at
        return StartedCall(admission, call)

    async def send_and_judge(self, started: StartedCall, prepared: PreparedRow) -> CallResult:
        """Send the call and judge what comes back. Cancelled, it has given the permit back."""
        needs = self._needs
        try:
            response = await needs.transport.send(started.call)
            verdict = self._judge_response(response, prepared)
            if isinstance(verdict, Done) and verdict.body is not None and isinstance(response, Reply):
                response = replace(response, body=verdict.body)
            if needs.check is not None and isinstance(verdict, Done) and isinstance(response, Reply):
                verdict = await needs.check(prepared.row, response, verdict)
        except Halted as halted:
            return CallResult(Broken(Break.CONNECT, str(halted)), Halt(Cause(Kind.AUTH, "", str(halted))))
        except Exception as error:  # noqa: BLE001 - a reply can hold anything, and no list of errors is complete
            cause = _unreadable(error)
            return CallResult(Broken(Break.GARBLED, cause.message), Refused(cause))
        except BaseException:
            needs.limiter.abandon_call(started.admission.permit)
            self._in_flight.pop(started.call.client_id, None)
            raise
        return CallResult(response, verdict)

    def _judge_response(self, response: Response, prepared: PreparedRow) -> Verdict:
        """The verdict on what came back. What cannot be judged fails its row and nothing else."""
        needs = self._needs
        try:
            return judge(
                response,
                prepared.endpoint,
                needs.replies,
                wall=needs.wall(),
                body=prepared.row.body,
                numbers=needs.error_numbers,
                longest_wait=needs.retry.give_up_after,
                names=needs.setting_names,
            )
        except Exception as error:  # noqa: BLE001 - a reply can hold anything, and no list of errors is complete
            bill = usage_in(response.body) if isinstance(response, Reply) else NO_USAGE
            return Refused(_unreadable(error), bill)

    def end_call(self, started: StartedCall, prepared: PreparedRow, log: AttemptLog, result: CallResult) -> CallResult:
        """Report how the call ended. Returns the result with the fault where it belongs."""
        needs, response, client_id = self._needs, result.response, started.call.client_id
        self._in_flight.pop(client_id, None)
        if isinstance(result.verdict, Done):
            self._halt_watch.note_answer(started.call.model, started.admission.permit.at)
        else:
            result = self._weigh_refusal(started, prepared.row, result)
        result = needs.limiter.release(started.admission.permit, result)
        if not (isinstance(response, Broken) and isinstance(result.verdict, Halt)):  # else nothing was sent
            now = self._time()
            held = 0.0 if isinstance(result.verdict, Done) else needs.limiter.paused_seconds(now)
            log.add_call(client_id, response, result.verdict, now, held)
            needs.observer.answered(prepared.row, client_id, response, result.verdict)
        if started.admission.reservation is not None:
            self._settle_cost(started.admission, prepared, result)
        return result

    def _weigh_refusal(self, started: StartedCall, row: Row, result: CallResult) -> CallResult:
        """The result with its consequence for the run: whether a refusal concerns the row or every row."""
        oldest = next(iter(self._in_flight.values()), math.inf)
        sent_at = started.admission.permit.at
        ended = EndedCall(row.number, started.call.model, self._time(), sent_at, len(self._in_flight), oldest)
        verdict = self._halt_watch.weigh_verdict(ended, result.verdict)
        return result if verdict is result.verdict else CallResult(result.response, verdict)

    def end_lost_call(
        self,
        started: StartedCall,
        prepared: PreparedRow,
        log: AttemptLog,
        winner: Done | Refused,
        own: CallResult | None,
    ) -> None:
        """Report that another call of the row was answered first. `own`: the result, None if it is being abandoned.

        Nobody learns what an abandoned call is billed, and to hang up does not make it free. It is taken to have used
        what the same request did use.
        """
        needs, admission = self._needs, started.admission
        usage = assumed_usage(winner.usage) if own is None else own.usage
        self._in_flight.pop(started.call.client_id, None)
        log.add_lost_call(started.call.client_id, admission.permit.at, self._time(), winner, usage)
        if own is not None:
            needs.limiter.release(admission.permit, own)
        if needs.cost_limit is not None and admission.reservation is not None:
            needs.cost_limit.settle(
                admission.reservation,
                prepared.row,
                usage,
                model=winner.model,
                service_tier=winner.service_tier,
                answered=isinstance(winner, Done),
            )
        needs.observer.hedge_lost(prepared.row, started.call.client_id, usage)

    def _settle_cost(self, admission: Admission, prepared: PreparedRow, result: CallResult) -> None:
        budget, verdict = self._needs.cost_limit, result.verdict
        if budget is None or admission.reservation is None:
            return
        model, tier = ("", "") if isinstance(verdict, Halt) else (verdict.model, verdict.service_tier)
        is_answered = isinstance(verdict, Done)
        budget.settle(
            admission.reservation, prepared.row, result.usage, model=model, service_tier=tier, answered=is_answered
        )

    def forgive_outage(self, log: AttemptLog) -> None:
        """Give an attempt back that was spent on what is now known to have been an outage."""
        if log.doubted_at is not None and self._needs.limiter.circuit_breaker.covers_failure(log.doubted_at):
            log.give_attempt_back()


def _own_call_id(row: Row, number: int) -> str:
    """Return the row's own id for its first call; the others have a suffix, behind that of a retried row's session."""
    tries = sum(part.kind != Kind.BAD_ROW for part in row.before)
    return f"{row.request_id}{f'-{tries + 1}' if tries else ''}{f'-{number}' if tries or number > 1 else ''}"


def _unreadable(error: Exception) -> Cause:
    """Why a row fails whose reply raised an error while it was read: the same reply is not paid for again."""
    return Cause(Kind.BAD_REPLY, UNREADABLE, f"the reply cannot be read ({type(error).__name__})")


def usage_in(body: bytes) -> Usage:
    """What a body that cannot be read as a whole says that it billed."""
    place = body.rfind(b'"usage"')
    opened = body.find(b"{", place)
    if place < 0 or opened < 0:
        return NO_USAGE
    try:
        usage, _ = json.JSONDecoder().raw_decode(body[opened : opened + _LONGEST_USAGE].decode("utf-8", "replace"))
        return meters_of_usage(usage)
    except (ValueError, RecursionError):
        return NO_USAGE
