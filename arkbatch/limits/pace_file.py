"""`pace.json`: what a session found out about the limits, kept for the next.

It is a cache and no truth: one that is missing, torn or of another model is as good as none. Only limits that were
met are remembered as such (`Memory`), never a guess that the pace began with.
"""

import msgspec
from msgspec import Struct

from arkbatch.journal.atomic_files import replace_file
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.limits.slow_calls import SlowCall
from arkbatch.limits.starting_point import Memory

PACE = "pace.json"


class PaceNote(Struct, frozen=True, omit_defaults=True):
    """Where the pace stood at unix time `at`.

    rpm, concurrency: how fast it went and how much at once, None: without a limit
    met_rpm, met_concurrency: the limits that the service was seen to keep, None: none was met
    reason: why the pace last changed, at unix time `changed_at`
    away: what is wrong while the service is away; away_seconds: how long it was, in the session
    waiting: what a run outside its hours waits for; outlook: whether it will be done in time, if that was asked
    refused: what all calls are refused with, how often and since when, while none is answered
    straggling: how many calls take far longer than is usual; stragglers: some of them, those sent first
    """

    model: str
    base_url: str
    at: float
    rpm: float | None = None
    concurrency: int | None = None
    met_rpm: float | None = None
    met_concurrency: int | None = None
    reason: str = ""
    changed_at: float = 0.0
    away: str = ""
    away_seconds: float = 0.0
    waiting: str = ""
    refused: str = ""
    outlook: str = ""
    straggling: int = 0
    stragglers: tuple[SlowCall, ...] = ()

    def memory(self, now: float) -> Memory:
        return Memory(rpm=self.met_rpm, concurrency=self.met_concurrency, age=max(0.0, now - self.at))


def write_pace(directory: RunDirectory, note: PaceNote) -> None:
    """Replace the note. One that a power cut damages is not used."""
    data = msgspec.json.format(msgspec.json.encode(note), indent=2) + b"\n"
    replace_file(directory / PACE, data, is_durable=False)


def read_pace(directory: RunDirectory) -> PaceNote | None:
    try:
        return msgspec.json.decode((directory / PACE).read_bytes(), type=PaceNote)
    except (FileNotFoundError, msgspec.DecodeError, RecursionError):
        return None
