"""What an order does to the session that is at work, and how it is remembered.

Each change is written into `run.json` before it is made, so that none is in force that nobody can look up; the
observers are told too. A change holds for this session: the next one goes by the job.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import assert_never

import msgspec

from arkbatch.core.errors import RunDirectoryError, UsageError
from arkbatch.core.job import Limits
from arkbatch.core.limit_changes import LimitChange
from arkbatch.core.text import count_text, duration_text, short_number
from arkbatch.engine.cost_limit import CostLimit
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.worker_pool import WorkerPool
from arkbatch.journal.run_directory import SessionInfo
from arkbatch.limits.adaptive_limit import AdaptiveLimit
from arkbatch.limits.fixed_limit import FixedLimit
from arkbatch.limits.limiter import Limiter
from arkbatch.limits.published_limits import ramp_at
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
    limits_after,
)
from arkbatch.monitor.observer import Observer
from arkbatch.monitor.progress import Progress
from arkbatch.transport.connection_slots import ConnectionSlots

PAUSED = "paused"  # the name of the pause in the limiter
KEPT = 500  # changes in run.json; the log has all of them
NO_LIMITS: Mapping[str, int | float | None] = {}


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

    def handle(self, order: Command) -> CommandReply:
        """ArkbatchError: why nothing was changed."""
        said = self._do(order)
        return CommandReply(VERSION, said, state=self._state())

    def _do(self, order: Command) -> str:
        match order.do:
            case ShowStatus():
                return self._told()
            case Pause():
                return self._pause(order)
            case Resume():
                return self._resume(order)
            case Drain():
                return self._drain(order)
            case SetLimits() as limits:
                return self._set(order, limits)
            case _:
                assert_never(order.do)

    # ---- the orders

    def _pause(self, order: Command) -> str:
        self._refuse_at_the_end()
        if PAUSED in self._limiter.pauses:
            return f"It has been paused for {self._held_for(PAUSED)}."
        self._keep(order, PAUSED)
        self._limiter.pause(PAUSED)
        return f"Paused: no call begins; {_in_flight(self._limiter.in_flight)}."

    def _resume(self, order: Command) -> str:
        if PAUSED not in self._limiter.pauses:
            return f"It is not paused{self._still_held()}."
        did = f"went on after {self._held_for(PAUSED)}"
        self._keep(order, did)
        self._limiter.resume(PAUSED)
        return f"{_sentence(did)}{self._still_held()}."

    def _drain(self, order: Command) -> str:
        self._refuse_at_the_end()
        self._keep(order, "stopped")
        self._stop()
        command = self._session.command
        later = f" Resume later with:  {command}" if command.startswith("arkbatch ") else ""
        return f"Stopping: {_in_flight(self._limiter.in_flight)}, and the rows left stay undone.{later}"

    def _set(self, order: Command, wanted: SetLimits) -> str:
        self._refuse_at_the_end()
        self._check_budget(wanted)
        before = {name: getattr(self._limits.now, name) for name in wanted.changed_limits()}
        changes = {name: value for name, value in wanted.changed_limits().items() if value != before[name]}
        if not changes:
            return f"Nothing to change: {_listed(before)} already."
        did = ", ".join(f"{name} {_said(before[name])} -> {_said(value)}" for name, value in changes.items())
        self._keep(order, did, changes)
        self._limits.now = msgspec.structs.replace(self._limits.now, **changes)
        self._apply(wanted)
        job = {name: getattr(self._run.job.limits, name) for name in changes}
        spent = self._spent() if "max_cost" in changes else ""
        return f"Set {did}{spent}{self._when()}. This session only: the next one goes by the job ({_listed(job)})."

    def _apply(self, changed: SetLimits) -> None:
        limits, now = self._limits.now, self._clock()
        if changed.rpm is not msgspec.UNSET:
            self._pace.allow_rate(now, limits.rpm, ramp_at(self._run.job.base_url))
        if changed.concurrency is not msgspec.UNSET:
            self._pace.allow_concurrency(limits.concurrency)
            self._slots.allow(limits.concurrency)
            self._pool.grow(limits.concurrency)
        self._limiter.allow(
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

    def _spent(self) -> str:
        """What a budget has to be compared with."""
        spending = self._cost_limit
        return f"; {spending.said} are spent" if spending is not None else ""

    def _refuse_at_the_end(self) -> None:
        if self._pool.is_over:
            raise UsageError("The session is ending: it only waits for the calls in flight.")

    # ---- what is remembered

    def _keep(self, order: Command, did: str, limits: Mapping[str, int | float | None] = NO_LIMITS) -> None:
        """RunDirectoryError: it cannot be written down, and so nothing is changed."""
        session, word, at = self._session, str(order.do.__struct_config__.tag), self._stamp(self._run.wall())
        steered = LimitChange(at, word, did, order.by, order.reason, dict(limits))
        before = session.steered, session.limits
        everything = [*session.steered, steered]
        session.steered = everything[-KEPT:]
        session.limits = limits_after(session.limits, everything[:-KEPT])
        try:
            self._run.note_session()
        except RunDirectoryError:
            session.steered, session.limits = before
            raise
        self._observer.settings_changed(steered)

    @staticmethod
    def _stamp(moment: float) -> str:
        return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")

    # ---- how it stands

    def _state(self) -> SessionState:
        standing, now, wall = self._progress(), self._clock(), self._run.wall()
        names = SetLimits.__struct_fields__
        limits = {name: getattr(self._limits.now, name) for name in names}
        of_job = {name: getattr(self._run.job.limits, name) for name in names}
        return SessionState(
            session=self._session.number,
            stopping=self._pool.is_over,
            held={reason: self._stamp(wall - (now - since)) for reason, since in self._limiter.pauses.items()},
            limits=limits,
            of_job={name: value for name, value in of_job.items() if value != limits[name]},
            in_flight=standing.in_flight,
            rpm=round(standing.rpm, 1),
            tpm=round(standing.tpm, 1),
            left=standing.left,
            failed=standing.failed,
            bound_by=standing.bound_by,
        )

    def _told(self) -> str:
        standing = self._progress()
        rows = f"{count_text(standing.left, 'row')} left, {standing.failed} failed"
        limits = _listed(self._in_force())
        if self._pool.is_over:
            return f"Stopping: {_in_flight(standing.in_flight)}; {rows}."
        if self._limiter.pauses:
            held = ", ".join(f"{reason} for {self._held_for(reason)}" for reason in self._limiter.pauses)
            return f"{_sentence(held)}: {_in_flight(standing.in_flight)}; {rows}; {limits}."
        speed = f"{short_number(standing.rpm)} requests and {short_number(standing.tpm)} tokens a minute"
        bound = f", limited by {standing.bound_by}" if standing.bound_by else ""
        return f"Running: {standing.in_flight} in flight, {speed}{bound}; {rows}; {limits}."

    def _in_force(self) -> dict[str, int | float | None]:
        """The limits; of those that few runs have, those that this one has."""
        limits = {name: getattr(self._limits.now, name) for name in SetLimits.__struct_fields__}
        return {name: value for name, value in limits.items() if value is not None or name in {"rpm", "tpm"}}

    def _held_for(self, reason: str) -> str:
        return duration_text(self._clock() - self._limiter.pauses[reason])

    def _still_held(self) -> str:
        return f"; still no call goes: {', '.join(self._limiter.pauses)}" if self._limiter.pauses else ""

    def _when(self) -> str:
        """A lower limit has to wait until the minute before keeps it."""
        wait = self._limiter.allowed_in()
        return f"; the next call may go in {duration_text(wait)}, when the last minute keeps that" if wait > 1 else ""


def _in_flight(calls: int) -> str:
    return "nothing is in flight" if not calls else f"{count_text(calls, 'call')} in flight {_finish(calls)}"


def _finish(calls: int) -> str:
    return "finishes" if calls == 1 else "finish"


def _listed(limits: Mapping[str, int | float | None]) -> str:
    return ", ".join(f"{name} {_said(value)}" for name, value in limits.items())


def _said(limit: float | None) -> str:
    return "none" if limit is None else f"{limit:,.10g}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
