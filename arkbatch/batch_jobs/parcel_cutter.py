"""Cuts the rows of a run into files of one model and endpoint.

A pass goes once through the input and takes the rows that have no record and are in no open parcel. What parcels give
back is taken by the next pass.
"""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from arkbatch.batch_jobs.parcel import Parcel
from arkbatch.batch_jobs.parcel_journal import ParcelJournal, sha256_of
from arkbatch.batch_jobs.parcel_limits import Caps, GroupKey, Load, load_of, too_large
from arkbatch.batch_jobs.parcel_records import Stage, as_ranges
from arkbatch.batch_jobs.provider_forms import Form
from arkbatch.batch_jobs.wire_lines import encode_line, objection_to, with_parcel
from arkbatch.core.calls import Cause, Kind
from arkbatch.core.disk_errors import explain_disk_errors
from arkbatch.core.input_info import Position
from arkbatch.core.json_numbers import loads_as_written
from arkbatch.core.outcomes import Failure
from arkbatch.core.row import BadRow, Row
from arkbatch.core.usage import Usage
from arkbatch.engine.call_ceiling import HOW_TO_PRICE, NO_PRICE, UNSEEN, most_input_tokens
from arkbatch.engine.cost_limit import MAX_COST, plain_amount
from arkbatch.engine.open_run import OpenRun
from arkbatch.journal.atomic_files import open_private
from arkbatch.limits.token_estimator import Estimator
from arkbatch.pricing.amounts import ZERO, Unknown, amount_text
from arkbatch.protocol.endpoints import ENDPOINTS
from arkbatch.rows.media_files import Images


class _ParcelDraft:
    """A file that is being written."""

    def __init__(self, number: int, path: Path) -> None:
        self.number = number
        self.path = path
        self.load = Load()
        self.rows: list[int] = []
        self.first: Position | None = None
        self.file: BinaryIO = open(path, "wb", opener=open_private)

    def add(self, row: Row, line: bytes, load: Load) -> None:
        self.first = self.first or Position(row.number - 1, row.offset)
        self.file.write(line)
        self.load = self.load.plus(load)
        self.rows.append(row.number)

    def finish(self) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()


class Pulled(Struct, frozen=True):
    """A row with its line and what it adds to a file."""

    row: Row
    line: bytes
    load: Load


class ParcelCutter:
    """Cuts parcels for one run. is_exhausted: the pass has seen every row; only: the rows to send, None for all."""

    def __init__(
        self,
        run: OpenRun,
        journal: ParcelJournal,
        form: Form,
        record: Callable[[Failure], None],
        only: frozenset[int] | None = None,
    ) -> None:
        self._run = run
        self._only = only
        self._journal = journal
        self._form = form
        self._record = record
        self._images = Images(run.job.images) if run.job.images else None
        self._estimators: dict[GroupKey, Estimator] = {}
        self._drafts: dict[GroupKey, _ParcelDraft] = {}
        self._rows: Iterator[Row | BadRow] = iter(())
        self._put_back: Pulled | None = None
        self.is_exhausted = True

    @property
    def has_drafts(self) -> bool:
        """Whether files were begun that are not cut yet."""
        return bool(self._drafts)

    def begin_pass(self) -> None:
        """Start from the first row that has no record; rows in open parcels are passed over."""
        held, only = self._journal.parcels.held_rows(), self._only
        self._rows = (
            row for row in self._run.rows() if row.number not in held and (only is None or row.number in only)
        )
        self.is_exhausted = False

    def learn_usage(self, row: Row, usage: Usage) -> None:
        """Take in what a row really used."""
        self._estimator_of(row).learn_usage(ENDPOINTS[row.endpoint].size(row.body), usage)

    def abandon_drafts(self) -> None:
        """Close the files that were begun; they are removed as strays."""
        for draft in self._drafts.values():
            draft.file.close()
        self._drafts.clear()

    def cut_parcel(self, caps_for: Callable[[str], Caps], room: Decimal | None) -> Parcel | Cause | None:
        """The next parcel. None: no row is left in this pass; a cause: the budget has no room for the next row.

        caps_for: the limits of a file for a model; room: what is left of the budget for new parcels
        """
        while (pulled := self._next_row()) is not None:
            row, key = pulled.row, (pulled.row.endpoint, pulled.row.asked_model)
            caps = caps_for(row.asked_model)
            if reason := too_large(pulled.load, caps):
                self._record(Failure(row, Cause(Kind.TOO_LONG, "", reason)))
                continue
            if room is not None and self._pending_load().plus(pulled.load).ceiling > room:
                self._put_back = pulled
                draft = next(iter(self._drafts.values()), None)
                return self._over_budget(pulled, room) if draft is None else self._close_draft(self._key_of(draft))
            draft = self._drafts.get(key)
            if draft is not None and not draft.load.plus(pulled.load).fits_in(caps):
                self._put_back = pulled
                return self._close_draft(key)
            self._draft_for(key).add(row, pulled.line, pulled.load)
        self.is_exhausted = True
        return self._close_draft(next(iter(self._drafts))) if self._drafts else None

    def _next_row(self) -> Pulled | None:
        if self._put_back is not None:
            pulled, self._put_back = self._put_back, None
            number = self._number_for(pulled.row)
            return Pulled(pulled.row, self._line_for(pulled.row, number, pulled), pulled.load)
        for row in self._rows:
            pulled_or_cause = self._pulled_row(row)
            if isinstance(pulled_or_cause, Pulled):
                return pulled_or_cause
            self._record(Failure(row, pulled_or_cause))
        return None

    def _pulled_row(self, row: Row | BadRow) -> Pulled | Cause:
        if isinstance(row, BadRow):
            return Cause(Kind.BAD_ROW, "", row.reason)
        if reason := objection_to(row, self._form):
            return Cause(Kind.BAD_ROW, "", reason)
        sent = row
        if self._images is not None:
            body = self._images.encode_request(row.body)
            if isinstance(body, Cause):
                return body
            sent = Row(
                row.number, row.offset, row.digest, row.custom_id, row.endpoint, loads_as_written(body), row.before
            )
        line = encode_line(sent, self._number_for(row), self._form)
        ceiling = self._ceiling_of(row)
        return (
            ceiling if isinstance(ceiling, Cause) else Pulled(row, line, self._measured_load(row, len(line), ceiling))
        )

    def load_of(self, row: Row) -> Load:
        """What a row adds to a parcel that is found again; the bytes of its line are not known."""
        ceiling = self._ceiling_of(row)
        return self._measured_load(row, 0, ZERO if isinstance(ceiling, Cause) else ceiling)

    def _measured_load(self, row: Row, size: int, ceiling: Decimal) -> Load:
        tokens = self._estimator_of(row).estimate_tokens(ENDPOINTS[row.endpoint].size(row.body)).input
        return load_of(row, size, tokens, ceiling)

    def _line_for(self, row: Row, number: int, pulled: Pulled) -> bytes:
        """The line with the number of the parcel that it goes into now."""
        return with_parcel(pulled.line, row, number)

    def _ceiling_of(self, row: Row) -> Decimal | Cause:
        """The most that the row can cost at the batch price, 0 without a budget. A batch cannot be halted at a cent."""
        if self._run.job.limits.max_cost is None:
            return ZERO
        size = ENDPOINTS[row.endpoint].size(row.body)
        given = most_input_tokens(size)
        tariff = self._run.bill.tariff_of(row.asked_model, "online", "batch", row.asked_model)
        at = datetime.fromtimestamp(self._run.wall(), UTC)
        answered = UNSEEN if size.ceiling is None else size.ceiling
        cost = tariff if isinstance(tariff, Unknown) else tariff.highest_cost(given, answered, at)
        if isinstance(cost, Unknown):
            return Cause(Kind.BILLING, NO_PRICE, f"--max-cost cannot hold: {cost.reason}", HOW_TO_PRICE)
        return cost.amount

    def _over_budget(self, pulled: Pulled, room: Decimal) -> Cause:
        need = pulled.load.ceiling
        most = Decimal(str(self._run.job.limits.max_cost))
        return Cause(
            Kind.BILLING,
            MAX_COST,
            f"the budget of {plain_amount(most)} ends here: {amount_text(max(room, ZERO))} of it is not spent or "
            f"ordered, and the next row may cost up to {amount_text(need)}",
            f"Run the same command with --max-cost {plain_amount(most * 2)} or more; "
            "what is recorded is not sent again.",
        )

    def _pending_load(self) -> Load:
        total = Load()
        for draft in self._drafts.values():
            total = total.plus(draft.load)
        return total

    def _estimator_of(self, row: Row) -> Estimator:
        key = (row.endpoint, row.asked_model)
        if key not in self._estimators:
            self._estimators[key] = Estimator()
        return self._estimators[key]

    def _number_for(self, row: Row) -> int:
        """The parcel that the row would go into now."""
        draft = self._drafts.get((row.endpoint, row.asked_model))
        return draft.number if draft else self._next_number()

    def _next_number(self) -> int:
        taken = max((draft.number for draft in self._drafts.values()), default=0)
        return max(self._journal.parcels.next_number, taken + 1)

    def _draft_for(self, key: GroupKey) -> _ParcelDraft:
        if key not in self._drafts:
            number = self._next_number()
            with explain_disk_errors(self._journal.folder):
                self._drafts[key] = _ParcelDraft(number, self._journal.requests_path(number).with_suffix(".jsonl.new"))
        return self._drafts[key]

    def _key_of(self, wanted: _ParcelDraft) -> GroupKey:
        return next(key for key, draft in self._drafts.items() if draft is wanted)

    def _close_draft(self, key: GroupKey) -> Parcel:
        """Finish a file; with its `cut_parcel` step on disk it is a parcel."""
        draft = self._drafts[key]
        path = self._journal.requests_path(draft.number)
        assert draft.first is not None
        with explain_disk_errors(path):
            draft.finish()
            del self._drafts[key]
            draft.path.replace(path)
        self._journal.write_step(
            draft.number,
            Stage.CUT,
            rows=draft.load.rows,
            ranges=as_ranges(draft.rows),
            line=draft.first.line,
            offset=draft.first.offset,
            endpoint=key[0],
            model=key[1],
            bytes=draft.load.bytes,
            sha256=sha256_of(path),
            tokens=draft.load.tokens,
            ceiling=plain_amount(draft.load.ceiling) if draft.load.ceiling else "",
            form=self._form.name,
        )
        return self._journal.parcels.by_number[draft.number]
