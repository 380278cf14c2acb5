"""The rows of an input by size: how many there are of each, and which to measure.

Rows are remembered as counts, by predicted tokens 2 % apart, so that ten million of them take no memory. How a size
becomes tokens is passed in.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from math import ceil, log
from typing import NamedTuple

from arkbatch.core.records import Size

Predict = Callable[[Size], float]  # tokens of input, by a rule

STEP = log(1.02)


class Group(NamedTuple):
    """Rows of about one size: the mean of their predicted inputs, and of their ceilings."""

    rows: int
    tokens: float
    ceiling: int | None


class Sizes:
    """The rows of an input, as counts by predicted input and ceiling."""

    def __init__(self, predict: Predict) -> None:
        self.predict = predict
        self.rows = 0
        self._sums: dict[tuple[int, int], list[float]] = {}

    def add(self, size: Size) -> None:
        tokens, ceiling = max(self.predict(size), 1.0), size.ceiling
        key = int(log(tokens) / STEP), -1 if ceiling is None else int(log(ceiling + 1) / STEP)
        sums = self._sums.get(key)
        if sums is None:
            sums = self._sums[key] = [0, 0.0, 0.0]
        sums[0] += 1
        sums[1] += tokens
        sums[2] += ceiling or 0
        self.rows += 1

    def groups(self) -> Iterator[Group]:
        for (_, ceilings), (count, tokens, ceiling) in self._sums.items():
            yield Group(int(count), tokens / count, None if ceilings < 0 else ceil(ceiling / count))


def choose(rows: int, count: int, chance: Callable[[], float]) -> list[int]:
    """Which rows to send, counted from 0: one by chance from each of `count` equal stretches of the file.

    chance: a number from 0 to below 1 at each call
    """
    count = min(rows, count)
    edges = [stretch * rows // count for stretch in range(count + 1)] if count else []
    return [start + int(chance() * (end - start)) for start, end in pairwise(edges)]
