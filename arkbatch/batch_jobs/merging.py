"""Lines of output files become records, judged by the rules of online calls and priced at the batch price.

Each line is taken by what it says and not by the file in which it stands. Counts are not trusted. A row without a line
is left; so is one that the batch gave back. What a row spent without an answer is kept with it: as a record that says
`interrupted`, which the record of its next try carries along.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, assert_never

import msgspec
import orjson
from msgspec import Struct
from msgspec.structs import replace

from arkbatch.batch_jobs.output_files import OutputFiles
from arkbatch.batch_jobs.wire_lines import OutputLine, WireId
from arkbatch.core.job import Job
from arkbatch.core.types import (
    NO_USAGE,
    Again,
    Attempt,
    BadRow,
    Cause,
    Done,
    Failure,
    Halt,
    Kind,
    Outcome,
    Refused,
    Reply,
    Row,
    Success,
    Usage,
    Verdict,
    add_usage,
)
from arkbatch.journal.record_files import read_lines
from arkbatch.protocol.dialects import error_numbers
from arkbatch.protocol.endpoints import ENDPOINTS
from arkbatch.protocol.verdict import judge

TIER = "batch"  # the service tier of the records, by which they have the batch price
_TOGETHER = 500  # records in one write

Check = Callable[[Row, Reply, Done], Verdict]


class MergedLines(Struct):
    """What the lines of a parcel came to.

    done, failed: rows that have a record now; left: rows that came back without an answer
    missing: rows without a line; doubled: further lines of a row; unknown: lines that belong to no row here
    spent: rows that are left and were billed or lost an attempt
    halt: why no row could work, if a line says so
    """

    done: int = 0
    failed: int = 0
    left: int = 0
    missing: int = 0
    doubled: int = 0
    unknown: int = 0
    spent: int = 0
    usage: dict[str, int] = {}
    halt: Cause | None = None


class OutcomeJournal(Protocol):
    """Where outcomes go: the run's journal."""

    def record(self, *outcomes: Outcome) -> None: ...


class Merger:
    """Judges the lines of parcels and hands the outcomes on. `learned` is told the size of each row that was billed."""

    def __init__(
        self,
        job: Job,
        records: OutcomeJournal,
        *,
        wall: Callable[[], float],
        check: Check | None,
        told: Callable[[Outcome], None] = lambda _: None,
        learned: Callable[[Row, Usage], None] = lambda _, __: None,
    ) -> None:
        self._job = job
        self._records = records
        self._wall = wall
        self._error_numbers = error_numbers(job.provider, job.base_url)
        self._check = check
        self._told = told
        self._learned = learned

    def merge(
        self, rows: Iterable[Row | BadRow], files: OutputFiles, batch: str, known: frozenset[int] = frozenset()
    ) -> MergedLines:
        """Record what the files say of these rows.

        rows: those of the parcel that have no record, with what they spent before
        batch: the id of the batch, which begins the ids of calls
        known: rows whose spending in this batch stands in a record already
        """
        merged = MergedLines(unknown=files.unknown)
        waiting: list[Outcome] = []
        for row in rows:
            if row.number not in known and (outcome := self._outcome(row, files, batch, merged)) is not None:
                waiting.append(outcome)
                if len(waiting) == _TOGETHER:
                    self._hand_on(waiting)
            elif row.number in known:
                merged.left += 1
        self._hand_on(waiting)
        return merged

    def _hand_on(self, waiting: list[Outcome]) -> None:
        if waiting:
            self._records.record(*waiting)
            for outcome in waiting:
                self._told(outcome)
            waiting.clear()

    def _outcome(self, row: Row | BadRow, files: OutputFiles, batch: str, merged: MergedLines) -> Outcome | None:
        lines = files.of(row.number)
        if not lines or isinstance(row, BadRow):
            merged.left += 1
            merged.missing += not lines
            return None
        judged = [_Judged(line, *self._judge(row, id_, line)) for id_, line in lines]
        best = next((each for each in judged if isinstance(each.verdict, Done)), judged[0])
        merged.doubled += len(judged) - 1
        for each in judged:
            merged.usage = add_usage(merged.usage, each.usage)
        others = [each for each in judged if each is not best]
        return self._ended(row, best, others, batch, merged)

    def _ended(
        self, row: Row, best: "_Judged", others: Sequence["_Judged"], batch: str, merged: MergedLines
    ) -> Outcome | None:
        calls = [each.attempt(batch, is_kept=False) for each in others] + [best.attempt(batch, is_kept=True)]
        wasted = add_usage(*(each.usage for each in others))
        match best.verdict:
            case Done() as done:
                self._learned(row, done.usage)
                merged.done += 1
                return _success(row, best, done, calls, wasted)
            case Refused(cause=cause):
                merged.failed += 1
                return _failure(row, best, cause, calls, wasted)
            case Again() as again if self._is_used_up(row, again):
                merged.failed += 1
                return _failure(row, best, again.cause, calls, wasted)
            case Halt(cause=cause):
                merged.halt = merged.halt or cause
        merged.left += 1
        spends = isinstance(best.verdict, Again) and not best.line.is_unsent
        if not spends and not best.usage and not wasted:
            return None
        merged.spent += 1
        cause = best.verdict.cause
        said = f"{cause.message} (the row goes into another batch)"
        failure = _failure(row, best, Cause(cause.kind, cause.code, said, cause.advice), calls, wasted)
        return replace(failure, attempts=int(spends), interrupted=True)

    def _is_used_up(self, row: Row, again: Again) -> bool:
        """Whether the row has no attempts left. Those of the batch in which it was not worked on do not count."""
        spent = 1 + sum(earlier.attempts for earlier in row.before)
        most = self._job.retry.max_attempts if again.most is None else again.most
        return spent >= most

    def _judge(self, row: Row, id_: WireId, line: OutputLine) -> tuple[Verdict, Reply | None]:
        if line.is_unsent:
            return Again(Cause(Kind.UNFINISHED, line.code, line.message or "the batch ended before this row")), None
        if not line.status:
            body = {"error": {"code": line.code or "no_reply", "message": line.message or "the line holds no reply"}}
            reply = Reply(200, orjson.dumps(body), {}, 0.0)
        else:
            reply = Reply(line.status, line.body, {"x-request-id": line.request_id}, 0.0)
        endpoint = ENDPOINTS[row.endpoint]
        verdict = judge(
            reply, endpoint, self._job.replies, wall=self._wall(), body=row.body, numbers=self._error_numbers
        )
        if isinstance(verdict, Done) and verdict.body is not None:
            reply = replace(reply, body=verdict.body)
        if isinstance(verdict, Done) and not row.digest.startswith(id_.digest):
            cause = Cause(Kind.BAD_ROW, "row_changed", "the row was edited after it was sent")
            verdict = Again(cause, usage=verdict.usage, model=verdict.model)
        elif isinstance(verdict, Done) and self._check is not None:
            verdict = self._check(row, reply, verdict)
        return verdict, reply if line.status else None


class _Judged(Struct, frozen=True):
    line: OutputLine
    verdict: Verdict
    reply: Reply | None

    @property
    def usage(self) -> Usage:
        return NO_USAGE if isinstance(self.verdict, Halt) else self.verdict.usage

    def attempt(self, batch: str, *, is_kept: bool) -> Attempt:
        """The call of a record. The usage of the answer that is kept stands with the row and not here.

        A second answer to the same row is discarded, although it is good.
        """
        verdict, id_ = self.verdict, f"{batch}/{self.line.id or self.line.custom_id}"
        request_id = self.line.request_id
        match verdict:
            case Done() if is_kept:
                return Attempt(id_, "done", 0.0, request_id, self.line.status)
            case Done(usage=usage, model=model):
                return Attempt(
                    id_, "doubled", 0.0, request_id, self.line.status, tokens=usage, model=model, service_tier=TIER
                )
            case Halt(cause=cause):
                return Attempt(id_, cause.kind.value, 0.0, request_id, self.line.status, cause.code)
            case Again(cause=cause) | Refused(cause=cause):
                return Attempt(
                    id_,
                    cause.kind.value,
                    0.0,
                    request_id,
                    self.line.status,
                    cause.code,
                    tokens=verdict.usage,
                    model=verdict.model if verdict.usage else None,
                    service_tier=TIER if verdict.usage else None,
                )
            case _:
                assert_never(verdict)


def _success(row: Row, best: _Judged, done: Done, calls: list[Attempt], wasted: Mapping[str, int]) -> Success:
    assert best.reply is not None
    return Success(
        row=row,
        reply=best.reply,
        model=done.model,
        service_tier=TIER,
        attempts=len(calls),
        calls=calls,
        usage=add_usage(wasted, done.usage) if wasted else done.usage,
        discarded=wasted,
        seconds=0.0,
        finish_reason=done.finish_reason,
        oddity=done.oddity,
    )


def _failure(row: Row, best: _Judged, cause: Cause, calls: list[Attempt], wasted: Usage) -> Failure:
    verdict = best.verdict
    model = "" if isinstance(verdict, Halt) else verdict.model
    return Failure(
        row=row,
        cause=cause,
        reply=best.reply,
        model=model,
        service_tier=TIER if best.usage or wasted else "",
        attempts=len(calls),
        calls=calls,
        usage=add_usage(wasted, best.usage),
    )


class _JournalLine(Struct):
    row: int
    interrupted: bool = False
    calls: list["_CallId"] = []


class _CallId(Struct):
    id: str = ""


_decode = msgspec.json.Decoder(_JournalLine).decode


def spent_in(failures: Path, batch: str) -> frozenset[int]:
    """The rows whose spending in this batch stands in the failures already, after a crash in the middle of a merge."""
    prefix = f"{batch}/"
    found = set()
    for _, text in read_lines(failures):
        line = _decode(text)
        if line.interrupted and any(call.id.startswith(prefix) for call in line.calls):
            found.add(line.row)
    return frozenset(found)
