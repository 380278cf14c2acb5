"""A worker: takes shards from the coordinator and runs them.

When the rows of a shard are used up, and only its last calls are in flight, the worker opens the next shard beside it.
So it waits neither for a slow call nor for the disk. Both shards share its calls at once.

The same loop serves Ray actors, Slurm tasks, pods and plain processes; only who starts it differs.
"""

import asyncio
import contextlib
import os
import platform
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from arkbatch.cluster.attempt_counter import AttemptCounter
from arkbatch.cluster.messages import (
    AttemptBegan,
    AttemptEnded,
    Heartbeat,
    LeaseMessage,
    LeaseReply,
    MessageTaken,
    NextRequest,
    NextShard,
)
from arkbatch.cluster.publishing import BEAT_SECONDS
from arkbatch.cluster.service import CoordinatorClient
from arkbatch.cluster.shard_attempt import ShardAttempt, ShardResult, begin_attempt, run_attempt
from arkbatch.core.errors import ArkbatchError, StorageFull
from arkbatch.core.job import Job
from arkbatch.engine.run_beside import first_error
from arkbatch.engine.session import Session
from arkbatch.journal.shard_files import ShardDirectory
from arkbatch.journal.shard_plan import Shard
from arkbatch.limits.lease_messages import Lease, LeaseRequest
from arkbatch.limits.leased_pace import WorkerPlaces
from arkbatch.limits.leased_rates import LeasedRates, ShardTaken
from arkbatch.monitor.observer import Observer
from arkbatch.transport.connection import open_connection
from arkbatch.transport.connection_slots import ConnectionSlots

if TYPE_CHECKING:
    from arkbatch.transport.transport import Transport


SHARDS_AT_ONCE = 2  # one is worked off, the other ends its last calls


class WorkerReport(Struct):
    """What a worker did."""

    shards: int = 0
    troubles: list[str] = []


def worker_name(suffix: str = "") -> str:
    """A name that no other worker has."""
    return f"{platform.node()}-{os.getpid()}-{os.urandom(3).hex()}{suffix}"


class Turn:
    """The right to begin rows, which only one shard of a worker has at a time."""

    def __init__(self, lock: asyncio.Lock) -> None:
        self._lock = lock
        self._is_held = False

    async def take(self) -> None:
        await self._lock.acquire()
        self._is_held = True

    def pass_on(self) -> None:
        """Let the next shard begin. It may be called again."""
        if self._is_held:
            self._is_held = False
            self._lock.release()


class ShardWork:
    """What a worker does for one shard."""

    def __init__(self, shard: Shard, turn: Turn) -> None:
        self.shard, self.turn = shard, turn
        self.counter = AttemptCounter()
        self.rates: LeasedRates | None = None
        self._session: Session | None = None
        self._is_stopping = False

    def started(self, session: Session) -> None:
        self._session = session
        if self._is_stopping:
            session.stop()

    def stop(self) -> None:
        """End when the calls in flight have ended."""
        self._is_stopping = True
        if self._session is not None:
            self._session.stop()


class Worker:
    """One worker process, or one of several in a process.

    job: without limits per minute, which are the coordinator's
    """

    def __init__(
        self,
        client: CoordinatorClient,
        shards: ShardDirectory,
        job: Job,
        *,
        name: str,
        wall: Callable[[], float],
        observer: Observer | None = None,
    ) -> None:
        self._client = client
        self._shards = shards
        self._job = job
        self._name = name
        self._wall = wall
        self._observer = observer
        self._places = WorkerPlaces(job.limits.concurrency)
        self._at_work: dict[int, ShardWork] = {}  # by shard, until the coordinator knows how it ended
        self._may_begin_rows = asyncio.Lock()
        self._message_about_leases = asyncio.Lock()  # one at a time, so that the last answer is the newest
        self._has_ended_one = asyncio.Event()
        self._connections = AsyncExitStack()
        self._transport: Transport | None = None
        self.is_stopping = False
        self.report = WorkerReport()

    def stop(self) -> None:
        """End when the calls in flight have ended."""
        self.is_stopping = True
        for work in self._at_work.values():
            work.stop()

    async def work(self) -> WorkerReport:
        """Work until nothing is left. ArkbatchError: no shard can be worked on here."""
        shards = list(self._shards.read_plan().all_shards())
        async with self._connections:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(SHARDS_AT_ONCE):
                        group.create_task(self._work_off(shards))
            except* ArkbatchError as errors:
                raise first_error(errors) from None
        return self.report

    async def _work_off(self, shards: list[Shard]) -> None:
        """Work off shard after shard, each from the moment at which the one beside it has no more rows to begin."""
        turn = Turn(self._may_begin_rows)
        while True:
            await turn.take()
            try:
                given = await self._next_given()
                if given is None:
                    return
                await self._work_on(ShardWork(shards[given], turn))
            finally:
                turn.pass_on()

    async def _next_given(self) -> int | None:
        """Ask for a shard until there is one. None: nothing is left."""
        while not self.is_stopping:
            self._has_ended_one.clear()
            request = NextRequest(self._name, list(self._at_work))
            given = await self._client.send_patiently("/next", request, NextShard)
            if given.is_over or given.shard is not None:
                return given.shard
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(given.wait):  # or until the other shard has ended, which may be the last
                    await self._has_ended_one.wait()
        return None

    async def _work_on(self, work: ShardWork) -> None:
        """Work on a shard, and tell the coordinator how that ended."""
        index = work.shard.index
        self._at_work[index] = work
        if self.is_stopping:
            work.stop()
        try:
            await self._tell_ended(work, await self._attempt(work))
        except ShardTaken as taken:
            self.report.troubles.append(str(taken))
        finally:
            del self._at_work[index]
            self._has_ended_one.set()

    async def _attempt(self, work: ShardWork) -> AttemptEnded:
        """Make an attempt at a shard. ShardTaken: another worker has it. StorageFull: this worker has to end."""
        index, number = work.shard.index, 0
        try:
            attempt = await self._prepare(work.shard)
            number = attempt.number
            await self._client.send_patiently("/begun", AttemptBegan(self._name, index, number), MessageTaken)
            return self._ended_well(await self._run(work, attempt), work.counter)
        except (ShardTaken, StorageFull):
            raise
        except ArkbatchError as error:
            self.report.troubles.append(str(error))
            return AttemptEnded(self._name, index, number, is_finished=False, trouble=str(error))

    async def _tell_ended(self, work: ShardWork, ended: AttemptEnded) -> None:
        """Tell how an attempt ended, and give its leases back."""
        rates = work.rates
        if rates is not None:
            ended = replace(ended, spent=rates.spent, last=rates.last_request())
        await self._client.send_patiently("/ended", ended, MessageTaken)

    def _ended_well(self, result: ShardResult, counter: AttemptCounter) -> AttemptEnded:
        summary = result.summary
        self.report.shards += result.is_finished
        return AttemptEnded(
            self._name,
            result.shard,
            result.attempt,
            is_finished=result.is_finished,
            halt=summary.halt if summary.ending == "halted" else None,
            was_stopped=summary.ending == "stopped",
            trouble="" if result.is_finished else f"its session ended as {summary.ending}",
            counts=counter.counts,
            latency=counter.latency.to_counts(),
        )

    async def _prepare(self, shard: Shard) -> ShardAttempt:
        """Claim an attempt in a thread, since a shard may have to be fetched, and be heard meanwhile."""
        work = asyncio.ensure_future(asyncio.to_thread(begin_attempt, self._shards, shard))
        while not (await asyncio.wait([work], timeout=BEAT_SECONDS))[0]:
            await self._tell_alive(shard.index)
        return work.result()

    async def _tell_alive(self, shard: int) -> None:
        await self._client.send_patiently("/beat", Heartbeat(self._name, shard), MessageTaken)

    async def _run(self, work: ShardWork, attempt: ShardAttempt) -> ShardResult:
        async def ask(request: LeaseRequest) -> Lease:
            message = LeaseMessage(request, work.counter.counts)
            async with self._message_about_leases:
                reply = await self._client.send("/lease", message, LeaseReply)
            if reply.is_draining:
                self.stop()
            return reply.lease

        work.rates = LeasedRates(
            ask,
            worker=self._name,
            shard=attempt.shard.index,
            attempt=attempt.number,
            places=self._places,
            clock=asyncio.get_running_loop().time,
        )
        if self._transport is None:  # kept from shard to shard
            opened = open_connection(self._job, self._wall, ConnectionSlots())
            self._transport = await self._connections.enter_async_context(opened)
        return await run_attempt(
            self._job,
            self._shards,
            attempt,
            wall=self._wall,
            observers=[work.counter] if self._observer is None else [work.counter, self._observer],
            rates=work.rates,
            transport=self._transport,
            started=work.started,
            rows_used_up=work.turn.pass_on,
            tell_alive=lambda: self._tell_alive(attempt.shard.index),
        )


def shards_for(index: int, of: int, shards: int) -> range:
    """The shards of one of several workers that divide them without a coordinator."""
    return range(index, shards, of)
