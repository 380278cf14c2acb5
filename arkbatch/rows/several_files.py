"""Several files as one input: names and patterns such as `in/*.parquet`.

They are one text, `a.csv + in/*.csv`, so that a job, `run.json` and messages name them as they name one file.
The rows of a file follow those of the files before it. Rows that are added to the last file, or further files behind
it, make the input grow; anything else moves rows, and then their records are found again by what the rows hold.
"""

import glob
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import Protocol

from arkbatch.core.errors import UsageError
from arkbatch.core.input_info import InputInfo, Position
from arkbatch.rows.input_file import Change
from arkbatch.rows.object_storage import is_remote

_BETWEEN = " + "


class OneFile(Protocol):
    """What is needed of the source of each file."""

    path: Path
    is_table: bool
    columns: tuple[str, ...]

    @property
    def description(self) -> str: ...
    def read_records(self, start: Position = ...) -> Iterator[tuple[int, int, bytes]]: ...
    def survey_input(self) -> InputInfo: ...
    def compare_input(self, known: InputInfo) -> Change: ...
    def describe_place(self, number: int, offset: int) -> str: ...


class SeveralFiles:
    """The sources of the files, one behind the other."""

    def __init__(self, path: Path, open_one: Callable[[Path], OneFile]) -> None:
        self.path = path
        self._sources = [open_one(each) for each in matching_files(path)]
        kinds = {source.is_table for source in self._sources}
        if len(kinds) > 1:
            raise UsageError(f"{path} is tables and JSON lines: give files of one kind")
        self.is_table = kinds.pop()
        self.columns = tuple(dict.fromkeys(name for source in self._sources for name in source.columns))

    @property
    def description(self) -> str:
        return f"{len(self._sources)} files, the first of them {self._sources[0].description}"

    @cached_property
    def _survey_files(self) -> list[InputInfo]:
        return [source.survey_input() for source in self._sources]

    def read_records(self, start: Position = Position()) -> Iterator[tuple[int, int, bytes]]:  # noqa: B008  it is frozen
        """Number, offset in its file and bytes of each row from a position on."""
        before = 0
        for place, source in enumerate(self._sources):
            local = Position()
            if start.line:
                lines = self._survey_files[place].lines
                if start.line >= before + lines:
                    before += lines
                    continue
                if start.line > before:
                    local = Position(start.line - before, start.offset)
            for number, offset, line in source.read_records(local):
                yield before + number, offset, line
            before += self._survey_files[place].lines

    def survey_input(self) -> InputInfo:
        files = self._survey_files
        return InputInfo(
            path=str(self.path),
            size=sum(each.size for each in files),
            mtime_ns=max(each.mtime_ns for each in files),
            sha256=sha256("".join(each.sha256 for each in files).encode()).hexdigest(),
            lines=sum(each.lines for each in files),
            rows=sum(each.rows for each in files),
            files=files,
        )

    def compare_input(self, known: InputInfo) -> Change:
        """What happened to the files since they were surveyed."""
        if not known.sha256:
            return Change.EDITED  # they were in object storage and only their sizes are known
        changes = []
        for source, before in zip_longest(self._sources, known.files):
            if source is None or (before is not None and str(source.path) != before.path):
                return Change.EDITED
            changes.append(Change.GREW if before is None else source.compare_input(before))
        first_grown = next((place for place, each in enumerate(changes) if each is not Change.SAME), None)
        if first_grown is None:
            return Change.SAME
        only_grew = first_grown >= len(known.files) - 1 and Change.EDITED not in changes
        return Change.GREW if only_grew else Change.EDITED

    def describe_place(self, number: int, offset: int) -> str:
        """Where a row stands, for a person."""
        for source, info in zip(self._sources, self._survey_files, strict=True):
            if number <= info.lines:
                return source.describe_place(number, offset)
            number -= info.lines
        return f"row {number} behind the end of {self.path}"


def joined_inputs(names: Sequence[str]) -> str:
    """Several inputs as one text. UsageError: one of them cannot be one of several."""
    for name in names if len(names) > 1 else ():
        if name == "-":
            raise UsageError("Standard input cannot be one of several inputs: save it to a file first")
        if name.lower().endswith(".toml"):
            raise UsageError(f'{name} is a job file, and takes no other inputs: write input = ["a.csv", "b.csv"] in it')
        if "://" in name and not is_remote(name):
            raise UsageError(f"{name} cannot be one of several inputs: copy it first, and name the file")
    return joined_paths(names)


def joined_paths(names: Sequence[str]) -> str:
    """Several paths as one text."""
    return _BETWEEN.join(names)


def parts_of(path: str | Path) -> list[str]:
    """The files and patterns that an input is made of; a file of that very name wins."""
    return [str(path)] if Path(path).exists() else str(path).split(_BETWEEN)


def with_each_part(path: str | Path, change: Callable[[str], str | Path]) -> str:
    """The input with each of its parts changed, such as made absolute."""
    return _BETWEEN.join(str(change(part)) for part in parts_of(path))


def stands_for_several(path: Path) -> bool:
    """Whether an input stands for the files that it matches; a file of that very name wins."""
    return len(parts_of(path)) > 1 or _is_pattern(str(path))


def _is_pattern(name: str) -> bool:
    return any(sign in name for sign in "*?[") and not Path(name).exists()


def matching_files(path: Path) -> list[Path]:
    """The files of an input, each once, those of a pattern with `part-2` before `part-10`. UsageError: one has none."""
    found: dict[Path, None] = {}
    for part in parts_of(path):
        names = glob.glob(part, recursive=True) if _is_pattern(part) else [part]  # noqa: PTH207  it may begin anywhere
        files = sorted(
            (Path(name) for name in names if Path(name).is_file()), key=lambda each: _natural_order(str(each))
        )
        if not files:
            raise UsageError(f"{part} {'matches no file' if _is_pattern(part) else 'does not exist'}")
        found.update(dict.fromkeys(files))
    return list(found)


def _natural_order(name: str) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def size_and_time(path: Path) -> tuple[int, int]:
    """The size of an input and the time of its last change, of all its files together."""
    stats = [each.stat() for each in (matching_files(path) if stands_for_several(path) else [path])]
    return sum(each.st_size for each in stats), max(each.st_mtime_ns for each in stats)
