"""Opens a run directory for a session, and refuses to mix two runs.

An input that only grew is continued. One that changed otherwise, or a changed model or parameter, is refused with
what differs, unless the caller says that it is meant (`rebase`, `mixed`). Nothing is sent from here.

A row is left when it has no record, and also when its record says that it was interrupted. Such a row is read from
the input like the others, and brings along what it has billed.
"""

import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import msgspec

from arkbatch import __version__
from arkbatch.core.errors import RunLocked, UsageError
from arkbatch.core.input_info import InputInfo, Position
from arkbatch.core.job import Job, answer_settings, job_tables
from arkbatch.core.outcomes import Outcome
from arkbatch.core.row import BadRow, Row
from arkbatch.core.text import count_text
from arkbatch.engine.interrupted_rows import InterruptedRows, R
from arkbatch.engine.resume_check import ResumeOptions, check_input, check_settings, lapsed_limits
from arkbatch.journal.journal import Journal
from arkbatch.journal.rebase import rebase_records
from arkbatch.journal.record_index import RecordIndex
from arkbatch.journal.repeated_rows import RepeatedRows, copied_outcome
from arkbatch.journal.run_directory import FAILURES, RESULTS, SPOOL, RunDirectory
from arkbatch.journal.run_info import FORMAT, RunInfo, SessionInfo
from arkbatch.journal.shard_files import SHARDS_PLAN
from arkbatch.monitor.progress import FoundRows
from arkbatch.pricing.pricer import Pricer
from arkbatch.pricing.run_cost import Bill
from arkbatch.pricing.run_price_file import book_of_job, book_of_run, keep_used_prices, name_of, price_list_of
from arkbatch.protocol.endpoints import ENDPOINTS
from arkbatch.rows.first_look import check_first_rows, look_at, start_notes
from arkbatch.rows.input_file import Change
from arkbatch.rows.job_diff import asked_digest
from arkbatch.rows.parse import problem_of_defaults
from arkbatch.rows.piped_input import keep_piped_input
from arkbatch.rows.several_files import size_and_time, with_each_part
from arkbatch.rows.source import Source, reader_of, source_of

STDIN = "-"


class OpenRun:
    """A run that is locked, read and ready for a session. Use it as a context manager.

    checks_input: an input of which no first row can be sent is refused; a shard may consist of such rows
    found: what was there, and what changed
    """

    def __init__(
        self,
        job: Job,
        wishes: ResumeOptions = ResumeOptions(),  # noqa: B008  it is frozen
        *,
        wall: Callable[[], float],
        command: str = "run",
        stdin: IO[bytes] | None = None,
        checks_input: bool = True,
    ) -> None:
        self.job = job
        self._checks_input = checks_input
        self.wall = wall
        self._wishes = wishes
        self._command = command
        self._stdin = stdin
        self._stack = ExitStack()
        self._changes: list[str] = []
        self.directory = RunDirectory(Path(job.run_dir))
        self.input = self.directory / SPOOL if job.input == STDIN else Path(job.input)
        self.notes: list[str] = []
        self.source: Source  # of the input, from its first look on

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _open(self) -> None:
        problem = problem_of_defaults(self.job)
        if problem is not None:
            raise UsageError(f"No row could be sent with these defaults: {problem}. Correct [defaults] or --set.")
        self._look_first()
        self.directory.create()
        self._stack.enter_context(self.directory.hold_lock(self.wall))
        self._refuse_shards()
        known = self.directory.read_info() if self.directory.exists else None
        if self.job.input == STDIN:
            self._keep_piped_input(known)
            self._look_at_spool(known)
            self.source = source_of(self.job, self.input)
        self.fresh = known is None
        self.info = self._begin() if known is None else self._resume(known)
        self.journal = self._open_journal(self.info)
        self._stack.callback(self.journal.close_files)
        self._interrupted = InterruptedRows(self.directory, self.journal.ledger.interrupted)
        self.info.last_row = self._last_row()
        self.repeats = self._find_repeats()
        self.found = self._found()

    def _refuse_shards(self) -> None:
        """Raise RunLocked if the records belong to shards: a session must not record beside them."""
        if (self.directory / SHARDS_PLAN).exists():
            raise RunLocked(
                f"{self.directory.path} is a run of several workers, whose records are in its shards. "
                f"Go on with `arkbatch run` or `arkbatch retry`, which merge them first."
            )

    def _look_first(self) -> None:
        """Refuse an input that cannot work before there is a directory, and note which columns are not sent."""
        if self.job.input == STDIN:
            return
        source = self.source = source_of(self.job)
        if not self._checks_input:
            return
        look = look_at(source, self.job) if self.directory.exists else check_first_rows(source, self.job)
        self.notes = start_notes(look)

    def _look_at_spool(self, known: RunInfo | None) -> None:
        """The same of standard input, which had to be copied first. A refused run leaves no directory."""
        source = source_of(self.job, self.input)
        try:
            look = look_at(source, self.job) if known else check_first_rows(source, self.job)
        except UsageError:
            self._stack.close()
            shutil.rmtree(self.directory.path)
            raise
        self.notes = start_notes(look)

    def _open_journal(self, info: RunInfo) -> Journal:
        pricer = Pricer(book_of_run(info, book_of_job(self.job)))

        def keep_prices() -> None:
            if keep_used_prices(info, pricer):
                self.directory.write_info(info)

        self.bill = Bill(pricer, self.job.model, keep_prices)
        return Journal(
            self.directory,
            info.run_id,
            self.wall,
            lambda name: ENDPOINTS[name].path,
            self.bill,
            prices=name_of(pricer.book),
        )

    def _begin(self) -> RunInfo:
        said = answer_settings(self.job)
        info = RunInfo(
            run_id=secrets.token_hex(4),
            format=FORMAT,
            created_at=self._now(),
            simulated=self.job.simulated,
            input=self._survey(),
            asked=said,
            asked_digest=asked_digest(said),
            job=job_tables(self.job),
            row_limit=self.job.row_limit,
            price_list=price_list_of(self.job),
        )
        self.directory.write_info(info)
        return info

    def _resume(self, info: RunInfo) -> RunInfo:
        self._take_in_settings(info)
        self._take_in_input(info)
        self._changes += lapsed_limits(info)
        info.row_limit, info.job = self.job.row_limit, job_tables(self.job)
        info.price_list = price_list_of(self.job)
        return info

    def _take_in_settings(self, info: RunInfo) -> None:
        if changes := check_settings(self.directory, info, self.job, self._wishes):
            self._changes += changes
            said = answer_settings(self.job)
            info.asked, info.asked_digest, info.simulated = said, asked_digest(said), self.job.simulated

    def _take_in_input(self, info: RunInfo) -> None:
        match check_input(self.directory, info, self.source, self.job, self._wishes):
            case Change.SAME:
                path, mtime_ns = self._whole_path(), size_and_time(self.input)[1]
                self._adopt(info, msgspec.structs.replace(info.input, path=path, mtime_ns=mtime_ns))
            case Change.GREW:
                now = self._survey()
                self._changes.append(f"the input grew by {count_text(now.rows - info.input.rows, 'row')}")
                self._adopt(info, now)
            case Change.EDITED:
                self._rebase(info)

    def _rebase(self, info: RunInfo) -> None:
        self._open_journal(info).close()  # so that no replaced line takes part
        edit = rebase_records(self.directory, self.source, reader_of(self.job, self.source))
        kept = self.source.is_table and not (edit.changed or edit.removed)
        self._changes.append(f"the input was {'written anew' if kept else 'edited'}: {edit}")
        self._adopt(info, self._survey())

    def _survey(self) -> InputInfo:
        info = self.source.survey_input()
        info.path = self._whole_path()
        return info

    def _whole_path(self) -> str:
        return with_each_part(self.input, lambda part: Path(part).absolute())

    def _adopt(self, info: RunInfo, now: InputInfo) -> None:
        if now != info.input:
            info.input = now
            self.directory.write_info(info)

    def _keep_piped_input(self, known: RunInfo | None) -> None:
        stream = self._stdin or sys.stdin.buffer
        keep_piped_input(stream, self.input, known.input if known else None, rebase=self._wishes.rebase)

    def _last_row(self) -> int | None:
        """The number of the last row that the limit takes in, None where it takes in all."""
        limit, there = self.info.row_limit, self.info.input
        if limit is None or limit >= there.rows:
            return None
        if there.lines == there.rows:
            return limit
        return next(number for number, _, _ in islice(self.source.read_records(), limit - 1, None))

    def _found(self) -> FoundRows:
        ledger = self.journal.ledger
        total = self.info.input.rows
        if self.info.row_limit is not None:
            total = min(total, self.info.row_limit)
        left = max(0, total - ledger.count_ended(self.info.last_row))
        return FoundRows(
            run_dir=str(self.directory.path),
            done=ledger.done.count,
            failed=ledger.failed.count,
            left=left,
            to_send=left,
            total=total,
            fresh=self.fresh,
            changes=tuple(self._changes),
        )

    def refresh_interrupted(self) -> None:
        """Take in what rows have spent that were recorded as interrupted in this session."""
        self._interrupted = InterruptedRows(self.directory, self.journal.ledger.interrupted)

    def rows(self) -> Iterator[Row | BadRow]:
        """The rows that are left, in order. They are read as they are pulled."""
        reader, ledger = reader_of(self.job, self.source), self.journal.ledger
        limit, seen = self.job.row_limit, 0
        # A limit counts rows from the top, so that the same command means the same rows each time.
        start = Position() if limit is not None else self._interrupted.first_place(self.journal.resume_at)
        for number, offset, line in self.source.read_records(start):
            if limit is not None and (seen := seen + 1) > limit:
                return
            if number not in ledger and (self.repeats is None or not self.repeats.first_of(number)):
                row = reader.read_row(number, offset, line)
                yield self._interrupted.with_past(row)

    def _find_repeats(self) -> RepeatedRows | None:
        """Which rows repeat the request of an earlier one; None where that is not asked for."""
        if not self.job.reading.dedupe:
            return None
        reader = reader_of(self.job, self.source)
        rows = (reader.read_row(*record) for record in islice(self.source.read_records(), self.job.row_limit))
        repeats = self._stack.enter_context(RepeatedRows(rows, self.directory.path))
        if repeats.count:
            told = f"{repeats.count:,} of {count_text(self.info.input.rows, 'row')} repeat an earlier request"
            self.notes.append(f"{told}: they are not sent, and get a copy of its record")
        return repeats

    def copied_outcomes(self) -> Iterator[Outcome]:
        """The outcomes of rows that repeat a row which has its record by now, in order."""
        if self.repeats is None or not self.repeats.count:
            return
        reader, ledger = reader_of(self.job, self.source), self.journal.ledger
        with RecordIndex(self.directory / RESULTS) as results, RecordIndex(self.directory / FAILURES) as failures:
            for number, offset, line in islice(self.source.read_records(), self.job.row_limit):
                first = self.repeats.first_of(number)
                if first and first in ledger and number not in ledger:
                    row = self.with_past(reader.read_row(number, offset, line))
                    record = results.line_of(first) or failures.line_of(first)
                    if record is not None and isinstance(row, Row):
                        yield copied_outcome(row, record, first)

    def with_past(self, row: R) -> R:
        """A row that is left, with what it has spent if it was interrupted."""
        return self._interrupted.with_past(row)

    def begin_session(self, limits: dict[str, Any]) -> SessionInfo:
        """Note the session in `run.json`; its number is part of each request id."""
        session = SessionInfo(
            number=len(self.info.sessions) + 1,
            command=self._command,
            began_at=self._now(),
            version=__version__,
            limits=limits,
            changes=list(self.found.changes),
        )
        self.info.sessions.append(session)
        self.directory.write_info(self.info)
        return session

    def note_session(self) -> None:
        """Write down what has become of the session so far."""
        self.directory.write_info(self.info)

    def end_session(self, session: SessionInfo, ending: str, seconds: float) -> None:
        session.ended_at, session.ending, session.seconds = self._now(), ending, round(seconds, 3)
        self.directory.write_info(self.info)

    def _now(self) -> str:
        return datetime.fromtimestamp(self.wall(), UTC).isoformat(timespec="seconds")
