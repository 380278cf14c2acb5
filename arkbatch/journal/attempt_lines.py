"""The record lines that an attempt at a shard adds to earlier ones."""

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

from arkbatch.journal.record_reader import end_of_lines, read_lines
from arkbatch.journal.run_directory import FAILURES, RESULTS
from arkbatch.journal.shard_files import ShardDirectory


class AttemptLines:
    """What one attempt adds to its shard, as it is when this object is made: later lines are not seen.

    results_from: bytes of the results that a later attempt took over; known: digests of failures that it took over
    """

    def __init__(self, directory: Path, results_from: int = 0, known: frozenset[str] = frozenset()) -> None:
        self._results = directory / RESULTS
        self._begin = results_from
        self.results_end = end_of_lines(self._results) if self._results.exists() else 0
        lines = (line for _, line in read_lines(directory / FAILURES))
        self.failures = [line for line in lines if digest_of_record(line) not in known]

    def result_lines(self) -> Iterator[tuple[Path, int, bytes]]:
        """Yield the path, offset and bytes of each line."""
        for offset, line in read_lines(self._results, self._begin, self.results_end):
            yield self._results, offset, line


def lines_of_attempts(shards: ShardDirectory, shard: int, numbers: list[int]) -> list[AttemptLines]:
    """The attempts at a shard, the newest first; together they hold each line once."""
    if not numbers:
        seed = shards.seed_path(shard)
        return [AttemptLines(seed)] if seed.is_dir() else []
    newest = numbers[-1]
    taken = shards.taken_over(shard, newest)
    known = frozenset(taken.failures)
    earlier = [
        AttemptLines(shards.attempt_path(shard, number), taken.results.get(number, 0), known)
        for number in reversed(numbers[:-1])
    ]
    return [AttemptLines(shards.attempt_path(shard, newest)), *earlier]


def digest_of_record(line: bytes) -> str:
    return blake2b(line, digest_size=8).hexdigest()
