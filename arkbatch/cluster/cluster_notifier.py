"""Notifies people about a run on several workers, once for the whole run."""

import platform
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from arkbatch.core.job import Job
from arkbatch.engine.notifier import describe_ending
from arkbatch.monitor.notification import Notification, NotificationEvent, OutageAlarm
from arkbatch.monitor.notify import NotificationSender
from arkbatch.monitor.notify_channels import build_channels
from arkbatch.pricing.summary import Summary


class ClusterNotifier:
    """One for each run. Leaving it waits some seconds, at most, until everybody was told."""

    def __init__(self, job: Job, note: Callable[[str], None], wall: Callable[[], float], command: str) -> None:
        self._sender = NotificationSender(build_channels(job.notify, insecure=True), note)
        self._job, self._wall, self._command = job, wall, command
        self._began = wall()
        self._outages = OutageAlarm(job.notify.outage_after)
        self._directory = shlex.quote(job.run_dir)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, Exception):
            await self._sender.wait_for_deliveries()

    def check_outage(self, seconds_away: float) -> None:
        """Tell of a service that stays away. It is 0 seconds away while it is there."""
        if said := self._outages.check_outage(seconds_away):
            self._tell(NotificationEvent.OUTAGE, said, go_on=f"arkbatch status {self._directory}")

    def ended(self, summary: Summary) -> None:
        """Tell how the run ended."""
        event, said = describe_ending(summary)
        reason, advice = (summary.halt.message, summary.halt.advice) if summary.halt else ("", "")
        next_step = f"arkbatch {'retry' if summary.failed else 'report'} {self._directory}"
        go_on = self._command if summary.left else next_step
        self._tell(event, said, summary=summary, reason=reason, advice=advice, go_on=go_on)

    def _tell(
        self,
        event: NotificationEvent,
        said: str,
        *,
        summary: Summary | None = None,
        reason: str = "",
        advice: str = "",
        go_on: str = "",
    ) -> None:
        if event.value not in self._job.notify.on:
            return
        self._sender.send(
            Notification(
                event=event,
                said=said,
                run_dir=self._job.run_dir,
                host=platform.node(),
                at=datetime.fromtimestamp(self._wall(), UTC).isoformat(timespec="seconds"),
                simulated=self._job.simulated,
                done=summary.succeeded if summary else 0,
                failed=summary.failed if summary else 0,
                left=summary.left if summary else 0,
                seconds=round(self._wall() - self._began, 1),
                cost=summary.cost if summary else None,
                reason=reason,
                advice=advice,
                go_on=go_on,
            )
        )
