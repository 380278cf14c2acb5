"""The coordinator: gives shards and leases to workers, and notices lost ones.

Pure: `now` comes in. A worker asks for a shard, says when it begins, and asks for a lease at least once a second. A
worker that says nothing for some seconds is taken for dead, and its shard goes to another worker. If it is alive after
all, it gets no lease any more and stops. A shard whose workers die again and again is given up, so that one row that
kills its process does not keep the run from ending.
"""

from collections import deque
from collections.abc import Collection, Iterable

from msgspec import Struct
from msgspec.structs import replace

from arkbatch.cluster.cluster_counts import ClusterCounts
from arkbatch.cluster.messages import (
    AttemptBegan,
    AttemptEnded,
    Heartbeat,
    LeaseMessage,
    LeaseReply,
    NextShard,
    WorkerCounts,
)
from arkbatch.core.calls import Cause, Kind
from arkbatch.core.histogram import Histogram
from arkbatch.limits.lease_core import LeaseCore
from arkbatch.limits.lease_messages import Amounts, Lease
from arkbatch.limits.lease_workers import LOST_AFTER_SECONDS

MAX_ATTEMPTS = 5  # that may die at one shard
PREPARING_SECONDS = 60.0  # between a claim and the first message; opening a run of a million records takes some
ASK_AGAIN_SECONDS = 1.0  # where all shards are being worked on
CHECK_SECONDS = 0.25  # between two looks for lost workers


class AttemptInProgress(Struct):
    """An attempt in progress. `attempt`: None until it has begun."""

    worker: str
    heard_at: float
    attempt: int | None = None
    counts: WorkerCounts = WorkerCounts()


class ClusterState(Struct, frozen=True):
    """How the run stands, for people and for the process that started it."""

    shards: int
    finished: int
    working: int
    workers: int
    in_flight: int
    given_up: dict[int, str]
    halt: Cause | None
    is_over: bool
    counts: WorkerCounts
    lease_calls: int


class Coordinator:
    """One for each run.

    shards: how many there are; finished: those that need no work
    hands_out_from: until then no shard is handed out, so that workers of a coordinator that died can say what they have
    """

    def __init__(
        self, core: LeaseCore, shards: int, finished: Iterable[int] = (), *, hands_out_from: float = 0.0
    ) -> None:
        self._hands_out_from = hands_out_from
        self.core = core
        self._count = shards
        self._finished = set(finished)
        self._queue = deque(index for index in range(shards) if index not in self._finished)
        self._waiting = set(self._queue)  # a shard that is in the queue and not here was taken out of it
        self._working: dict[int, AttemptInProgress] = {}
        self._crashes: dict[int, int] = {}
        self._counts = ClusterCounts()
        self._checked_at = -CHECK_SECONDS
        self.latency = Histogram()  # of calls of attempts that have ended in order
        self.given_up: dict[int, str] = {}
        self.halt: Cause | None = None
        self.is_draining = False
        self.pauses: set[str] = set()
        self.troubles: list[str] = []

    # ---- what workers say

    def next_shard(self, now: float, worker: str, holds: Collection[int] = ()) -> NextShard:
        """Give the worker a shard. One that it began before, and neither holds nor ended, counts as a crash."""
        self.check_workers(now)
        for shard in self._shards_of(worker) - set(holds):
            if self._working[shard].attempt is None:
                return NextShard(shard)  # the answer before did not arrive
            self._lose(shard, "its worker began anew")
        if self.is_over or self.is_draining:
            return NextShard(is_over=True)
        if now < self._hands_out_from or self.core.is_away:
            return NextShard(wait=ASK_AGAIN_SECONDS)
        taken = self._take_from_queue(self._shards_of(worker))
        if taken is None:
            return NextShard(wait=ASK_AGAIN_SECONDS)
        self._working[taken] = AttemptInProgress(worker, now + PREPARING_SECONDS - LOST_AFTER_SECONDS)
        return NextShard(taken)

    def _shards_of(self, worker: str) -> set[int]:
        return {shard for shard, working in self._working.items() if working.worker == worker}

    def _take_from_queue(self, beside: set[int]) -> int | None:
        """Take the next shard that waits. beside: what the same worker works on meanwhile.

        A shard at which a worker has died is worked on alone, so that it takes no other one along when it kills again.
        """
        if any(shard in self._crashes for shard in beside):
            return None
        for _ in range(len(self._queue)):
            shard = self._queue.popleft()
            if shard in self._waiting and not (beside and shard in self._crashes):
                self._waiting.remove(shard)
                return shard
            if shard in self._waiting:
                self._queue.append(shard)
        return None

    def _put_back(self, shard: int) -> None:
        if shard not in self._waiting:
            self._waiting.add(shard)
            self._queue.append(shard)

    def attempt_began(self, now: float, message: AttemptBegan) -> None:
        """Note an attempt. It also tells a coordinator that was restarted who works on what."""
        self.core.admit_attempt(message.shard, message.attempt)
        working = self._adopt(now, message.shard, message.worker)
        working.attempt = message.attempt

    def heartbeat(self, now: float, message: Heartbeat) -> None:
        """Note that a worker is alive which prepares a shard."""
        working = self._working.get(message.shard)
        if working is not None and working.worker == message.worker:
            working.heard_at = max(working.heard_at, now)

    def lease(self, now: float, message: LeaseMessage) -> LeaseReply:
        """Grant a lease, which is also how a worker is known to live."""
        self.check_workers(now)
        request = message.request
        working = self._working.get(request.shard)
        if request.shard in self._finished or self.core.is_fenced(request.shard, request.attempt):
            return LeaseReply(Lease(is_fenced=True))
        if working is None or working.attempt is None or request.attempt > working.attempt:
            working = self._adopt(now, request.shard, request.worker)
            working.attempt = request.attempt
        if (working.worker, working.attempt) != (request.worker, request.attempt):
            return LeaseReply(Lease(is_fenced=True))
        working.heard_at, working.counts = now, message.counts
        if self.pauses:
            request = replace(request, wanted=Amounts())
        return LeaseReply(self.core.grant_lease(now, request), self.is_draining)

    def attempt_ended(self, now: float, message: AttemptEnded) -> None:
        """Note the end of an attempt, whether its shard is finished or not."""
        shard, working = message.shard, self._working.get(message.shard)
        if message.last is not None and working is not None and working.worker == message.worker:
            self.core.take_in(now, message.last)  # what is left of its leases comes back
        self._free_places(message.worker, shard)
        self.latency.add_counts(message.latency)
        if message.is_finished:
            self._finished.add(shard)
            self._waiting.discard(shard)
        if working is None or (working.worker, working.attempt or 0) != (message.worker, message.attempt):
            if message.is_finished and working is None:
                self._counts.end(shard, message.counts)
            return
        del self._working[shard]
        self._counts.end(shard, message.counts)
        self._end_budget(message)
        if message.is_finished:
            return
        if message.halt is not None:
            self.halt, self.is_draining = message.halt, True
            self._put_back(shard)
        elif message.was_stopped:
            self._put_back(shard)
        else:
            self._count_crash(shard, message.trouble)

    def _end_budget(self, message: AttemptEnded) -> None:
        """Only what a finished shard has spent stays charged; of an unfinished one the next attempt reports it."""
        budget = self.core.budget
        if budget is None:
            return
        if message.is_finished:
            budget.end_attempt(message.shard, message.attempt, message.spent)
        elif message.was_stopped or message.halt is not None:
            budget.report_spending(message.shard, message.attempt, message.spent, 0, gives_back=True)
        else:
            budget.lose_attempt(message.shard)

    # ---- what time alone brings

    def check_workers(self, now: float) -> None:
        """Take shards from workers that said nothing for long."""
        if now - self._checked_at < CHECK_SECONDS:
            return
        self._checked_at = now
        for shard, working in list(self._working.items()):
            if now - working.heard_at > LOST_AFTER_SECONDS:
                self._lose(shard, f"worker {working.worker} was not heard for {LOST_AFTER_SECONDS:.0f} s")

    def worker_died(self, worker: str, why: str) -> None:
        """Take the shard from a worker of which it is known that it is dead."""
        for shard, working in list(self._working.items()):
            if working.worker == worker:
                self._lose(shard, why)

    def _lose(self, shard: int, why: str) -> None:
        working = self._working.pop(shard)
        self._free_places(working.worker, shard)
        if working.attempt is not None:
            self.core.admit_attempt(shard, working.attempt + 1)
        self._counts.end(shard, working.counts)
        self._count_crash(shard, why)

    def _free_places(self, worker: str, shard: int) -> None:
        """Free what a worker held for a shard. Its calls at once stay, while it works on another one."""
        if self._shards_of(worker) - {shard}:
            self.core.end_probing(worker, shard)
        else:
            self.core.forget_worker(worker)

    def _count_crash(self, shard: int, why: str) -> None:
        crashes = self._crashes[shard] = self._crashes.get(shard, 0) + 1
        self.troubles.append(f"Shard {shard}: {why} (attempt {crashes} of {MAX_ATTEMPTS})")
        if crashes < MAX_ATTEMPTS:
            self._put_back(shard)
            return
        self.given_up[shard] = why
        if self.halt is None:
            self.halt = _given_up(shard, why)

    def _adopt(self, now: float, shard: int, worker: str) -> AttemptInProgress:
        self._waiting.discard(shard)
        working = self._working.get(shard)
        if working is None or working.worker != worker:
            self._counts.begin(shard)
            working = self._working[shard] = AttemptInProgress(worker, now)
        working.heard_at = now
        return working

    # ---- what others ask

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to do: no shard waits, and none is worked on."""
        return not self._working and (self.is_draining or not self._waiting)

    @property
    def opened(self) -> int:
        """Shards whose number of rows is known."""
        return self._counts.opened + sum(working.counts.rows > 0 for working in self._working.values())

    def drain(self) -> None:
        """Have all workers end their calls in flight and stop."""
        self.is_draining = True

    def state(self) -> ClusterState:
        """Return how the run stands. The cost depends on the number of workers, and not of shards."""
        return ClusterState(
            shards=self._count,
            finished=len(self._finished),
            working=len(self._working),
            workers=len({working.worker for working in self._working.values()}),
            in_flight=self.core.in_flight,
            given_up=self.given_up,
            halt=self.halt,
            is_over=self.is_over,
            counts=self._counts.total(working.counts for working in self._working.values()),
            lease_calls=self.core.calls,
        )


def _given_up(shard: int, why: str) -> Cause:
    return Cause(
        Kind.UNFINISHED,
        "shard_given_up",
        f"shard {shard} was given up after {MAX_ATTEMPTS} attempts: {why}",
        f"Look at the log of its last attempt (shards/{shard:06}.*/run.log), then run the same command again.",
    )
