"""The input of a run, for those who only look at the run."""

from pathlib import Path

import msgspec

from arkbatch.core.errors import UsageError
from arkbatch.core.job import Job
from arkbatch.core.job_sections import Embeddings
from arkbatch.core.secret import Secret
from arkbatch.core.template_syntax import Reading, Template
from arkbatch.journal.run_info import RunInfo
from arkbatch.rows.parse import RowReader
from arkbatch.rows.source import Source, open_source, reader_of


def job_of_run(info: RunInfo) -> Job:
    """As much of the job as its run remembers, which is what decides how a row becomes a request."""
    asked = info.asked
    return Job(
        input=info.input.path,
        run_dir="",
        endpoint=asked["endpoint"],
        model=asked["model"],
        base_url=asked["base_url"],
        api_key=Secret(""),
        defaults=asked["defaults"],
        template=msgspec.convert(asked["template"], Template | None),
        reading=msgspec.convert(info.job.get("reading", {}), Reading),
        endpoint_said=info.job.get("endpoint_said", False),
        images=info.job.get("images", ""),
        embeddings=msgspec.convert(info.job.get("embeddings", {}), Embeddings),
    )


def rows_of_run(info: RunInfo, path: Path | None) -> tuple[Source, RowReader]:
    """All rows of a run's input, also those that the run skips, and their reader. `path`: where the input is now."""
    if path is None:
        raise UsageError(
            f"The input {info.input.path} of this run is no longer there: bring it back, or name it with --input FILE."
        )
    job = job_of_run(info)
    source = open_source(path, job.reading)
    return source, reader_of(job, source)
