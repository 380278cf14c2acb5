"""What has become of a parcel, folded from the steps that were written down, and what is open of a whole run.

    cut -> putting -> put -> starting -> started -> ended -> merging -> merged -> closed

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


LOOKED, STOPPING, NOT_STARTED = "look", "stopping", "not_started"
ONLY_AT_HOME = frozenset({Stage.CUT})


class Step(Struct, omit_defaults=True, kw_only=True):
    """One line of `parcels.jsonl`. Which fields stand in it depends on the step.

    at: unix time; rows: how many; ranges: their numbers, from and to, both included
    line, offset: where the first of them begins in the input (lines before it, bytes before it)
    bytes, sha256: of the file; tokens: estimated input; ceiling: the most that all rows may cost, as a decimal text
    state, counts: what the provider says; reason: why a batch was refused or failed, in its words
    left: rows that came back without an answer; unknown: lines that belong to no row of the parcel
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
    batch_id: str = ""
    expires_at: float = 0.0
    state: str = ""
    counts: dict[str, int] = {}
    output_id: str = ""
    error_id: str = ""
    code: str = ""
    reason: str = ""
    bad_line: int = 0
    done: int = 0
    failed: int = 0
    left: int = 0
    missing: int = 0
    doubled: int = 0
    unknown: int = 0
    usage: dict[str, Any] = {}
    limit: int = 0


class Parcel(Struct):
    """One parcel as it stands. `tries`: how often a batch was ordered from its file and refused for good."""

    number: int
    cut: Step
    stage: str = Stage.CUT
    stage_at: float = 0.0
    name: str = ""
    file_id: str = ""
    batch_id: str = ""
    state: str = ""
    counts: dict[str, int] = {}
    expires_at: float = 0.0
    is_stopping: bool = False
    tries: int = 0
    waits: int = 0
    refused_at: float = 0.0
    limit: int = 0
    reason: str = ""
    ended: Step | None = None
    merged: Step | None = None

    @property
    def is_open(self) -> bool:
        return self.stage != Stage.CLOSED

    @property
    def is_ordered(self) -> bool:
        """A batch exists at the provider or may exist, and it may be billed."""
        return self.stage in {Stage.STARTING, Stage.STARTED, Stage.ENDED, Stage.MERGING}

    @property
    def holds_rows(self) -> bool:
        """Its rows must not be sent in any other way."""
        return self.stage not in {Stage.MERGED, Stage.CLOSED}

    @property
    def numbers(self) -> set[int]:
        """The rows in it."""
        return {number for first, last in self.cut.ranges for number in range(first, last + 1)}

    def fold(self, step: Step) -> None:  # noqa: C901 - one case for each step
        """Take in the next step."""
        match step.step:
            case Stage.PUTTING:
                self._move(step)
                self.name = step.name
            case Stage.PUT:
                self._move(step)
                self.file_id = step.file_id or self.file_id
            case Stage.STARTING:
                self._move(step)
            case Stage.STARTED:
                self._move(step)
                self.batch_id, self.expires_at, self.state = step.batch_id, step.expires_at, step.state
            case _ if step.step == NOT_STARTED:
                self._refuse(step)
            case _ if step.step == LOOKED:
                self.state, self.counts = step.state, step.counts or self.counts
            case _ if step.step == STOPPING:
                self.is_stopping = True
            case Stage.ENDED:
                self._move(step)
                self.ended, self.state = step, step.state
                self.counts = step.counts or self.counts
                self.reason = step.reason or self.reason
            case Stage.MERGED:
                self._move(step)
                self.merged = step
            case Stage.MERGING | Stage.CLOSED | Stage.EXPORTED:
                self._move(step)

    def _move(self, step: Step) -> None:
        self.stage, self.stage_at = step.step, step.at

    def _refuse(self, step: Step) -> None:
        """The provider took no batch, or gave it up before it began: the file can be ordered again."""
        self.stage, self.stage_at, self.refused_at = Stage.PUT, step.at, step.at
        self.batch_id, self.reason, self.state = "", step.reason, ""
        if step.limit or step.code == TOO_MANY_TOKENS:
            self.limit = step.limit or self.limit
            self.waits += 1
        else:
            self.tries += 1


TOO_MANY_TOKENS = "token_limit_exceeded"


class Parcels:
    """All parcels of a run, by number."""

    def __init__(self, steps: Iterable[Step] = ()) -> None:
        self.by_number: dict[int, Parcel] = {}
        for step in steps:
            self.fold(step)

    def fold(self, step: Step) -> None:
        """Take in one step. A step of a parcel that was never cut is passed over."""
        if step.step == Stage.CUT:
            self.by_number[step.parcel] = Parcel(step.parcel, step, stage_at=step.at)
        elif (parcel := self.by_number.get(step.parcel)) is not None:
            parcel.fold(step)

    @property
    def next_number(self) -> int:
        return max(self.by_number, default=0) + 1

    @property
    def open(self) -> list[Parcel]:
        return [parcel for parcel in self.by_number.values() if parcel.is_open]

    @property
    def holding(self) -> list[Parcel]:
        """Those whose rows must not be sent in any other way."""
        return [parcel for parcel in self.by_number.values() if parcel.holds_rows]

    def held_rows(self) -> set[int]:
        """The rows that are on their way."""
        return set().union(*(parcel.numbers for parcel in self.holding))

    def enqueued_tokens(self, model: str) -> int:
        """Estimated input tokens of a model that wait at the provider."""
        waiting = {Stage.STARTING, Stage.STARTED}
        return sum(each.cut.tokens for each in self.open if each.stage in waiting and each.cut.model == model)


def as_ranges(numbers: Iterable[int]) -> list[Range]:
    """Sorted numbers as ranges, both ends included."""
    found: list[Range] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found
