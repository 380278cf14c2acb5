"""What `arkbatch ctl` does to a run on several workers.

The process that leads the run takes the commands. Workers learn of them with their next lease, within about a second.
Each change is written beside the shards before it is made, and a merge puts it into `run.json`.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, assert_never

import msgspec

from arkbatch.cluster.coordinator import Coordinator
from arkbatch.cluster.driver import shared_limits
from arkbatch.cluster.merge import CHANGES_FILE, read_changes
from arkbatch.core.disk_errors import explain_disk_errors
from arkbatch.core.errors import UsageError
from arkbatch.core.job import Job
from arkbatch.core.limit_changes import LimitChange
from arkbatch.core.text import count_text, duration_text, short_number
from arkbatch.journal.run_directory import replace_file
from arkbatch.limits.published_limits import ramp_at
from arkbatch.limits.shared_pace import SharedPace
from arkbatch.monitor.commands import (
    VERSION,
    Command,
    CommandReply,
    Drain,
    Pause,
    Resume,
    SessionState,
    SetLimits,
    ShowStatus,
)
from arkbatch.monitor.observer import Observer
from arkbatch.monitor.progress import Progress

PAUSED = "paused"
MAX_CHANGES_KEPT = 500
LEASES_END_WITHIN = "within two seconds"


class ClusterCommands:
    """Carries out commands. `handle` is quick, and the run goes on beside it.

    progress: says how the run stands; command: the command line that goes on later
    """

    def __init__(
        self,
        coordinator: Coordinator,
        job: Job,
        shards: Path,
        *,
        pace: SharedPace,
        progress: Callable[[], Progress],
        observer: Observer,
        clock: Callable[[], float],
        wall: Callable[[], float],
        command: str,
    ) -> None:
        self._coordinator, self._job, self._shards = coordinator, job, shards
        self._pace, self._progress, self._observer = pace, progress, observer
        self._clock, self._wall, self._command = clock, wall, command
        self._limits = job.limits
        self._paused_at = 0.0

    def handle(self, command: Command) -> CommandReply:
        """Carry out a command. ArkbatchError: nothing was changed."""
        match command.do:
            case ShowStatus():
                said = self._describe()
            case Pause():
                said = self._pause(command)
            case Resume():
                said = self._resume(command)
            case Drain():
                said = self._drain(command)
            case SetLimits() as limits:
                said = self._set(command, limits)
            case _:
                assert_never(command.do)
        return CommandReply(VERSION, said, state=self._state())

    def _pause(self, command: Command) -> str:
        self._refuse_at_the_end()
        if self._is_paused:
            return f"It has been paused for {self._paused_for}."
        self._keep(command, PAUSED)
        self._paused_at = self._clock()
        self._coordinator.pauses.add(PAUSED)
        return f"Paused: workers begin no call {LEASES_END_WITHIN}; {self._in_flight()}."

    def _resume(self, command: Command) -> str:
        if not self._is_paused:
            return "It is not paused."
        did = f"went on after {self._paused_for}"
        self._keep(command, did)
        self._coordinator.pauses.discard(PAUSED)
        return f"{did[:1].upper()}{did[1:]}."

    def _drain(self, command: Command) -> str:
        self._refuse_at_the_end()
        self._keep(command, "stopped")
        self._coordinator.drain()
        return f"Stopping: {self._in_flight()}. Resume later with:  {self._command}"

    def _set(self, command: Command, wanted: SetLimits) -> str:
        self._refuse_at_the_end()
        before = {name: getattr(self._limits, name) for name in wanted.changed_limits()}
        changes = {name: value for name, value in wanted.changed_limits().items() if value != before[name]}
        if not changes:
            return f"Nothing to change: {_listed(before)} already."
        if "max_cost" in changes and self._limits.max_cost is None:
            raise UsageError("max_cost: this run began without a budget. Drain it, and run it again with --max-cost.")
        limits: Any = msgspec.structs.replace(self._limits, **changes)
        shared = shared_limits(limits)
        did = ", ".join(f"{name} {_said(before[name])} -> {_said(changes[name])}" for name in changes)
        self._keep(command, did, changes)
        self._limits, now = limits, self._clock()
        self._pace.allow(now, limits.concurrency, limits.rpm, ramp_at(self._job.base_url))
        self._coordinator.core.change_limits(now, shared)
        of_job = {name: getattr(self._job.limits, name) for name in changes}
        job = _listed(of_job)
        return f"Set {did}, for all workers together. This session only: the next one goes by the job ({job})."

    # ---- what is remembered

    def _keep(self, command: Command, did: str, limits: Mapping[str, float | None] | None = None) -> None:
        at = datetime.fromtimestamp(self._wall(), UTC).isoformat(timespec="seconds")
        word = str(command.do.__struct_config__.tag)
        steered = LimitChange(at, word, did, command.by, command.reason, dict(limits or {}))
        changes = [*read_changes(self._shards), steered][-MAX_CHANGES_KEPT:]
        with explain_disk_errors(self._shards):
            replace_file(self._shards / CHANGES_FILE, msgspec.json.encode(changes) + b"\n")
        self._observer.settings_changed(steered)

    def _refuse_at_the_end(self) -> None:
        if self._coordinator.is_draining or self._coordinator.is_over:
            raise UsageError("The run is ending: it only waits for the calls in flight.")

    # ---- how it stands

    @property
    def _is_paused(self) -> bool:
        return PAUSED in self._coordinator.pauses

    @property
    def _paused_for(self) -> str:
        return duration_text(self._clock() - self._paused_at)

    def _in_flight(self) -> str:
        return f"{count_text(self._coordinator.state().in_flight, 'call')} in flight"

    def _describe(self) -> str:
        progress, state = self._progress(), self._coordinator.state()
        rows = f"{count_text(progress.left, 'row')} left, {progress.failed} failed"
        where = f"{count_text(state.workers, 'worker')}, {state.finished} of {count_text(state.shards, 'shard')} done"
        known = {name: getattr(self._limits, name) for name in SetLimits.__struct_fields__}
        limits = _listed({name: value for name, value in known.items() if value is not None})
        if self._coordinator.is_draining:
            return f"Stopping: {self._in_flight()}; {rows}."
        if self._is_paused:
            return f"Paused for {self._paused_for}: {self._in_flight()}; {rows}; {where}; {limits}."
        speed = f"{short_number(progress.rpm)} requests and {short_number(progress.tpm)} tokens a minute"
        return f"Running: {self._in_flight()}, {speed}; {rows}; {where}; {limits}."

    def _state(self) -> SessionState:
        progress, names = self._progress(), SetLimits.__struct_fields__
        limits = {name: getattr(self._limits, name) for name in names}
        of_job = {name: getattr(self._job.limits, name) for name in names}
        since = datetime.fromtimestamp(self._wall() - (self._clock() - self._paused_at), UTC)
        return SessionState(
            session=1,
            stopping=self._coordinator.is_draining,
            held={PAUSED: since.isoformat(timespec="seconds")} if self._is_paused else {},
            limits=limits,
            of_job={name: value for name, value in of_job.items() if value != limits[name]},
            in_flight=progress.in_flight,
            rpm=round(progress.rpm, 1),
            tpm=round(progress.tpm, 1),
            left=progress.left,
            failed=progress.failed,
            bound_by=progress.bound_by,
        )


def _listed(limits: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {_said(value)}" for name, value in limits.items())


def _said(limit: float | None) -> str:
    return "none" if limit is None else f"{limit:,.10g}"
