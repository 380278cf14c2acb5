"""Turns judged lines of output files into outcomes of rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import assert_never

from msgspec import Struct

from arkbatch.batch_jobs.wire_lines import OutputLine
from arkbatch.core.calls import Again, Cause, Done, Halt, Refused, Reply, Verdict
from arkbatch.core.outcomes import Attempt, Failure, Success
from arkbatch.core.row import Row
from arkbatch.core.usage import NO_USAGE, Usage, add_usage
from arkbatch.journal.record_format import record_decoder
from arkbatch.journal.record_reader import read_lines

TIER = "batch"  # the service tier of the records, by which they have the batch price


class JudgedLine(Struct, frozen=True):
    line: OutputLine
    verdict: Verdict
    reply: Reply | None

    @property
    def usage(self) -> Usage:
        return NO_USAGE if isinstance(self.verdict, Halt) else self.verdict.usage

    def as_attempt(self, batch: str, *, is_kept: bool) -> Attempt:
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


def success_of(row: Row, best: JudgedLine, done: Done, calls: list[Attempt], wasted: Mapping[str, int]) -> Success:
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


def failure_of(row: Row, best: JudgedLine, cause: Cause, calls: list[Attempt], wasted: Usage) -> Failure:
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


_decode = record_decoder(_JournalLine)


def spent_in(failures: Path, batch: str) -> frozenset[int]:
    """The rows whose spending in this batch stands in the failures already, after a crash in the middle of a merge."""
    prefix = f"{batch}/"
    found = set()
    for _, text in read_lines(failures):
        line = _decode(text)
        if line.interrupted and any(call.id.startswith(prefix) for call in line.calls):
            found.add(line.row)
    return frozenset(found)
