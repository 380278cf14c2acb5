"""`estimate_table`: what a table would take, before it is sent."""

from typing import Any, Unpack

from arkbatch.api.asked_table import AskedTable, Prompt, ask_table
from arkbatch.api.background import run_in_thread
from arkbatch.api.jobs import JobSession
from arkbatch.api.options import SharedOptions
from arkbatch.core.job import Job
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.session import Session
from arkbatch.estimate.build_estimate import Forecast
from arkbatch.estimate.estimate_text import forecasts_text
from arkbatch.estimate.job_estimate import estimate_job, numbers_of_sample, rows_to_sample
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.pricing.summary import Summary


class TableEstimate:
    """The tokens, the cost and the time of a table; printed, it is what `arkbatch estimate` prints.

    forecasts: one for each endpoint and model, with all numbers
    """

    def __init__(self, forecasts: list[Forecast]) -> None:
        self.forecasts = forecasts

    def __repr__(self) -> str:
        return forecasts_text(self.forecasts, "").rstrip()


class _SampleSession(JobSession):
    """A session that sends a sample of the rows."""

    def __init__(self, job: Job, count: int, *, progress: bool) -> None:
        super().__init__(job, None, progress=progress, rebase=False, mixed=False, options={})
        self._count = count

    async def _send_rows(self, session: Session, opened: OpenRun) -> Summary:
        return await session.work_again(rows_to_sample(opened, opened.job, self._count))


def estimate_table(
    data: Any,
    prompt: Prompt,
    *,
    sample: int | None = None,
    schema: Any = None,
    progress: bool | None = None,
    **options: Unpack[SharedOptions],
) -> TableEstimate:
    """Estimate the tokens, the cost and the time of a table. Nothing is sent without a sample.

    sample: so many rows are sent and measured; they are the first results of `run_table` with the same arguments
    data, prompt, schema: as of `run_table`
    UsageError: the table cannot be read, or no row of the sample succeeded.
    """
    shown = progress if sample else False
    asked = ask_table(data, prompt, schema, options, observer=None, progress=shown, rebase=False, mixed=False)
    try:
        return TableEstimate(_forecasts_of(asked, sample))
    finally:
        asked.remove_leftovers()


def _forecasts_of(asked: AskedTable, sample: int | None) -> list[Forecast]:
    if sample is None:
        asked.options.setdefault("dry_run", True)  # so that no key is needed
        return estimate_job(asked.load_job_of())
    job = asked.load_job_of()
    session = _SampleSession(job, sample, progress=asked.progress)
    run_in_thread(session.work, session.drain)
    run_id = RunDirectory(asked.run_dir).read_info().run_id
    return estimate_job(job, numbers_of_sample(job, run_id, sample), run_id)
