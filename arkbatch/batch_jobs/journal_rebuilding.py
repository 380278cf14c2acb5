"""Finds parcels again at the provider after `parcels.jsonl` was lost or damaged.

Files carry the run and the parcel in their names, and batches in their metadata where the form has it. Which rows are
in a parcel is read from its file, here or there, or from the lines of its answers. A file without a batch may have one
that the list does not show yet: it is looked for as after any lost reply.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from arkbatch.batch_jobs.output_files import rows_in_files
from arkbatch.batch_jobs.parcel import Parcel
from arkbatch.batch_jobs.parcel_context import ParcelContext
from arkbatch.batch_jobs.parcel_cutter import ParcelCutter
from arkbatch.batch_jobs.parcel_journal import sha256_of
from arkbatch.batch_jobs.parcel_limits import Load
from arkbatch.batch_jobs.parcel_records import Stage, as_ranges
from arkbatch.batch_jobs.parcel_submission import file_prefix
from arkbatch.batch_jobs.provider_forms import FAILED
from arkbatch.batch_jobs.service import BatchState, RemoteFile, ServiceRefused
from arkbatch.core.calls import Cause, Kind
from arkbatch.core.row import Row
from arkbatch.core.text import count_text
from arkbatch.engine.cost_limit import plain_amount
from arkbatch.rows.source import reader_of

_NAME = re.compile(r"p(\d+)-([0-9a-f]{8})\.jsonl")
_NOT_ORDERED = frozenset({Stage.CUT, Stage.PUTTING, Stage.PUT, Stage.STARTING})


class _FoundParcel(Struct):
    """What the provider has of one parcel. digest: the first digits of the file's SHA-256, "" without a file."""

    number: int
    digest: str
    name: str
    file: RemoteFile | None
    batch: BatchState | None


class ParcelContents(Struct):
    """What a parcel holds, summed up over its rows."""

    endpoint: str = ""
    model: str = ""
    load: Load = Load()


class ParcelRebuilding:
    """Finds the parcels of one run again, once at the beginning of a session."""

    def __init__(self, context: ParcelContext, cutter: ParcelCutter) -> None:
        self._context = context
        self._journal = context.journal
        self._cutter = cutter

    async def rebuild_journal(self) -> None:
        """Write down what the provider has and `parcels.jsonl` does not tell. ServiceAway: to be called again."""
        found = await self._find_parcels()
        unknown: dict[int, tuple[_FoundParcel, set[int]]] = {}
        for each in found:
            known = self._known_parcel(each)
            if known is not None and known.stage not in _NOT_ORDERED:
                continue
            rows = await self._rows_in(each, is_known=known is not None)
            if rows and known is not None:
                self._take_over(known, each)
            elif rows:
                unknown[each.number] = (each, rows)
        if self._context.halt is None:
            self._write_down(unknown)
            self._take_back_others()
            self._journal.note_completeness()
            self._context.say(f"{count_text(len(found), 'parcel')} of this run found at the provider")

    def _take_back_others(self) -> None:
        """Free the rows of parcels that the provider does not have: they were merged before, or never sent."""
        for parcel in self._journal.parcels.open_parcels:
            if parcel.stage == Stage.CUT and parcel.cut.is_rebuilt:
                self._journal.write_step(parcel.number, Stage.MERGED, left=parcel.cut.rows, code="spent")

    async def _find_parcels(self) -> list[_FoundParcel]:
        service, run_id = self._context.service, self._context.run.info.run_id
        prefix = file_prefix(run_id)
        files = [file async for file in service.list_files(prefix)]
        by_file: dict[str, BatchState] = {}
        without_file: list[_FoundParcel] = []
        ids = {file.id for file in files}
        async for batch in service.list_batches(0.0):
            if batch.input_file_id in ids:
                earlier = by_file.get(batch.input_file_id)
                if earlier is None or earlier.state == FAILED:
                    by_file[batch.input_file_id] = batch
            elif batch.metadata.get("arkbatch_run") == run_id:
                number = str(batch.metadata.get("arkbatch_parcel", ""))
                if number.isdecimal():
                    without_file.append(_FoundParcel(int(number), "", "", None, batch))
        with_file = [
            _FoundParcel(int(named[1]), named[2], file.name, file, by_file.get(file.id))
            for file in sorted(files, key=lambda each: (each.created_at, each.name))
            if (named := _NAME.fullmatch(file.name.removeprefix(prefix[:-1])))
        ]
        return with_file + without_file

    def _known_parcel(self, found: _FoundParcel) -> Parcel | None:
        """The parcel that this is, if `parcels.jsonl` still tells it."""
        known = self._journal.parcels.by_number.get(found.number)
        if known is None:
            return None
        is_same_batch = found.batch is not None and known.batch_id == found.batch.id
        is_same_file = known.cut.sha256[:8] == found.digest if found.digest else known.cut.is_rebuilt
        return known if is_same_batch or is_same_file else None

    def _take_over(self, parcel: Parcel, found: _FoundParcel) -> None:
        """Go on with a parcel as it stands at the provider."""
        number, file, batch = parcel.number, found.file, found.batch
        if found.name and not parcel.name:
            self._journal.write_step(number, Stage.PUTTING, name=found.name)
        if file is not None:
            self._journal.write_step(number, Stage.PUT, file_id=file.id, file_at=file.created_at)
        if batch is not None and batch.id not in parcel.refused_ids:
            self._journal.write_step(
                number, Stage.STARTED, batch_id=batch.id, expires_at=batch.expires_at, state=batch.word
            )
        elif batch is None:
            self._journal.write_step(number, Stage.STARTING, file_id=parcel.file_id)

    async def _rows_in(self, found: _FoundParcel, *, is_known: bool) -> set[int]:
        """The rows of a parcel; none when all of it was merged and deleted before."""
        if not is_known and found.number in self._journal.parcels.by_number:  # another parcel got this number since
            found.number = self._journal.parcels.next_number
        path, service = self._journal.requests_path(found.number), self._context.service
        if found.file is not None:
            if not (path.exists() and sha256_of(path)[:8] == found.digest):
                path.unlink(missing_ok=True)
                await service.fetch_file(found.file.id, path)
            return rows_in_files([path])
        batch = found.batch
        assert batch is not None
        if not batch.has_ended:
            said = f"batch {batch.id} of this run is being worked on, and the file with its rows is gone"
            advice = "cancel it in the provider's console, and run the same command again"
            self._context.stop_session(Cause(Kind.UNFINISHED, "unknown_rows", said, advice))
            return set()
        outputs = {"output": batch.output_id, "error": batch.error_id}
        targets = [await self._fetched_file(found.number, kind, id_) for kind, id_ in outputs.items() if id_]
        return rows_in_files([target for target in targets if target is not None])

    async def _fetched_file(self, number: int, kind: str, file_id: str) -> Path | None:
        target = self._journal.output_path(number, kind)
        try:
            await self._context.service.fetch_file(file_id, target)
        except ServiceRefused as refused:
            if not refused.is_gone:
                raise
            return None
        return target

    def _write_down(self, unknown: Mapping[int, tuple[_FoundParcel, set[int]]]) -> None:
        """The lost parcels as steps, with their rows found in the input."""
        kinds = self._kinds_of({number: rows for number, (_, rows) in unknown.items()})
        for number, (found, rows) in unknown.items():
            kind, path = kinds[number], self._journal.requests_path(number)
            self._journal.write_step(
                number,
                Stage.CUT,
                rows=len(rows),
                ranges=as_ranges(rows),
                endpoint=kind.endpoint,
                model=kind.model,
                bytes=path.stat().st_size if path.exists() else 0,
                sha256=sha256_of(path) if path.exists() else "",
                tokens=kind.load.tokens,
                ceiling=plain_amount(kind.load.ceiling) if kind.load.ceiling else "",
                form=self._context.form.name,
                is_rebuilt=True,
            )
            self._take_over(self._journal.parcels.by_number[number], found)

    def _kinds_of(self, rows_by_parcel: Mapping[int, set[int]]) -> dict[int, ParcelContents]:
        """Read the input once, and sum up each parcel."""
        kinds = {number: ParcelContents() for number in rows_by_parcel}
        parcels_of: dict[int, list[int]] = {}
        for parcel, numbers in rows_by_parcel.items():
            for number in numbers:
                parcels_of.setdefault(number, []).append(parcel)
        run = self._context.run
        reader = reader_of(run.job, run.source)
        for number, offset, line in run.source.read_records() if parcels_of else ():
            for parcel in parcels_of.get(number, ()):
                row = run.with_past(reader.read_row(number, offset, line))
                if isinstance(row, Row):
                    kind = kinds[parcel]
                    kind.endpoint, kind.model = kind.endpoint or row.endpoint, kind.model or row.asked_model
                    kind.load = kind.load.plus(self._cutter.load_of(row))
        return kinds
