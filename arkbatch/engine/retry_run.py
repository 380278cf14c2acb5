"""Opens a run to send its failed rows again.

The rows come from `failures.jsonl`, each with its request, so that neither the input nor the defaults are needed again.
Rows that were interrupted are no failed ones: `run` sends them. Lines that were never sent have no request. They are
read again, since the job may have changed; if the lines themselves were fixed, the input is another one, which
`run --rebase` adopts.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from arkbatch.core.calls import Kind
from arkbatch.core.errors import RunDirectoryError, UsageError
from arkbatch.core.job import Job
from arkbatch.core.json_numbers import loads_as_written
from arkbatch.core.outcomes import Outcome
from arkbatch.core.row import BadRow, Before, Row
from arkbatch.core.text import suggest_name
from arkbatch.engine.open_run import OpenRun
from arkbatch.journal.bitmap import Bitmap
from arkbatch.journal.record_format import KeptRequest, Retryable, before_of, decode_retryable
from arkbatch.journal.record_index import RecordIndex
from arkbatch.journal.record_reader import read_lines
from arkbatch.journal.repeated_rows import RepeatedRows, copied_outcome
from arkbatch.journal.run_directory import FAILURES, RESULTS, RunDirectory
from arkbatch.journal.run_info import RunInfo
from arkbatch.monitor.progress import FoundRows
from arkbatch.protocol.endpoints import ENDPOINTS
from arkbatch.rows.input_file import Change
from arkbatch.rows.job_diff import merge_changes
from arkbatch.rows.source import reader_of


class RetrySelection(Struct, frozen=True):
    """Which failed rows to send again, all by default, and what to change in their requests.

    changes: request parameters that replace the row's own, nested as in the request
    """

    kinds: frozenset[str] = frozenset()
    rows: frozenset[int] = frozenset()
    changes: Mapping[str, Any] = {}

    def takes(self, failure: Retryable) -> bool:
        return (not self.kinds or failure.error.kind in self.kinds) and (not self.rows or failure.row in self.rows)


def chosen_kinds(names: str) -> frozenset[str]:
    """Return a list such as `timeout,overloaded` as a set; UsageError for an unknown kind."""
    known = [kind.value for kind in Kind]
    chosen = frozenset(name.strip() for name in names.split(",") if name.strip())
    for name in sorted(chosen - set(known)):
        hint = suggest_name(name, known, "Did you mean {}? ")
        raise UsageError(f"--kind {name} is not a kind of failure. {hint}Kinds are: {', '.join(known)}.")
    return chosen


# What the record of a bad line had spent.
NEVER_SENT = Before(Kind.BAD_ROW.value, "", "", "", "", 0, {})


class RetryRun(OpenRun):
    """A run opened for its failed rows."""

    def __init__(self, job: Job, choice: RetrySelection, *, wall: Callable[[], float]) -> None:
        super().__init__(job, wall=wall, command="retry")
        self._choice = choice

    def _open(self) -> None:
        if not self.directory.exists:
            raise RunDirectoryError(f"{self.directory.path} is not a run directory. Name the one that `run` wrote.")
        super()._open()

    def _resume(self, info: RunInfo) -> RunInfo:
        """What is asked now comes from the rows and the flags, so there is nothing to compare."""
        return info

    def _found(self) -> FoundRows:
        self._end = (self.directory / FAILURES).stat().st_size
        self._unsent = Bitmap()
        chosen = 0
        for failure in self._failures():
            chosen += 1
            if failure.request is None:
                self._unsent.add(failure.row)
        lost = self._unsent.count if self._unsent.count and not self._input_stands() else 0
        self.found = msgspec.structs.replace(super()._found(), unsent=lost)  # `rows` asks it
        if self.job.reading.dedupe:
            self.repeats = self._stack.enter_context(RepeatedRows(self._chosen_rows(), self.directory.path))
            chosen -= self.repeats.count
        changes = [f"{name}: {value}" for name, value in self._choice.changes.items()]
        return msgspec.structs.replace(
            self.found,
            command="retry",
            to_send=chosen - lost,
            total=chosen - lost,
            changes=tuple(changes),
        )

    def _find_repeats(self) -> None:
        """Those among the failed rows are found when these are counted."""
        return

    def _input_stands(self) -> bool:
        """Whether the lines that were never sent still stand where they stood."""
        return self.source.compare_input(self.info.input) is not Change.EDITED

    def rows(self) -> Iterator[Row | BadRow]:
        """The chosen rows, without those that repeat the request of another one where the job says so."""
        repeats = self.repeats
        return (row for row in self._chosen_rows() if repeats is None or not repeats.first_of(row.number))

    def copied_outcomes(self) -> Iterator[Outcome]:
        """The outcomes of rows that repeat one which has succeeded now. The others keep the record that they have."""
        repeats = self.repeats
        if repeats is None or not repeats.count:
            return
        with RecordIndex(self.directory / RESULTS) as results:
            for row in self._chosen_rows():
                first = repeats.first_of(row.number)
                record = results.line_of(first) if first else None
                if record is not None and isinstance(row, Row):
                    yield copied_outcome(row, record, first)

    def _chosen_rows(self) -> Iterator[Row | BadRow]:
        """The chosen rows: those with a request from their failure, the others from their line."""
        for failure in self._failures():
            if failure.request is not None:
                yield self._row(failure, failure.request)
        if self._unsent.count and not self.found.unsent:
            yield from self._read_again()

    def _row(self, failure: Retryable, request: KeptRequest) -> Row:
        body = merge_changes(loads_as_written(bytes(request.body)), self._choice.changes)
        problem = ENDPOINTS[failure.endpoint].objection_to(body, at_ark=self.job.at_ark)
        if problem is not None:
            raise UsageError(f"Row {failure.row} cannot be sent so: {problem}. Correct --set.")
        return row_of(failure, body, request.request_id)

    def _read_again(self) -> Iterator[Row | BadRow]:
        """Lines that were bad may be good by now: the model or the template of the job may have changed."""
        reader = reader_of(self.job, self.source)
        for number, offset, line in self.source.read_records():
            if number in self._unsent:
                row = reader.read_row(number, offset, line)
                if isinstance(row, Row):
                    row = msgspec.structs.replace(row, body=merge_changes(row.body, self._choice.changes))
                yield msgspec.structs.replace(row, before=(NEVER_SENT,))

    def _failures(self) -> Iterator[Retryable]:
        """Up to where the file ended when it was opened: a row that fails again is written behind."""
        for _, line in read_lines(self.directory / FAILURES, end=self._end):
            failure = decode_retryable(line)
            if not failure.interrupted and self._choice.takes(failure):
                yield failure


def row_of(failure: Retryable, body: dict[str, Any], request_id: str = "") -> Row:
    """The failed row as it is sent again, with this body."""
    return Row(
        failure.row,
        failure.offset,
        failure.digest,
        failure.custom_id,
        failure.endpoint,
        body,
        before_of(failure),
        request_id,
    )


def read_run(run_dir: str) -> RunInfo:
    """`run.json` of a run. RunDirectoryError: it is none."""
    return RunDirectory(Path(run_dir)).read_info()
