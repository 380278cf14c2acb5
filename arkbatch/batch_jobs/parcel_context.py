"""What every action on a parcel needs: run, provider, due times, reason to stop."""

import asyncio
from collections.abc import Callable

from msgspec import Struct

from arkbatch.batch_jobs.parcel import Parcel
from arkbatch.batch_jobs.parcel_journal import ParcelJournal
from arkbatch.batch_jobs.provider_forms import Form
from arkbatch.batch_jobs.service import BatchService, ServiceRefused
from arkbatch.core.calls import Cause
from arkbatch.core.outcomes import Failure
from arkbatch.engine.open_run import OpenRun
from arkbatch.protocol.error_body import Complaint
from arkbatch.protocol.error_rules import rule_for
from arkbatch.protocol.setting_names import ANY_SERVER

_LONGEST_POLL = 600.0


class Pacing(Struct, frozen=True):
    """Seconds between two looks at a batch: the first, and the longest. The simulator is quicker than a provider."""

    first: float
    longest: float = _LONGEST_POLL


class ParcelContext:
    """The run, the provider and the state of one session over parcels.

    accepts_loss: answers that the provider no longer has are given up, since somebody cancels the parcel
    say, detail: what a person wants to know at once, and what stands in `run.log` alone
    record: takes the failure of a row that no batch can hold
    retry_at: by parcel, when it is looked at again (loop time)
    halt: why nothing more can be done, None while that is not so
    stuck: parcels that the provider does not end, with the reason; nothing more can be done about them
    """

    def __init__(
        self,
        run: OpenRun,
        journal: ParcelJournal,
        service: BatchService,
        form: Form,
        *,
        pacing: Pacing,
        say: Callable[[str], None],
        detail: Callable[[str], None],
        record: Callable[[Failure], None],
        accepts_loss: bool = False,
    ) -> None:
        self.run = run
        self.journal = journal
        self.service = service
        self.form = form
        self.pacing = pacing
        self.say = say
        self.detail = detail
        self.record = record
        self.accepts_loss = accepts_loss
        self.retry_at: dict[int, float] = {}
        self._missed_at: dict[tuple[int, str], float] = {}  # by parcel and thing: loop time at which it was not there
        self.halt: Cause | None = None
        self.stuck: dict[int, Cause] = {}

    @property
    def window(self) -> str:
        """How long the provider may take, in its own spelling."""
        return self.run.job.files.window or self.form.window

    def put_off(self, parcel: Parcel, seconds: float) -> None:
        """Look at the parcel again after so many seconds."""
        self.retry_at[parcel.number] = asyncio.get_running_loop().time() + seconds

    def is_due(self, parcel: Parcel) -> bool:
        now = asyncio.get_running_loop().time()
        return parcel.is_open and parcel.number not in self.stuck and self.retry_at.get(parcel.number, 0.0) <= now

    def stop_session(self, cause: Cause) -> None:
        """End the session for this reason, unless it has one already."""
        self.halt = self.halt or cause

    def is_given_up(
        self, parcel: Parcel, refused: ServiceRefused, what: str, *, patience_seconds: float, again_seconds: float
    ) -> bool:
        """Whether a batch or a file that the provider does not know is given up.

        Otherwise it is asked for again, until `patience_seconds` after it was first missed in this session; then the
        session stops. One bad reply in a later session gives nothing up.
        """
        reason = refused.reason if what in refused.reason else f"{what}: {refused.reason}"
        now = asyncio.get_running_loop().time()
        if now < self._missed_at.setdefault((parcel.number, what), now) + patience_seconds:
            self.say(f"parcel {parcel.number}: {reason.rstrip('.')}; asked for again in {again_seconds:g} s")
            self.put_off(parcel, again_seconds)
        elif self.accepts_loss:
            return True
        else:
            advice = (
                f"look in the provider's console for {what}, and check the address and the key. If it is gone: "
                f"arkbatch cancel {self.run.directory.path} {parcel.number} gives its answers up, and the next run "
                "sends its rows again"
            )
            self.stop_session(cause_of(ServiceRefused(refused.status, refused.code, reason), parcel, advice))
        return False


def cause_of(refused: ServiceRefused, parcel: Parcel, advice: str = "") -> Cause:
    """Why a refusal stops the session, with what to do."""
    said = Complaint(refused.reason, refused.code)
    rule, _ = rule_for(said, refused.status if refused.status >= 300 else 400)
    usual = "change what the message names, and run the same command again; nothing is ordered twice"
    message = f"parcel {parcel.number}: {refused.reason}"
    return Cause(
        rule.kind, refused.code or f"http_{refused.status}", message, advice or ANY_SERVER.fill_in(rule.advice) or usual
    )
