"""The frozen types that pass between modules, and nothing that acts.

They are `msgspec.Struct`s and not dataclasses: some six of them are made for each row, and a frozen
slotted dataclass takes twelve times as long to build. `match` works on them all the same.

Times are seconds, sizes are bytes, rates are per minute where a name says `rpm` or `tpm`. A `Usage` is a
mapping from meter to count; absent means zero. Which meters exist is known to `endpoints` alone.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from msgspec import Struct

Usage = Mapping[str, int]
Body = dict[str, Any]

NO_USAGE: Usage = {}
ASSUMED = "assumed"  # the meter of tokens that are counted in the others although no reply told of them
UNCOUNTED = "uncounted"  # the meter of replies that say something and do not count their output
CONTRADICTORY = "contradictory"  # the meter of replies whose counts do not add up
REPORTED_TICKS = "reported_usd_ticks"  # the meter of what the provider says it billed
TICKS_PER_USD = 10**10
OUTRUN = "outrun"
NO_HEADERS: Mapping[str, str] = {}


def add_usage(*usages: Usage) -> dict[str, int]:
    """The sum, meter by meter."""
    total: dict[str, int] = {}
    for usage in usages:
        for meter, count in usage.items():
            total[meter] = total.get(meter, 0) + count
    return total


def assumed_usage(usage: Usage) -> Usage:
    """What a call that was abandoned is taken to have used, by what the same request used when it was answered."""
    tokens = total_tokens((usage,))
    return {**usage, ASSUMED: tokens} if tokens else NO_USAGE


class Kind(StrEnum):
    """Why a row or a call failed, in a word that users filter by (`retry --kind timeout,overloaded`)."""

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
    """One input line that can be sent.

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
        """The rows that this one stands for: itself, or those of a pack."""
        return (self,)

    @property
    def asked_model(self) -> str:
        """The model or endpoint id that the request names."""
        model: str = self.body.get("model", "")
        return model


class BadRow(Struct, frozen=True, gc=False):
    """One input line that cannot be sent, and why; `text` is its beginning, for the person who mends it."""

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
        """Itself; a line that cannot be sent is in no pack."""
        return (self,)


class Before(Struct, frozen=True, gc=False, omit_defaults=True):
    """What one earlier record of a row had spent; a record that replaces it carries it along.

    So the journal adds up to the same, whether the replaced line is still in the file or not.
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
    """How large a request is before anybody counted its tokens.

    narrow, wide: characters of one UTF-8 byte or two, and of three or four (Chinese and the like)
    parts: images and other parts that are not text
    ceiling: the most output tokens that the request allows, None when it sets no limit
    """

    narrow: int
    wide: int
    parts: int = 0
    ceiling: int | None = None


class Call(Struct, frozen=True, gc=False):
    """One HTTP request, ready to send.

    client_id: the X-Client-Request-Id, derived from run, session, row and attempt
    model: what the body asks for, since a key may be good for one model only
    stream: the body asks for a stream, which comes back folded into one reply
    moved: to be told the loop time at which a part of the answer came
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
    """What came back, whole. `headers` has lower-case names.

    first_token: seconds until the answer began, when it was streamed
    """

    status: int
    body: bytes
    headers: Mapping[str, str]
    seconds: float
    first_token: float | None = None


class Break(StrEnum):
    """How an exchange ended without a whole reply."""

    CONNECT = "connect"  # nothing was sent
    TIMEOUT = "timeout"  # sent; no bytes for too long
    DROPPED = "dropped"  # sent; the connection ended early
    GARBLED = "garbled"  # what came was no HTTP, or could not be decoded
    TOO_LARGE = "too_large"  # the reply passed the size limit


class Broken(Struct, frozen=True, gc=False):
    """How an exchange failed. `body`: what came of a streamed answer, as JSON, where it says what was billed so far."""

    how: Break
    detail: str
    seconds: float = 0.0
    body: bytes = b""


Response = Reply | Broken


class Scope(StrEnum):
    """What must give way before the row is tried again."""

    ROW = "row"  # only this row waits; an attempt is spent
    RATE = "rate"  # all wait: the rate is too high; no attempt is spent
    CONCURRENCY = "concurrency"  # all wait: too many at once; no attempt is spent
    SERVICE = "service"  # all wait: the service is away; no attempt is spent


class Cause(Struct, frozen=True, gc=False):
    """Why a call did not succeed. `code` is the service's own word, `advice` what a person can do."""

    kind: Kind
    code: str
    message: str
    advice: str = ""


class Done(Struct, frozen=True, gc=False):
    """The reply is a usable answer.

    goes_on: it calls tools, and the row has another call
    body: what could be read of a reply that is not quite JSON, as JSON; None: the reply is JSON
    oddity: what is odd about that reply, in a word
    """

    usage: Usage
    model: str = ""
    service_tier: str = ""
    finish_reason: str = ""
    goes_on: bool = False
    body: bytes | None = None
    oddity: str = ""


class Again(Struct, frozen=True, gc=False):
    """Worth another try. `after`: seconds the server asked for, None when it did not say.

    `usage` is not empty when the service billed an answer that is discarded. `most`: how many such answers a row
    may give, when they are counted apart from its attempts. `is_time_named`: a quota returns after so many seconds,
    so that no patience bounds the wait.
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
    """This row can never work. `is_doubtful`: perhaps no row can, which the next rows will show."""

    cause: Cause
    usage: Usage = NO_USAGE
    model: str = ""
    service_tier: str = ""
    is_doubtful: bool = False


class Confirm(StrEnum):
    """What must be seen before a refusal that seems to concern every row ends the run."""

    NOTHING = "nothing"
    AFTER_ANSWERS = "after_answers"  # several rows in a row, where other rows have been answered
    SEVERAL_ROWS = "several_rows"  # several rows in a row, also before any answer
    AFTER_A_WHILE = "after_a_while"  # it stands after some waiting, since it may be a limit of the minute


class Halt(Struct, frozen=True, gc=False):
    """No row can work until someone acts; `cause.advice` says who and what."""

    cause: Cause
    confirm: Confirm = Confirm.NOTHING


Verdict = Done | Again | Refused | Halt


class CallResult(Struct, frozen=True, gc=False):
    """How one call ended: what came back, and what that means."""

    response: Response
    verdict: Verdict

    @property
    def usage(self) -> Usage:
        """What the call billed, empty where nothing tells."""
        return NO_USAGE if isinstance(self.verdict, Halt) else self.verdict.usage


class Attempt(Struct, frozen=True, gc=False, omit_defaults=True):
    """One call as the record keeps it. `verdict` is "done", "tools" (it called some), "outrun" (another was quicker) or
    the kind of its cause.

    tokens: what it billed, unless its answer is the row's; model, service_tier: what that answer named
    after: seconds from when the row's first call was sent to when this one was
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
    """How a row ended well. `usage` is over every billed attempt; `discarded` is the part discarded.

    Both speak of this session; what earlier ones spent stands in `row.before`. `messages`: what the last call sent,
    when the model had called tools before. `oddity`: as in `Done`.
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


class Failure(Struct, frozen=True, gc=False):
    """How a row was given up. `reply` is the last whole one, if any came; all of `usage` is discarded.

    interrupted: it was not given up: the run was stopped between two of its calls, of which the first was billed
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


Outcome = Success | Failure


def total_tokens(usages: Iterable[Usage]) -> int:
    """Input and output tokens together, which is what a tokens-per-minute limit counts."""
    return sum(usage.get("input", 0) + usage.get("output", 0) for usage in usages)
