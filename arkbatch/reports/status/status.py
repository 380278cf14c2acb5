"""Reads the state of a run from its directory alone, also during a session.

Nothing is changed and nothing is sent. The counts come from the ledger; the speed comes from the last megabyte of the
records, so that a large run takes no longer.
"""

import contextlib
import shlex
from collections.abc import Callable
from datetime import datetime
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from arkbatch.core.errors import RunDamaged
from arkbatch.core.limit_changes import LimitChange
from arkbatch.core.usage import add_usage, total_tokens
from arkbatch.journal.ledger import Ledger, Tally
from arkbatch.journal.record_format import record_decoder
from arkbatch.journal.run_directory import FAILURES, LOG, RESULTS, RunDirectory
from arkbatch.journal.run_info import RunInfo, SessionInfo
from arkbatch.journal.run_view import RunView
from arkbatch.journal.usage_report import by_count
from arkbatch.limits.pace_file import PaceNote, read_pace
from arkbatch.limits.slow_calls import SlowCall
from arkbatch.monitor.commands import limits_after, pause_of
from arkbatch.pricing.run_cost import Bill
from arkbatch.pricing.run_price_file import bill_of
from arkbatch.pricing.subtotal import Charge
from arkbatch.protocol.setting_names import SettingNames
from arkbatch.reports.status.advice import NO_ROWS, advice_for, names_of_run, next_step, read_answers_step
from arkbatch.reports.status.find_run import explain_unreadable, input_file, last_lines
from arkbatch.rows.several_files import size_and_time

InputState = Literal["as it was", "changed since the last session", "not found"]

_HALTED = b" halted: "
_LOOKS = 3
_SENDS_NEW_ROWS = ("arkbatch run ", "arkbatch shard serve ")


class Speed(Struct, frozen=True):
    """The speed over the last minute, or since the session began if that is shorter.

    seconds_left: None when not known
    """

    rows_per_minute: float
    tokens_per_minute: float
    seconds_left: float | None


class FailureNote(Struct, frozen=True):
    """The rows that failed for one reason, with one of them as a sample."""

    kind: str
    code: str
    rows: int
    sample: str
    sample_row: int
    advice: str


class StragglerNote(Struct, frozen=True):
    """A call that has been silent for `seconds`, where `usual` is usual."""

    row: int
    seconds: float
    usual: float


class Status(Struct, frozen=True):
    """Everything that `status` shows.

    writer: the process that holds the run, None when no session is running; `speed` is known only then
    paused: the pause that is in force for the running session
    limits: the current ones of the last session
    rows: those that the run covers, fewer than the input has when --limit was given; rows_are_estimated: not all of
        its shards were opened yet
    pace: what the last session found out about the service's limits
    models: by endpoint, model and service tier; usage: over every billed attempt; discarded: its part discarded
    cost, discarded_cost: amounts by currency as decimal strings, and how many rows have no price, and why
    charges: the cost of each of `models` that was billed
    halt: why the last session halted, from the log
    waiting: what the running session waits for outside its hours; outlook: whether it will be done in time
    refused: what all calls of the running session are refused with, how often and since when
    straggling: calls of the running session that take far longer than usual; stragglers: some of them
    go_on: the command that resumes the run, or how to find it
    """

    run_dir: str
    run_id: str
    simulated: bool
    writer: str | None
    paused: LimitChange | None
    input: str
    input_state: InputState
    asked: dict[str, Any]
    limits: dict[str, Any]
    rows: int
    rows_are_estimated: bool
    row_limit: int | None
    done: int
    failed: int
    left: int
    speed: Speed | None
    pace: PaceNote | None
    usage: dict[str, int]
    discarded: dict[str, int]
    models: list[Tally]
    failures: list[FailureNote]
    sessions: list[SessionInfo]
    halt: str
    go_on: str
    cost: dict[str, Any]
    discarded_cost: dict[str, Any]
    charges: list[dict[str, Any]]
    no_price_because: str
    waiting: str
    refused: str
    outlook: str
    straggling: int
    stragglers: list[StragglerNote]
    finish_reasons: dict[str, int]


def read_status(run_dir: str, wall: Callable[[], float]) -> Status:
    """Read the state of a run; RunDirectoryError when it cannot be read."""
    directory = RunDirectory(Path(run_dir))
    with explain_unreadable(directory.path):
        view = RunView(directory)
        info, writer = view.read_info(), view.who_writes()
        bill = bill_of(info)
        ledger = _read_ledger(view, bill)
        rows = info.input.rows if info.row_limit is None else min(info.input.rows, info.row_limit)
        last_row = info.row_limit if info.last_row is None and rows < info.input.rows else info.last_row
        left = max(0, rows - ledger.count_ended(last_row))
        last = info.sessions[-1] if info.sessions else None
        note = _note_of(last, read_pace(directory)) if writer and last else None
        return Status(
            run_dir=run_dir,
            run_id=info.run_id,
            simulated=info.simulated,
            writer=writer,
            paused=pause_of(last.steered) if writer and last else None,
            input=info.input.path,
            input_state=_input_state(directory, info),
            asked=info.asked,
            limits=limits_after(last.limits, last.steered) if last else {},
            rows=rows,
            rows_are_estimated=view.rows_are_estimated,
            row_limit=info.row_limit,
            done=ledger.done.count,
            failed=ledger.failed.count,
            left=left,
            speed=_read_speed(view.record_directories(wall()), last, wall(), left) if writer and last else None,
            pace=read_pace(directory),
            usage=add_usage(*(tally.usage for tally in ledger.tallies)),
            discarded=add_usage(*(tally.discarded for tally in ledger.tallies)),
            models=ledger.tallies,
            failures=_failure_notes(ledger, run_dir, names_of_run({**info.asked, **info.job})),
            sessions=info.sessions,
            halt=_halt_reason(directory) if last and last.ending == "halted" else "",
            go_on=_next_command(run_dir, info, writer, left, ledger),
            cost=bill.total_cost().to_builtins(),
            discarded_cost=bill.discarded_cost().to_builtins(),
            charges=[_charge_values(charge) for charge in bill.charges],
            no_price_because=bill.no_price_reason,
            waiting=note.waiting if note else "",
            refused=note.refused if note else "",
            outlook=note.outlook if note else "",
            straggling=note.straggling if note else 0,
            stragglers=[_straggler_note(each, wall()) for each in note.stragglers] if note else [],
            finish_reasons=by_count(ledger.finish_reasons),
        )


def _note_of(session: SessionInfo, note: PaceNote | None) -> PaceNote | None:
    """Return the pace note if this session wrote it, and not the one before."""
    fresh = note is not None and note.at >= datetime.fromisoformat(session.began_at).timestamp()
    return note if fresh else None


def _straggler_note(straggler: SlowCall, now: float) -> StragglerNote:
    return StragglerNote(straggler.row, round(now - straggler.since, 1), round(straggler.usual, 1))


def _read_ledger(view: RunView, bill: Bill) -> Ledger:
    """Read the ledger again while a session replaces files between two reads."""
    for _ in range(_LOOKS):
        before = _file_sizes(view.directory)
        with contextlib.suppress(RunDamaged):
            ledger = view.read_ledger(bill)
            if _file_sizes(view.directory) == before:
                return ledger
        bill.clear_costs()
    return view.read_ledger(bill)


def _file_sizes(directory: RunDirectory) -> list[int]:
    paths = (directory / RESULTS, directory.failures_path)
    return [path.stat().st_ino if path.exists() else 0 for path in paths]


def _charge_values(charge: Charge) -> dict[str, Any]:
    key = {"endpoint": charge.endpoint, "model": charge.model, "service_tier": charge.service_tier}
    return key | {"cost": charge.cost.to_builtins()}


def _input_state(directory: RunDirectory, info: RunInfo) -> InputState:
    """Compare the input by size and time alone, which is fast."""
    path = input_file(directory, info)
    if path is None:
        return "not found"
    same = size_and_time(path) == (info.input.size, info.input.mtime_ns)
    return "as it was" if same else "changed since the last session"


def _failure_notes(ledger: Ledger, run_dir: str, names: SettingNames) -> list[FailureNote]:
    said = partial(advice_for, run_dir=run_dir, names=names)
    return [
        FailureNote(each.kind, each.code, each.rows, each.sample, each.sample_row, said(each.kind))
        for each in ledger.failures
    ]


class _Finished(Struct, gc=False):
    finished_at: datetime
    usage: dict[str, int]


_finished = record_decoder(_Finished)


def _read_speed(directories: list[RunDirectory], session: SessionInfo, now: float, left: int) -> Speed:
    began = datetime.fromisoformat(session.began_at).timestamp()
    rows = tokens = 0.0
    for directory, name in product(directories, (RESULTS, FAILURES)):
        lines, cut = last_lines(directory / name)
        more_rows, more_tokens = recent_rates([_finished(line) for line in lines], now, began, cut=cut)
        rows, tokens = rows + more_rows, tokens + more_tokens
    return Speed(round(rows, 1), round(tokens, 1), round(60 * left / rows, 1) if rows else None)


def recent_rates(records: list[_Finished], now: float, began: float, *, cut: bool) -> tuple[float, float]:
    """Return rows and tokens per minute.

    cut: there are records before these, so the time is counted from the first of them
    """
    since = max(began, now - 60)
    if cut and records and records[0].finished_at.timestamp() > since:
        since = records.pop(0).finished_at.timestamp()
    fresh = [record for record in records if record.finished_at.timestamp() > since]
    minutes = (now - since) / 60
    if minutes <= 0:
        return 0.0, 0.0
    return len(fresh) / minutes, total_tokens(record.usage for record in fresh) / minutes


def _halt_reason(directory: RunDirectory) -> str:
    lines, _ = last_lines(directory / LOG)
    return next(
        (line.partition(_HALTED)[2].decode("utf-8", "replace") for line in reversed(lines) if _HALTED in line), ""
    )


def _next_command(run_dir: str, info: RunInfo, writer: str | None, left: int, ledger: Ledger) -> str:
    directory = shlex.quote(run_dir)
    if writer:
        return f"Look again:  arkbatch status {directory}"
    if left:
        command = _last_command(info) or f"the `arkbatch run` command of the last session, into {directory}"
        return f"Resume with:  {command}"
    if ledger.failed.count:
        return next_step([each.kind for each in ledger.failures], run_dir, _last_command(info))
    if not info.input.rows:
        return NO_ROWS
    return read_answers_step(info, run_dir)


def _last_command(info: RunInfo) -> str:
    """Return the last command that sent new rows, if the run recorded it completely."""
    commands = (session.command for session in reversed(info.sessions))
    return next((command for command in commands if command.startswith(_SENDS_NEW_ROWS)), "")
