"""`arkbatch run --dry-run`: shows what would be sent, and sends nothing."""

import os
import shlex
import time
from itertools import islice

import click
import orjson

from arkbatch.cli.standard_streams import echo_text
from arkbatch.core.calls import Cause
from arkbatch.core.errors import ExitCode, UsageError
from arkbatch.core.job import Job
from arkbatch.core.json_numbers import dumps_as_written
from arkbatch.core.language import language_of
from arkbatch.core.row import BadRow, Row
from arkbatch.core.text import count_text, number_text, printable_json
from arkbatch.engine.resume_check import ResumeOptions, count_ended_rows
from arkbatch.estimate.estimate_text import forecast_line
from arkbatch.protocol.endpoints import ENDPOINTS
from arkbatch.reports.text.summary import target_line
from arkbatch.rows.first_look import check_first_rows
from arkbatch.rows.media_files import Images
from arkbatch.rows.several_files import parts_of
from arkbatch.rows.source import reader_of, source_of

_SHOWN = 3


def show_plan(
    job: Job,
    named: str,
    *,
    as_json: bool,
    options: ResumeOptions = ResumeOptions(),
) -> ExitCode:
    """Print what the first rows become and how many are left. RunChanged, RunLocked: the run would be refused so.

    named: the job or input as the user named it; options: what was said with --rebase and --mixed
    """
    if job.input == "-":
        raise UsageError("--dry-run reads the input twice: save standard input to a file first")
    source = source_of(job)
    check_first_rows(source, job)
    reader = reader_of(job, source)
    first = _SHOWN if job.row_limit is None else min(_SHOWN, job.row_limit)
    rows = [reader.read_row(*line) for line in islice(source.read_records(), first)]
    images = Images(job.images) if job.images else None
    for row in rows:
        reason = _problem_of(row, images)
        url = job.base_url + ENDPOINTS[row.endpoint].path if isinstance(row, Row) else None
        shown = {"row": row.number, "custom_id": row.custom_id, "url": url}
        shown |= {"body": row.body} if isinstance(row, Row) else {}
        shown |= {"error": reason} if reason else {}
        click.echo(printable_json(dumps_as_written(shown, option=0 if as_json else orjson.OPT_INDENT_2)))
    limits = job.limits
    said = [f"at most {limits.rpm:g} requests a minute" if limits.rpm else "", f"{limits.concurrency} calls at once"]
    there = source.survey_input().rows
    total = there if job.row_limit is None else min(there, job.row_limit)
    left = max(0, total - count_ended_rows(job, source, options))
    pace = ", ".join(part for part in said if part)
    where = "the simulator" if job.simulated else job.base_url
    what = f"{job.input} has {_shown_rows(there, job.row_limit)} would go to {where}"
    lines = [
        f"Nothing was sent. {what}, {pace}, into {job.run_dir}.",
        f"Left to send now: {number_text(left)} of {count_text(total, 'row')}.",
        target_line(job, left, language_of(os.environ)),
        *([forecast_line(job, job.input, left, time.time())] if left else []),
        f"Read every line:  arkbatch check {shlex.join(parts_of(named))}",
    ]
    echo_text("\n".join(lines))
    return ExitCode.OK


def _problem_of(row: Row | BadRow, images: Images | None) -> str | None:
    """Return why a row cannot be sent. Its images are read as in a run; messages show their names only."""
    if isinstance(row, BadRow):
        return row.reason
    encoded = images.encode_request(row.body) if images else b""
    return encoded.message if isinstance(encoded, Cause) else None


def _shown_rows(rows: int, limit: int | None) -> str:
    if limit is not None and limit < rows:
        return f"{count_text(rows, 'row')}, of which the first {limit:,}"
    return f"{count_text(rows, 'row')}; {'it' if rows == 1 else 'they'}"
