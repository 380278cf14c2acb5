"""Counts the tokens of rows exactly, by Ark's tokenization, before any of them is sent to a model.

The texts of several rows go in one call, and calls go through the engine like those of any run: under the job's limits,
with its retries and its pace. Nothing is kept: a row whose count came, or failed, is told and forgotten, so that memory
depends on the calls in flight. What to make of a row that could not be counted is for who listens.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import islice

import orjson
from msgspec import Struct, field
from msgspec.structs import replace

from arkbatch.core.errors import ArkbatchError
from arkbatch.core.job import Job
from arkbatch.core.types import Cause, Outcome, Row, Success
from arkbatch.engine.call import Dependencies
from arkbatch.engine.wiring import build_limiter, build_outage, build_pace
from arkbatch.engine.worker_pool import WorkerPool
from arkbatch.limits.circuit_breaker import Outage
from arkbatch.monitor.observer import Observer
from arkbatch.protocol.endpoints import tokenization
from arkbatch.protocol.endpoints.texts import texts_of
from arkbatch.transport.build import open_connection
from arkbatch.transport.connection_slots import ConnectionSlots

# No limit of a call is documented. So much is one call of an ordinary run.
TEXTS = 64
CHARACTERS = 50_000
MODELS = 64  # whose calls are being filled at the same time

PATIENCE = 60.0  # s; an estimate that waits for hours is none
LOOK_SECONDS = 0.5

Told = Callable[[Row, int | None], None]
"""A row, and the tokens of its texts; None when they could not be counted."""


class Counted(Struct, frozen=True):
    """How it went.

    failed: rows without a count; cause: why the last of them has none
    calls: with those that were made again
    halt: why nothing can be counted
    """

    rows: int
    failed: int
    calls: int
    cause: Cause | None
    halt: Cause | None


async def count_tokens(
    job: Job, rows: Iterator[Row], told: Told, wall: Callable[[], float], chance: Callable[[], float] = random.random
) -> Counted:
    """Tells of each row once, in any order; after a halt not of all of them."""
    retry = replace(job.retry, patience=PATIENCE, give_up_after=min(job.retry.give_up_after, PATIENCE))
    job = replace(job, retry=retry)
    now = asyncio.get_running_loop().time()
    outage = build_outage(job, now, known=False)
    limiter = build_limiter(job, now, build_pace(job, now), outage)
    batches = _Batches(rows, told)
    async with open_connection(job, wall, ConnectionSlots()) as transport:
        tools = Dependencies(
            limiter=limiter,
            transport=transport,
            journal=batches,
            observer=Observer(),
            retry=retry,
            replies=job.replies,
            model=job.model,
            call_prefix=f"{job.request_id_prefix}count",
            chance=chance,
            wall=wall,
        )
        engine = WorkerPool(iter(batches), tools)
        async with _watching(engine, outage):
            await engine.work_off(job.limits.concurrency)
    return Counted(batches.rows, batches.failed, batches.calls, batches.cause, engine.halt)


class _Batch(Struct):
    """Rows whose texts go in one call, with the number of texts of each."""

    rows: list[Row] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    characters: int = 0

    def add(self, row: Row, texts: list[str]) -> None:
        self.rows.append(row)
        self.texts += texts
        self.sizes.append(len(texts))
        self.characters += sum(map(len, texts))

    @property
    def is_full(self) -> bool:
        return len(self.texts) >= TEXTS or self.characters >= CHARACTERS


class _Batches:
    """Rows become calls, and calls become counts again: the engine's input, and what it records to."""

    def __init__(self, rows: Iterator[Row], told: Told) -> None:
        self._source = rows
        self._told = told
        self._open: dict[str, _Batch] = {}  # by model
        self._under_way: dict[int, _Batch] = {}
        self.rows = self.failed = self.calls = self.sent = 0
        self.cause: Cause | None = None

    def __iter__(self) -> Iterator[Row]:
        for row in self._source:
            texts = texts_of(row.endpoint, row.body)
            if not texts:
                self._tell(row, 0)
                continue
            self._open.setdefault(row.asked_model, _Batch()).add(row, texts)
            if self._open[row.asked_model].is_full:
                yield self._call(row.asked_model)
            elif len(self._open) > MODELS:
                yield self._call(next(iter(self._open)))
        while self._open:
            yield self._call(next(iter(self._open)))

    def _call(self, model: str) -> Row:
        """What is open of this model, as a row of tokenization."""
        batch, self.sent = self._open.pop(model), self.sent + 1
        self._under_way[self.sent] = batch
        return Row(self.sent, 0, "", "", tokenization.NAME, {"model": model, "text": batch.texts})

    def record(self, *outcomes: Outcome) -> None:
        for outcome in outcomes:
            self.calls += outcome.attempts
            batch = self._under_way.pop(outcome.row.number)
            if isinstance(outcome, Success):
                totals = iter(tokenization.totals(orjson.loads(outcome.reply.body)["data"]))
                for row, size in zip(batch.rows, batch.sizes, strict=True):
                    self._tell(row, sum(islice(totals, size)))
            else:
                self.cause = outcome.cause
                for row in batch.rows:
                    self._tell(row, None)

    def _tell(self, row: Row, tokens: int | None) -> None:
        self.rows += 1
        self.failed += tokens is None
        self._told(row, tokens)


@asynccontextmanager
async def _watching(engine: WorkerPool, outage: Outage) -> AsyncIterator[None]:
    """Ends the count when the service is away for too long."""

    async def watch() -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if (cause := outage.given_up(asyncio.get_running_loop().time())) is not None:
                engine.give_up(cause)

    try:
        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(watch())
            yield
            watcher.cancel()
    except* ArkbatchError as errors:  # what the body raises comes out as it is, not in a group
        raise errors.exceptions[0] from None
