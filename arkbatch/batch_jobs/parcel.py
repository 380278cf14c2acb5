"""The state of a parcel, computed from the steps in its journal."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from arkbatch.batch_jobs.parcel_records import (
    LOOKED,
    NOT_STARTED,
    SHORT,
    STOPPING,
    TOO_LARGE,
    TOO_MANY_ROWS,
    TOO_MANY_TOKENS,
    UPLOAD_LOST,
    Stage,
    Step,
    numbers_in,
)


class Parcel(Struct):
    """One parcel as it stands.

    tries: how often a batch was ordered from its file and refused for good; waits: how often for its tokens
    file_ids: of every upload; uploads_lost: how often a file was sent again because nobody knew whether it had arrived
    short_fetches: how often its answers seemed to be cut off
    put_at: when the file arrived by our clock, file_at: by the provider's
    ordered_at: when the provider took the batch, 0 while it has not
    refused_ids: batches of the file that failed before they began
    refused_as: the code of the last refusal
    """

    number: int
    cut: Step
    stage: str = Stage.CUT
    stage_at: float = 0.0
    name: str = ""
    file_id: str = ""
    file_ids: list[str] = []
    file_at: float = 0.0
    put_at: float = 0.0
    uploads_lost: int = 0
    short_fetches: int = 0
    batch_id: str = ""
    ordered_at: float = 0.0
    refused_ids: list[str] = []
    state: str = ""
    counts: dict[str, int] = {}
    expires_at: float = 0.0
    is_stopping: bool = False
    stopping_at: float = 0.0
    tries: int = 0
    waits: int = 0
    refused_at: float = 0.0
    limit: int = 0
    refused_as: str = ""
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
    def is_too_large(self) -> bool:
        """The provider takes no file of this size."""
        return self.refused_as in {TOO_LARGE, TOO_MANY_ROWS}

    def waited_seconds(self, now: float) -> float | None:
        """How long the provider has worked on the batch, or had; None for one that it has not taken."""
        if not self.ordered_at:
            return None
        return max(0.0, (self.ended.at if self.ended else now) - self.ordered_at)

    @property
    def bad_lines(self) -> dict[int, str]:
        """Lines of its file that the provider refused, from 1, with the reason."""
        ended = self.ended
        if ended is None:
            return {}
        return ended.bad_lines or ({ended.bad_line: ended.reason} if ended.bad_line else {})

    @property
    def row_numbers(self) -> set[int]:
        """The rows in it."""
        return numbers_in(self.cut.ranges)

    def take_step(self, step: Step) -> None:  # noqa: C901 - one case for each step
        """Take in the next step."""
        match step.step:
            case Stage.PUTTING:
                self._move_on(step)
                self.name = step.name or self.name
            case Stage.PUT:
                self._move_on(step)
                self._take_file(step)
            case Stage.STARTING:
                self._move_on(step)
            case Stage.STARTED:
                self._move_on(step)
                self.batch_id, self.expires_at, self.state = step.batch_id, step.expires_at, step.state
                self.ordered_at = step.at
            case _ if step.step == NOT_STARTED:
                self._take_refusal(step)
            case _ if step.step == LOOKED:
                self.state, self.counts = step.state, step.counts or self.counts
            case _ if step.step == STOPPING:
                self.is_stopping, self.stopping_at = True, step.at
            case _ if step.step == UPLOAD_LOST:
                self.uploads_lost += 1
            case _ if step.step == SHORT:
                self.short_fetches += 1
            case Stage.ENDED:
                self._move_on(step)
                self.ended, self.state = step, step.state
                self.counts = step.counts or self.counts
                self.reason = step.reason or self.reason
            case Stage.MERGED:
                self._move_on(step)
                self.merged = step
            case Stage.MERGING | Stage.CLOSED | Stage.EXPORTED:
                self._move_on(step)

    def _move_on(self, step: Step) -> None:
        self.stage, self.stage_at = step.step, step.at

    def _take_file(self, step: Step) -> None:
        if step.file_id and step.file_id != self.file_id:
            self.file_id, self.file_at, self.put_at = step.file_id, step.file_at, step.at
            self.file_ids = [*self.file_ids, step.file_id]

    def _take_refusal(self, step: Step) -> None:
        """The provider took no batch, or gave it up before it began: the file can be ordered again."""
        self.stage, self.stage_at, self.refused_at = Stage.PUT, step.at, step.at
        if self.batch_id:
            self.refused_ids = [*self.refused_ids, self.batch_id]
        self.batch_id, self.reason, self.state, self.ordered_at = "", step.reason, "", 0.0
        self.refused_as = step.code
        if step.limit or step.code == TOO_MANY_TOKENS:
            self.limit = step.limit or self.limit
            self.waits += 1
        else:
            self.tries += 1


class Parcels:
    """All parcels of a run, by number."""

    def __init__(self, steps: Iterable[Step] = ()) -> None:
        self.by_number: dict[int, Parcel] = {}
        for step in steps:
            self.take_step(step)

    def take_step(self, step: Step) -> None:
        """Take in one step. A step of a parcel that was never cut is passed over."""
        if step.step == Stage.CUT:
            self.by_number[step.parcel] = Parcel(step.parcel, step, stage_at=step.at)
        elif (parcel := self.by_number.get(step.parcel)) is not None:
            parcel.take_step(step)

    @property
    def next_number(self) -> int:
        return max(self.by_number, default=0) + 1

    @property
    def open_parcels(self) -> list[Parcel]:
        return [parcel for parcel in self.by_number.values() if parcel.is_open]

    @property
    def holding_parcels(self) -> list[Parcel]:
        """Those whose rows must not be sent in any other way."""
        return [parcel for parcel in self.by_number.values() if parcel.holds_rows]

    def held_rows(self) -> set[int]:
        """The rows that are on their way."""
        return set().union(*(parcel.row_numbers for parcel in self.holding_parcels))

    def enqueued_tokens(self, model: str) -> int:
        """Estimated input tokens of a model that wait at the provider."""
        waiting = {Stage.STARTING, Stage.STARTED}
        return sum(each.cut.tokens for each in self.open_parcels if each.stage in waiting and each.cut.model == model)


def rows_done(counts: Mapping[str, int]) -> int:
    """How many rows of a batch have an answer or an error, as the provider counts."""
    return counts.get("completed", 0) + counts.get("failed", 0)
