"""What one parcel needs next, from its file to its records: each action is safe to be cut off and to be done again.

The intent is on disk before an action and the fact behind it. A parcel that stands at an intent is looked for at the
provider before anything is sent again.
"""

import asyncio
from collections.abc import Callable, Mapping

from msgspec import Struct

from arkbatch.batch_jobs.forms import DONE, FAILED, MARGIN, Form
from arkbatch.batch_jobs.merging import MergedLines, Merger, OutputFiles, spent_in
from arkbatch.batch_jobs.parcel import LOOKED, NOT_STARTED, STOPPING, TOO_MANY_TOKENS, Parcel, Stage
from arkbatch.batch_jobs.parcel_journal import ParcelJournal
from arkbatch.batch_jobs.parcel_rows import rows_of
from arkbatch.batch_jobs.service import (
    BatchService,
    BatchState,
    Order,
    ServiceAway,
    ServiceRefused,
    is_token_limit,
    limit_in,
)
from arkbatch.batch_jobs.wire_lines import read_output_line, read_wire_id, url_of
from arkbatch.core.text import counted
from arkbatch.core.types import Cause, Failure, Kind
from arkbatch.engine.open_run import OpenRun
from arkbatch.journal.run_directory import FAILURES
from arkbatch.protocol.error_body import Complaint
from arkbatch.protocol.error_codes import rule_for

_SETTLING_SECONDS = 300.0  # until a batch that was ordered must stand in the provider's list
_LIST_MARGIN_SECONDS = 600.0  # that the clocks of this machine and of the provider may differ
_FILE_SECONDS = 120.0  # until a file that was uploaded can be ordered from
_OUTPUT_SECONDS = 600.0  # until the files of a completed batch must be there
_LONGEST_POLL = 600.0
_OVERDUE_SECONDS = 86_400.0  # behind its own deadline, a batch that is still open is cancelled
_MOST_TRIES = 3  # batches that were refused for good from one file
_BACKOFF = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0)
_DAY = 86_400


class Pacing(Struct, frozen=True):
    """Seconds between two looks at a batch: the first, and the longest. The simulator is quicker than a provider."""

    first: float
    longest: float = _LONGEST_POLL


class ParcelWorker:
    """Moves the parcels of one session on. `halt`: why nothing more can be done, None while that is not so."""

    def __init__(
        self,
        run: OpenRun,
        journal: ParcelJournal,
        service: BatchService,
        form: Form,
        merger: Merger,
        *,
        pacing: Pacing,
        say: Callable[[str], None],
        record: Callable[[Failure], None],
        is_stopping: Callable[[], bool],
    ) -> None:
        self._run = run
        self._journal = journal
        self._service = service
        self._form = form
        self._merger = merger
        self._pacing = pacing
        self._say = say
        self._record = record
        self._is_stopping = is_stopping
        self._failures_in_a_row = 0
        self._away_since: float | None = None
        self._ended_without_files: dict[int, float] = {}
        self.retry_at: dict[int, float] = {}
        self.halt: Cause | None = None

    async def advance_all(self, parcels: list[Parcel]) -> None:
        for parcel in parcels:
            while self.halt is None and not self._is_stopping() and self._is_due(parcel):
                stage = (parcel.stage, parcel.stage_at)
                await self._advance_safely(parcel)
                if (parcel.stage, parcel.stage_at) == stage:
                    break

    def _is_due(self, parcel: Parcel) -> bool:
        return parcel.is_open and self.retry_at.get(parcel.number, 0.0) <= asyncio.get_running_loop().time()

    async def _advance_safely(self, parcel: Parcel) -> None:
        """One action. A service that is away is waited for; a refusal that nobody expected halts."""
        try:
            await self._advance(parcel)
        except ServiceAway as away:
            self._wait_for_service(parcel, away)
        except ServiceRefused as refused:
            self.halt = _cause_of(refused, f"parcel {parcel.number}")
        else:
            self._failures_in_a_row, self._away_since = 0, None

    def _wait_for_service(self, parcel: Parcel, away: ServiceAway) -> None:
        now = asyncio.get_running_loop().time()
        self._away_since = now if self._away_since is None else self._away_since
        pause = _BACKOFF[min(self._failures_in_a_row, len(_BACKOFF) - 1)]
        self._failures_in_a_row += 1
        self._later(parcel, max(pause, away.after or 0.0))
        self._say(f"parcel {parcel.number}: the service is away ({away}); the next try is in {pause:g} s")
        if now - self._away_since > self._run.job.retry.give_up_after:
            said = f"the service has been away for {round(now - self._away_since)} seconds: {away}"
            advice = "run the same command again when it is back; nothing is ordered twice"
            self.halt = Cause(Kind.CONNECTION, "away", said, advice)

    def _later(self, parcel: Parcel, seconds: float) -> None:
        self.retry_at[parcel.number] = asyncio.get_running_loop().time() + seconds

    async def _advance(self, parcel: Parcel) -> None:
        match parcel.stage:
            case Stage.CUT:
                await self._put(parcel)
            case Stage.PUTTING:
                await self._find_file(parcel)
            case Stage.PUT:
                await self._start_if_allowed(parcel)
            case Stage.STARTING:
                await self._find_batch(parcel)
            case Stage.STARTED:
                await self._look(parcel)
            case Stage.ENDED | Stage.MERGING:
                await self._collect(parcel)
            case Stage.MERGED:
                await self._forget(parcel)
            case _:
                return

    async def _put(self, parcel: Parcel) -> None:
        name = f"arkbatch-{self._run.info.run_id}-p{parcel.number:04d}-{parcel.cut.sha256[:8]}.jsonl"
        self._journal.write(parcel.number, Stage.PUTTING, name=name)
        await self._upload(parcel)

    async def _upload(self, parcel: Parcel) -> None:
        keep = _window_seconds(self._window) + 7 * _DAY
        file_id = await self._service.put(self._journal.requests(parcel.number), parcel.name, keep)
        self._journal.write(parcel.number, Stage.PUT, file_id=file_id)

    async def _find_file(self, parcel: Parcel) -> None:
        """The upload was interrupted: a file that arrived all the same is used."""
        file_id = await self._service.find_file(parcel.name, parcel.cut.bytes)
        if file_id is None:
            await self._upload(parcel)
        else:
            self._journal.write(parcel.number, Stage.PUT, file_id=file_id)

    async def _start_if_allowed(self, parcel: Parcel) -> None:
        if parcel.tries >= _MOST_TRIES:
            said = f"parcel {parcel.number} was refused {parcel.tries} times: {parcel.reason}"
            self.halt = Cause(Kind.INVALID_REQUEST, "refused", said, "change what the message names, and run it again")
            return
        limit = self.learned_limit(parcel.cut.model) or (self._run.job.files.tokens or self._form.tokens)
        if limit and parcel.cut.tokens > limit and parcel.waits:
            await self.give_up(parcel)  # it can never fit: its rows are cut into smaller files
            return
        waiting = self._journal.parcels.enqueued_tokens(parcel.cut.model)
        if limit and waiting and waiting + parcel.cut.tokens > limit * MARGIN:
            self._later(parcel, self._pacing.first)
            return
        if parcel.waits and self._run.wall() < parcel.refused_at + self._pause_after_refusal(parcel):
            self._later(parcel, self._pacing.first)
            return
        await self._start(parcel)

    def _pause_after_refusal(self, parcel: Parcel) -> float:
        return min(self._pacing.first * float(2 ** min(parcel.waits, 6)), self._pacing.longest)

    @property
    def _window(self) -> str:
        return self._run.job.files.window or self._form.window

    async def _start(self, parcel: Parcel) -> None:
        """Order the batch. The intent is on disk, so that a lost reply is found out and not paid twice."""
        order = Order(
            file_id=parcel.file_id,
            url=url_of(parcel.cut.endpoint, self._form),
            model=parcel.cut.model,
            window=self._window,
            run_id=self._run.info.run_id,
            parcel=parcel.number,
        )
        self._journal.write(parcel.number, Stage.STARTING, file_id=parcel.file_id)
        try:
            state = await self._service.start(order)
        except ServiceAway as away:
            if not away.may_have_arrived:
                self._journal.write(parcel.number, Stage.PUT, file_id=parcel.file_id)
            raise
        except ServiceRefused as refused:
            self._refuse(parcel, refused)
        else:
            self._started(parcel, state)

    def _refuse(self, parcel: Parcel, refused: ServiceRefused) -> None:
        """The provider took no batch, for certain."""
        if refused.is_too_early and self._run.wall() < parcel.cut.at + _FILE_SECONDS:
            self._journal.write(parcel.number, Stage.PUT, file_id=parcel.file_id)
            self._later(parcel, _BACKOFF[0])
        elif is_token_limit(refused.code, refused.reason):
            self._too_many_tokens(parcel, refused.reason)
        else:
            self._journal.write(parcel.number, NOT_STARTED, code=refused.code, reason=refused.reason)
            self.halt = _cause_of(refused, f"parcel {parcel.number}")

    def _too_many_tokens(self, parcel: Parcel, reason: str) -> None:
        limit = limit_in(reason)
        others = self._journal.parcels.enqueued_tokens(parcel.cut.model)
        if parcel.stage in {Stage.STARTING, Stage.STARTED}:
            others -= parcel.cut.tokens
        if parcel.waits and others <= 0:  # nothing else of ours waits: by the provider's count the file is too large
            limit = min(limit or parcel.cut.tokens, parcel.cut.tokens // 2)
        self._journal.write(parcel.number, NOT_STARTED, code=TOO_MANY_TOKENS, reason=reason, limit=limit)
        self._later(parcel, self._pause_after_refusal(parcel))
        self._say(f"parcel {parcel.number} waits until others have ended: {reason}")

    def _started(self, parcel: Parcel, state: BatchState) -> None:
        self._journal.write(
            parcel.number, Stage.STARTED, batch_id=state.id, expires_at=state.expires_at, state=state.word
        )
        self._later(parcel, self._pacing.first)

    async def _find_batch(self, parcel: Parcel) -> None:
        """The order was interrupted: a batch that exists all the same is adopted, and none is ordered twice."""
        found = await self._service.find_batch(parcel.file_id, parcel.stage_at - _LIST_MARGIN_SECONDS)
        if found is not None:
            self._say(f"parcel {parcel.number}: batch {found.id} was found, and is not ordered again")
            self._started(parcel, found)
        elif self._run.wall() < parcel.stage_at + _SETTLING_SECONDS:
            self._later(parcel, min(30.0, _SETTLING_SECONDS))  # a new batch may be slow to show in the list
        else:
            await self._start(parcel)

    async def _look(self, parcel: Parcel) -> None:
        try:
            state = await self._service.look(parcel.batch_id)
        except ServiceRefused as refused:
            if refused.status != 404:
                raise
            found = await self._service.find_batch(parcel.file_id, parcel.stage_at - _LIST_MARGIN_SECONDS)
            if found is None:
                raise
            state = found
        if state.has_ended and not self._waits_for_output(parcel, state):
            self._ended(parcel, state)
            return
        if not state.has_ended and _is_news(parcel, state):
            self._journal.write(parcel.number, LOOKED, is_durable=False, state=state.word, counts=state.counts)
            self._say(_progress(parcel))
        now = self._run.wall()
        if parcel.expires_at and now > parcel.expires_at + _OVERDUE_SECONDS and not parcel.is_stopping:
            await self._stop_batch(parcel)
        self._later(parcel, self._poll_after(now - parcel.stage_at))

    def _poll_after(self, age: float) -> float:
        """Seconds until the next look: rarer with age, but always far less than the window."""
        return min(max(self._pacing.first, age / 60), self._pacing.longest)

    def _waits_for_output(self, parcel: Parcel, state: BatchState) -> bool:
        """A batch that did rows has a file of them, which may come a little later than the word."""
        done = state.counts.get("completed", 0) or state.counts.get("failed", 0)
        if state.state != DONE or state.output_id or state.error_id or not done:
            return False
        first_seen = self._ended_without_files.setdefault(parcel.number, self._run.wall())
        return self._run.wall() < first_seen + _OUTPUT_SECONDS

    def _ended(self, parcel: Parcel, state: BatchState) -> None:
        if state.state == FAILED and is_token_limit(state.code, state.reason):
            self._too_many_tokens(parcel, state.reason)
            return
        self._journal.write(
            parcel.number,
            Stage.ENDED,
            state=state.state,
            counts=state.counts,
            output_id=state.output_id,
            error_id=state.error_id,
            code=state.code,
            reason=state.reason,
            bad_line=state.bad_line,
        )

    # ---- collecting what a batch came to

    async def _collect(self, parcel: Parcel) -> None:
        ended = parcel.ended
        assert ended is not None
        has_begun = parcel.stage == Stage.MERGING
        for kind, file_id in (("output", ended.output_id), ("error", ended.error_id)):
            target = self._journal.output(parcel.number, kind)
            if file_id and not target.exists():
                await self._service.fetch(file_id, target)
        if ended.state == FAILED and not ended.output_id and not ended.error_id:
            self._explain_failure(parcel)
        is_explained = ended.state == FAILED and bool(ended.bad_line)
        self._journal.write(parcel.number, Stage.MERGING)
        merged = self._merge(parcel, has_begun=has_begun)
        self._run.journal.sync()
        self._run.refresh_interrupted()
        self._journal.write(
            parcel.number,
            Stage.MERGED,
            done=merged.done,
            failed=merged.failed,
            left=merged.left,
            missing=merged.missing,
            doubled=merged.doubled,
            unknown=merged.unknown,
            usage=merged.usage,
            code="spent" if merged.spent or is_explained else "",
        )
        self._say(_summary(parcel, merged))
        if merged.halt is not None:
            self.halt = self.halt or merged.halt

    def _merge(self, parcel: Parcel, *, has_begun: bool) -> MergedLines:
        files = OutputFiles([self._journal.output(parcel.number, kind) for kind in ("output", "error")])
        known = frozenset[int]()
        if has_begun:
            known = spent_in(self._run.directory / FAILURES, parcel.batch_id)
        return self._merger.merge(rows_of(self._run, parcel.cut), files, parcel.batch_id, known)

    def _explain_failure(self, parcel: Parcel) -> None:
        """A batch that was refused as a whole: by a line of it, or by something that a person has to change."""
        ended = parcel.ended
        assert ended is not None
        reason = ended.reason or "the provider gives no reason"
        if ended.bad_line:
            number = _row_of_line(self._journal, parcel, ended.bad_line)
            row = next((row for row in rows_of(self._run, parcel.cut) if row.number == number), None)
            if row is not None:
                said = f"the provider refused the line of this row: {reason}"
                self._record(Failure(row, Cause(Kind.BAD_ROW, ended.code, said)))
                return
        refused = ServiceRefused(400, ended.code, reason)
        self.halt = _cause_of(refused, f"parcel {parcel.number}")

    async def _forget(self, parcel: Parcel) -> None:
        """Delete the files at the provider, and ours."""
        if not self._run.job.files.keep_remote:
            ended = parcel.ended
            ids = (parcel.file_id, ended.output_id if ended else "", ended.error_id if ended else "")
            for file_id in filter(None, ids):
                await self._service.forget(file_id)
        self._journal.write(parcel.number, Stage.CLOSED)
        self._journal.remove_files(parcel)

    async def give_up(self, parcel: Parcel) -> None:
        """Take a parcel back that is not ordered: its rows are free again."""
        self._journal.write(parcel.number, Stage.MERGED, left=parcel.cut.rows, code="spent")
        await self._advance_safely(parcel)

    # ---- stopping batches

    async def cancel_started(self, parcels: list[Parcel]) -> None:
        for parcel in parcels:
            if parcel.stage == Stage.STARTED and not parcel.is_stopping:
                try:
                    await self._stop_batch(parcel)
                except ServiceAway as away:
                    self._wait_for_service(parcel, away)
            elif parcel.stage in {Stage.CUT, Stage.PUT}:
                await self.give_up(parcel)

    async def _stop_batch(self, parcel: Parcel) -> None:
        await self._service.stop(parcel.batch_id)
        self._journal.write(parcel.number, STOPPING)
        self._say(f"parcel {parcel.number}: cancelled; what was done before is paid and is collected")
        self._later(parcel, self._pacing.first)

    def learned_limit(self, model: str) -> int:
        """The enqueued tokens that the provider named last for a model, 0 when it named none."""
        known = (each.limit for each in self._journal.parcels.by_number.values() if each.cut.model == model)
        return next((limit for limit in reversed([*known]) if limit), 0)


def _cause_of(refused: ServiceRefused, what: str) -> Cause:
    said = Complaint(refused.reason, refused.code)
    rule, _ = rule_for(said, refused.status if refused.status >= 300 else 400)
    advice = rule.advice or "change what the message names, and run the same command again; nothing is ordered twice"
    return Cause(rule.kind, refused.code or f"http_{refused.status}", f"{what}: {refused.reason}", advice)


def _is_news(parcel: Parcel, state: BatchState) -> bool:
    """Whether the state of a batch has another word, or a tenth more rows are done."""
    if state.word != parcel.state:
        return True
    before, now = _done_in(parcel.counts), _done_in(state.counts)
    return now - before >= max(1, parcel.cut.rows // 10)


def _done_in(counts: Mapping[str, int]) -> int:
    return counts.get("completed", 0) + counts.get("failed", 0)


def _progress(parcel: Parcel) -> str:
    counts = parcel.counts
    done = f", {_done_in(counts)} of {parcel.cut.rows} rows" if counts else ""
    return f"parcel {parcel.number}: {parcel.state}{done}"


def _summary(parcel: Parcel, merged: MergedLines) -> str:
    odd = [
        counted(count, what)
        for count, what in (
            (merged.missing, "row without a line"),
            (merged.doubled, "doubled line"),
            (merged.unknown, "line of no row here"),
        )
        if count
    ]
    told = f"; {', '.join(odd)}" if odd else ""
    what = f"{merged.done} succeeded, {merged.failed} failed, {merged.left} left"
    return f"parcel {parcel.number} {parcel.state}: {what}{told}"


def _window_seconds(window: str) -> int:
    """`24h` or `7d`; a day when it says nothing of the kind."""
    number = "".join(each for each in window if each.isdigit())
    return int(number or 24) * (_DAY if window.endswith("d") else 3600)


def _row_of_line(journal: ParcelJournal, parcel: Parcel, line: int) -> int:
    """The number of the row whose request is this line of the file, from 1; 0 when there is none."""
    path = journal.requests(parcel.number)
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            if number == line:
                found = read_output_line(text)
                wire = read_wire_id(found.custom_id) if found else None
                return wire.row if wire else 0
    return 0
