"""How a row ended: success or failure, with each of its calls.

These are `msgspec.Struct`s, as in `core.calls`. Times are seconds.
"""

from typing import Any

from msgspec import Struct

from arkbatch.core.calls import Cause, Reply
from arkbatch.core.row import BadRow, Row
from arkbatch.core.usage import NO_USAGE, Usage

OUTRUN = "outrun"


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
