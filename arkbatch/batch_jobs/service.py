"""The calls that a session makes at a provider of batches.

A refusal and a service that cannot be reached are two exceptions, since either ends a step at any depth.
`ServiceAway.may_have_arrived` is the reason why intents are written down: after it nobody knows whether the file or
the batch exists.
"""

import math
import re
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from arkbatch.batch_jobs.parcel_records import TOO_LARGE, TOO_MANY_ROWS, TOO_MANY_TOKENS
from arkbatch.batch_jobs.provider_forms import FAILED, WAITING
from arkbatch.core.calls import Broken
from arkbatch.protocol.error_body import Complaint, read_complaint
from arkbatch.protocol.error_rules import rule_for
from arkbatch.protocol.retry_after import asked_wait, http_date
from arkbatch.transport.batch_http import HttpReply, may_have_arrived

GONE = frozenset((404, 410))
CUT_LIST = "cut_list"  # the code of a refusal: a list that cannot be read to its end
_LONGEST_WAIT = 3600.0  # s, between two tries
_NOT_ALLOWED, _TOO_LARGE_STATUS, _NOT_IMPLEMENTED = 405, 413, 501
_LARGE = re.compile(
    r"\b(file|body|entity|upload)\b.{0,40}\b(too (large|big)|exceeds?)\b.{0,40}(size|bytes?|[KMG]i?B|$)", re.IGNORECASE
)
_MANY = re.compile(
    r"too many (requests|tasks|lines|rows|records) in|more than [\d,]+ (requests|tasks|lines|rows)", re.IGNORECASE
)
_LIMIT = re.compile(r"limit:?\s*([\d,]+)", re.IGNORECASE)
_PASSING_STATUSES = frozenset((408, 409, 425, 498, 529))
_NO_FILE_YET = re.compile(
    r"(cannot|can't|could not|not) (find|found).*file|file.*(not found|not ready|processing)", re.IGNORECASE
)


class ServiceAway(Exception):
    """No usable reply. may_have_arrived: the call may have been carried out; after: seconds that it asked to wait."""

    def __init__(self, reason: str, *, may_have_arrived: bool, after: float | None = None) -> None:
        super().__init__(reason)
        self.may_have_arrived = may_have_arrived
        self.after = after


class ServiceRefused(Exception):
    """The provider answered no. is_missing_file: it cannot find the file that a batch was to be ordered from."""

    def __init__(self, status: int, code: str, reason: str, *, is_missing_file: bool = False) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code
        self.reason = reason
        self.is_missing_file = is_missing_file

    @property
    def is_gone(self) -> bool:
        """What was asked for does not exist at the provider, or no longer."""
        return self.status in GONE

    @property
    def has_no_list(self) -> bool:
        """What exists at the provider cannot be found out: it has no such list, or one that does not go on."""
        return self.code == CUT_LIST or self.is_unknown_path

    @property
    def is_unknown_path(self) -> bool:
        """The server does not know what was called, or has nothing there."""
        return self.status in {*GONE, _NOT_ALLOWED, _NOT_IMPLEMENTED}

    @property
    def excess(self) -> str:
        """What the file has too much of for the provider, "" when it was refused for another reason."""
        return TOO_LARGE if self.status == _TOO_LARGE_STATUS else excess_in(self.code, self.reason)


class BatchOrder(Struct, frozen=True):
    """What a batch is ordered with."""

    file_id: str
    url: str
    model: str
    window: str
    run_id: str
    parcel: int
    name: str = ""


class RemoteFile(Struct, frozen=True):
    """A file at the provider. created_at: unix time by the provider's clock, 0 where it does not say."""

    id: str
    name: str = ""
    bytes: int | None = None
    created_at: float = 0.0


class BatchState(Struct, frozen=True):
    """A batch as the provider describes it.

    state: one of the words of `forms`; word: the provider's own
    bad_lines: lines of the file that were refused, from 1, with the reason
    usage: input and output tokens of the whole batch, where the provider counts them
    """

    id: str
    state: str
    word: str
    input_file_id: str = ""
    output_id: str = ""
    error_id: str = ""
    counts: dict[str, int] = {}
    created_at: float = 0.0
    expires_at: float = 0.0
    code: str = ""
    reason: str = ""
    bad_lines: dict[int, str] = {}
    usage: dict[str, int] = {}
    metadata: Mapping[str, Any] = {}

    @property
    def has_ended(self) -> bool:
        return self.state != WAITING


class BatchService(Protocol):
    """What a session needs of a provider. Each call raises ServiceAway or ServiceRefused."""

    async def upload_file(self, file: Path, name: str, keep_seconds: int) -> RemoteFile:
        """Upload a file under this name."""

    def list_files(self, prefix: str) -> AsyncIterator[RemoteFile]:
        """The files whose names begin so."""

    async def order_batch(self, order: BatchOrder) -> BatchState:
        """Order a batch."""

    def list_batches(self, since: float) -> AsyncIterator[BatchState]:
        """All batches that were made since then by the provider's clock; older ones may come as well. 0: all."""

    async def look_at_batch(self, batch_id: str) -> BatchState:
        """The batch as it stands."""

    async def cancel_batch(self, batch_id: str) -> None:
        """Ask for the end of a batch; one that has ended already is fine."""

    async def fetch_file(self, file_id: str, target: Path) -> None:
        """Download a file to where it is to stand, whole or not at all."""

    async def delete_file(self, file_id: str) -> None:
        """Delete a file; one that is gone is fine."""


async def find_batch(
    service: BatchService, file_id: str, *, since: float, refused: Collection[str] = ()
) -> BatchState | None:
    """The batch that was ordered from a file, None when the list has none.

    One that lives or was worked on outweighs one that failed: the same file may have been ordered again.

    since: when the file was made, by the provider's clock
    refused: ids of batches that are another's, or of the file and known to have failed
    """
    failed = None
    async for batch in service.list_batches(since):
        if batch.input_file_id != file_id or batch.id in refused:
            continue
        if batch.state != FAILED:
            return batch
        failed = failed or batch
    return failed


async def find_files(service: BatchService, prefix: str) -> list[RemoteFile]:
    """The files whose names begin so, as far as the provider lists its files: one that is missed costs nothing."""
    found = []
    try:
        async for file in service.list_files(prefix):
            found.append(file)  # noqa: PERF401 - what was found before a refusal counts
    except ServiceRefused as refused:
        if not refused.has_no_list:
            raise
    return found


def limit_in(reason: str) -> int:
    """The limit of enqueued tokens that a message names, 0 when it names none."""
    found = _LIMIT.search(reason)
    return int(found[1].replace(",", "")) if found else 0


def is_token_limit(code: str, reason: str) -> bool:
    """Whether a batch was refused because too much waits already, so that the same file goes later."""
    return code == TOO_MANY_TOKENS or "enqueued token" in reason.lower()


def excess_in(code: str, reason: str) -> str:
    """Whether a file was refused for its bytes or for its rows, so that smaller ones are needed; "" for neither."""
    if is_token_limit(code, reason):
        return ""
    if code == TOO_MANY_ROWS or _MANY.search(reason):
        return TOO_MANY_ROWS
    return TOO_LARGE if code == TOO_LARGE or _LARGE.search(reason) else ""


def checked_reply(reply: HttpReply | Broken) -> HttpReply:
    """The reply if it is a good one; ServiceAway or ServiceRefused else."""
    if isinstance(reply, Broken):
        raise ServiceAway(reply.detail or reply.how.value, may_have_arrived=may_have_arrived(reply))
    if reply.status < 300:
        return reply
    said = read_complaint(reply.body)
    reason = said.message or f"HTTP {reply.status} without a message"
    if reply.status == 429 and not is_token_limit(said.code, reason) and not rule_for(said, 429)[0].advice:
        raise ServiceAway(reason, may_have_arrived=False, after=_seconds_to_wait(reply, said))
    if (reply.status >= 500 and reply.status != _NOT_IMPLEMENTED) or reply.status in _PASSING_STATUSES:
        raise ServiceAway(f"HTTP {reply.status}: {reason}", may_have_arrived=True, after=_seconds_to_wait(reply, said))
    is_missing_file = reply.status in {400, 404} and bool(_NO_FILE_YET.search(reason))
    raise ServiceRefused(reply.status, said.code or said.type, reason, is_missing_file=is_missing_file)


def _seconds_to_wait(reply: HttpReply, said: Complaint) -> float | None:
    """The seconds that the reply asks to wait, an hour at most. Dates count by the server's own clock."""
    wall = http_date(reply.headers.get("date", ""))
    seconds = asked_wait(reply.headers, said.wait, said.message, math.inf if wall is None else wall)
    return min(seconds, _LONGEST_WAIT) if seconds else None
