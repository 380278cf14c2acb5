"""The coordinator: which worker has which shard, who is lost, and the leases on the limits of all.

Pure: `now` comes in. A worker pulls a shard, tells that it has begun, and is heard with each lease, at least once a
second. One that was not heard for a while is taken for dead and its shard goes to another worker; should it live, it
gets no lease any more and stops. A shard whose workers die again and again is given up, so that one row that kills its
process does not keep the run from ending.
"""

from collections import deque
from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from arkbatch.cluster.messages import Beat, Begun, Ended, LeaseMessage, LeaseReply, NextShard, WorkerCounts
from arkbatch.core.types import Cause, Kind
from arkbatch.limits.lease_core import LOST_AFTER, Amounts, Lease, LeaseCore

MOST_ATTEMPTS = 5  # that may die at one shard
PREPARING_SECONDS = 60.0  # between a claim and the first message; opening a run of a million records takes some
ASK_AGAIN = 1.0  # s, where all shards are being worked on
LONG_AFTER = 5.0  # s without a message, after which the state says so


class Working(Struct):
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
        self._waiting = deque(index for index in range(shards) if index not in self._finished)
        self._working: dict[int, Working] = {}
        self._crashes: dict[int, int] = {}
        self._ended_counts: dict[int, WorkerCounts] = {}
        self.given_up: dict[int, str] = {}
        self.halt: Cause | None = None
        self.is_draining = False
        self.pauses: set[str] = set()
        self.troubles: deque[str] = deque(maxlen=100)

    # ---- what workers say

    def next_shard(self, now: float, worker: str) -> NextShard:
        """Give the worker a shard. One that it had before, and did not end, died with it."""
        self.look(now)
        for shard, working in list(self._working.items()):
            if working.worker == worker:
                self._lose(shard, "its worker began anew")
        if self.is_over or self.is_draining:
            return NextShard(is_over=True)
        if not self._waiting or now < self._hands_out_from:
            return NextShard(wait=ASK_AGAIN)
        shard = self._waiting.popleft()
        self._working[shard] = Working(worker, now + PREPARING_SECONDS - LOST_AFTER)
        return NextShard(shard)

    def begun(self, now: float, message: Begun) -> None:
        """An attempt begins. It also tells a coordinator that began anew who works on what."""
        self.core.admit(message.shard, message.attempt)
        working = self._adopt(now, message.shard, message.worker)
        working.attempt = message.attempt

    def beat(self, now: float, message: Beat) -> None:
        working = self._working.get(message.shard)
        if working is not None and working.worker == message.worker:
            working.heard_at = max(working.heard_at, now)

    def lease(self, now: float, message: LeaseMessage) -> LeaseReply:
        """Grant a lease, which is also how a worker is known to live."""
        self.look(now)
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
        return LeaseReply(self.core.lease(now, request), self.is_draining)

    def ended(self, now: float, message: Ended) -> None:
        """An attempt is over, well or not."""
        del now
        shard, working = message.shard, self._working.get(message.shard)
        self.core.forget(message.worker)
        if message.is_finished:
            self._finished.add(shard)
            self._ended_counts[shard] = message.counts
            if shard in self._waiting:
                self._waiting.remove(shard)
        if working is None or (working.worker, working.attempt) != (message.worker, message.attempt):
            return
        del self._working[shard]
        if self.core.budget is not None:
            self.core.budget.end(shard, message.attempt, message.spent)
        if message.is_finished:
            return
        self._ended_counts[shard] = message.counts
        if message.halt is not None:
            self.halt, self.is_draining = message.halt, True
            self._waiting.appendleft(shard)
        elif message.was_stopped:
            self._waiting.appendleft(shard)
        else:
            self._count_crash(shard, message.trouble)

    # ---- what time alone brings

    def look(self, now: float) -> None:
        """Take shards from workers that were not heard for long."""
        for shard, working in list(self._working.items()):
            if now - working.heard_at > LOST_AFTER:
                self._lose(shard, f"worker {working.worker} was not heard for {LOST_AFTER:.0f} s")

    def worker_died(self, worker: str, why: str) -> None:
        """Somebody who started the worker knows that it is dead."""
        for shard, working in list(self._working.items()):
            if working.worker == worker:
                self._lose(shard, why)

    def _lose(self, shard: int, why: str) -> None:
        working = self._working.pop(shard)
        self.core.forget(working.worker)
        if working.attempt is not None:
            self.core.admit(shard, working.attempt + 1)
        self._ended_counts[shard] = working.counts
        self._count_crash(shard, why)

    def _count_crash(self, shard: int, why: str) -> None:
        crashes = self._crashes[shard] = self._crashes.get(shard, 0) + 1
        self.troubles.append(f"shard {shard}: {why} (attempt {crashes} of {MOST_ATTEMPTS})")
        if crashes >= MOST_ATTEMPTS:
            self.given_up[shard] = why
            if self.halt is None:
                self.halt = _given_up(shard, why)
        else:
            self._waiting.append(shard)

    def _adopt(self, now: float, shard: int, worker: str) -> Working:
        if shard in self._waiting:
            self._waiting.remove(shard)
        working = self._working.get(shard)
        if working is None or working.worker != worker:
            working = self._working[shard] = Working(worker, now)
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
        both = {**self._ended_counts, **{shard: working.counts for shard, working in self._working.items()}}
        return sum(counts.rows > 0 for counts in both.values())

    def drain(self) -> None:
        """Have all workers end their calls in flight and stop."""
        self.is_draining = True

    def state(self) -> ClusterState:
        present = [working.counts for working in self._working.values()]
        past = [counts for shard, counts in self._ended_counts.items() if shard not in self._working]
        return ClusterState(
            shards=self._count,
            finished=len(self._finished),
            working=len(self._working),
            workers=len({working.worker for working in self._working.values()}),
            in_flight=self.core.in_flight,
            given_up=self.given_up,
            halt=self.halt,
            is_over=self.is_over,
            counts=_sum(past, present),
            lease_calls=self.core.calls,
        )


def _sum(past: list[WorkerCounts], present: list[WorkerCounts]) -> WorkerCounts:
    both = [*past, *present]
    return WorkerCounts(
        rows=sum(each.rows for each in both),
        done=sum(each.done for each in both),
        failed=sum(each.failed for each in both),
        recorded=sum(each.recorded for each in both),
        retried=sum(each.retried for each in both),
        requests_per_minute=sum(each.requests_per_minute for each in present),
        tokens_per_minute=sum(each.tokens_per_minute for each in present),
    )


def _given_up(shard: int, why: str) -> Cause:
    return Cause(
        Kind.UNFINISHED,
        "shard_given_up",
        f"shard {shard} was given up after {MOST_ATTEMPTS} attempts: {why}",
        f"Look at the log of its last attempt (shards/{shard:06}.*/run.log), then run the same command again.",
    )
