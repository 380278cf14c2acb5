"""Sessions over batch files in virtual time: a real run directory, and the simulator's files and batches."""

import asyncio
from decimal import Decimal
from pathlib import Path

import orjson
from msgspec import Struct
from msgspec.structs import replace
from runs import BEGAN
from sessions import failures, results
from virtual import run_virtual

from arkbatch.batch_jobs.batch_session import BatchSession
from arkbatch.batch_jobs.open_session import open_batch_service
from arkbatch.batch_jobs.parcel_context import Pacing
from arkbatch.batch_jobs.parcel_journal import read_parcels
from arkbatch.core.secret import Access, Secret
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.resume_check import ResumeOptions
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.monitor.observer import Observer
from arkbatch.simulator.server import Counters, Settings, serve
from arkbatch.simulator.settings import ACCESS_KEY

MODEL = "doubao-seed-1-6-251015"


class Notes(Observer):
    """Keeps what a person would be told."""

    def __init__(self, details):
        self.said, self.details = [], details

    def noted(self, text):
        self.said.append(text)

    def detailed(self, text):
        self.details.append(text)


class BatchEnd(Struct):
    summary: object
    batches: object
    said: list
    seconds: float
    details: list


def rows(count, model=MODEL, **more):
    return [
        {"model": model, "messages": [{"role": "user", "content": f"row {n}"}], **more} for n in range(1, count + 1)
    ]


async def one_session(
    job, *, wall, wrap=None, detach=False, cancel=None, meanwhile=None, options=None, details=None, only=None
):
    """One session. `wrap` may put something around the service, the journals and whatever else is touched."""
    notes = Notes([] if details is None else details)
    with OpenRun(job, options or ResumeOptions(), wall=wall) as run:
        async with open_batch_service(job, wall) as (form, service):
            session = BatchSession(run, service, form, observer=notes, pacing=Pacing(30.0))
            if wrap is not None:
                wrap(session, run)
            beside = asyncio.ensure_future(meanwhile(session)) if meanwhile else None
            summary = await session.work(detach=detach, cancel=cancel, only=only)
            if beside is not None:
                await beside
    return summary, notes.said


def ready_for(job, url):
    """The job with the simulator's address in it, and its access key where the lane needs one."""
    if job.lane != "job":
        return replace(job, base_url=url.replace("/api/v3", "/v1"), api_key=Secret("any"), at_ark=False)
    root = url.removesuffix("/api/v3")
    access = Access(*map(Secret, ACCESS_KEY), root, storage=root, region="cn-beijing")
    return replace(job, base_url=url, api_key=Secret("any"), access=access, files=replace(job.files, bucket="b"))


def batched(job, *sessions, began=BEGAN, skew=0, between=lambda _: None, pause=0, **settings):
    """Sessions one after the other against one simulator; each is the keywords of `one_session`.

    skew: seconds by which our clock is ahead of the provider's
    between, pause: what is done with the batches after each session, and the seconds that pass then
    """
    counters, details = Counters(), []

    async def main():
        loop = asyncio.get_running_loop()
        start = loop.time()

        def wall():
            return began + loop.time()

        async with serve(Settings(**settings), counters=counters, wall=wall) as url:
            ready = ready_for(job, url)
            ended = None
            for keywords in sessions or ({},):
                ended = await one_session(ready, wall=lambda: wall() + skew, details=details, **keywords)
                between(counters.batches)
                await asyncio.sleep(pause)
            return ended, loop.time() - start

    (summary, said), seconds = run_virtual(main())
    return BatchEnd(summary, counters.batches, said, seconds, details)


def usage_of_results(job):
    """Input and output tokens over all records, as the run directory tells them."""
    total = {"input": 0, "output": 0}
    for line in [*results(job), *failures(job)]:
        for name in total:
            total[name] += line["usage"].get(name, 0)
    return total


def billed_usage(batches):
    """The same as the simulator billed it."""
    given = answered = 0
    for line in batches.store.billed:
        given += line.usage.get("prompt_tokens", 0) + line.usage.get("input_tokens", 0)
        answered += line.usage.get("completion_tokens", 0) + line.usage.get("output_tokens", 0)
    return {"input": given, "output": answered}


def batch_cost(job, batches):
    """What the simulator billed, at the batch prices of the book, call by call."""
    from datetime import UTC, datetime

    from arkbatch.pricing.pricer import Pricer
    from arkbatch.pricing.run_price_file import book_of_job
    from arkbatch.protocol.endpoints.usage import meters_of_usage

    pricer = Pricer(book_of_job(job))
    at = datetime.fromtimestamp(BEGAN, UTC)
    costs = [
        pricer.cost_of_call(meters_of_usage(line.usage), model=line.model, lane="batch", service_tier="", at=at)
        for line in batches.store.billed
    ]
    return sum((cost.amount for cost in costs), Decimal(0))


def rows_with_records(job):
    """The numbers of rows that have a final record, sorted; a row that stands twice stands twice."""
    final = [line["row"] for line in results(job)]
    final += [line["row"] for line in failures(job) if not line.get("interrupted")]
    return sorted(final)


def check_all_recorded(job, ended, count):
    """Each row has one record, and tokens and cost are those that the simulator billed."""
    assert ended.summary.ending == "finished"
    assert rows_with_records(job) == list(range(1, count + 1))
    assert usage_of_results(job) == billed_usage(ended.batches)
    assert ended.summary.cost.amounts.get("CNY", 0) == batch_cost(job, ended.batches)


def parcels_of(job):
    return read_parcels(RunDirectory(Path(job.run_dir)))


def write_rows(path, *lines):
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
