"""Turns lines of a batch's output files into records at the batch price.

Each line is taken by what it says and not by the file in which it stands. Counts are not trusted. A row without a line
is left; so is one that the batch gave back. What a row spent without an answer is kept with it: as a record that says
`interrupted`, which the record of its next try carries along.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import orjson
from msgspec import Struct
from msgspec.structs import replace

from arkbatch.batch_jobs.line_records import JudgedLine, failure_of, success_of
from arkbatch.batch_jobs.output_files import OutputFiles
from arkbatch.batch_jobs.wire_lines import OutputLine, WireId
from arkbatch.core.calls import Again, Cause, Done, Halt, Kind, Refused, Reply, Verdict
from arkbatch.core.job import Job
from arkbatch.core.outcomes import Outcome
from arkbatch.core.row import BadRow, Row
from arkbatch.core.usage import Usage, add_usage
from arkbatch.protocol.dialects import error_numbers
from arkbatch.protocol.endpoints import ENDPOINTS
from arkbatch.protocol.verdict import judge

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

    def merge_lines(
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
            if row.number not in known and (outcome := self._outcome_of(row, files, batch, merged)) is not None:
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

    def _outcome_of(self, row: Row | BadRow, files: OutputFiles, batch: str, merged: MergedLines) -> Outcome | None:
        lines = files.lines_of(row.number)
        if not lines or isinstance(row, BadRow):
            merged.left += 1
            merged.missing += not lines
            return None
        judged = [JudgedLine(line, *self._judge_line(row, id_, line)) for id_, line in lines]
        best = next((each for each in judged if isinstance(each.verdict, Done)), judged[0])
        merged.doubled += len(judged) - 1
        for each in judged:
            merged.usage = add_usage(merged.usage, each.usage)
        others = [each for each in judged if each is not best]
        return self._outcome_of_best(row, best, others, batch, merged)

    def _outcome_of_best(
        self, row: Row, best: "JudgedLine", others: Sequence["JudgedLine"], batch: str, merged: MergedLines
    ) -> Outcome | None:
        calls = [each.as_attempt(batch, is_kept=False) for each in others] + [best.as_attempt(batch, is_kept=True)]
        wasted = add_usage(*(each.usage for each in others))
        match best.verdict:
            case Done() as done:
                self._learned(row, done.usage)
                merged.done += 1
                return success_of(row, best, done, calls, wasted)
            case Refused(cause=cause):
                merged.failed += 1
                return failure_of(row, best, cause, calls, wasted)
            case Again() as again if self._is_used_up(row, again):
                merged.failed += 1
                return failure_of(row, best, again.cause, calls, wasted)
            case Halt(cause=cause):
                merged.halt = merged.halt or cause
        merged.left += 1
        spends = isinstance(best.verdict, Again) and not best.line.is_unsent
        if not spends and not best.usage and not wasted:
            return None
        merged.spent += 1
        cause = best.verdict.cause
        said = f"{cause.message} (the row goes into another batch)"
        failure = failure_of(row, best, Cause(cause.kind, cause.code, said, cause.advice), calls, wasted)
        return replace(failure, attempts=int(spends), interrupted=True)

    def _is_used_up(self, row: Row, again: Again) -> bool:
        """Whether the row has no attempts left. Those of the batch in which it was not worked on do not count."""
        spent = 1 + sum(earlier.attempts for earlier in row.before)
        most = self._job.retry.max_attempts if again.most is None else again.most
        return spent >= most

    def _judge_line(self, row: Row, id_: WireId, line: OutputLine) -> tuple[Verdict, Reply | None]:
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
