"""Decides when the next parcel may be cut, and how large it is."""

from decimal import Decimal

from msgspec.structs import replace

from arkbatch.batch_jobs.parcel import Parcel
from arkbatch.batch_jobs.parcel_context import ParcelContext
from arkbatch.batch_jobs.parcel_cutter import ParcelCutter
from arkbatch.batch_jobs.parcel_limits import Caps, caps_of, smaller_caps
from arkbatch.batch_jobs.parcel_records import Stage
from arkbatch.batch_jobs.parcel_submission import ParcelSubmission
from arkbatch.batch_jobs.provider_forms import MARGIN
from arkbatch.core.calls import Cause
from arkbatch.core.text import count_text
from arkbatch.engine.timezones import due_of
from arkbatch.pricing.amounts import ZERO

_GUESSED_SECONDS = 10.0  # of an online call, while no pace is known
_LEAST_SECONDS_ONLINE = 600.0
_MARGIN_OF_TIME = 1.5
_NOT_ORDERED = frozenset({Stage.CUT, Stage.PUTTING, Stage.PUT, Stage.STARTING})


class ParcelPlanner:
    """Cuts parcels one by one: the next only when the one before is ordered."""

    def __init__(self, context: ParcelContext, cutter: ParcelCutter, ordering: ParcelSubmission) -> None:
        self._context = context
        self._cutter = cutter
        self._ordering = ordering
        due = due_of(context.run.job.hours)
        self._due = None if due is None else due.first_moment_after(context.run.wall())

    def cut_next(self, open_parcels: list[Parcel]) -> bool:
        """Whether a parcel was cut. A budget that has no room ends the session, once nothing is open any more."""
        if any(parcel.stage in _NOT_ORDERED for parcel in open_parcels):
            return False
        if self._cutter.is_exhausted and not self._cutter.has_drafts:
            return False
        made = self._cutter.cut_parcel(self._caps_for, self._room_in_budget())
        if isinstance(made, Cause):
            if not open_parcels:
                self._context.stop_session(made)
            return False
        if made is not None:
            what = made.cut.model or made.cut.endpoint
            self._context.say(f"parcel {made.number}: {count_text(made.cut.rows, 'row')} for {what}")
        return made is not None

    def _caps_for(self, model: str) -> Caps:
        caps = caps_of(self._context.form, self._context.run.job.files)
        for each in self._context.journal.parcels.by_number.values():
            if each.is_too_large and each.cut.rows > 1:
                caps = smaller_caps(caps, each.refused_as, each.cut.rows, each.cut.bytes)
        learned = self._ordering.learned_limit(model)
        return replace(caps, tokens=min(caps.tokens, int(learned * MARGIN))) if learned else caps

    def _room_in_budget(self) -> Decimal | None:
        """What is left of the budget when every open parcel costs the most that it can."""
        run = self._context.run
        most = run.job.limits.max_cost
        if most is None:
            return None
        spent = sum(run.bill.total_cost().amounts.values(), ZERO)
        held = sum((Decimal(each.cut.ceiling or 0) for each in self._context.journal.parcels.holding_parcels), ZERO)
        return Decimal(str(most)) - spent - held

    def is_time_for_online(self, rows_left: int) -> bool:
        """Whether the rows that are left need the rest of the time online, to be done by `finish_by`."""
        job = self._context.run.job
        if self._due is None or job.files.rest != "online":
            return False
        seconds_left = self._due - self._context.run.wall()
        needed = _MARGIN_OF_TIME * _GUESSED_SECONDS * rows_left / job.limits.concurrency
        return seconds_left < max(_LEAST_SECONDS_ONLINE, needed)
