"""The steps of parcels as lines of `parcels.jsonl`: what was intended, and what was done.

    cut -> putting -> put -> starting -> started -> ended -> merging -> merged -> closed
    cut -> exported          (`arkbatch export`)

An intent (`putting`, `starting`, `merging`) is written before the action, and the fact behind it. A parcel that stands
at an intent may or may not exist at the provider: it is looked for there, and never sent again before that.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from msgspec import Struct

Range = tuple[int, int]


class Stage(StrEnum):
    """The steps that move a parcel on; their names stand in `parcels.jsonl`."""

    CUT = "cut"
    PUTTING = "putting"
    PUT = "put"
    STARTING = "starting"
    STARTED = "started"
    ENDED = "ended"
    MERGING = "merging"
    MERGED = "merged"
    CLOSED = "closed"
    EXPORTED = "exported"


LOOKED, STOPPING, NOT_STARTED, UPLOAD_LOST = "look", "stopping", "not_started", "upload_lost"
SHORT = "short"  # the files of answers have fewer lines than the provider counts, or end in the middle of one
# Codes of a batch that was not started.
TOO_MANY_TOKENS, TOO_LARGE, TOO_MANY_ROWS = "token_limit_exceeded", "file_too_large", "too_many_tasks"


class Step(Struct, omit_defaults=True, kw_only=True):
    """One line of `parcels.jsonl`. Which fields stand in it depends on the step.

    at: unix time; rows: how many; ranges: their numbers, from and to, both included
    line, offset: where the first of them begins in the input (lines before it, bytes before it)
    bytes, sha256: of the file; tokens: estimated input; ceiling: the most that all rows may cost, as a decimal text
    state, counts: what the provider says; reason: why a batch was refused or failed, in its words
    bad_lines: lines of the file that the provider refused, from 1, with its words
    left: rows that came back without an answer; unknown: lines that belong to no row of the parcel
    file_at: when the file was made by the provider's clock; is_rebuilt: found at the provider after a loss of this file
    """

    parcel: int
    step: str
    at: float
    rows: int = 0
    ranges: list[Range] = []
    line: int = 0
    offset: int = 0
    endpoint: str = ""
    model: str = ""
    bytes: int = 0
    sha256: str = ""
    tokens: int = 0
    ceiling: str = ""
    name: str = ""
    form: str = ""
    file_id: str = ""
    file_at: float = 0.0
    batch_id: str = ""
    expires_at: float = 0.0
    state: str = ""
    counts: dict[str, int] = {}
    output_id: str = ""
    error_id: str = ""
    code: str = ""
    reason: str = ""
    bad_line: int = 0  # of version 0.2
    bad_lines: dict[int, str] = {}
    is_rebuilt: bool = False
    done: int = 0
    failed: int = 0
    left: int = 0
    missing: int = 0
    doubled: int = 0
    unknown: int = 0
    usage: dict[str, Any] = {}
    limit: int = 0


def numbers_in(ranges: Iterable[Range]) -> set[int]:
    """The numbers of all rows in these ranges."""
    return {number for first, last in ranges for number in range(first, last + 1)}


def as_ranges(numbers: Iterable[int]) -> list[Range]:
    """Sorted numbers as ranges, both ends included."""
    found: list[Range] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found
