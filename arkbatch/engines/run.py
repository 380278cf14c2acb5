"""One session over an opened run, from the first call to the last fsync.

Builds gate, transport and engine, keeps the journal durable beside them (a sync each second, a snapshot every ten),
and tells the observers how it goes. Whoever holds the session may ask it to stop; cancelling it abandons the calls
in flight. Either way the journal is closed in order and the run resumes.
"""

import asyncio
import random
import shlex
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from arkbatch.adapters.connection import open_connection
from arkbatch.adapters.functions import load
from arkbatch.adapters.images import Images
from arkbatch.adapters.pacefile import PaceNote, read_pace, write_pace
from arkbatch.adapters.pool import Pool
from arkbatch.adapters.progress import Log, Observer, Several
from arkbatch.adapters.published import published, ramp_at
from arkbatch.adapters.rundir import LOG
from arkbatch.adapters.schema import misfit_of
from arkbatch.adapters.transport import Transport
from arkbatch.core.budget import Allowance, Budget
from arkbatch.core.deadline import Means
from arkbatch.core.errors import ArkbatchError, StorageFull, UsageError
from arkbatch.core.head_start import Memory
from arkbatch.core.histogram import Histogram
from arkbatch.core.job import Job, Limits
from arkbatch.core.ledger import Position
from arkbatch.core.orders import Answer, Order
from arkbatch.core.outage import Outage
from arkbatch.core.pace import Pace
from arkbatch.core.packing import Packer, packing
from arkbatch.core.records import BadRow, Outcome, Row
from arkbatch.core.shares import Shares, Slope
from arkbatch.core.standing import Recent, Standing
from arkbatch.core.stragglers import Flights
from arkbatch.core.summary import Summary, summarise
from arkbatch.core.validation import Validation
from arkbatch.core.words import duration
from arkbatch.engines.calls import Tools
from arkbatch.engines.finding import Finding, address
from arkbatch.engines.gate import Gate
from arkbatch.engines.local import Engine
from arkbatch.engines.noticing import Noticing
from arkbatch.engines.opening import OpenRun
from arkbatch.engines.spending import Spending, spending_of
from arkbatch.engines.steering import PAUSED, Steering
from arkbatch.engines.straggling import Straggling
from arkbatch.engines.talking import Talk
from arkbatch.engines.timetable import Timetable
from arkbatch.engines.watch import Bound

SYNC_SECONDS = 1.0
SNAPSHOT_EVERY = 10  # syncs
TICK_SECONDS = 0.5
LONGEST_TICK_SECONDS = 60.0

ABANDONED = "abandoned"
DISK_FULL = "disk full"

_BOUND_BY = {
    Bound.REQUESTS: "your limit of requests a minute",
    Bound.TOKENS: "your limit of tokens a minute",
    Bound.CONCURRENCY: "the concurrency",
    Bound.INPUT: "the input",
    Bound.HELD: "a pause",
}


class Session:
    """One session of one run. `work` once; `stop` from a signal handler or an observer.

    is_stopping: somebody asked for it
    """

    def __init__(
        self, run: OpenRun, observers: Sequence[Observer] = (), chance: Callable[[], float] = random.random
    ) -> None:
        self._run = run
        self._observers = observers
        self._observer = Observer()
        self._chance = chance
        self.is_stopping = False
        self._engine: Engine | None = None
        self._steering: Steering | None = None

    def obey(self, order: Order) -> Answer:
        """Do what a person wants of the session while it works. ArkbatchError: why it was not done."""
        if self._steering is None:
            raise UsageError("The session is only beginning. Try again in a moment.")
        return self._steering.obey(order)

    @property
    def _limits(self) -> Limits:
        return self._steering.limits if self._steering else self._run.job.limits

    def stop(self) -> None:
        """Send no more, and end when the calls in flight have ended."""
        self.is_stopping = True
        if self._engine is not None:
            self._observer.stopping(self._engine.in_flight)
            self._engine.stop()

    async def work(self) -> Summary:
        """Work off the rows that have no record yet."""
        journal = self._run.journal
        return await self._work(self._run.rows(), lambda engine: engine.resume_at(journal.resume_at))

    async def work_again(self, rows: Iterator[Row | BadRow]) -> Summary:
        """Work off rows that have a record: where the input is to be resumed does not move."""
        unmoved = self._run.journal.resume_at
        return await self._work(rows, lambda _: unmoved)

    async def _work(self, rows: Iterator[Row | BadRow], resume_at: Callable[[Engine], Position]) -> Summary:
        run, job = self._run, self._run.job
        spending = spending_of(job, run.journal.ledger, run.journal.bill, run.wall)
        with Log(run.directory / LOG, run.wall) as log:
            self._observer = Several([*self._observers, log, unsynced := _Unsynced()])
            self._observer.opened(run.found)
            # First of all, since it may be refused: then no session has begun that would have to be ended.
            pool = Pool()
            async with open_connection(job, run.wall, pool) as transport, Noticing(run, self._observer) as noticing:
                info = run.begin_session(msgspec.to_builtins(job.limits))
                prefix = f"{job.request_id_prefix}{run.info.run_id}-{info.number}"
                clock = asyncio.get_running_loop().time
                began, ending = clock(), ABANDONED
                pace = build_pace(job, began, self._remembered())
                outage = build_outage(job, began, known=run.journal.ledger.done.count > 0)
                self._noticing = noticing
                self._finding = Finding(pace, outage, job, self._observer, run.wall)
                gate = build_gate(job, began, pace, outage)
                flights = Flights() if job.lane == "online" else None  # the batch lane holds calls for hours, by nature
                self._straggling = Straggling(flights, self._observer, run.wall)
                self._timetable = Timetable(job.hours, gate, self._observer, noticing, wall=run.wall, now=began)
                self._timetable.look(began)
                engine = self._engine = Engine(
                    _packed(rows, job), self._tools(gate, transport, prefix, spending, flights)
                )
                self._steering = Steering(
                    run=run,
                    session=info,
                    engine=engine,
                    gate=gate,
                    pace=pace,
                    pool=pool,
                    observer=self._observer,
                    clock=clock,
                    look=lambda: self._standing(engine, gate, began, Recent(began)),
                    stop=self.stop,
                )
                if self.is_stopping:  # somebody asked before there was anything to stop
                    engine.stop()
                try:
                    async with _beside(
                        self._keep_durable(engine, resume_at, unsynced), self._keep_telling(engine, gate, began)
                    ):
                        ending = (await engine.work_off(job.limits.concurrency)).value
                except StorageFull:
                    ending = DISK_FULL
                    raise
                finally:
                    self._straggling.look(clock())
                    self._observer.stands(self._standing(engine, gate, began, Recent(began)))
                    if ending != DISK_FULL:
                        write_pace(run.directory, self._note(clock()))
                        run.journal.close(resume_at(engine))
                        run.end_session(info, ending, clock() - began)
                    self._observer.closed(ending)
                summary = summary_of(run, ending, clock() - began, engine)
                noticing.ended(summary)
        return summary

    def _tools(
        self, gate: Gate, transport: Transport, prefix: str, spending: Spending | None, flights: Flights | None
    ) -> Tools:
        job = self._run.job
        validation = Validation(misfit_of(job.schema_text), job.validate.attempts) if job.schema_text else None
        talk = None
        if job.functions:
            functions = load(Path(job.tools.module), "tools.module")
            talk = Talk(functions, job.tools, self._observer, validation)
        return Tools(
            gate=gate,
            transport=transport,
            journal=self._run.journal,
            observer=self._observer,
            retry=job.retry,
            replies=job.replies,
            model=job.model,
            call_prefix=prefix,
            chance=self._chance,
            wall=self._run.wall,
            spending=spending,
            files=Images(job.images) if job.images else None,
            flights=flights,
            check=talk.check if talk else validation,
            talk=talk,
            hedge=job.limits.concurrency if job.hedge and flights is not None else 0,
        )

    async def _keep_durable(
        self, engine: Engine, resume_at: Callable[[Engine], Position], unsynced: "_Unsynced"
    ) -> None:
        """A sync a second after a record, in a thread; none while calls are held open for hours.

        Cancelled, it waits for the sync: who closes the journal next is alone.
        """
        journal, syncs, in_thread = self._run.journal, 0, asyncio.get_running_loop().run_in_executor
        with ThreadPoolExecutor(1, "journal") as thread:
            while True:
                await unsynced.told.wait()
                await asyncio.sleep(SYNC_SECONDS)
                unsynced.told.clear()
                syncs += 1
                if syncs % SNAPSHOT_EVERY and not unsynced.take_news():
                    await in_thread(thread, journal.sync)
                else:
                    await in_thread(thread, journal.snapshot(resume_at(engine)))
                    note = self._note(asyncio.get_running_loop().time())
                    await in_thread(thread, write_pace, self._run.directory, note)

    def _note(self, now: float) -> PaceNote:
        table, straggling = self._timetable, self._straggling
        return msgspec.structs.replace(
            self._finding.note(now),
            waiting=table.waiting,
            outlook=table.outlook,
            straggling=straggling.number,
            stragglers=straggling.longest,
        )

    async def _keep_telling(self, engine: Engine, gate: Gate, began: float) -> None:
        recent = Recent(began)
        quiet = _Quiet(began)
        while True:
            seen = (engine.recorded, engine.retried, gate.in_flight)
            now = asyncio.get_running_loop().time()
            straggles_in = max(TICK_SECONDS, self._straggling.next_in(now))
            pause = min(quiet.pause(now, seen), self._timetable.changes_in(), straggles_in)
            await asyncio.sleep(TICK_SECONDS if gate.outage.is_away else pause)
            self._timetable.look(asyncio.get_running_loop().time())
            self._finding.look(asyncio.get_running_loop().time())
            stragglers = self._straggling.look(asyncio.get_running_loop().time())
            if engine.hedging is not None:
                engine.hedging.look(stragglers)
            self._noticing.look(gate.outage.lasts(asyncio.get_running_loop().time()))
            if (cause := gate.outage.given_up(asyncio.get_running_loop().time())) is not None:
                engine.give_up(cause)
            standing = self._standing(engine, gate, began, recent)
            self._timetable.foresee(standing, self._means(gate), engine.latency.quantile(0.95))
            self._observer.stands(standing)

    def _means(self, gate: Gate) -> Means:
        job = self._run.job
        other_lane = job.lane == "online" and not job.simulated and ramp_at(job.base_url) is not None
        limits = self._limits
        bound = "" if gate.holds or gate.outage.is_away else gate.bound_by().value
        run_dir = shlex.quote(str(self._run.directory.path))
        return Means(bound, limits.concurrency, limits.rpm, limits.tpm, other_lane=other_lane, run_dir=run_dir)

    def _standing(self, engine: Engine, gate: Gate, began: float, recent: Recent) -> Standing:
        now = asyncio.get_running_loop().time()
        ledger, found = self._run.journal.ledger, self._run.found
        limits = self._limits
        bound, pace = gate.bound_by(), self._finding.pace
        left = max(0, found.to_send + engine.requeued.added - engine.recorded)
        return Standing(
            total=max(found.total, left),
            left=left,
            failed=ledger.failed.count,
            in_flight=gate.in_flight,
            retried=engine.retried,
            recorded=engine.recorded,
            seconds=now - began,
            rows_per_minute=recent.look(now, engine.recorded),
            rpm=gate.requests_per_minute(),
            tpm=gate.tokens_per_minute(),
            rpm_limit=limits.rpm,
            tpm_limit=limits.tpm,
            bound_by=_server(gate, now) if bound is Bound.SERVER else _BOUND_BY[bound],
            rpm_found=pace.found.rpm,
            concurrency_found=pace.found.concurrency,
            reason=pace.reason,
            waiting=", ".join(filter(None, (self._paused(gate, now), self._timetable.waiting))),
            stragglers=self._straggling.words,
        )

    def _paused(self, gate: Gate, now: float) -> str:
        since = gate.holds.get(PAUSED)
        if since is None:
            return ""
        moment = datetime.fromtimestamp(self._run.wall() - (now - since), UTC)
        return f"{PAUSED} since {moment:%H:%M} UTC"

    def _remembered(self) -> Memory | None:
        """What an earlier session found about this model at this address."""
        note, job = read_pace(self._run.directory), self._run.job
        if note is None or (note.model, note.base_url) != (job.model, address(job)):
            return None
        return note.memory(self._run.wall())


def _packed(rows: Iterator[Row | BadRow], job: Job) -> Iterator[Row | BadRow]:
    """The rows, put together where the job wants it."""
    most = packing(job.embeddings.pack, at_ark=job.at_ark)
    return rows if most is None else Packer(rows, most)


def build_pace(job: Job, now: float, memory: Memory | None = None) -> Pace:
    """The pace of a job: given limits are ceilings, and it finds out what the service grants below them.

    Without a given rate it begins, at Ark, from the published limit of the model and as slowly as Ark advises.
    """
    limits, entry = job.limits, None
    is_found = limits.rpm is None and job.lane == "online"  # the batch lane has a line and no rate
    ramp = ramp_at(job.base_url) if is_found else None
    if is_found:
        entry = published(job.model, job.base_url)
    return Pace(
        now,
        concurrency=limits.concurrency,
        rate=limits.rpm,
        ramp=ramp,
        start=entry.start if entry else None,
        memory=memory,
    )


def build_outage(job: Job, now: float, *, known: bool) -> Outage:
    """`known`: the service has answered before."""
    return Outage(now, width=job.limits.concurrency, give_up_after=job.retry.give_up_after, known=known)


def build_gate(job: Job, now: float, pace: Pace, outage: Outage) -> Gate:
    """The gate of a job, with the given limits."""
    limits = job.limits
    return Gate(
        concurrency=limits.concurrency,
        requests_per_minute=limits.rpm,
        tokens=Budget(limits.tpm, now) if limits.tpm else None,
        shares=_shares(job, now),
        pace=pace,
        outage=outage,
    )


def _shares(job: Job, now: float) -> list[Allowance]:
    """What is kept beside the limit of all tokens."""
    given, generated = job.limits.input_tpm, job.limits.output_tpm
    shares: list[Allowance] = []
    if given or generated:
        parts = (Budget(limit, now) if limit else None for limit in (given, generated))
        shares.append(Shares(*parts))
    if job.lane == "online" and ramp_at(job.base_url) is not None:
        shares.append(Slope(now))
    return shares


def summary_of(run: OpenRun, ending: str, seconds: float, engine: Engine | None = None) -> Summary:
    """The summary of a session, also of one that had nothing to send."""
    return summarise(
        run.journal.ledger,
        engine.latency if engine else Histogram(),
        ending=ending,
        run_dir=str(run.directory.path),
        simulated=run.info.simulated,
        total=run.found.done + run.found.failed + run.found.left,
        session=_counted(engine) if engine else {"recorded": 0, "retried": 0},
        seconds=seconds,
        speeds=engine.speeds if engine else None,
        halt=engine.halt if engine else None,
        bill=run.journal.bill,
    )


def _counted(engine: Engine) -> dict[str, int]:
    counted = {"recorded": engine.recorded, "retried": engine.retried}
    if engine.hedging is not None:
        counted |= {"asked_again": engine.hedging.asked_again, "second_won": engine.hedging.won}
    return counted | ({"seconds_away": away} if (away := round(engine.seconds_away)) else {})


def _server(gate: Gate, now: float) -> str:
    away = f" for {duration(gate.outage.lasts(now))}" if gate.outage.is_away else ""
    return f"the server{away} ({gate.reason})"


class _Unsynced(Observer):
    """Whether something was recorded since the last sync began, or noted, which `status` is to show."""

    def __init__(self) -> None:
        self.told = asyncio.Event()
        self._news = False

    def recorded(self, outcome: Outcome) -> None:
        del outcome
        self.told.set()

    def noted(self, text: str) -> None:
        del text
        self._news = True
        self.told.set()

    def straggles(self, text: str) -> None:
        self.noted(text)

    def take_news(self) -> bool:
        news, self._news = self._news, False
        return news


class _Quiet:
    """How long to look away: some times a second while things happen, and less often the longer nothing does.

    A run that waits for days on the batch lane would else wake up a million times to say the same.
    """

    def __init__(self, now: float) -> None:
        self._changed, self._seen = now, (0, 0, 0)

    def pause(self, now: float, seen: tuple[int, int, int]) -> float:
        if seen != self._seen:
            self._changed, self._seen = now, seen
        return min(max(TICK_SECONDS, (now - self._changed) / 5), LONGEST_TICK_SECONDS)


@asynccontextmanager
async def _beside(*chores: "asyncio._CoroutineLike[None]") -> AsyncIterator[None]:
    """Endless chores that run while the body does. One that fails ends the body with its error."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(chore) for chore in chores]
            yield
            for task in tasks:
                task.cancel()
    except* ArkbatchError as errors:
        raise errors.exceptions[0] from None
