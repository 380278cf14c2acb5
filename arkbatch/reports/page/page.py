"""Puts the report page together: its data, and the HTML file.

Prompts, answers and messages of the service are untrusted. They go into the page as JSON in a block that no browser
runs, with every `<` escaped so that nothing in them can end the block; the page's own script shows them as text. The
content security policy names that script and the style by their hashes, so nothing else runs and nothing is fetched.
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import Any

import msgspec
from msgspec import Struct

from arkbatch import __version__
from arkbatch.core.limit_changes import LimitChange
from arkbatch.core.text import printable_value
from arkbatch.journal.ledger import Tally
from arkbatch.journal.run_info import SessionInfo
from arkbatch.reports.page.series import Series, moment_of_text, series_of
from arkbatch.reports.page.timeline import LastFailure, Timeline
from arkbatch.reports.status.status import FailureNote, Speed, Status, StragglerNote

_LISTED = 50  # of sessions, models and reasons; a report of a strange run must not grow without bound
_MESSAGE_SHOWN = 300


class Now(Struct, frozen=True):
    """What only a session in this process knows about the moment."""

    in_flight: int
    bound_by: str
    seconds_left: float | None
    stopping: bool
    waiting: str = ""


class ParcelNote(Struct, frozen=True):
    """One batch file of a run that has some.

    state: the provider's word for a batch that it works on, else the stage that the parcel has reached
    rows_done: as the provider counts, and in the end the rows that have a record
    ordered_at: unix seconds, 0 before; waited: seconds since then until the batch ended or until now, None before
    left: rows that came back without an answer
    """

    parcel: int
    model: str
    endpoint: str
    rows: int
    rows_done: int
    state: str
    is_open: bool
    ordered_at: float
    waited: float | None
    expires_at: float
    failed: int
    left: int
    reason: str


class PageData(Struct, frozen=True):
    """Everything the page shows. Counts are the ledger's, the same as in `usage.json`.

    paused: the order to pause that the running session stands under
    state: running, halted, unfinished, failed (nothing left, with failed rows) or finished
    reading: the lines have not all been read yet, so that the charts still grow
    seconds: that sessions have worked, None when one was killed; per_minute: rows, over these
    next_command: what goes on from here, empty when the run does not tell
    parcels: the batch files of the run, the newest first; more_parcels: how many older ones are not listed
    """

    version: str
    made_at: float
    state: str
    paused: LimitChange | None
    reading: bool
    run_dir: str
    run_id: str
    simulated: bool
    input: str
    asked: dict[str, Any]
    rows: int
    done: int
    failed: int
    left: int
    seconds: float | None
    per_minute: float | None
    speed: Speed | None
    now: Now | None
    finish_reasons: dict[str, int]
    usage: dict[str, int]
    discarded: dict[str, int]
    cost: dict[str, Any]
    charges: list[dict[str, Any]]
    halt: str
    waiting: str
    outlook: str
    straggling: int
    stragglers: list[StragglerNote]
    next_command: str
    models: list[Tally]
    failures: list[FailureNote]
    last_failures: list[LastFailure]
    sessions: list[SessionInfo]
    more_sessions: int
    parcels: list[ParcelNote]
    more_parcels: int
    series: Series


def page_data(
    status: Status,
    timeline: Timeline,
    wall: Callable[[], float],
    *,
    reading: bool = False,
    now: Now | None = None,
    parcels: Sequence[ParcelNote] = (),
) -> PageData:
    """Put together what the page shows. parcels: every batch file of the run, by number."""
    made_at = wall()
    running = status.writer is not None
    worked = _seconds_worked(status, made_at)
    return PageData(
        version=__version__,
        made_at=made_at,
        state=_state_of(status),
        paused=status.paused,
        reading=reading,
        run_dir=status.run_dir,
        run_id=status.run_id,
        simulated=status.simulated,
        input=status.input,
        asked=status.asked,
        rows=max(status.rows, status.done + status.failed + status.left),  # some may lie beyond a later --limit
        done=status.done,
        failed=status.failed,
        left=status.left,
        seconds=worked,
        per_minute=round(60 * (status.done + status.failed) / worked, 1) if worked else None,
        speed=status.speed,
        now=now,
        finish_reasons=status.finish_reasons,
        usage=status.usage,
        discarded=status.discarded,
        cost=status.cost,
        charges=status.charges[:_LISTED],
        halt=status.halt,
        waiting=" · ".join(filter(None, (status.waiting, status.refused))),
        outlook=status.outlook,
        straggling=status.straggling,
        stragglers=status.stragglers,
        next_command=_command_in(status.go_on),
        models=sorted(status.models, key=lambda tally: -(tally.succeeded + tally.failed))[:_LISTED],
        failures=[_shorten_note(note) for note in status.failures[:_LISTED]],
        last_failures=list(reversed(timeline.last_failures)),
        sessions=status.sessions[-_LISTED:],
        more_sessions=max(0, len(status.sessions) - _LISTED),
        parcels=_listed_parcels(parcels),
        more_parcels=max(0, len(parcels) - _LISTED),
        series=series_of(timeline, status.sessions, made_at if running else None),
    )


def _listed_parcels(parcels: Sequence[ParcelNote]) -> list[ParcelNote]:
    """The newest parcels, and those that are still open before all others."""
    listed = sorted(parcels, key=lambda each: (not each.is_open, -each.parcel))[:_LISTED]
    return [msgspec.structs.replace(each, reason=each.reason[:_MESSAGE_SHOWN]) for each in listed]


def _state_of(status: Status) -> str:
    if status.writer is not None:
        return "running"
    if status.left:
        return "halted" if status.halt else "unfinished"
    return "failed" if status.failed else "finished"


def _seconds_worked(status: Status, now: float) -> float | None:
    """None when a session was killed, since nobody noted how long it had worked."""
    worked = 0.0
    for session in status.sessions:
        if session.ended_at:
            worked += session.seconds
        elif status.writer is not None and session is status.sessions[-1]:
            worked += max(0.0, now - moment_of_text(session.began_at))
        else:
            return None
    return round(worked, 1)


def _shorten_note(note: FailureNote) -> FailureNote:
    return msgspec.structs.replace(note, sample=note.sample[:_MESSAGE_SHOWN])


def _command_in(go_on: str) -> str:
    """The command in a line such as `Resume with:  arkbatch run job.toml`."""
    command = go_on.rpartition(":  ")[2]
    return command if command.startswith("arkbatch ") else ""


def render_page(data: PageData | None) -> str:
    """The whole file. Without data it is the live page, which asks the server that it came from."""
    style, script = _style_text(), _script_text()
    pieces = {
        "policy": _content_policy(style, script, "'none'" if data else "'self'"),
        "style": style,
        "data": escape_json(msgspec.json.encode(printable_value(msgspec.to_builtins(data)))),
        "script": script,
    }
    page = _text_of_file("template.html")
    before, *parts = page.split("{{")
    return before + "".join(pieces[name] + after for name, _, after in (part.partition("}}") for part in parts))


def live_policy() -> str:
    """The policy of the live page, for its header as well."""
    return _content_policy(_style_text(), _script_text(), "'self'")


def _content_policy(style: str, script: str, connect: str) -> str:
    """What the browser is told to allow: our own script and style; the live page may ask its own server."""
    return (
        f"default-src 'none'; script-src '{_hash_of(script)}'; style-src '{_hash_of(style)}'; img-src data:; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


def escape_json(data: bytes) -> str:
    """JSON that can stand inside a script element: nothing in it can look like a tag or a comment."""
    return data.decode().replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _style_text() -> str:
    return _text_of_file("uplot/uPlot.min.css") + _text_of_file("page.css")


def _script_text() -> str:
    return _text_of_file("uplot/uPlot.iife.min.js") + _text_of_file("page.js")


def _hash_of(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _text_of_file(name: str) -> str:
    return files("arkbatch.reports.page").joinpath(name).read_text(encoding="utf-8")
