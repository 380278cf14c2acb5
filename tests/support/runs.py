"""Run directories with real files in them, made without a server."""

from pathlib import Path

import orjson
from builders import reply, success

from arkbatch.api.jobs import arun
from arkbatch.config.resolve import resolve_job
from arkbatch.core.calls import Cause, Kind
from arkbatch.core.errors import Halted
from arkbatch.core.outcomes import Failure
from arkbatch.core.row import BadRow
from arkbatch.engine.open_run import OpenRun
from arkbatch.rows.parse import RowReader

BEGAN = 1_790_000_000.0


def prompts(folder, *rows, name="in.jsonl"):
    """An input file; rows that are no bytes become JSON lines."""
    path = folder / name
    path.write_bytes(b"".join(row if isinstance(row, bytes) else orjson.dumps(row) + b"\n" for row in rows))
    return path


def numbered(count):
    return [{"custom_id": f"task-{number}", "prompt": f"question {number}"} for number in range(1, count + 1)]


def job_of(path, **flags):
    given = {"model": "doubao", "run_dir": str(path.parent / "a.run"), "simulate": True, "allow_empty": True, **flags}
    return resolve_job(str(path), given, {}, path.parent)


class Told:
    """A clock that is set by hand, and that moves on a second for each record."""

    def __init__(self, now=BEGAN):
        self.now = now

    def __call__(self):
        self.now += 1
        return self.now


def worked_off(job, outcome_of, *, ending="finished", wall=None, command="run"):
    """One session. `outcome_of` makes the outcome of a row, or None to leave it undone; returns the run directory."""
    with OpenRun(job, wall=wall or Told(), command=command) as run:
        session = run.begin_session({"concurrency": 8, "rpm": 600.0, "tpm": None})
        for row in run.rows():
            outcome = Failure(row, Cause(Kind.BAD_ROW, "", row.reason)) if isinstance(row, BadRow) else outcome_of(row)
            if outcome is not None:
                run.journal.record(outcome)
        run.journal.close()
        if ending:
            run.end_session(session, ending, 12.0)
    return Path(job.run_dir)


def answered(row, body=None, **changes):
    """A success of this very row."""
    return success(row.number, **({"row": row} | ({"reply": reply(body)} if body else {}) | changes))


def failed(row, kind=Kind.TIMEOUT, code="", message="it failed", **changes):
    return Failure(row, Cause(kind, code, message), **changes)


def row_at(job, number):
    """A row as a run reads it."""
    from arkbatch.rows.input_file import read_lines

    return next(RowReader(job).read_row(*line) for line in read_lines(Path(job.input)) if line[0] == number)


async def ended(job):
    """The summary of a run that was worked off, also of one that was halted."""
    try:
        return await arun(job)
    except Halted as halted:
        return halted.summary
