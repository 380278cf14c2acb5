"""The plan of a shared run: which range of which file is a shard."""

from collections.abc import Iterator
from typing import Any, Literal

from msgspec import Struct

PLAN_FORMAT = 1
Kind = Literal["lines", "csv", "parquet", "whole"]


class InputPart(Struct, frozen=True, omit_defaults=True):
    """One input file as it was when the run was planned.

    tag: changes when the file does; kind: how it is cut
    cuts: for `csv` the bytes, for `parquet` the row groups at which shards after the first begin
    header: bytes before the first record of a table
    """

    path: str
    size: int
    tag: str
    kind: Kind
    cuts: list[int] = []
    header: int = 0
    groups: int = 0


class ShardPlan(Struct):
    """What `shards.json` holds.

    shard_bytes: at which lengths files of lines are cut; job: as `run.json` keeps it
    insecure: http:// to another machine was allowed when the run was planned
    """

    format: int
    run_id: str
    created_at: str
    shard_bytes: int
    parts: list[InputPart]
    job: dict[str, Any]
    asked: dict[str, Any]
    asked_digest: str
    simulated: bool = False
    insecure: bool = False

    def all_shards(self) -> Iterator["Shard"]:
        """Yield all shards in input order."""
        index = 0
        for part in self.parts:
            for begin, end in _cut_ranges(part, self.shard_bytes):
                yield Shard(index, part, begin, end)
                index += 1

    @property
    def count(self) -> int:
        """How many shards there are."""
        return sum(len(_cut_ranges(part, self.shard_bytes)) for part in self.parts)


class Shard(Struct, frozen=True):
    """A part of one input file. begin, end: bytes, or row groups of Parquet.

    A line belongs to the shard in whose range its first byte lies, so plans of lines need no look at the file.
    """

    index: int
    part: InputPart
    begin: int
    end: int

    @property
    def is_whole(self) -> bool:
        """Whether the shard is its file."""
        last = self.part.groups if self.part.kind == "parquet" else self.part.size
        return self.part.kind == "whole" or (self.begin == 0 and self.end == last)


def _cut_ranges(part: InputPart, shard_bytes: int) -> list[tuple[int, int]]:
    if part.kind == "whole":
        return [(0, part.size)]
    last = part.groups if part.kind == "parquet" else part.size
    cuts = list(range(shard_bytes, part.size, shard_bytes)) if part.kind == "lines" else part.cuts
    return list(zip([0, *cuts], [*cuts, last], strict=True))
