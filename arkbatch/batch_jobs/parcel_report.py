"""What reports say of the parcels of a run.

`status` has one line for each that is open, and a sum of those that have ended; the page lists them.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from arkbatch.batch_jobs.parcel import Parcel, rows_done
from arkbatch.batch_jobs.parcel_journal import PARCELS, has_lost_parcels, read_parcels
from arkbatch.batch_jobs.parcel_records import Stage
from arkbatch.core.text import count_text
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.reports.page.page import ParcelNote

_IN_WORDS = {
    Stage.CUT: "is written, and not uploaded yet",
    Stage.PUTTING: "is being uploaded",
    Stage.PUT: "is uploaded, and not ordered yet",
    Stage.STARTING: "was ordered, and the reply is not here yet",
    Stage.ENDED: "has ended, and its answers are not here yet",
    Stage.MERGING: "has ended, and its answers are being recorded",
    Stage.MERGED: "is recorded, and its files at the provider are not deleted yet",
    Stage.EXPORTED: "was exported, and waits for arkbatch collect",
}


def parcel_facts(directory: RunDirectory) -> list[dict[str, Any]]:
    """Every parcel for a program."""
    return [_facts_of(parcel) for parcel in read_parcels(directory).by_number.values()]


def _facts_of(parcel: Parcel) -> dict[str, Any]:
    merged = parcel.merged
    return {
        "parcel": parcel.number,
        "stage": str(parcel.stage),
        "state": parcel.state,
        "rows": parcel.cut.rows,
        "endpoint": parcel.cut.endpoint,
        "model": parcel.cut.model,
        "batch_id": parcel.batch_id,
        "counts": parcel.counts,
        "since": parcel.stage_at,
        "ordered_at": parcel.ordered_at,
        "expires_at": parcel.expires_at,
        "reason": parcel.reason,
        "succeeded": merged.done if merged else 0,
        "failed": merged.failed if merged else 0,
        "left": merged.left if merged else 0,
    }


def parcel_notes(directory: RunDirectory, wall: Callable[[], float]) -> list[ParcelNote]:
    """Every parcel for the page, by number."""
    now = wall()
    return [_note_of(parcel, now) for parcel in read_parcels(directory).by_number.values()]


def _note_of(parcel: Parcel, now: float) -> ParcelNote:
    merged = parcel.merged
    return ParcelNote(
        parcel=parcel.number,
        model=parcel.cut.model,
        endpoint=parcel.cut.endpoint,
        rows=parcel.cut.rows,
        rows_done=merged.done + merged.failed if merged else rows_done(parcel.counts),
        state=state_word(parcel),
        is_open=parcel.is_open,
        ordered_at=parcel.ordered_at,
        waited=parcel.waited_seconds(now),
        expires_at=parcel.expires_at,
        failed=merged.failed if merged else 0,
        left=merged.left if merged else 0,
        reason=parcel.reason,
    )


def state_word(parcel: Parcel) -> str:
    """How a parcel stands in one word: the provider's for a batch that it works on, else that of its stage."""
    is_at_provider = parcel.stage == Stage.STARTED and parcel.state
    return parcel.state if is_at_provider else str(parcel.stage)


def parcel_lines(directory: RunDirectory) -> list[str]:
    """The parcels for people; empty when the run has none."""
    parcels = list(read_parcels(directory).by_number.values())
    is_incomplete = has_lost_parcels(directory)
    if not parcels and not is_incomplete:
        return []
    closed = [parcel for parcel in parcels if not parcel.is_open]
    lines = ["Batch files:"]
    if is_incomplete:
        lines.append(f"  {PARCELS} is missing or damaged: the next run with its --lane asks the provider for them")
    if closed:
        rows = sum(parcel.cut.rows for parcel in closed)
        lines.append(f"  {count_text(len(closed), 'parcel')} with {count_text(rows, 'row')} ended and recorded")
    return lines + [f"  {_line_of(parcel)}" for parcel in parcels if parcel.is_open]


def _line_of(parcel: Parcel) -> str:
    counts = parcel.counts
    done = counts.get("completed", 0) + counts.get("failed", 0)
    said = _IN_WORDS.get(Stage(parcel.stage), "")
    if parcel.stage == Stage.STARTED:
        said = f"{parcel.state or 'ordered'}, {done} of {parcel.cut.rows} rows done"
        if parcel.expires_at:
            said += f", ends at the latest {datetime.fromtimestamp(parcel.expires_at, UTC):%Y-%m-%d %H:%M} UTC"
    since = f"{datetime.fromtimestamp(parcel.stage_at, UTC):%Y-%m-%d %H:%M} UTC"
    why = f" ({parcel.reason})" if parcel.reason else ""
    batch = f", {parcel.batch_id}" if parcel.batch_id else ""
    return f"parcel {parcel.number}, {count_text(parcel.cut.rows, 'row')}{batch}: {said}, since {since}{why}"
