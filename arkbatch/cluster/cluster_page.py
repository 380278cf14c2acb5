"""The report page of a run on several workers, while the run goes on.

The page shows the run directory, so the shards are merged now and then while somebody looks at it. A merge takes time
with the number of records; the pauses between two are ten times as long.
"""

from collections.abc import Callable
from pathlib import Path

from arkbatch.cluster.merge import merge
from arkbatch.reports.page.page import Now, PageData
from arkbatch.reports.serve.live import Look

SHORTEST_PAUSE_SECONDS = 5.0
PAUSE_IN_MERGES = 10


class ClusterPage:
    """Each call brings the run directory up to date, where that is due, and reads it."""

    def __init__(
        self, run: Path, wall: Callable[[], float], clock: Callable[[], float], now: Callable[[], Now | None]
    ) -> None:
        self._run, self._wall, self._clock, self._now = run, wall, clock, now
        self._merge_again_at = clock()
        self._look: Look | None = None

    def __call__(self) -> PageData:
        """RunDirectoryError: it cannot be read now."""
        began = self._clock()
        if began >= self._merge_again_at or self._look is None:
            merge(self._run, self._wall)
            ended = self._clock()
            self._merge_again_at = ended + max(SHORTEST_PAUSE_SECONDS, PAUSE_IN_MERGES * (ended - began))
            self._look = Look(str(self._run), self._wall, self._now)  # what it knew of the files is out of date
        return self._look()
