"""The frozen types that pass between modules, and how their usage is added up.

They are `msgspec.Struct`s and not dataclasses: about six of them are made for each row, and a frozen slotted
dataclass takes twelve times as long to build. `match` works on them as well.

Times are seconds, sizes are bytes, rates are per minute where a name says `rpm` or `tpm`. A `Usage` maps meters to
counts; an absent meter means zero. Only `protocol.endpoints` knows which meters exist.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from msgspec import Struct

Usage = Mapping[str, int]
Body = dict[str, Any]

NO_USAGE: Usage = {}
ASSUMED = "assumed"  # the meter of tokens that are included in the others although no reply reported them
UNCOUNTED = "uncounted"  # the meter of replies that have content and report no output tokens
CONTRADICTORY = "contradictory"  # the meter of replies whose counts do not add up
REPORTED_TICKS = "reported_usd_ticks"  # the meter of what the provider says it billed
TICKS_PER_USD = 10**10
OUTRUN = "outrun"
NO_HEADERS: Mapping[str, str] = {}


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


class Kind(StrEnum):
    """Why a row or a call failed, in a word that users filter by."""

    BAD_ROW = "bad_row"  # the line itself; never sent
    BAD_FILE = "bad_file"  # an image or video that the row names is missing, too large or none; never sent
    INVALID_REQUEST = "invalid_request"  # the service refused a parameter
    TOO_LONG = "too_long"  # prompt over the context window, or body over the size limit
    BLOCKED = "blocked"  # moderation, of the prompt or of the answer
    TRUNCATED = "truncated"  # finish_reason `length`, when the job says that it is a failure
    EMPTY = "empty"  # an answer without content
    BAD_REPLY = "bad_reply"  # a 200 that is not a usable answer
    INVALID_OUTPUT = "invalid_output"  # an answer that does not satisfy the job's schema
    UNFINISHED = "unfinished"  # the model went on calling tools, or the run was stopped between two of its calls
    NOT_FOUND = "not_found"  # model, endpoint id, file or context
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    SERVER_ERROR = "server_error"
    OVERLOADED = "overloaded"
    RATE_LIMITED = "rate_limited"
    AUTH = "auth"
    DENIED = "denied"
    BILLING = "billing"
    QUOTA = "quota"


class Row(Struct, frozen=True, gc=False):
    """One input record that can be sent.

    number: the line's number in the file, from 1; for people
    offset: where the line begins in the uncompressed input; the same however a file is cut into shards
    digest: 16 hex digits over the line's bytes, by which an edited input is recognised
    body: the whole request, defaults filled in
    before: what earlier sessions recorded of this row, oldest first, when it is tried again
    request_id: the row's own X-Client-Request-Id, "" for one that arkbatch makes
    """

    number: int
    offset: int
    digest: str
    custom_id: str
    endpoint: str
    body: Body
    before: "tuple[Before, ...]" = ()
    request_id: str = ""

    @property
    def members(self) -> "tuple[Row, ...]":
        """The rows that this one stands for: itself, or the rows of a pack."""
        return (self,)

    @property
    def asked_model(self) -> str:
        """The model or endpoint id that the request names."""
        model: str = self.body.get("model", "")
        return model


class BadRow(Struct, frozen=True, gc=False):
    """One input record that cannot be sent, and why.

    text: the beginning of the line, for the person who fixes it
    """

    number: int
    offset: int
    digest: str
    custom_id: str
    reason: str
    text: str
    before: "tuple[Before, ...]" = ()
    asked_model: ClassVar[str] = ""

    @property
    def members(self) -> "tuple[BadRow, ...]":
        """The row itself; a row that cannot be sent is never in a pack."""
        return (self,)


SENT_AGAIN = "sent_again"  # the code of a failure that a retry gave back to the run, with the request to send


class Before(Struct, frozen=True, gc=False, omit_defaults=True):
    """What one earlier record of a row had spent; its replacement repeats it.

    So the journal has the same sum whether the replaced line is still in the file or not.
    calls: the usage of each billed call, when there were several; at: when the record was written
    served: model and tier of each of `calls`, when one differs from those of the record
    interrupted: the row was not given up then
    """

    kind: str
    code: str
    endpoint: str
    model: str
    service_tier: str
    attempts: int
    usage: dict[str, int]
    calls: tuple[dict[str, int], ...] = ()
    at: datetime | None = None
    asked_model: str = ""
    served: tuple[tuple[str | None, str | None], ...] = ()
    interrupted: bool = False


class Size(Struct, frozen=True, gc=False):
    """How large a request is, before its tokens are counted.

    narrow, wide: characters of one or two UTF-8 bytes, and of three or four (such as Chinese)
    parts: images and other parts that are not text
    ceiling: the most output tokens that the request allows, None when it sets no limit
    """

    narrow: int
    wide: int
    parts: int = 0
    ceiling: int | None = None


class Call(Struct, frozen=True, gc=False):
    """One HTTP request, ready to send.

    client_id: the X-Client-Request-Id, made from run, session, row and attempt
    model: the model that the body names, since a key may be valid for one model only
    stream: the body asks for a stream, which is joined into one reply
    moved: called with the loop time whenever a part of the answer arrives
    """

    client_id: str
    endpoint: str
    path: str
    body: bytes
    headers: Mapping[str, str] = NO_HEADERS
    model: str = ""
    stream: bool = False
    moved: Callable[[float], None] | None = None


class Reply(Struct, frozen=True, gc=False):
    """A complete HTTP reply; `headers` has lower-case names.

    first_token: seconds until the answer began, when it was streamed
    """

    status: int
    body: bytes
    headers: Mapping[str, str]
    seconds: float
    first_token: float | None = None


class Break(StrEnum):
    """How an exchange ended without a complete reply."""

    CONNECT = "connect"  # nothing was sent
    TIMEOUT = "timeout"  # sent; no bytes for too long
    DROPPED = "dropped"  # sent; the connection ended early
    GARBLED = "garbled"  # what came was no HTTP, or could not be decoded
    TOO_LARGE = "too_large"  # the reply passed the size limit


class Broken(Struct, frozen=True, gc=False):
    """An exchange that failed.

    body: what arrived of a streamed answer, as JSON, where it says what was billed so far
    """

    how: Break
    detail: str
    seconds: float = 0.0
    body: bytes = b""


Response = Reply | Broken


class Scope(StrEnum):
    """What has to wait before the row is tried again."""

    ROW = "row"  # only this row waits; an attempt is spent
    RATE = "rate"  # all wait: the rate is too high; no attempt is spent
    CONCURRENCY = "concurrency"  # all wait: too many at once; no attempt is spent
    SERVICE = "service"  # all wait: the service is away; no attempt is spent


class Cause(Struct, frozen=True, gc=False):
    """Why a call did not succeed.

    code: the service's own word; advice: what a person can do
    """

    kind: Kind
    code: str
    message: str
    advice: str = ""


class Done(Struct, frozen=True, gc=False):
    """Verdict: the reply is a usable answer.

    goes_on: it calls tools, and the row makes another call
    body: the readable part of a reply that is not valid JSON, as JSON; None: the reply is JSON
    oddity: what is unusual about that reply, in a word
    """

    usage: Usage
    model: str = ""
    service_tier: str = ""
    finish_reason: str = ""
    goes_on: bool = False
    body: bytes | None = None
    oddity: str = ""


class Again(Struct, frozen=True, gc=False):
    """Verdict: the row is worth another try.

    after: seconds that the server asked for, None when it did not say
    usage: not empty when the service billed an answer that is discarded
    most: how many such answers a row may get, when they are counted apart from its attempts
    is_time_named: a quota returns after so many seconds, so that `patience` does not limit the wait
    """

    cause: Cause
    scope: Scope = Scope.ROW
    after: float | None = None
    usage: Usage = NO_USAGE
    model: str = ""
    service_tier: str = ""
    most: int | None = None
    is_time_named: bool = False


class Refused(Struct, frozen=True, gc=False):
    """Verdict: this row can never work.

    is_doubtful: perhaps no row can work, which the next rows will show
    """

    cause: Cause
    usage: Usage = NO_USAGE
    model: str = ""
    service_tier: str = ""
    is_doubtful: bool = False


class Confirm(StrEnum):
    """What must happen before a refusal that may concern every row ends the run."""

    NOTHING = "nothing"
    AFTER_ANSWERS = "after_answers"  # several rows in a row, where other rows have been answered
    SEVERAL_ROWS = "several_rows"  # several rows in a row, also before any answer
    AFTER_A_WHILE = "after_a_while"  # it stands after some waiting, since it may be a limit of the minute


class Halt(Struct, frozen=True, gc=False):
    """Verdict: no row can work until someone acts; `cause.advice` says who and how."""

    cause: Cause
    confirm: Confirm = Confirm.NOTHING


Verdict = Done | Again | Refused | Halt


class CallResult(Struct, frozen=True, gc=False):
    """How one call ended: what came back, and its verdict."""

    response: Response
    verdict: Verdict

    @property
    def usage(self) -> Usage:
        """What the call billed, empty where nothing says so."""
        return NO_USAGE if isinstance(self.verdict, Halt) else self.verdict.usage


class Attempt(Struct, frozen=True, gc=False, omit_defaults=True):
    """One call as the record keeps it.

    verdict: "done", "tools" (it called some), "outrun" (another call was faster) or the kind of its cause
    tokens: what it billed, unless its answer is the row's; model, service_tier: those that the answer named
    after: seconds from the row's first call to this one
    """

    id: str
    verdict: str
    seconds: float
    request_id: str = ""
    status: int = 0
    code: str = ""
    tokens: Usage = NO_USAGE
    model: str | None = None
    service_tier: str | None = None
    after: float = 0.0


class Success(Struct, frozen=True, gc=False):
    """A row that ended well.

    usage: of every billed attempt in this session; discarded: the part of it that bought discarded answers
    What earlier sessions spent is in `row.before`. `messages`: what the last call sent, when the model had called tools
    before. `oddity`: as in `Done`. `copy_of`: the row with the same request whose answer this is, 0 for an answer to a
    call of its own.
    """

    row: Row
    reply: Reply
    model: str
    service_tier: str
    attempts: int
    calls: list[Attempt]
    usage: Usage
    discarded: Usage
    seconds: float
    messages: list[Any] | None = None
    finish_reason: str = ""
    oddity: str = ""
    copy_of: int = 0


class Failure(Struct, frozen=True, gc=False):
    """A row that was given up; all of its usage is discarded.

    reply: the last complete one, if any came
    interrupted: the run was stopped between two calls of the row, of which the first was billed; it was not given up
    """

    row: Row | BadRow
    cause: Cause
    reply: Reply | None = None
    model: str = ""
    service_tier: str = ""
    attempts: int = 0
    calls: list[Attempt] = []
    usage: Usage = NO_USAGE
    seconds: float = 0.0
    messages: list[Any] | None = None
    interrupted: bool = False
    copy_of: int = 0


Outcome = Success | Failure


def total_tokens(usages: Iterable[Usage]) -> int:
    """Return input and output tokens together, as a tokens-per-minute limit counts them."""
    return sum(usage.get("input", 0) + usage.get("output", 0) for usage in usages)
