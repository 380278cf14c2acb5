"""How all shards of a run stand together, summed up as workers tell it."""

from collections.abc import Iterable

from arkbatch.cluster.messages import CallTallies, WorkerCounts


class ClusterCounts:
    """The sums over shards that no worker works on now, without those that were finished before this process began."""

    def __init__(self) -> None:
        self._ended: dict[int, WorkerCounts] = {}
        self._rows = self._done = self._failed = self._recorded = self._retried = 0
        self._tallies = CallTallies()
        self.opened = 0  # shards whose number of rows is known

    def begin(self, shard: int) -> None:
        """An attempt works on the shard, and says from now on how it stands."""
        before = self._ended.pop(shard, None)
        if before is not None:
            self._add(before, -1)

    def end(self, shard: int, counts: WorkerCounts) -> None:
        """An attempt has ended. What it recorded and retried stays counted, also when another attempt follows."""
        self.begin(shard)
        self._ended[shard] = counts
        self._add(counts, 1)
        self._recorded += counts.recorded
        self._retried += counts.retried
        self._tallies = self._tallies.plus(counts.tallies)

    def _add(self, counts: WorkerCounts, sign: int) -> None:
        self._rows += sign * counts.rows
        self._done += sign * counts.done
        self._failed += sign * counts.failed
        self.opened += sign * (counts.rows > 0)

    def total(self, working: Iterable[WorkerCounts]) -> WorkerCounts:
        """The sums, with the attempts that are at work now."""
        present, tallies = list(working), self._tallies
        for each in present:
            tallies = tallies.plus(each.tallies)
        return WorkerCounts(
            rows=self._rows + sum(each.rows for each in present),
            done=self._done + sum(each.done for each in present),
            failed=self._failed + sum(each.failed for each in present),
            recorded=self._recorded + sum(each.recorded for each in present),
            retried=self._retried + sum(each.retried for each in present),
            requests_per_minute=sum(each.requests_per_minute for each in present),
            tokens_per_minute=sum(each.tokens_per_minute for each in present),
            tallies=tallies,
        )
