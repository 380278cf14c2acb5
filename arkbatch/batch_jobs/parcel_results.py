"""Fetches the files of an ended batch, merges their lines, and deletes them remotely."""

from pathlib import Path

from arkbatch.batch_jobs.line_records import spent_in
from arkbatch.batch_jobs.output_files import (
    OutputFiles,
    count_lines,
    first_bytes,
    has_line_of,
    is_cut_off,
    rows_at_lines,
)
from arkbatch.batch_jobs.output_merging import MergedLines, Merger
from arkbatch.batch_jobs.parcel import Parcel, rows_done
from arkbatch.batch_jobs.parcel_context import ParcelContext, cause_of
from arkbatch.batch_jobs.parcel_records import SHORT, Stage
from arkbatch.batch_jobs.parcel_rows import rows_of
from arkbatch.batch_jobs.provider_forms import DONE, FAILED
from arkbatch.batch_jobs.reply_objects import what_is_there
from arkbatch.batch_jobs.service import ServiceRefused, find_files
from arkbatch.core.calls import Cause, Kind
from arkbatch.core.outcomes import Failure
from arkbatch.core.text import count_text
from arkbatch.journal.run_directory import FAILURES

_OUTPUT_SECONDS = 600.0  # until the files of a batch that has ended must be there
_AGAIN_SECONDS = 60.0
_LOOK_THERE = "look at it in the provider's console; its rows are left, and the same command sends them again"
_MOST_FETCHES = 3  # of a file that seems to be cut off
_KINDS = ("output", "error")


class ParcelCollector:
    """Turns what batches bring into records."""

    def __init__(self, context: ParcelContext, merger: Merger) -> None:
        self._context = context
        self._journal = context.journal
        self._merger = merger

    async def collect_answers(self, parcel: Parcel) -> None:
        """Fetch the files of a batch that has ended, and turn their lines into records."""
        has_begun = parcel.stage == Stage.MERGING or parcel.cut.is_rebuilt
        if not await self._fetch_files(parcel):
            return
        self._explain_failure(parcel)
        self._journal.write_step(parcel.number, Stage.MERGING)
        merged = self._merge_lines(parcel, has_begun=has_begun)
        self._context.run.journal.sync()
        self._context.run.refresh_interrupted()
        self._journal.write_step(
            parcel.number,
            Stage.MERGED,
            done=merged.done,
            failed=merged.failed,
            left=merged.left,
            missing=merged.missing,
            doubled=merged.doubled,
            unknown=merged.unknown,
            usage=merged.usage,
            code="spent" if merged.spent or parcel.bad_lines else "",
        )
        self._context.say(_summary_of(parcel, merged))
        if not has_begun:
            self._compare_usage(parcel, merged)
        if merged.halt is not None:
            self._context.stop_session(merged.halt)

    async def _fetch_files(self, parcel: Parcel) -> bool:
        """Whether the files of a batch are here, as far as there are any. Otherwise they are tried again later."""
        ended = parcel.ended
        assert ended is not None
        targets = [self._journal.output_path(parcel.number, kind) for kind in _KINDS]
        for target, file_id in zip(targets, (ended.output_id, ended.error_id), strict=True):
            if file_id and not target.exists() and not await self._fetch_file(parcel, file_id, target):
                return False
            if target.exists() and not self._holds_rows(parcel, file_id, target):
                return False
        if self._are_whole(parcel, targets):
            return True
        self._journal.write_step(parcel.number, SHORT)  # also for later sessions, which may be as short as this one
        for target in targets:
            target.unlink(missing_ok=True)
        self._context.put_off(parcel, _AGAIN_SECONDS)
        return False

    async def _fetch_file(self, parcel: Parcel, file_id: str, target: Path) -> bool:
        """Whether the file is here now. One that the provider does not have may come a little later, or is lost."""
        context = self._context
        try:
            await context.service.fetch_file(file_id, target)
        except ServiceRefused as refused:
            if not refused.is_gone:
                raise
            return self._is_given_up(parcel, refused, file_id)
        return True

    def _holds_rows(self, parcel: Parcel, file_id: str, target: Path) -> bool:
        """Whether a file can be merged: it is empty, or it has a line of a row of the parcel.

        Else it is no output file, such as the page of a proxy, or that of another batch. It is fetched again; the
        rows are not sent again as long as nobody gives these answers up, since they may be paid.
        """
        if parcel.stage == Stage.MERGING or has_line_of(target, parcel.row_numbers):
            return True
        reason = f"file {file_id} has no line of a row of this parcel: it is {what_is_there(first_bytes(target))}"
        target.unlink()
        if self._is_given_up(parcel, ServiceRefused(200, "no_output", reason), file_id):
            self._context.say(f"parcel {parcel.number}: {reason}; it is left out")
            return True
        return False

    def _is_given_up(self, parcel: Parcel, refused: ServiceRefused, file_id: str) -> bool:
        """Whether a file that the provider does not have is given up, since somebody cancels the parcel."""
        return self._context.is_given_up(
            parcel, refused, f"file {file_id}", patience_seconds=_OUTPUT_SECONDS, again_seconds=_AGAIN_SECONDS
        )

    def _are_whole(self, parcel: Parcel, targets: list[Path]) -> bool:
        """Whether the files have the lines that the provider counts, and end with a whole line.

        Neither is certain: a count may be wrong, so that after a few downloads the lines are taken as they are.
        """
        tries = 1 + parcel.short_fetches
        if parcel.stage == Stage.MERGING or tries >= _MOST_FETCHES:
            return True
        if any(is_cut_off(target) for target in targets):
            return False
        ended = parcel.ended
        if ended is None or ended.state != DONE or tries > 1 or not (ended.output_id or ended.error_id):
            return True
        return sum(count_lines(target) for target in targets) >= rows_done(ended.counts)

    def _merge_lines(self, parcel: Parcel, *, has_begun: bool) -> MergedLines:
        files = OutputFiles([self._journal.output_path(parcel.number, kind) for kind in _KINDS])
        run, known = self._context.run, frozenset[int]()
        if has_begun:
            known = spent_in(run.directory / FAILURES, parcel.batch_id)
        return self._merger.merge_lines(rows_of(run, parcel.cut), files, parcel.batch_id, known)

    def _compare_usage(self, parcel: Parcel, merged: MergedLines) -> None:
        """Tell `run.log` where the tokens of all lines are not those that the provider counts for the batch."""
        told = parcel.ended.usage if parcel.ended else {}
        summed = {name: merged.usage.get(name, 0) for name in told}
        if told and summed != told:
            pairs = ", ".join(f"{name} {summed[name]:,} and {told[name]:,}" for name in told)
            self._context.detail(
                f"parcel {parcel.number}: the tokens of its lines and those that the provider counts differ ({pairs}); "
                "the lines are counted"
            )

    def _explain_failure(self, parcel: Parcel) -> None:
        """A batch that was refused as a whole: for lines of it, or for something that a person has to change."""
        ended = parcel.ended
        assert ended is not None
        if ended.state != FAILED or ended.output_id or ended.error_id:
            return
        reason = ended.reason or "the provider gives no reason"
        refused_rows = rows_at_lines(self._journal.requests_path(parcel.number), parcel.bad_lines)
        failures = [
            Failure(row, Cause(Kind.BAD_ROW, ended.code, f"the provider refused the line of this row: {why or reason}"))
            for row in (rows_of(self._context.run, parcel.cut) if refused_rows else ())
            if (why := refused_rows.get(row.number)) is not None
        ]
        for failure in failures:
            self._context.record(failure)
        if not failures:
            said = ServiceRefused(400, ended.code, f"batch {parcel.batch_id} failed: {reason}")
            self._context.stop_session(cause_of(said, parcel, "" if ended.code else _LOOK_THERE))

    async def delete_files(self, parcel: Parcel) -> None:
        """Delete the files at the provider, and ours."""
        service = self._context.service
        if not self._context.run.job.files.keep_remote:
            ended = parcel.ended
            ids = [*parcel.file_ids, *((ended.output_id, ended.error_id) if ended else ())]
            if parcel.uploads_lost:
                ids += [file.id for file in await find_files(service, parcel.name)]
            for file_id in dict.fromkeys(filter(None, ids)):
                await service.delete_file(file_id)
        self._journal.write_step(parcel.number, Stage.CLOSED)
        self._journal.remove_files(parcel)


def _summary_of(parcel: Parcel, merged: MergedLines) -> str:
    is_refused = parcel.state == FAILED and merged.missing == parcel.cut.rows - merged.failed
    odd = [
        f"{count_text(count, what)}{more}"
        for count, what, more in (
            (0 if is_refused or parcel.bad_lines else merged.missing, "row", " without a line"),
            (merged.doubled, "doubled line", ""),
            (merged.unknown, "line", " of no row here"),
        )
        if count
    ]
    told = f"; {', '.join(odd)}" if odd else ""
    if not (merged.done or merged.failed or merged.left or parcel.bad_lines):
        return f"parcel {parcel.number} {parcel.state}: all of its rows were recorded before"
    failed = merged.failed + len(parcel.bad_lines)
    return f"parcel {parcel.number} {parcel.state}: {merged.done} succeeded, {failed} failed, {merged.left} left{told}"
