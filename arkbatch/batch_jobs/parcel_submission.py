"""Submits a parcel: uploads its file, creates the batch, finds both after lost replies.

Each action is safe to be cut off and to be done again. The intent is on disk before it and the fact behind it. A parcel
that stands at an intent is looked for at the provider before anything is sent again.
"""

import asyncio

from arkbatch.batch_jobs.parcel import Parcel
from arkbatch.batch_jobs.parcel_context import ParcelContext, cause_of
from arkbatch.batch_jobs.parcel_records import NOT_STARTED, TOO_MANY_TOKENS, UPLOAD_LOST, Stage
from arkbatch.batch_jobs.parcel_rows import rows_of
from arkbatch.batch_jobs.provider_forms import MARGIN
from arkbatch.batch_jobs.service import (
    CUT_LIST,
    BatchOrder,
    BatchState,
    RemoteFile,
    ServiceAway,
    ServiceRefused,
    find_batch,
    find_files,
    is_token_limit,
    limit_in,
)
from arkbatch.batch_jobs.wire_lines import url_of
from arkbatch.core.calls import Cause, Kind
from arkbatch.core.outcomes import Failure
from arkbatch.core.text import count_text

SETTLING_SECONDS = 300.0  # until a batch that was ordered must stand in the provider's list
_LIST_AGAIN_SECONDS = 30.0
_FILE_SECONDS = 120.0  # until a file that was uploaded can be ordered from
_FILE_AGAIN_SECONDS = 5.0
_MOST_TRIES = 3  # batches that were refused for good from one file
_DAY = 86_400


def file_prefix(run_id: str) -> str:
    """How the names of all files of a run begin at the provider."""
    return f"arkbatch-{run_id}-p"


def file_name(run_id: str, number: int, sha256: str) -> str:
    """The name of a parcel's file at the provider. It says whose the file is and what is in it."""
    return f"{file_prefix(run_id)}{number:04d}-{sha256[:8]}.jsonl"


class ParcelSubmission:
    """Uploads the files of parcels and orders batches from them."""

    def __init__(self, context: ParcelContext) -> None:
        self._context = context
        self._journal = context.journal
        self._first_missed: dict[int, float] = {}  # by parcel, loop time at which its batch was not in the list

    async def upload_parcel(self, parcel: Parcel) -> None:
        name = file_name(self._context.run.info.run_id, parcel.number, parcel.cut.sha256)
        self._journal.write_step(parcel.number, Stage.PUTTING, name=name)
        await self._send_file(parcel)

    async def _send_file(self, parcel: Parcel) -> None:
        keep = window_seconds(self._context.window) + 7 * _DAY
        path = self._journal.requests_path(parcel.number)
        try:
            file = await self._context.service.upload_file(path, parcel.name, keep)
        except ServiceRefused as refused:
            if refused.excess:
                self.cut_smaller(parcel, refused.excess, refused.reason)
            elif refused.is_unknown_path:
                self._stop_without_service(refused)
            else:
                raise
        else:
            self._take_file(parcel, file)

    def _stop_without_service(self, refused: ServiceRefused) -> None:
        run = self._context.run
        said = f"{run.job.base_url} takes no batch files ({refused.reason})"
        advice = (
            f"check base_url. If the provider has none: arkbatch cancel {run.directory.path}, and then the same "
            "command with --lane online"
        )
        self._context.stop_session(Cause(Kind.INVALID_REQUEST, "no_batch_files", said, advice))

    def _take_file(self, parcel: Parcel, file: RemoteFile) -> None:
        self._journal.write_step(parcel.number, Stage.PUT, file_id=file.id, file_at=file.created_at)

    async def find_file(self, parcel: Parcel) -> None:
        """Use a file that arrived although its upload was interrupted, or send it again."""
        for file in await find_files(self._context.service, parcel.name):
            if file.bytes in {parcel.cut.bytes, None}:
                self._take_file(parcel, file)
                return
        self._journal.write_step(parcel.number, UPLOAD_LOST)
        await self._send_file(parcel)

    async def order_if_allowed(self, parcel: Parcel) -> None:
        """BatchOrder the batch, unless the provider takes no more tokens now or has refused the file for good."""
        context = self._context
        if parcel.tries >= _MOST_TRIES:
            said = f"parcel {parcel.number} was refused {parcel.tries} times: {parcel.reason}"
            context.stop_session(
                Cause(Kind.INVALID_REQUEST, "refused", said, "fix what the message names, and run the command again")
            )
            return
        limit = self.learned_limit(parcel.cut.model) or context.run.job.files.tokens or context.form.tokens
        if limit and parcel.cut.tokens > limit and parcel.waits:
            self.take_back(parcel)  # it can never fit: its rows are cut into smaller files
            return
        waiting = self._journal.parcels.enqueued_tokens(parcel.cut.model)
        if limit and waiting and waiting + parcel.cut.tokens > limit * MARGIN:
            context.put_off(parcel, context.pacing.first)
            return
        if parcel.waits and context.run.wall() < parcel.refused_at + self._pause_after_refusal(parcel):
            context.put_off(parcel, context.pacing.first)
            return
        await self._order_batch(parcel)

    def _pause_after_refusal(self, parcel: Parcel) -> float:
        pacing = self._context.pacing
        return min(pacing.first * float(2 ** min(parcel.waits, 6)), pacing.longest)

    async def _order_batch(self, parcel: Parcel) -> None:
        """BatchOrder the batch. The intent is on disk, so that a lost reply is found out and not paid twice."""
        context = self._context
        order = BatchOrder(
            file_id=parcel.file_id,
            url=url_of(parcel.cut.endpoint, context.form),
            model=parcel.cut.model,
            window=context.window,
            run_id=context.run.info.run_id,
            parcel=parcel.number,
            name=parcel.name,
        )
        self._first_missed.pop(parcel.number, None)
        self._journal.write_step(parcel.number, Stage.STARTING, file_id=parcel.file_id)
        try:
            state = await context.service.order_batch(order)
        except ServiceAway as away:
            if not away.may_have_arrived:
                self._journal.write_step(parcel.number, Stage.PUT, file_id=parcel.file_id)
            raise
        except ServiceRefused as refused:
            self._take_refusal(parcel, refused)
        else:
            self.take_batch(parcel, state)

    def _take_refusal(self, parcel: Parcel, refused: ServiceRefused) -> None:
        """Write down that the provider took no batch, and decide what follows."""
        context = self._context
        if refused.is_missing_file and context.run.wall() < parcel.put_at + _FILE_SECONDS:
            self._journal.write_step(parcel.number, Stage.PUT, file_id=parcel.file_id)
            context.put_off(parcel, _FILE_AGAIN_SECONDS)
        elif refused.is_missing_file:  # deleted or expired there, and nothing was made of it: it is sent again
            self._journal.write_step(parcel.number, NOT_STARTED, code=refused.code, reason=refused.reason)
            self._journal.write_step(parcel.number, Stage.PUTTING)
        elif is_token_limit(refused.code, refused.reason):
            self.wait_for_tokens(parcel, refused.reason)
        elif refused.excess:
            self.cut_smaller(parcel, refused.excess, refused.reason)
        else:
            self._journal.write_step(parcel.number, NOT_STARTED, code=refused.code, reason=refused.reason)
            context.stop_session(cause_of(refused, parcel))

    def wait_for_tokens(self, parcel: Parcel, reason: str) -> None:
        """BatchOrder the same file again when fewer tokens wait at the provider, and learn the limit that it names."""
        limit = limit_in(reason)
        others = self._journal.parcels.enqueued_tokens(parcel.cut.model)
        if parcel.stage in {Stage.STARTING, Stage.STARTED}:
            others -= parcel.cut.tokens
        if parcel.waits and others <= 0:  # nothing else of ours waits: by the provider's count the file is too large
            limit = min(limit or parcel.cut.tokens, parcel.cut.tokens // 2)
        self._journal.write_step(parcel.number, NOT_STARTED, code=TOO_MANY_TOKENS, reason=reason, limit=limit)
        self._context.put_off(parcel, self._pause_after_refusal(parcel))
        self._context.say(f"parcel {parcel.number} waits until others have ended: {reason}")

    def cut_smaller(self, parcel: Parcel, excess: str, reason: str) -> None:
        """Free the rows of a file that is too large for the provider; the next files are at most half as large.

        A file of one row cannot be cut: the row fails.
        """
        context = self._context
        self._journal.write_step(parcel.number, NOT_STARTED, code=excess, reason=reason)
        if parcel.cut.rows > 1:
            said = f"{count_text(parcel.cut.rows, 'row')}, {parcel.cut.bytes:,} bytes"
            context.say(f"parcel {parcel.number}: its file ({said}) is too large for the provider; smaller ones follow")
        else:
            cause = Cause(Kind.TOO_LONG, excess, f"the provider takes no file with this row: {reason}")
            for row in rows_of(context.run, parcel.cut):
                context.record(Failure(row, cause))
        self.take_back(parcel)

    def learned_limit(self, model: str) -> int:
        """The enqueued tokens that the provider named last for a model, 0 when it named none."""
        known = (each.limit for each in self._journal.parcels.by_number.values() if each.cut.model == model)
        return next((limit for limit in reversed([*known]) if limit), 0)

    def take_batch(self, parcel: Parcel, state: BatchState) -> None:
        """Write down which batch was made of the parcel."""
        self._journal.write_step(
            parcel.number, Stage.STARTED, batch_id=state.id, expires_at=state.expires_at, state=state.word
        )
        self._context.put_off(parcel, self._context.pacing.first)

    async def find_batch(self, parcel: Parcel) -> None:
        """Adopt a batch that exists although its order was interrupted; order only when there is none for certain."""
        context, now = self._context, asyncio.get_running_loop().time()
        try:
            found = await self.listed_batch(parcel)
        except ServiceRefused as refused:
            if not refused.has_no_list:
                raise
            self._stop_unlisted(parcel, refused)
            return
        if found is not None:
            context.say(f"parcel {parcel.number}: batch {found.id} was found, and is not ordered again")
            self.take_batch(parcel, found)
            return
        missed_at = self._first_missed.setdefault(parcel.number, now)
        waited = max(context.run.wall() - parcel.stage_at, now - missed_at)  # the clock may have been set back
        if waited < SETTLING_SECONDS:
            context.put_off(parcel, _LIST_AGAIN_SECONDS)
        elif context.accepts_loss:  # somebody cancels the parcel
            self.take_back(parcel)
        else:
            await self._order_batch(parcel)

    async def listed_batch(self, parcel: Parcel) -> BatchState | None:
        """The batch of this parcel in the provider's list, which may use the id of a file or of a batch again."""
        of_others = {each.batch_id for each in self._journal.parcels.by_number.values() if each is not parcel}
        not_its_own = of_others - {"", parcel.batch_id} | {*parcel.refused_ids}
        return await find_batch(self._context.service, parcel.file_id, since=parcel.file_at, refused=not_its_own)

    def _stop_unlisted(self, parcel: Parcel, refused: ServiceRefused) -> None:
        """A batch may exist that the list does not show: it is not ordered again, since it would be paid twice."""
        context = self._context
        if context.accepts_loss:  # somebody cancels the parcel
            self.take_back(parcel)
            return
        said = f"it is not known whether the batch of parcel {parcel.number} was ordered: {refused.reason}"
        directory = context.run.directory.path
        advice = (
            f"look in the provider's console for a batch of the file {parcel.name} ({parcel.file_id}). If there is "
            f"none: arkbatch cancel {directory} {parcel.number}, and the next run sends its rows again"
        )
        context.stop_session(Cause(Kind.UNFINISHED, CUT_LIST, said, advice))

    def take_back(self, parcel: Parcel) -> None:
        """Free the rows of a parcel that is not ordered."""
        self._journal.write_step(parcel.number, Stage.MERGED, left=parcel.cut.rows, code="spent")


def window_seconds(window: str) -> int:
    """`24h` or `7d`; a day when it says nothing of the kind."""
    number = "".join(each for each in window if each.isdigit())
    return int(number or 24) * (_DAY if window.endswith("d") else 3600)
