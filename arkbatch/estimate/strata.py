"""Counts rows by size, and chooses which of them to measure.

Rows are kept as counts, in steps of 4 % in tokens, so that ten million of them take little memory. The caller counts
or guesses the tokens of a row.
"""

from collections.abc import Callable, Hashable, Iterator
from itertools import pairwise
from math import ceil, log
from typing import NamedTuple

STEP = log(1.04)
WIDTH = log(1.5)  # of a stratum


class SizeGroup(NamedTuple):
    """Rows of about one size: their number, the mean input tokens, and the mean ceiling."""

    rows: int
    tokens: float
    ceiling: int | None


class Sizes:
    """The rows of an input, as counts by input tokens and ceiling."""

    def __init__(self) -> None:
        self.rows = 0
        self.tokens = 0.0
        self._sums: dict[tuple[int, int], list[float]] = {}

    def add(self, tokens: float, ceiling: int | None, rows: int = 1) -> None:
        tokens = max(tokens, 1.0)
        key = int(log(tokens) / STEP), -1 if ceiling is None else int(log(ceiling + 1) / STEP)
        sums = self._sums.get(key)
        if sums is None:
            sums = self._sums[key] = [0, 0.0, 0.0]
        sums[0] += rows
        sums[1] += tokens * rows
        sums[2] += (ceiling or 0) * rows
        self.rows += rows
        self.tokens += tokens * rows

    def size_groups(self) -> Iterator[SizeGroup]:
        for (_, ceilings), (count, tokens, ceiling) in self._sums.items():
            yield SizeGroup(int(count), tokens / count, None if ceilings < 0 else ceil(ceiling / count))

    def add_all(self, others: "Sizes", start: float = 0.0, slope: float = 1.0) -> None:
        """Add the rows of others, with tokens mapped to `start + slope * tokens`."""
        for rows, tokens, ceiling in others.size_groups():
            self.add(start + slope * tokens, ceiling, rows)


class RowPlace(NamedTuple):
    """A row by its index (from 0) among rows of its kind and size."""

    kind: Hashable
    size: int
    number: int


class Strata:
    """Rows counted by kind and size, to choose a few that represent all."""

    def __init__(self) -> None:
        self._kinds: dict[Hashable, dict[int, int]] = {}

    def add(self, kind: Hashable, tokens: float) -> RowPlace:
        """Count a row; the same rows in the same order get the same places."""
        counts = self._kinds.setdefault(kind, {})
        stratum = int(log(max(tokens, 1.0)) / WIDTH)
        number = counts.get(stratum, 0)
        counts[stratum] = number + 1
        return RowPlace(kind, stratum, number)

    def choose_rows(self, count: int, chance: Callable[[], float]) -> set[RowPlace]:
        """Choose one random row from each of equal stretches of the rows, ordered by size.

        Rows of a size are in file order. Each kind has its own stretches. Half of the sample is divided evenly among
        the kinds, half by their rows.
        chance: returns a number from 0 to below 1 at each call
        """
        rows = {kind: sum(counts.values()) for kind, counts in self._kinds.items()}
        chosen: set[RowPlace] = set()
        for kind, share in _deal_sample(rows, count).items():
            ranks = _one_of_each_stretch(rows[kind], share, chance)
            chosen.update(self._places_of(kind, ranks))
        return chosen

    def _places_of(self, kind: Hashable, ranks: list[int]) -> Iterator[RowPlace]:
        strata, before = iter(sorted(self._kinds[kind].items())), 0
        stratum, rows = next(strata, (0, 0))
        for rank in ranks:
            while rank >= before + rows:
                before += rows
                stratum, rows = next(strata)
            yield RowPlace(kind, stratum, rank - before)


def _deal_sample(rows: dict[Hashable, int], count: int) -> dict[Hashable, int]:
    """Return how much of the sample each kind gets, at most its rows.

    All of `count` is given out if there are so many rows.
    """
    total, dealt = sum(rows.values()), dict.fromkeys(rows, 0)
    wanted = {kind: count / 2 / len(rows) + count / 2 * many / total for kind, many in rows.items()}
    for _ in range(min(count, total)):
        open_ = [kind for kind in rows if dealt[kind] < rows[kind]]
        dealt[max(open_, key=lambda kind: wanted[kind] - dealt[kind])] += 1
    return dealt


def _one_of_each_stretch(rows: int, count: int, chance: Callable[[], float]) -> list[int]:
    edges = [stretch * rows // count for stretch in range(count + 1)] if count else []
    return [start + int(chance() * (end - start)) for start, end in pairwise(edges)]
