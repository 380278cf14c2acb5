"""One call: the HTTP request, what came back, and the verdict on it.

These are `msgspec.Struct`s and not dataclasses: about six of them are made for each row, and a frozen slotted
dataclass takes twelve times as long to build. `match` works on them as well. Times are seconds.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum

from msgspec import Struct

from arkbatch.core.usage import NO_USAGE, Usage

NO_HEADERS: Mapping[str, str] = {}


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
