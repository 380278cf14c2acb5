"""What `arkbatch ctl` does to a run on several workers.

The process that leads the run takes the commands. Workers learn of them with their next lease, within about a second.
Each change is written beside the shards before it is made, and a merge puts it into `run.json`.
"""

from collections.abc import Callable
from typing import Any, assert_never

import msgspec

from arkbatch.cluster.coordinator import Coordinator
from arkbatch.cluster.driver import shared_limits
from arkbatch.core.errors import UsageError
from arkbatch.core.job import Job
from arkbatch.core.text import count_text, duration_text
from arkbatch.journal.shard_sessions import LedSession
from arkbatch.limits.published_limits import ramp_at
from arkbatch.limits.shared_pace import SharedPace
from arkbatch.monitor.command_replies import (
    NO_LIMITS,
    PAUSED,
    AtLimits,
    add_change,
    change_of,
    changed_limits,
    changes_text,
    in_flight_text,
    limits_in_force,
    limits_text,
    rows_text,
    sentence,
    session_state,
    set_text,
    speed_text,
    time_stamp,
)
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

LEASES_END_WITHIN = "within two seconds"


class ClusterCommands:
    """Carries out commands. `handle` is quick, and the run goes on beside it.

    session: where changes are noted; progress: says how the run stands
    """

    def __init__(
        self,
        coordinator: Coordinator,
        job: Job,
        session: LedSession,
        *,
        pace: SharedPace,
        progress: Callable[[], Progress],
        observer: Observer,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._coordinator, self._job, self._session = coordinator, job, session
        self._pace, self._progress, self._observer = pace, progress, observer
        self._clock, self._wall = clock, wall
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
        return f"{sentence(did)}."

    def _drain(self, command: Command) -> str:
        self._refuse_at_the_end()
        self._keep(command, "stopped")
        self._coordinator.drain()
        return f"Stopping: {self._in_flight()}. Resume later with:  {self._session.info.command}"

    def _set(self, command: Command, wanted: SetLimits) -> str:
        self._refuse_at_the_end()
        changes, present = changed_limits(self._limits, wanted)
        if not changes:
            return f"Nothing to change: {limits_text(present)} already."
        if "max_cost" in changes and self._limits.max_cost is None:
            raise UsageError("max_cost: this run began without a budget. Drain it, and run it again with --max-cost.")
        limits: Any = msgspec.structs.replace(self._limits, **changes)
        shared = shared_limits(limits)
        did = changes_text(present, changes)
        self._keep(command, did, changes)
        self._limits, now = limits, self._clock()
        self._pace.change_ceilings(now, limits.concurrency, limits.rpm, ramp_at(self._job.base_url))
        self._coordinator.core.change_limits(now, shared)
        return set_text(f"{did}, for all workers together", self._job.limits, changes)

    # ---- what is remembered

    def _keep(self, command: Command, did: str, limits: AtLimits = NO_LIMITS) -> None:
        """RunDirectoryError: it cannot be written down, and so nothing is changed."""
        change = change_of(command, did, self._wall(), limits)
        with self._session.changed() as info:
            add_change(info, change)
        self._observer.settings_changed(change)

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
        return in_flight_text(self._coordinator.state().in_flight)

    def _describe(self) -> str:
        progress, state = self._progress(), self._coordinator.state()
        rows = rows_text(progress)
        where = f"{count_text(state.workers, 'worker')}, {state.finished} of {count_text(state.shards, 'shard')} done"
        limits = limits_text(limits_in_force(self._limits))
        if self._coordinator.is_draining:
            return f"Stopping: {self._in_flight()}; {rows}."
        if self._is_paused:
            return f"Paused for {self._paused_for}: {self._in_flight()}; {rows}; {where}; {limits}."
        in_flight = count_text(state.in_flight, "call")
        return f"Running: {in_flight} in flight, {speed_text(progress)}; {rows}; {where}; {limits}."

    def _state(self) -> SessionState:
        since = time_stamp(self._wall() - (self._clock() - self._paused_at))
        return session_state(
            self._progress(),
            session=self._session.info.number,
            is_stopping=self._coordinator.is_draining,
            held={PAUSED: since} if self._is_paused else {},
            limits=self._limits,
            of_job=self._job.limits,
        )
