"""A worker: takes shards from the coordinator and runs them one by one.

The same loop serves Ray actors, Slurm tasks, pods and plain processes; only who starts it differs.
"""

import asyncio
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
from arkbatch.engine.session import Session
from arkbatch.journal.shard_files import ShardDirectory
from arkbatch.journal.shard_plan import Shard
from arkbatch.limits.lease_messages import Lease, LeaseRequest
from arkbatch.limits.leased_rates import LeasedRates, ShardTaken
from arkbatch.monitor.observer import Observer
from arkbatch.transport.connection import open_connection
from arkbatch.transport.connection_slots import ConnectionSlots

if TYPE_CHECKING:
    from arkbatch.transport.transport import Transport


class WorkerReport(Struct):
    """What a worker did."""

    shards: int = 0
    troubles: list[str] = []


def worker_name(suffix: str = "") -> str:
    """A name that no other worker has."""
    return f"{platform.node()}-{os.getpid()}-{os.urandom(3).hex()}{suffix}"


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
        self._session: Session | None = None
        self._rates: LeasedRates | None = None  # of the attempt in work
        self._connections = AsyncExitStack()
        self._transport: Transport | None = None
        self.is_stopping = False
        self.report = WorkerReport()

    def stop(self) -> None:
        """End when the calls in flight have ended."""
        self.is_stopping = True
        if self._session is not None:
            self._session.stop()

    async def work(self) -> WorkerReport:
        """Work until nothing is left. ArkbatchError: no shard can be worked on here."""
        shards = list(self._shards.read_plan().all_shards())
        async with self._connections:
            await self._work_off(shards)
        return self.report

    async def _work_off(self, shards: list[Shard]) -> None:
        given = await self._ask_next()
        while not given.is_over:
            if given.shard is not None:
                given = await self._work_on(shards[given.shard]) or await self._ask_next()
            else:
                await asyncio.sleep(given.wait)
                given = await self._ask_next()

    async def _ask_next(self) -> NextShard:
        if self.is_stopping:
            return NextShard(is_over=True)
        return await self._client.send_patiently("/next", NextRequest(self._name), NextShard)

    async def _work_on(self, shard: Shard) -> NextShard | None:
        """Work on a shard. Returns what to work on next, None where the coordinator is to be asked."""
        counter, attempt, self._rates = AttemptCounter(), None, None
        ended = AttemptEnded(self._name, shard.index, 0, is_finished=False, was_stopped=True)
        try:
            attempt = await self._prepare(shard)
            await self._client.send_patiently(
                "/begun", AttemptBegan(self._name, shard.index, attempt.number), MessageTaken
            )
            ended = self._ended_well(await self._run(attempt, counter), counter)
        except ShardTaken as taken:
            self.report.troubles.append(str(taken))
            return None
        except StorageFull:
            raise
        except ArkbatchError as error:
            self.report.troubles.append(str(error))
            number = attempt.number if attempt is not None else 0
            ended = AttemptEnded(self._name, shard.index, number, is_finished=False, trouble=str(error))
        return await self._tell_ended(ended)

    async def _tell_ended(self, ended: AttemptEnded) -> NextShard | None:
        """Tell how an attempt ended, give its leases back, and ask for the next shard, in one message."""
        rates, self._rates = self._rates, None
        last = rates.last_request() if rates is not None else None
        spent = rates.spent if rates is not None else 0
        message = replace(ended, spent=spent, last=last, wants_next=not self.is_stopping)
        given = await self._client.send_patiently("/ended", message, NextShard)
        return given if message.wants_next else None

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

    async def _run(self, attempt: ShardAttempt, counter: AttemptCounter) -> ShardResult:
        async def ask(request: LeaseRequest) -> Lease:
            reply = await self._client.send("/lease", LeaseMessage(request, counter.counts), LeaseReply)
            if reply.is_draining:
                self.stop()
            return reply.lease

        rates = self._rates = LeasedRates(
            ask,
            worker=self._name,
            shard=attempt.shard.index,
            attempt=attempt.number,
            concurrency=self._job.limits.concurrency,
            clock=asyncio.get_running_loop().time,
        )
        if self._transport is None:  # kept from shard to shard
            opened = open_connection(self._job, self._wall, ConnectionSlots())
            self._transport = await self._connections.enter_async_context(opened)
        observers = [counter] if self._observer is None else [counter, self._observer]
        try:
            return await run_attempt(
                self._job,
                self._shards,
                attempt,
                wall=self._wall,
                observers=observers,
                rates=rates,
                transport=self._transport,
                started=self._started,
                tell_alive=lambda: self._tell_alive(attempt.shard.index),
            )
        finally:
            self._session = None

    def _started(self, session: Session) -> None:
        self._session = session
        if self.is_stopping:
            session.stop()


def shards_for(index: int, of: int, shards: int) -> range:
    """The shards of one of several workers that divide them without a coordinator."""
    return range(index, shards, of)
