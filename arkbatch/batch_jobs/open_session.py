"""Puts a session over batch files together: connection, form, observers and schema check."""

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from arkbatch.batch_jobs.ark_job_service import ArkJobService
from arkbatch.batch_jobs.batch_session import BatchSession
from arkbatch.batch_jobs.http_service import HttpBatchService
from arkbatch.batch_jobs.output_merging import Check
from arkbatch.batch_jobs.parcel_context import Pacing
from arkbatch.batch_jobs.parcel_journal import PARCELS, has_lost_parcels, read_parcels
from arkbatch.batch_jobs.parcel_records import Stage
from arkbatch.batch_jobs.provider_forms import ARK_JOBS, Form, all_forms, form_for, lane_of_form
from arkbatch.batch_jobs.service import BatchService
from arkbatch.core.calls import Verdict
from arkbatch.core.errors import RunDirectoryError, UsageError
from arkbatch.core.job import Job
from arkbatch.core.text import count_text
from arkbatch.engine.json_schema import build_schema_check
from arkbatch.engine.notifier import SessionNotifier
from arkbatch.engine.open_run import OpenRun
from arkbatch.journal.run_directory import LOG, RunDirectory
from arkbatch.monitor.observer import Observer, ObserverGroup
from arkbatch.monitor.run_log import RunLog
from arkbatch.protocol.structured_output import Validation
from arkbatch.transport.batch_http import open_batch_http
from arkbatch.transport.connection import open_control_plane
from arkbatch.transport.tos_bucket import open_object_store

_SIMULATED_PACING = Pacing(0.3, 1.0)


@asynccontextmanager
async def open_batch_session(run: OpenRun, observers: Sequence[Observer] = ()) -> AsyncIterator[BatchSession]:
    """A session ready to work. UsageError: the provider has no batch service."""
    job = run.job
    async with AsyncExitStack() as stack:
        log = stack.enter_context(RunLog(run.directory / LOG, run.wall))
        form, service = await stack.enter_async_context(open_batch_service(job, run.wall))
        observer = ObserverGroup([*observers, log])
        notifier = await stack.enter_async_context(SessionNotifier(run, observer))
        yield BatchSession(
            run,
            service,
            form,
            observer=observer,
            notifier=notifier,
            check=check_of(job),
            pacing=_SIMULATED_PACING if job.simulated else Pacing(form.poll_seconds),
        )


@asynccontextmanager
async def open_batch_service(job: Job, wall: Callable[[], float]) -> AsyncIterator[tuple[Form, BatchService]]:
    """The provider's service, and how it deviates. UsageError: it has none."""
    if job.lane == "job":
        assert job.access is not None
        form = all_forms()[ARK_JOBS]
        async with AsyncExitStack() as stack:
            control = await stack.enter_async_context(open_control_plane(job.access, wall))
            opened = open_object_store(job.access, job.files.bucket, wall, job.timeouts.connect)
            yield form, ArkJobService(control, await stack.enter_async_context(opened), form, job)
        return
    form = form_for(job.base_url, job.files.form)
    if not form.service:
        raise UsageError(
            f'the form "{form.name}" has no service to send files to: write the files with arkbatch export, and merge '
            "what comes of them with arkbatch collect"
        )
    async with open_batch_http(job) as http:
        yield form, HttpBatchService(http, form)


def check_of(job: Job) -> Check | None:
    """The second look at a good answer, where the job has a schema."""
    if not job.schema_text:
        return None
    misfit_of = build_schema_check(job.schema_text)

    async def misfit(value: object) -> str | None:
        return misfit_of(value)

    validation = Validation(misfit, job.validate.attempts)
    return lambda row, reply, done: _run_at_once(validation(row, reply, done))


def _run_at_once(check: Coroutine[Any, Any, Verdict]) -> Verdict:
    """The result of a coroutine that waits for nothing. A merge is not interrupted between two rows."""
    try:
        check.send(None)
    except StopIteration as ended:
        verdict: Verdict = ended.value
        return verdict
    raise AssertionError("the check of an answer waited for something")


def refuse_open_parcels(directory: RunDirectory) -> None:
    """RunDirectoryError: rows of the run are ordered in batches, and must not be sent in another way meanwhile."""
    refuse_lost_parcels(directory)
    holding = read_parcels(directory).holding_parcels
    if not holding:
        return
    rows = sum(parcel.cut.rows for parcel in holding)
    exported = all(parcel.stage == Stage.EXPORTED for parcel in holding)
    how = (
        f"arkbatch collect {directory.path} FILE... merges what came of them"
        if exported
        else f"the same command with --lane {lane_of_form(holding[0].cut.form)} collects them"
    )
    raise RunDirectoryError(
        f"{count_text(rows, 'row')} of {directory.path} travel in {count_text(len(holding), 'batch file')}, and would "
        f"be paid twice: {how}; arkbatch cancel {directory.path} takes the rows back."
    )


def refuse_lost_parcels(directory: RunDirectory) -> None:
    """RunDirectoryError: batches may be open that nobody here knows of."""
    if has_lost_parcels(directory):
        raise RunDirectoryError(
            f"{directory / PARCELS} is missing or damaged, so that batches may be open which would be paid twice. Run "
            "the same command with the --lane that it had (files or job): it finds them at the provider and collects "
            "them."
        )
