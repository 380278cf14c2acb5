"""Carries out the commands of `arkbatch ctl` in the session at work.

Each change is written into `run.json` before it is made, so that none is in force that nobody can look up; the
observers are told too. A change holds for this session: the next one goes by the job.
"""

import asyncio
from collections.abc import Callable
from typing import assert_never

import msgspec

from arkbatch.core.errors import RunDirectoryError, UsageError
from arkbatch.core.job_sections import Limits
from arkbatch.core.text import duration_text
from arkbatch.engine.cost_limit import CostLimit
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.worker_pool import WorkerPool
from arkbatch.journal.run_info import SessionInfo
from arkbatch.limits.adaptive_limit import AdaptiveLimit
from arkbatch.limits.fixed_limit import FixedLimit
from arkbatch.limits.limiter import Limiter
from arkbatch.limits.published_limits import ramp_at
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
from arkbatch.transport.connection_slots import ConnectionSlots


class LimitsInForce:
    """The limits that hold now: the job's, with what was set since."""

    def __init__(self, limits: Limits) -> None:
        self.now = limits


class CommandHandler:
    """One for each session. `handle` is quick and does not wait: the session goes on beside it.

    progress: says how the session stands; stop: ends it as Ctrl-C does
    """

    def __init__(
        self,
        *,
        run: OpenRun,
        session: SessionInfo,
        pool: WorkerPool,
        limiter: Limiter,
        pace: AdaptiveLimit | FixedLimit,
        slots: ConnectionSlots,
        observer: Observer,
        cost_limit: CostLimit | None,
        limits: LimitsInForce,
        progress: Callable[[], Progress],
        stop: Callable[[], None],
    ) -> None:
        self._run = run
        self._session = session
        self._pool = pool
        self._limiter = limiter
        self._pace = pace
        self._slots = slots
        self._observer = observer
        self._cost_limit = cost_limit
        self._limits = limits
        self._progress = progress
        self._clock = asyncio.get_running_loop().time
        self._stop = stop

    def handle(self, command: Command) -> CommandReply:
        """ArkbatchError: why nothing was changed."""
        said = self._carry_out(command)
        return CommandReply(VERSION, said, state=self._session_state())

    def _carry_out(self, command: Command) -> str:
        match command.do:
            case ShowStatus():
                return self._told()
            case Pause():
                return self._pause(command)
            case Resume():
                return self._resume(command)
            case Drain():
                return self._drain(command)
            case SetLimits() as limits:
                return self._set_limits(command, limits)
            case _:
                assert_never(command.do)

    # ---- the commands

    def _pause(self, command: Command) -> str:
        self._refuse_at_the_end()
        if PAUSED in self._limiter.pauses:
            return f"It has been paused for {self._held_for(PAUSED)}."
        self._keep_change(command, PAUSED)
        self._limiter.pause(PAUSED)
        return f"Paused: no call begins; {in_flight_text(self._limiter.in_flight)}."

    def _resume(self, command: Command) -> str:
        if PAUSED not in self._limiter.pauses:
            return f"It is not paused{self._still_held()}."
        did = f"went on after {self._held_for(PAUSED)}"
        self._keep_change(command, did)
        self._limiter.resume(PAUSED)
        return f"{sentence(did)}{self._still_held()}."

    def _drain(self, command: Command) -> str:
        self._refuse_at_the_end()
        self._keep_change(command, "stopped")
        self._stop()
        resume = self._session.command
        later = f" Resume later with:  {resume}" if resume.startswith("arkbatch ") else ""
        return f"Stopping: {in_flight_text(self._limiter.in_flight)}, and the rows left stay undone.{later}"

    def _set_limits(self, command: Command, wanted: SetLimits) -> str:
        self._refuse_at_the_end()
        self._check_budget(wanted)
        changes, present = changed_limits(self._limits.now, wanted)
        if not changes:
            return f"Nothing to change: {limits_text(present)} already."
        did = changes_text(present, changes)
        self._keep_change(command, did, changes)
        self._limits.now = msgspec.structs.replace(self._limits.now, **changes)
        self._apply_limits(wanted)
        spent = self._spent_text() if "max_cost" in changes else ""
        return set_text(f"{did}{spent}{self._delay_text()}", self._run.job.limits, changes)

    def _apply_limits(self, changed: SetLimits) -> None:
        limits, now = self._limits.now, self._clock()
        if changed.rpm is not msgspec.UNSET:
            self._pace.allow_rate(now, limits.rpm, ramp_at(self._run.job.base_url))
        if changed.concurrency is not msgspec.UNSET:
            self._pace.allow_concurrency(limits.concurrency)
            self._slots.allow(limits.concurrency)
            self._pool.grow_workers(limits.concurrency)
        self._limiter.change_limits(
            concurrency=limits.concurrency, requests_per_minute=limits.rpm, tokens_per_minute=limits.tpm
        )
        if changed.input_tpm is not msgspec.UNSET or changed.output_tpm is not msgspec.UNSET:
            self._limiter.allow_parts(limits.input_tpm, limits.output_tpm)
        if changed.max_cost is not msgspec.UNSET and self._cost_limit is not None:
            self._cost_limit.allow(changed.max_cost)

    def _check_budget(self, wanted: SetLimits) -> None:
        if wanted.max_cost is not msgspec.UNSET and self._limits.now.max_cost is None:
            raise UsageError(
                "max_cost: this session began without a budget, so what its calls may cost is not known. "
                "Drain it, and run the same command again with --max-cost."
            )

    def _spent_text(self) -> str:
        """What a budget has to be compared with."""
        spending = self._cost_limit
        return f"; {spending.spent_text} are spent" if spending is not None else ""

    def _refuse_at_the_end(self) -> None:
        if self._pool.is_over:
            raise UsageError("The session is ending: it only waits for the calls in flight.")

    # ---- what is remembered

    def _keep_change(self, command: Command, did: str, limits: AtLimits = NO_LIMITS) -> None:
        """RunDirectoryError: it cannot be written down, and so nothing is changed."""
        session, change = self._session, change_of(command, did, self._run.wall(), limits)
        before = session.steered, session.limits
        add_change(session, change)
        try:
            self._run.note_session()
        except RunDirectoryError:
            session.steered, session.limits = before
            raise
        self._observer.settings_changed(change)

    # ---- how it stands

    def _session_state(self) -> SessionState:
        now, wall = self._clock(), self._run.wall()
        return session_state(
            self._progress(),
            session=self._session.number,
            is_stopping=self._pool.is_over,
            held={reason: time_stamp(wall - (now - since)) for reason, since in self._limiter.pauses.items()},
            limits=self._limits.now,
            of_job=self._run.job.limits,
        )

    def _told(self) -> str:
        standing = self._progress()
        rows, limits = rows_text(standing), limits_text(limits_in_force(self._limits.now))
        if self._pool.is_over:
            return f"Stopping: {in_flight_text(standing.in_flight)}; {rows}."
        if self._limiter.pauses:
            held = ", ".join(f"{reason} for {self._held_for(reason)}" for reason in self._limiter.pauses)
            return f"{sentence(held)}: {in_flight_text(standing.in_flight)}; {rows}; {limits}."
        bound = f", limited by {standing.bound_by}" if standing.bound_by else ""
        return f"Running: {standing.in_flight} in flight, {speed_text(standing)}{bound}; {rows}; {limits}."

    def _held_for(self, reason: str) -> str:
        return duration_text(self._clock() - self._limiter.pauses[reason])

    def _still_held(self) -> str:
        return f"; still no call goes: {', '.join(self._limiter.pauses)}" if self._limiter.pauses else ""

    def _delay_text(self) -> str:
        """A lower limit has to wait until the minute before keeps it."""
        wait = self._limiter.allowed_in()
        return f"; the next call may go in {duration_text(wait)}, when the last minute keeps that" if wait > 1 else ""
