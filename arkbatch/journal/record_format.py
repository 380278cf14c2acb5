"""The lines of `results.jsonl` and `failures.jsonl`: an outcome becomes bytes, bytes become an `Entry`.

A line is the line of the OpenAI and Ark batch output files with our own fields beside, so that scripts written
for those read it unchanged. The reply's body goes in as the bytes that came, so that fields we do not know and
the digits of its numbers survive. `ledger` adds the lines up, `journal` writes them.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
import orjson
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from arkbatch.core.calls import Reply
from arkbatch.core.errors import RunDamaged
from arkbatch.core.json_numbers import NOT_STRICT, raw_number
from arkbatch.core.outcomes import Attempt, Failure, Outcome, Success
from arkbatch.core.row import BadRow, Before
from arkbatch.core.stream_speed import tokens_per_second
from arkbatch.core.usage import Usage, add_usage
from arkbatch.protocol.lenient_json import DEEP_NESTING, MAX_DEPTH, count_openings, cut_nesting, nesting_depth

_L = TypeVar("_L")
_BEGINNING = 60  # bytes of a damaged line in a message
_BODY_KEPT = 65_536  # bytes of a refused reply that a failure keeps


class ErrorPart(Struct, omit_defaults=True):
    code: str
    message: str
    kind: str = ""
    advice: str = ""


class ResponsePart(Struct):
    status_code: int
    request_id: str
    body: Raw


class RequestPart(Struct):
    """The request of a failure, which can be sent again without the input."""

    method: str
    url: str
    body: dict[str, Any]
    request_id: str | UnsetType = UNSET  # of the row's own, where it has one


class KeptRequest(Struct, gc=False):
    """The request of a failure as `retry` reads it: numbers of the body keep their digits."""

    body: Raw
    request_id: str = ""


class _Line(Struct):
    id: str
    custom_id: str
    response: ResponsePart | None
    error: ErrorPart | None
    row: int
    offset: int
    digest: str
    endpoint: str
    asked_model: str
    model: str
    service_tier: str
    attempts: int
    calls: Sequence[Attempt]
    seconds: float
    usage: Usage
    discarded: Usage | UnsetType
    before: tuple[Before, ...] | UnsetType
    finished_at: datetime
    request: RequestPart | UnsetType | None = UNSET
    line: str | UnsetType = UNSET
    first_token_seconds: float | UnsetType = UNSET
    tokens_per_second: float | UnsetType = UNSET
    messages: list[Any] | UnsetType = UNSET
    interrupted: bool | UnsetType = UNSET
    finish_reason: str | UnsetType = UNSET
    oddity: str | UnsetType = UNSET
    copy_of: int | UnsetType = UNSET


MAX_ROW = 2**33  # the ledger holds a bit for each number up to the highest; 8 billion rows take a gigabyte
RowNumber = Annotated[int, Meta(ge=1, le=MAX_ROW)]
_MAX_COUNT = 2**60  # tokens of one record; sums of many records stay within 64 bits
Count = Annotated[int, Meta(le=_MAX_COUNT)]


class EntryError(Struct, gc=False):
    code: str
    message: str
    kind: str = ""


class Entry(Struct, gc=False):
    """What the ledger needs of a line; decoding skips the rest without building it."""

    row: RowNumber
    endpoint: str
    model: str
    service_tier: str
    attempts: int
    usage: dict[str, Count]
    error: EntryError | None = None
    discarded: dict[str, Count] = {}
    before: tuple[Before, ...] = ()
    interrupted: bool = False
    finish_reason: str = ""
    copy_of: int = 0


class Located(Struct, gc=False):
    """What is needed of a line to find its row again in an input that changed."""

    row: RowNumber
    offset: int
    digest: str
    custom_id: str


class _Tokens(Struct, gc=False):
    tokens: dict[str, int] = {}
    model: str | None = None
    service_tier: str | None = None


class Retryable(Struct, gc=False):
    """A failure line as `retry` reads it."""

    row: RowNumber
    offset: int
    digest: str
    custom_id: str
    endpoint: str
    model: str
    service_tier: str
    attempts: int
    usage: dict[str, Count]
    error: EntryError
    request: KeptRequest | None = None
    before: tuple[Before, ...] = ()
    calls: list[_Tokens] = []
    finished_at: datetime | None = None
    asked_model: str = ""
    interrupted: bool = False


_encode = msgspec.json.Encoder(enc_hook=raw_number).encode


def record_decoder(kind: type[_L]) -> Callable[[bytes], _L]:
    """Return a decoder of lines of the journal; it raises RunDamaged for one that arkbatch did not write."""
    decode = msgspec.json.Decoder(kind).decode

    def decode_record(line: bytes) -> _L:
        try:
            return decode(line)
        except NOT_STRICT as error:
            raise damaged_record(line, error) from error

    return decode_record


def damaged_record(line: bytes, error: Exception) -> RunDamaged:
    """Return the error of a line whose place is not known."""
    beginning = ascii(line[:_BEGINNING].decode("utf-8", "replace"))
    return RunDamaged(
        f"The record that begins with {beginning} is not what arkbatch wrote ({error}). Take its line out of the run's "
        "files, delete ledger.bin beside them, and run the same command again."
    )


def load_record(line: bytes) -> Any:
    """Return the values of a line, fast and with numbers as floats; RunDamaged as above."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise damaged_record(line, error) from error


decode_entry = record_decoder(Entry)
decode_located = record_decoder(Located)
decode_retryable = record_decoder(Retryable)


def encode(outcome: Outcome, entry: Entry | None = None, *, run_id: str, finished_at: datetime, url: str) -> bytes:
    """Return the line of an outcome, with its newline.

    entry: of the same outcome, None: it is made here
    url: the path of the row's endpoint, for the request of a failure
    """
    row = outcome.row
    entry = entry or entry_of(outcome)
    success = outcome if isinstance(outcome, Success) else None
    response, is_cut = _response_part(outcome.reply, judged=success is not None)
    line = _Line(
        id=f"batch_req_{run_id}_{row.number}",
        custom_id=row.custom_id,
        response=response,
        error=None,
        row=row.number,
        offset=row.offset,
        digest=row.digest,
        endpoint=entry.endpoint,
        asked_model=row.asked_model,
        model=outcome.model,
        service_tier=outcome.service_tier,
        attempts=entry.attempts,
        calls=outcome.calls,
        seconds=round(outcome.seconds, 3),
        usage=entry.usage,
        discarded=(success and success.discarded) or UNSET,
        before=row.before or UNSET,
        finished_at=finished_at,
        finish_reason=(success and success.finish_reason) or UNSET,
        oddity=(success and success.oddity) or (DEEP_NESTING if is_cut else UNSET),
        copy_of=outcome.copy_of or UNSET,
    )
    if outcome.messages is not None:
        line.messages = outcome.messages
    if isinstance(outcome, Failure):
        _tell_failure(line, outcome, url)
    elif outcome.reply.first_token is not None:
        _tell_speed(line, outcome)
    return _encode(line) + b"\n"


def _tell_failure(line: _Line, failure: Failure, url: str) -> None:
    cause, row = failure.cause, failure.row
    line.error = ErrorPart(cause.code, cause.message, cause.kind.value, cause.advice)
    line.interrupted = failure.interrupted or UNSET
    if isinstance(row, BadRow):
        line.request, line.line = None, row.text
    else:
        line.request = RequestPart("POST", url, row.body, row.request_id or UNSET)


def _tell_speed(line: _Line, streamed: Success) -> None:
    reply = streamed.reply
    speed = tokens_per_second(reply, streamed.usage.get("output", 0) - streamed.discarded.get("output", 0))
    line.first_token_seconds = round(reply.first_token or 0.0, 3)
    line.tokens_per_second = UNSET if speed is None else round(speed, 1)


def entry_of(outcome: Outcome) -> Entry:
    """Return the entry that decoding the outcome's line would give."""
    row = outcome.row
    entry = Entry(
        row=row.number,
        endpoint="" if isinstance(row, BadRow) else row.endpoint,
        model=outcome.model,
        service_tier=outcome.service_tier,
        attempts=outcome.attempts,
        usage=dict(outcome.usage),
        before=row.before,
        copy_of=outcome.copy_of,
    )
    for earlier in row.before:
        entry.attempts += earlier.attempts
        entry.usage = add_usage(entry.usage, earlier.usage)
    if isinstance(outcome, Success):
        entry.discarded, entry.finish_reason = dict(outcome.discarded), outcome.finish_reason
    else:
        cause = outcome.cause
        entry.error, entry.interrupted = EntryError(cause.code, cause.message, cause.kind.value), outcome.interrupted
    return entry


def before_of(failure: Retryable) -> tuple[Before, ...]:
    """Return what a failed row has spent so far: the parts that its line carries, and the line's own part."""
    own = dict(failure.usage)
    for earlier in failure.before:
        for meter, count in earlier.usage.items():
            own[meter] -= count
    attempts = failure.attempts - sum(earlier.attempts for earlier in failure.before)
    billed = [call for call in failure.calls if call.tokens]
    served = tuple((call.model, call.service_tier) for call in billed)
    differs = not {*served} <= {(None, None), (failure.model, failure.service_tier)}
    part = Before(
        failure.error.kind,
        failure.error.code,
        failure.endpoint,
        failure.model,
        failure.service_tier,
        attempts,
        own,
        # The price tiers go by the calls, and the prices by the day; neither is needed of what cost nothing.
        calls=tuple(call.tokens for call in billed) if len(billed) > 1 or differs else (),
        at=failure.finished_at if any(own.values()) else None,
        asked_model=failure.asked_model,
        served=served if differs else (),
        interrupted=failure.interrupted,
    )
    return (*failure.before, part)


def _response_part(reply: Reply | None, *, judged: bool) -> tuple[ResponsePart | None, bool]:
    """Return the reply as it is kept, and whether parts of it were nested too deeply to be kept."""
    if reply is None:
        return None, False
    body, is_cut = (
        _on_one_line(reply.body) if judged or _is_small_json(reply.body) else (_beginning_of(reply.body), False)
    )
    return ResponsePart(reply.status, reply.headers.get("x-request-id", ""), Raw(body)), is_cut


def _on_one_line(body: bytes) -> tuple[bytes, bool]:
    """Return JSON as it came, but on one line; a marker replaces what is nested too deeply for readers.

    A line break of JSON stands between its values and never in one, so that no value changes.
    """
    if b"\n" in body or b"\r" in body:
        body = b"".join([line.strip() for line in body.splitlines()])
    if len(body) > 2 * MAX_DEPTH and count_openings(body) > MAX_DEPTH and nesting_depth(body) > MAX_DEPTH:
        return cut_nesting(body.decode())[0].encode(), True
    return body, False


def _is_small_json(body: bytes) -> bool:
    """Whether a body that was not judged is JSON, and small enough to be kept whole."""
    if len(body) > _BODY_KEPT:
        return False
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True


def _beginning_of(body: bytes) -> bytes:
    return orjson.dumps(body[:_BODY_KEPT].decode("utf-8", "replace"))
