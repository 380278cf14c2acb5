"""Decides when people are told about a session.

It looks and tells, and decides nothing about the run. Who is not told about something did not ask for it (`[notify]
on`). A message that does not arrive is noted like everything else that happens, and changes nothing.
"""

import contextlib
import platform
import shlex
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from arkbatch.core.errors import ArkbatchError, RunDirectoryError
from arkbatch.engine.cost_limit import MAX_COST, MAX_TOKENS
from arkbatch.engine.open_run import OpenRun
from arkbatch.monitor.notification import Notification, NotificationEvent, OutageAlarm
from arkbatch.monitor.notify import NotificationSender
from arkbatch.monitor.notify_channels import build_channels
from arkbatch.monitor.observer import Observer
from arkbatch.pricing.summary import Summary


class SessionNotifier:
    """One for each session. Leaving it waits some seconds, at most, until everybody was told."""

    def __init__(self, run: OpenRun, observer: Observer) -> None:
        notify = run.job.notify
        # It was checked when the job was resolved; whether in clear is allowed, too.
        self._notifier = NotificationSender(build_channels(notify, insecure=True), self._note_undelivered)
        self._observer = observer
        self._run = run
        self._on = notify.on
        self._outages = OutageAlarm(notify.outage_after)
        self._began = run.wall()
        self._told_late = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """An error that the session cannot go on after, such as a full disk, is told as a halt."""
        if isinstance(error, Exception):
            # What we did not expect may say anything, such as a prompt.
            reason = str(error) if isinstance(error, ArkbatchError) else f"{type(error).__name__}, a bug of arkbatch"
            self._send_event(NotificationEvent.HALT, "stopped by an error", reason=reason, go_on=self._resume_command)
        if error is None or isinstance(error, Exception):
            await self._notifier.wait_for_deliveries()

    def look_for_news(self, away: float) -> None:
        """`away`: seconds of the present outage, 0 without one."""
        if said := self._outages.check_outage(away):
            self._send_event(NotificationEvent.OUTAGE, said, go_on=self._status_text)

    def tell_deadline(self, said: str, advice: str, *, is_late: bool) -> None:
        """The run will not be done in time, or will after all."""
        if is_late or self._told_late:
            self._send_event(NotificationEvent.LATE, said, advice=advice, go_on=self._status_text)
        self._told_late = is_late

    def tell_end(self, summary: Summary) -> None:
        event, said = describe_ending(summary)
        reason, advice = (summary.halt.message, summary.halt.advice) if summary.halt else ("", "")
        self._send_event(event, said, reason=reason, advice=advice, go_on=self._go_on(summary))

    def _note_undelivered(self, text: str) -> None:
        with contextlib.suppress(RunDirectoryError):  # the disk that is full is what the message was about
            self._observer.noted(text)

    def _send_event(
        self, event: NotificationEvent, said: str, *, reason: str = "", advice: str = "", go_on: str = ""
    ) -> None:
        if event.value not in self._on:
            return
        run, ledger = self._run, self._run.journal.ledger
        self._notifier.send(
            Notification(
                event=event,
                said=said,
                run_dir=str(run.directory.path.absolute()),
                host=platform.node(),
                at=datetime.fromtimestamp(run.wall(), UTC).isoformat(timespec="seconds"),
                simulated=run.info.simulated,
                done=ledger.done.count,
                failed=ledger.failed.count,
                left=max(0, run.found.done + run.found.failed + run.found.left - ledger.count_ended()),
                seconds=round(run.wall() - self._began, 1),
                cost=run.bill.total_cost(),
                reason=reason,
                advice=advice,
                go_on=go_on,
            )
        )

    @property
    def _status_text(self) -> str:
        return f"arkbatch status {self._directory_text}"

    @property
    def _directory_text(self) -> str:
        """Whole, since a message is read elsewhere."""
        return shlex.quote(str(self._run.directory.path.absolute()))

    @property
    def _resume_command(self) -> str:
        """The command line of the session, if the run noted it whole."""
        said = self._run.info.sessions[-1].command
        return said if said.startswith("arkbatch ") else ""

    def _go_on(self, summary: Summary) -> str:
        if summary.left:
            return self._resume_command or self._status_text
        return f"arkbatch {'retry' if summary.failed else 'report'} {self._directory_text}"


def describe_ending(summary: Summary) -> tuple[NotificationEvent, str]:
    """Say how a session ended, and under which word people asked to be told of it."""
    if summary.halt is not None:
        if summary.halt.code in {MAX_COST, MAX_TOKENS}:
            return NotificationEvent.BUDGET, "stopped at the budget"
        return NotificationEvent.HALT, "halted, every request would fail until something is fixed"
    if summary.ending == "ordered":
        return NotificationEvent.END, "ordered everything in batch files, and the answers are not here yet"
    if summary.ending == "stopped":
        return NotificationEvent.STOP, "stopped by hand"
    return NotificationEvent.END, "finished, with failed rows" if summary.failed else "finished"
